"""How is a train followed, brought home, opened and proven, on the command line?"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import click

from console.answer import Answer
from console.progress import showing, working
from console.prompts import clock, passphrase_option, unlocked
from console.root import Root
from security.errors import Unavailable
from security.keys.keyset import Secrets
from train_builder.cli.complete import complete_train
from train_builder.cli.options import PATH, home_option
from train_builder.cli.render_journey import (
    news,
    render_inspection,
    render_opened,
    render_proof,
    render_whereabouts,
)
from train_builder.desk.results import Fetched, export_proof, fetch, keys_for, open_results, proof_of
from train_builder.desk.trains import inspect
from train_builder.desk.watch import watch, where_is
from train_builder.follow.follow import Whereabouts
from train_builder.home import Home, open_home


@click.command("follow")
@click.argument("name", metavar="[TRAIN]", default="latest", shell_complete=complete_train)
@home_option
@click.option("--watch", "watching", is_flag=True, help="Wait until the train has ended its journey.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=5.0, show_default=True, help="Seconds between looks."
)
@click.pass_obj
def train_follow(root: Root, *, name: str, home_path: Path, watching: bool, every: float) -> Answer:
    """Tell where TRAIN is (the beginning of its id, or 'latest'), from the receipts stations have signed."""
    home = open_home(home_path)
    if not watching:
        return render_whereabouts(where_is(name, home, clock.now()), clock.now())
    heard = sys.stderr.isatty() or not root.as_json  # a program is told at the end
    return render_whereabouts(_wait(name, home, every, heard=heard), clock.now())


def _wait(name: str, home: Home, every: float, *, heard: bool) -> Whereabouts:
    """Wait until a journey is over, and say on standard error what changes until then."""
    seen: Whereabouts | None = None
    told: set[str] = set()
    for found in watch(name, home, clock=clock, every=every):
        now = clock.now()
        if isinstance(found, Unavailable):
            lines: tuple[str, ...] = (f"waiting: {found}",)
        else:
            lines, seen = () if found.over(now) else news(found, told, now=now), found
            told = {line for line in told if not line.startswith("waiting: ")}  # a second outage is news again
        for line in lines:
            if heard and line not in told:
                click.echo(line, err=True)
        told.update(lines)
    assert seen is not None  # noqa: S101 - it ends with a train whose journey is over
    return seen


@click.command("open")
@click.argument("name", metavar="TRAIN", shell_complete=complete_train)
@click.argument("out", type=PATH)
@home_option
@passphrase_option
def train_open(*, name: str, out: Path, home_path: Path, passphrase_file: Path | None) -> Answer:
    """Verify the whole journey of TRAIN and open its results into the new folder OUT.

    The proof of the journey goes beside it, into OUT.journey.json.
    """
    home, unlock = open_home(home_path), _once(passphrase_file)
    fetched = _fetch(name, home, unlock)
    secrets = unlock(keys_for(fetched, home))
    with working("opening the results"):
        return render_opened(fetched.train, open_results(fetched, home, secrets, out, clock.now()))


@click.command("verify")
@click.argument("name", metavar="TRAIN", shell_complete=complete_train)
@home_option
@click.option("--export", "into", type=PATH, help="Write files and commands for a check without this software.")
@passphrase_option
def train_verify(*, name: str, home_path: Path, into: Path | None, passphrase_file: Path | None) -> Answer:
    """Verify the whole journey of TRAIN and tell it step by step.

    Needs no passphrase, unless TRAIN is the whole id of a train that was made in another home folder.
    """
    home = open_home(home_path)
    fetched = _fetch(name, home, _once(passphrase_file))
    files = () if into is None else export_proof(fetched, home, into)
    return render_proof(proof_of(fetched), into, len(files))


@click.command("inspect")
@click.argument("name", metavar="TRAIN|FILE", shell_complete=complete_train)
@home_option
def train_inspect(*, name: str, home_path: Path) -> Answer:
    """Tell what a train is: one of yours, or the manifest.json of any train. Says whether it can be believed."""
    return render_inspection(inspect(name, open_home(home_path), clock.now()))


def _once(passphrase_file: Path | None) -> Callable[[Path], Secrets]:
    """Return what opens key folders, each once in a command: a person is not asked twice, nor a passphrase stretched."""

    @functools.cache
    def unlock(keys: Path) -> Secrets:
        return unlocked(keys, str(keys), passphrase_file)

    return unlock


def _fetch(name: str, home: Home, unlock: Callable[[Path], Secrets]) -> Fetched:
    with showing("fetching") as carried:
        return fetch(name, home, unlock=lambda: unlock(home.keys), now=clock.now(), progress=carried)
