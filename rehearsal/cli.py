"""How is a rehearsal asked for on the command line?"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

import click
from click.core import ParameterSource

from console.answer import Answer
from console.prompts import clock
from registry.errors import EngineUnavailable
from registry.places import registry_at
from registry.port import Registry
from rehearsal.rehearsal import Bases, hint_for, rehearsal_document, rehearse_folder, tell_rehearsal
from rehearsal.stations import Rehearsal, Stage, Venue
from rehearsal.stations import rehearse as go_round
from security.directory.trust import Base
from security.errors import FileExists, InvalidInput
from security.ids import PartyId, TrainId
from station.sandbox.docker.engine import DockerSandbox
from train_builder.cli.check import target_options
from train_builder.cli.home import trust_of
from train_builder.code.wheels import Target
from train_builder.errors import TrainFailed
from train_builder.home import open_home
from train_builder.spec.spec import load_spec

F = TypeVar("F", bound=Callable[..., object])

_PATH: Final = click.Path(path_type=Path)


@click.command("rehearse")
@click.argument("folder", type=_PATH)
@click.option("--data", "places", multiple=True, metavar="STATION/NAME=FOLDER", help="Sample data; may be repeated.")
@click.option("--into", "results", type=_PATH, help="Open the results into this new folder. Default: forget them.")
@click.option(
    "--home", "home_path", type=_PATH, envvar="PHT_HOME", help="Your home folder; with it, a sandbox is used."
)
@click.option(
    "--engine",
    envvar="DOCKER_HOST",
    default="unix:///var/run/docker.sock",
    show_default=True,
    help="Address of a container engine. If it is said here, and does not answer, nothing runs.",
)
@target_options
def rehearse(
    *,
    folder: Path,
    places: tuple[str, ...],
    results: Path | None,
    home_path: Path | None,
    engine: str,
    python_version: str,
    machine: str,
) -> Answer:
    """Let the train in FOLDER go its whole route on this machine, on sample data, before anybody else sees it.

    The same protocol code and the same gate as at the stations, with keys made for the rehearsal and forgotten. The
    analysis runs in the stations' sandbox if a container engine answers and --home tells the registry with the base
    image; else, unless --engine was given, as a plain local process, and the answer says so. Packages of a requirements.txt are resolved as for
    'pht train submit', with the same --python and --machine.

    Sample data are looked for in FOLDER/samples/STATION/NAME:

    \b
    pht train rehearse my-train
    pht train rehearse my-train --data hospital-a/patients=/tmp/a --home ~/.pht --into /tmp/results
    """
    if results is not None and results.exists():
        msg = "the folder for the results is already there"
        raise FileExists(msg, path=results, hint="name a new one")
    walls = click.get_current_context().get_parameter_source("engine") is ParameterSource.COMMANDLINE
    if walls and home_path is None:
        msg = "a sandbox needs a base image, and nobody said which registry has it"
        raise InvalidInput(msg, engine=engine, hint="add --home, or leave --engine out to rehearse without walls")
    bases = None
    if home_path is not None:
        home = open_home(home_path)
        bases = Bases(trust=trust_of(home), registry=registry_at(home.settings.registry, home.settings.login))
    with tempfile.TemporaryDirectory(prefix="pht-rehearsal-") as room:
        inner = Path(room)
        done = rehearse_folder(
            folder,
            _rehearse,
            places=places,
            bases=bases,
            engine=engine,
            walls=walls,
            room=inner,
            results=results or inner / "results",
            target=Target(python=python_version, machine=machine),
            tell=_teller(),
        )
        text, data = tell_rehearsal(done, results), rehearsal_document(done, results)
    if done.results is None:
        failed = next((one for one in done.stops if not one.passed), None)
        msg = "the train would not come home"
        error = TrainFailed(
            msg,
            hint=hint_for(failed, load_spec(folder).outputs) if failed else None,
            place=failed.stop + 1 if failed else None,
            station=failed.station if failed else None,
            reason=failed.code if failed else None,
        )
        return Answer(text=text, data=data, error=error)
    return Answer(text=text, data=data)


def _teller() -> Callable[[PartyId, str], None] | None:
    if not sys.stderr.isatty():
        return None
    return lambda party, kind: click.echo(f"  {party}: {kind}", err=True)


def _rehearse(
    submit: Callable[[Stage], TrainId],
    *,
    owner: PartyId,
    stations: Mapping[PartyId, Mapping[str, Path]],
    base: Base,
    bases: Registry | None,
    engine: str,
    walls: bool,
    room: Path,
    results: Path,
    tell: Callable[[PartyId, str], None] | None,
) -> Rehearsal:
    if walls:
        _need_walls(engine)
    venue = Venue(room=room, engine=engine, bases=bases, path=os.defpath, clock=clock)
    told = None if tell is None else lambda party, event: tell(party, event.kind)
    return go_round(submit, owner=owner, stations=stations, base=base, venue=venue, results=results, tell=told)


def _need_walls(engine: str) -> None:
    """Refuse to rehearse without a sandbox, if somebody said which engine has one."""
    bad = next((finding for finding in DockerSandbox(url=engine).doctor(None) if not finding.ok), None)
    if bad is not None:
        msg = "the engine that was named gives no sandbox"
        raise EngineUnavailable(msg, engine=engine, reason=f"{bad.name}: {bad.detail}", hint=bad.hint)
