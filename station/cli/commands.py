"""What can a station's operator do from the command line?"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click

from console.answer import Answer
from console.progress import working
from console.prompts import clock, new_passphrase_for, passphrase_option, sure
from console.root import Root
from registry.places import Login, anchored, source_at
from security.directory.client import pin_root, read_root
from security.errors import InvalidInput
from security.ids import PartyId
from security.keys.keyset import Scheme, spell
from security.version import VERSION
from station.cli.audit import audit
from station.cli.folder import (
    PATH,
    by_option,
    config_at,
    existing_journal,
    keyring_of,
    opened_house,
    person,
    secrets_of,
    station_option,
    told_shortly,
    visit_named,
)
from station.cli.show import station_show
from station.daemon.log import log_json_lines, log_plain_lines
from station.daemon.loop import Pace, once, run
from station.desk.checkup import check as check_up
from station.desk.show import told_checkup, told_visits
from station.errors import CheckFailed
from station.house.config import StationConfig
from station.house.lock import held
from station.house.setup import NewStation, found
from station.visit.plan import approve, refuse

F = TypeVar("F", bound=Callable[..., object])


@click.group()
def station() -> None:
    """Run a hospital's station.

    \b
    pht station init /srv/pht --party hospital-a --registry https://registry.example
        --root-fingerprint "…" --data patients=/srv/data/patients --admit-owner alice
    pht station check /srv/pht           every line ok, or what to do
    pht station run /srv/pht             the daemon

    The others, and these too, work on the station of this folder, or of PHT_STATION.

    \b
    pht station ls                       trains that are and were here
    pht station show TRAIN --code        what a train is, wants, and will leave behind
    pht station approve TRAIN            or: refuse TRAIN --reason "…"
    """


def _folder_argument(function: F) -> F:
    return click.argument("folder", type=PATH, default=Path(), envvar="PHT_STATION")(function)


# --- Setting up ------------------------------------------------------------------------------------------------------


def _data(_ctx: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not folder or name in found:
            msg = "give each data set once, as NAME=FOLDER"
            raise click.BadParameter(msg)
        found[name] = Path(folder)
    return found


@station.command("init")
@click.argument("folder", type=PATH)
@click.option("--party", required=True, metavar="NAME", help="The station's short name: a-z, 0-9 and '-'.")
@click.option("--title", help="Its full name, for people. Default: the short name.")
@click.option("--registry", required=True, metavar="ADDRESS", help="https://host/prefix, or layout:/folder.")
@click.option("--directory", metavar="ADDRESS", help="folder:/path or web:https://…; default: the registry.")
@click.option("--root", type=PATH, help="The directory's root.json, if you have it.")
@click.option("--root-fingerprint", metavar="HEX", help="Its fingerprint, as the consortium read it out to you.")
@click.option("--data", multiple=True, callback=_data, metavar="NAME=FOLDER", help="A data set; may be repeated.")
@click.option(
    "--admit-owner", "admit", multiple=True, metavar="PARTY", help="Whose trains may run here; may be repeated."
)
@click.option("--by-hand", is_flag=True, help="Let a person approve each of them.")
@click.option("--engine", metavar="URL", envvar="DOCKER_HOST", help="The container engine's socket, unix:///…")
@click.option(
    "--scheme",
    "schemes",
    type=click.Choice([scheme.value for scheme in Scheme]),
    multiple=True,
    default=[Scheme.ED25519.value],
    show_default=True,
    help="Signing key to make; may be repeated.",
)
@passphrase_option
@click.pass_obj
def station_init(
    context: Root,
    *,
    folder: Path,
    party: str,
    title: str | None,
    registry: str,
    directory: str | None,
    root: Path | None,
    root_fingerprint: str | None,
    data: dict[str, Path],
    admit: tuple[str, ...],
    by_hand: bool,
    engine: str | None,
    schemes: tuple[str, ...],
    passphrase_file: Path | None,
) -> Answer:
    """Make a station in FOLDER: keys, a party card, and a commented configuration. Nothing is ever overwritten."""
    login = context.login()
    registry, directory = anchored(registry, Path.cwd()), directory and anchored(directory, Path.cwd())
    pinned = _pinned(root, root_fingerprint, directory or registry, login)
    new = NewStation(
        folder=folder,
        party=PartyId(party),
        title=title or party,
        registry=registry,
        login=login,
        directory=directory,
        data=data,
        admit=tuple(map(PartyId, admit)),
        engine=engine,
        passphrase_file=passphrase_file,
        by_hand=by_hand,
    )
    passphrase = new_passphrase_for("the station's keys", passphrase_file)
    with working("making the keys"):
        made = found(new, passphrase=passphrase, root=pinned, schemes=[Scheme(one) for one in schemes], now=clock.now())
    spelled = spell(made.fingerprint)
    steps = [
        f"send {made.card} to the consortium, and read out its fingerprint over the phone:",
        f"  {spelled}",
        *([] if pinned else [f"put the consortium's root.json at {made.config.directory.root_file}"]),
        f"read and change {made.config.file}",
        f"pht station check {folder}",
    ]
    return Answer(
        text="\n".join([f"made {folder}", *steps]),
        data={
            "folder": str(folder),
            "config": str(made.config.file),
            "card": str(made.card),
            "fingerprint": made.fingerprint,
            "spelled": spelled,
            "pinned": pinned is not None,
        },
    )


def _pinned(root: Path | None, fingerprint: str | None, place: str, login: Login) -> bytes | None:
    if root is not None and fingerprint is not None:
        msg = "give the root as a file or by its fingerprint, not both"
        raise InvalidInput(msg)
    if root is not None:
        return read_root(root)
    return pin_root(source_at(place, login), fingerprint) if fingerprint is not None else None


@station.command("check")
@_folder_argument
@passphrase_option
def station_check(folder: Path, passphrase_file: Path | None) -> Answer:
    """Look at keys, directory, registry, engine, sandbox, data, disk and journal; say what to do about each."""
    config = config_at(folder)
    found = check_up(config, lambda: secrets_of(config, passphrase_file), clock.now(), working=working)
    answer = told_checkup(found)
    if found.ok:
        return answer
    msg = "the station is not ready"
    failed = ", ".join(one.name for one in found.results if not one.ok)
    error = CheckFailed(msg, failed=failed, hint="do what the lines above say, and check again")
    return replace(answer, error=error)


# --- Working ---------------------------------------------------------------------------------------------------------


@station.command("run")
@_folder_argument
@passphrase_option
def station_run(folder: Path, passphrase_file: Path | None) -> Answer:
    """Run the daemon until it is asked to stop (SIGTERM, Ctrl-C). Logs JSON lines on standard error.

    It finishes the step it is in. Containers go on; the next daemon adopts them.
    """
    config = config_at(folder)
    keyring = keyring_of(config, passphrase_file)
    log_json_lines()
    with opened_house(config, keyring) as house, _stoppable(config) as pace:
        run(house, folder=config.folder, health=config.health, version=VERSION, pace=pace)
    return Answer(text="", data={"stopped": True})


@station.command("once")
@_folder_argument
@passphrase_option
@click.pass_obj
def station_once(context: Root, *, folder: Path, passphrase_file: Path | None) -> Answer:
    """Do everything that can be done now, wait for runs that are going on, and end."""
    config = config_at(folder)
    if context.as_json:
        log_json_lines()
    else:
        log_plain_lines()
    with opened_house(config, keyring_of(config, passphrase_file)) as house, _stoppable(config) as pace:
        done = once(house, folder=config.folder, health=config.health, version=VERSION, pace=pace)
        if done.trouble is not None and not done.recorded:
            raise done.trouble
        waiting = [house.journal.visit(one) for one in house.journal.unfinished()]
        answer = told_visits(waiting, clock.now())
    text = f"{done.recorded} events recorded" + (f"\n{answer.text}" if waiting else "")
    return Answer(text=text, data={"recorded": done.recorded, **answer.data})


@contextlib.contextmanager
def _stoppable(config: StationConfig) -> Iterator[Pace]:
    """Let the signals that ask a process to end do so after the step it is in."""
    stop = threading.Event()
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield Pace(clock=clock, stop=stop, poll_seconds=config.poll_seconds)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


# --- Looking ---------------------------------------------------------------------------------------------------------


@station.command("ls")
@_folder_argument
@click.option("--waiting", is_flag=True, help="Only those that wait for a person.")
def station_ls(folder: Path, waiting: bool) -> Answer:
    """List the trains that are and were here."""
    with existing_journal(config_at(folder)) as journal:
        visits = [journal.visit(arrival) for arrival in journal.arrivals()]
    nobody = "no train waits for a person" if waiting else "no train has been here"
    return told_visits([one for one in visits if one.held or not waiting], clock.now(), nobody=nobody)


def _daemon(config: StationConfig) -> str:
    return "the daemon" if held(config.folder) else "no daemon runs here: 'pht station run' or 'once'"


# --- Deciding --------------------------------------------------------------------------------------------------------


@station.command("approve")
@click.argument("train")
@station_option
@click.option("--note", default="", help="Why, for the journal.")
@by_option
def station_approve(*, train: str, folder: Path, note: str, by: str | None) -> Answer:
    """Say yes to what TRAIN waits for: to be admitted, released, or tried again."""
    config = config_at(folder)
    with existing_journal(config) as journal:
        visit = visit_named(journal, train)
        event = approve(visit, by=person(by), note=note, now=clock.now())
        journal.append(visit.arrival, event, expect=visit.length)
    text = f"approved for {event.hold.value}: {told_shortly(visit)}; {_daemon(config)} goes on with it"
    return Answer(text=text, data={"visit": visit.arrival, "approved": event.hold.value, "by": event.by})


@station.command("refuse")
@click.argument("train")
@station_option
@click.option("--reason", required=True, help="Why, for this house's journal. The owner is not told.")
@by_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def station_refuse(*, train: str, folder: Path, reason: str, by: str | None, yes: bool) -> Answer:
    """Refuse TRAIN for good. The owner is told that it was refused, and not why."""
    config = config_at(folder)
    with existing_journal(config) as journal:
        visit = visit_named(journal, train)
        event = refuse(visit, code="policy.refused", reason=reason, by=person(by), now=clock.now())
        sure(f"Refuse {told_shortly(visit)} for good?", yes=yes)
        journal.append(visit.arrival, event, expect=visit.length)
    text = (
        f"refused: {told_shortly(visit)}; {_daemon(config)} wipes what is here and tells the owner that it was refused"
    )
    return Answer(text=text, data={"visit": visit.arrival, "refused": True, "by": event.by})


station.add_command(station_show)
station.add_command(audit)
