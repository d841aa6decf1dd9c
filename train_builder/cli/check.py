"""Where can a train go, how is it begun, and how looked at before departure, on the command line?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import click

from console.answer import Answer
from console.prompts import clock
from security.encoding import Json
from security.errors import Refused
from security.ids import PartyId, Role
from train_builder.cli.home import home_if_any, home_option, trust_of
from train_builder.code.check import finding_document, hint_for, preflight, stops_departure
from train_builder.code.sources import collect
from train_builder.code.wheels import MACHINE, PYTHON
from train_builder.errors import PreflightFailed
from train_builder.home import open_home
from train_builder.spec.problems import Problem
from train_builder.spec.spec import SPEC_FILE, read_spec, spec_error
from train_builder.spec.units import show_size
from train_builder.templates import TEMPLATES, start_train

F = TypeVar("F", bound=Callable[..., object])

_PATH: Final = click.Path(path_type=Path)


def allow_option(function: F) -> F:
    """Add ``--allow``, handed on as `allow`."""
    return click.option(
        "--allow",
        multiple=True,
        metavar="PATH",
        help="Accept findings about this file of the code folder (a name or a pattern); may be repeated.",
    )(function)


@click.command("stations")
@home_option
def stations(*, home_path: Path) -> Answer:
    """List where a train can go, and on which base images, as the directory says now."""
    trust, now = trust_of(open_home(home_path)), clock.now()
    lines: list[str] = []
    found: list[Json] = []
    for party in sorted(trust.holding(Role.STATION), key=lambda known: known.party):
        line, code = f"  {party.party}: {party.title}", None
        try:
            trust.current(party.party, Role.STATION, now)
        except Refused as error:
            line, code = f"{line} (not now: {error})", error.code
        lines.append(line)
        found.append({"party": party.party, "title": party.title, "open": code is None, "code": code})
    approved = sorted(trust.approved_bases(), key=lambda base: base.name)
    told = [
        "stations:" if lines else "stations: none yet",
        *lines,
        "base images:" if approved else "base images: none yet",
        *(f"  {base.name}: {base.note or base.digest}" for base in approved),
    ]
    bases: list[Json] = [{"name": base.name, "digest": base.digest, "note": base.note} for base in approved]
    return Answer(text="\n".join(told), data={"stations": found, "bases": bases})


@click.command("init")
@click.argument("folder", type=_PATH)
@click.option("--template", type=click.Choice(TEMPLATES), default=TEMPLATES[0], show_default=True, help="Which one.")
@click.option("--name", help="What the train is called. Default: like the folder.")
@click.option("--route", metavar="A,B,C", help="The stations, in order.")
def init(*, folder: Path, template: str, name: str | None, route: str | None) -> Answer:
    """Begin a new train in FOLDER: a small analysis that runs as it is, to be made your own."""
    stations = tuple(map(PartyId, route.split(","))) if route else ()
    made = start_train(template, folder, name=name, route=stations)
    lines = [f"made {folder}", *(f"  {path}" for path in made), f"next: pht train check {folder}"]
    return Answer(text="\n".join(lines), data={"folder": str(folder), "files": list(made)})


@click.command("check")
@click.argument("folder", type=_PATH)
@home_option
@allow_option
@click.option("--offline", is_flag=True, help="Do not ask the directory whether it knows the stations and the base.")
def check(*, folder: Path, home_path: Path, allow: tuple[str, ...], offline: bool) -> Answer:
    """Look at the train in FOLDER before departure: its train.yaml, data and secrets in its code, its outputs."""
    spec, problems = read_spec(folder)
    if spec is None:
        return _problems(folder, problems)
    tree = collect(folder / spec.code)
    home = None if offline else home_if_any(home_path)
    known = None if home is None else trust_of(home)
    findings = preflight(spec, tree, known, now=clock.now(), allow=allow)
    data: dict[str, Json] = {
        "train": spec.name,
        "files": [member.path for member in tree.members],
        "directory": known is not None,
        "findings": [finding_document(finding) for finding in findings],
    }
    if stops_departure(findings):
        msg = "this train should not depart like this"
        error = PreflightFailed(msg, findings=len(findings), hint=hint_for(findings))
        return Answer(text="\n".join(map(str, findings)), data=data, error=error)
    why = "--offline" if offline else f"{home_path} is not set up; 'pht train setup' does it"
    told = [
        f"{spec.name}: {len(tree.members)} files, {show_size(tree.size)}; route {' -> '.join(spec.route)}",
        "stations and base image: " + ("in the directory" if known else f"not looked up ({why})"),
        *map(str, findings),
        "good to go" if not findings else "good to go, if the above is meant to be so",
    ]
    return Answer(text="\n".join(told), data=data)


def _problems(folder: Path, problems: Sequence[Problem]) -> Answer:
    """Tell everything that is wrong with a train.yaml, if it is more than the error can say."""
    lines = [f"error: {folder / SPEC_FILE}: {problem}" for problem in problems] if problems[1:] else []
    listed: list[Json] = [
        {"line": one.line, "place": one.place, "problem": one.text, "hint": one.hint} for one in problems
    ]
    return Answer(text="\n".join(lines), data={"problems": listed}, error=spec_error(folder, problems))


def target_options(function: F) -> F:
    """Add ``--python`` and ``--machine``, handed on as `python_version` and `machine`: see `wheels.Target`."""
    python = click.option(
        "--python", "python_version", default=PYTHON, show_default=True, help="Python of the base image."
    )
    machine = click.option("--machine", default=MACHINE, show_default=True, help="Processor of the stations.")
    return python(machine(function))
