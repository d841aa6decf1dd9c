"""What can a station's operator do from the command line?"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import click

from console.answer import Answer
from console.progress import working
from console.prompts import clock, new_passphrase_for, passphrase_option, sure
from console.root import Root
from registry.places import anchored
from security.encoding import Json
from security.ids import PartyId
from security.keys.keyset import Scheme
from security.version import VERSION
from station.cli.audit import audit
from station.cli.complete import complete_train, complete_waiting
from station.cli.data import station_data
from station.cli.options import PATH, by_option, folder_argument, person, station_option, unlocker
from station.cli.render import render_checkup, render_made, render_visits, visit_in_short
from station.cli.show import station_show
from station.cli.sweep import station_sweep
from station.cli.unit import station_unit_command
from station.daemon.log import log_json_lines, log_plain_lines
from station.daemon.loop import once, run
from station.daemon.pace import Pace
from station.desk.answer import answer
from station.desk.checkup import check
from station.desk.decide import approval, record, refusal
from station.desk.opening import house_of, keyring, present_keys, station_at, terms_of
from station.desk.setup import NewStation, make_station, pinned_root
from station.desk.visits import list_visits, silence, summary
from station.house.config import StationConfig
from station.house.lock import held


@click.group()
def station() -> None:
    """Run a hospital's station.

    \b
    pht station init /srv/pht --party hospital-a --registry https://registry.example
        --root-fingerprint "…" --data patients=/srv/data/patients --admit-owner alice
    pht station check /srv/pht           every line ok, or what to do
    pht station run /srv/pht             the daemon

    All commands work on the station in this folder, or the one PHT_STATION names.

    \b
    pht station ls                       trains that are here, and the newest that were
    pht station show TRAIN --code        what a train is, wants, and will leave behind
    pht station approve TRAIN            or: refuse TRAIN --reason "…"
    pht station answer TRAIN --text "…"  tell its owner more about why it ended here
    """


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
@click.option("--by-hand", is_flag=True, help="Have a person approve each train, and release its results.")
@click.option(
    "--release",
    multiple=True,
    metavar="TYPE",
    help="A media type, such as text/csv, whose files leave without a person whatever is in them; may be repeated.",
)
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
    release: tuple[str, ...],
    engine: str | None,
    schemes: tuple[str, ...],
    passphrase_file: Path | None,
) -> Answer:
    """Make a station in FOLDER: keys, a party card, and a commented configuration. Nothing is ever overwritten."""
    if release and (by_hand or not admit):
        msg = "--release goes with --admit-owner, and not with --by-hand"
        raise click.UsageError(msg)
    login = context.login()
    registry, directory = anchored(registry, Path.cwd()), directory and anchored(directory, Path.cwd())
    pinned = pinned_root(root, root_fingerprint, directory or registry, login)
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
        release=release,
    )
    passphrase = new_passphrase_for("the station's keys", passphrase_file)
    with working("making the keys"):
        made = make_station(
            new, passphrase=passphrase, root=pinned, schemes=[Scheme(one) for one in schemes], now=clock.now()
        )
    return render_made(folder, new, made, pinned=pinned is not None)


@station.command("check")
@folder_argument
@passphrase_option
def station_check(folder: Path, passphrase_file: Path | None) -> Answer:
    """Check keys, directory, registry, engine, sandbox, data, disk and journal, and say what to do about each."""
    config = station_at(folder)
    unlock = unlocker(config, passphrase_file)
    return render_checkup(check(config, lambda: present_keys(config, unlock), clock, working=working))


# --- Working ---------------------------------------------------------------------------------------------------------


@station.command("run")
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


@station.command("once")
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


# --- Looking ---------------------------------------------------------------------------------------------------------


@station.command("ls")
@folder_argument
@click.option("--waiting", is_flag=True, help="Only those that wait for a person.")
@click.option("--all", "every", is_flag=True, help="Also those that were here long ago.")
def station_ls(folder: Path, waiting: bool, every: bool) -> Answer:
    """List the trains that are here, and the newest that were."""
    none = "no train waits for a person" if waiting else "no train has been here"
    config, now = station_at(folder), clock.now()
    listed = list_visits(config, now, waiting=waiting, every=every)
    return render_visits(listed.visits, none=none, more=listed.more, silence=silence(config, now))


def _daemon(config: StationConfig) -> str:
    return "the daemon" if held(config.folder) else "no daemon runs here: 'pht station run' or 'once'"


# --- Deciding --------------------------------------------------------------------------------------------------------


@station.command("approve")
@click.argument("train", shell_complete=complete_waiting)
@station_option
@click.option("--note", default="", help="Why, for the journal.")
@by_option
def station_approve(*, train: str, folder: Path, note: str, by: str | None) -> Answer:
    """Say yes to what TRAIN waits for: to be admitted, released, or tried again."""
    config = station_at(folder)
    decision = approval(config, train, by=person(by), note=note, now=clock.now())
    record(config, decision)
    visit, event = decision.visit, decision.event
    text = f"approved for {event.hold.value}: {visit_in_short(visit)}; {_daemon(config)} goes on with it"
    told: dict[str, Json] = {"visit": visit.arrival, "approved": event.hold.value, "by": event.by}
    if event.analysis is not None:
        text, told["analysis"] = f"{text}\nanalysis {event.analysis}", event.analysis
    return Answer(text=text, data=told)


@station.command("refuse")
@click.argument("train", shell_complete=complete_train)
@station_option
@click.option("--reason", required=True, help="Why, for this station's journal. The owner is not told.")
@click.option("--tell", default="", metavar="TEXT", help="What the owner is told, on one line.")
@by_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def station_refuse(*, train: str, folder: Path, reason: str, tell: str, by: str | None, yes: bool) -> Answer:
    """Refuse TRAIN for good. The owner learns that it was refused, and what you --tell.

    Before its run, an owner to whom you --tell nothing is told what the train waited for, as 'show' does.
    """
    config = station_at(folder)
    decision = refusal(config, train, by=person(by), reason=reason, now=clock.now(), tell=tell)
    name = visit_in_short(decision.visit)
    sure(f"Refuse {name} for good?", yes=yes)
    record(config, decision)
    text = f"refused: {name}; {_daemon(config)} wipes what is here and tells the owner that it was refused"
    return Answer(text=text, data={"visit": decision.visit.arrival, "refused": True, "by": decision.event.by})


@station.command("answer")
@click.argument("train", shell_complete=complete_train)
@station_option
@click.option(
    "--text", required=True, help="What the owner is told, on one line. It leaves this house as you write it."
)
@by_option
@passphrase_option
def station_answer(*, train: str, folder: Path, text: str, by: str | None, passphrase_file: Path | None) -> Answer:
    """Tell the owner of TRAIN, which was refused or failed here, more than the signed refusal says.

    'pht train follow' shows it. A second answer replaces the first; the journal keeps both.
    """
    config = station_at(folder)
    visit = answer(config, train, text=text, by=person(by), unlock=unlocker(config, passphrase_file), now=clock.now())
    return Answer(text=f"told: {visit_in_short(visit)}", data={"visit": visit.arrival, "told": text})


station.add_command(station_show)
station.add_command(audit)
station.add_command(station_data)
station.add_command(station_unit_command)
station.add_command(station_sweep)
