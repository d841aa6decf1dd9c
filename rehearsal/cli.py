"""How is a rehearsal asked for on the command line?"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from console.answer import Answer
from console.prompts import clock
from registry.places import registry_at
from rehearsal.company import Engine, Venue
from rehearsal.journey import Tell
from rehearsal.rehearse import Play, rehearse
from rehearsal.report import Rehearsal, hint_for, rehearsal_document, render_rehearsal
from rehearsal.samples import parse_sample
from security.errors import FileExists, InvalidInput
from security.files import expect_new
from security.ids import PartyId
from station.visit.events import VisitEvent
from train_builder.cli.options import target_options
from train_builder.code.wheels import Target
from train_builder.desk.reach import trust_of
from train_builder.errors import TrainFailed
from train_builder.home import open_home

_PATH: Final = click.Path(path_type=Path)


@click.command("rehearse")
@click.argument("folder", type=_PATH)
@click.option("--data", "places", multiple=True, metavar="STATION/NAME=FOLDER", help="Sample data; may be repeated.")
@click.option("--into", "into", type=_PATH, help="Open the results into this new folder. Default: discard them.")
@click.option(
    "--home",
    "home_path",
    type=_PATH,
    envvar="PHT_HOME",
    help="Your home folder, which names the registry with the base image; a sandbox needs it.",
)
@click.option(
    "--engine",
    envvar="DOCKER_HOST",
    default="unix:///var/run/docker.sock",
    show_default=True,
    help="Address of a container engine. If you give it here and it does not answer, nothing runs.",
)
@target_options
def rehearse_command(
    *,
    folder: Path,
    places: tuple[str, ...],
    into: Path | None,
    home_path: Path | None,
    engine: str,
    python_version: str,
    machine: str,
) -> Answer:
    """Run the train in FOLDER through its whole route on this machine, on sample data, before anyone else sees it.

    The protocol code and the gate are those of the stations; the keys are made for the rehearsal and forgotten. The
    analysis runs in the stations' sandbox if a container engine answers and --home names the registry with the base
    image. Otherwise, unless --engine was given, it runs as a plain local process, and the answer says so. Packages of a
    requirements.txt are resolved as for 'pht train submit', with the same --python and --machine.

    Sample data are expected in FOLDER/samples/STATION/NAME:

    \b
    pht train rehearse my-train
    pht train rehearse my-train --data hospital-a/patients=/tmp/a --home ~/.pht --into /tmp/results
    """
    if into is not None:
        if into.exists():
            msg = "the folder for the results already exists"
            raise FileExists(msg, path=into, hint="name a new one")
        expect_new(into)
    required = click.get_current_context().get_parameter_source("engine") is ParameterSource.COMMANDLINE
    offered = _engine(engine, home_path, required=required)
    with tempfile.TemporaryDirectory(prefix="pht-rehearsal-") as name:
        room = Path(name)
        venue = Venue(room=room, engine=offered, path=os.defpath, clock=clock)
        play = Play(
            folder=folder,
            samples=dict(map(parse_sample, places)),
            results=into or room / "results",
            target=Target(python=python_version, machine=machine),
        )
        with _quiet():
            return _answer(rehearse(play, venue, _teller()), into)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what stations log for their operators from a scientist, to whom the report tells the same; -v shows it."""
    station = logging.getLogger("station")
    before = station.level
    if not logging.getLogger().isEnabledFor(logging.INFO):
        station.setLevel(logging.ERROR)
    try:
        yield
    finally:
        station.setLevel(before)


def _engine(url: str, home_path: Path | None, *, required: bool) -> Engine | None:
    """Return what a sandbox takes; None if it is not known where base images are."""
    if home_path is not None:
        home = open_home(home_path)
        bases = registry_at(home.settings.registry, home.settings.login)
        return Engine(url=url, required=required, trust=trust_of(home, clock.now()), bases=bases)
    if required:
        msg = "a sandbox needs a base image, and no registry that has it was named"
        raise InvalidInput(msg, engine=url, hint="add --home, or leave out --engine to rehearse without a sandbox")
    return None


def _answer(done: Rehearsal, into: Path | None) -> Answer:
    error = None
    if done.results is None:
        failed = done.failed
        msg = "the train would not come home"
        error = TrainFailed(
            msg,
            hint=hint_for(failed, done.outputs, done.lines) if failed else None,
            place=failed.place if failed else None,
            station=failed.station if failed else None,
            reason=failed.code if failed else None,
        )
    return Answer(text=render_rehearsal(done, into), data=rehearsal_document(done, into), error=error)


def _teller() -> Tell | None:
    if not sys.stderr.isatty():
        return None

    def tell(party: PartyId, event: VisitEvent) -> None:
        click.echo(f"  {party}: {event.kind}", err=True)

    return tell
