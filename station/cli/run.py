"""How is a station's daemon run, on the command line?"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock, passphrase_option
from console.root import Root
from security.version import VERSION
from station.cli.options import folder_argument, unlocker
from station.cli.render import render_visits
from station.daemon.log import log_json_lines, log_plain_lines
from station.daemon.loop import once, run
from station.daemon.pace import Pace
from station.desk.house import house_of, terms_of
from station.desk.opening import keyring, station_at
from station.desk.visits import summary
from station.house.config import StationConfig


@click.command("run")
@folder_argument
@passphrase_option
def station_run(folder: Path, passphrase_file: Path | None) -> Answer:
    """Run the daemon until it is asked to stop (SIGTERM, Ctrl-C). Logs JSON lines on standard error.

    It finishes the current step. Containers keep running; the next daemon adopts them.
    """
    config = station_at(folder)
    keys = keyring(config, unlocker(config, passphrase_file))
    log_json_lines()
    with house_of(config, keys) as house, _stoppable(config) as pace:
        run(house, folder=config.folder, health=config.health, version=VERSION, pace=pace, terms=terms_of(config))
    return Answer(text="", data={"stopped": True})


@click.command("once")
@folder_argument
@passphrase_option
@click.pass_obj
def station_once(context: Root, *, folder: Path, passphrase_file: Path | None) -> Answer:
    """Do everything that can be done now, wait for the runs under way, and end."""
    config = station_at(folder)
    if context.as_json:
        log_json_lines()
    else:
        log_plain_lines()
    keys = keyring(config, unlocker(config, passphrase_file))
    with house_of(config, keys) as house, _stoppable(config) as pace:
        done = once(
            house, folder=config.folder, health=config.health, version=VERSION, pace=pace, terms=terms_of(config)
        )
        if done.trouble is not None and not done.recorded:
            raise done.trouble
        waiting = [summary(house.journal.visit(one), clock.now(), worked=False) for one in house.journal.unfinished()]
    answer = render_visits(waiting)
    text = f"{done.recorded} events recorded" + (f"\n{answer.text}" if waiting else "")
    return Answer(text=text, data={"recorded": done.recorded, **answer.data})


@contextlib.contextmanager
def _stoppable(config: StationConfig) -> Iterator[Pace]:
    """Let the signals that end a process take effect after the current step."""
    pace = Pace(clock=clock, poll_seconds=config.poll_seconds)
    before = {one: signal.signal(one, lambda *_: pace.end()) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield pace
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
