"""How are destinations and trains before departure shown to a person, and to a program?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from console.answer import Answer
from console.problems import Problem
from security.directory.trust import Base
from security.encoding import Json, print_time
from train_builder.build.submit import Submitted
from train_builder.code.check import BY_HAND, finding_document, hint_for
from train_builder.desk.check import Checked
from train_builder.desk.destinations import Destination
from train_builder.errors import PreflightFailed
from train_builder.spec.spec import SPEC_FILE, TrainSpec, spec_error
from train_builder.spec.units import show_size


def render_destinations(stations: Sequence[Destination], bases: Sequence[Base]) -> Answer:
    """Render where a train can go, and on which base images."""
    lines = [
        "stations:" if stations else "stations: none yet",
        *(f"  {one.party}: {one.title}" + (f" (not now: {one.doubt})" if one.doubt else "") for one in stations),
        "base images:" if bases else "base images: none yet",
        *(f"  {base.name}: {base.note or base.digest}" for base in bases),
    ]
    found: list[Json] = [
        {
            "party": one.party,
            "title": one.title,
            "open": one.doubt is None,
            "code": one.doubt.code if one.doubt else None,
        }
        for one in stations
    ]
    approved: list[Json] = [{"name": base.name, "digest": base.digest, "note": base.note} for base in bases]
    return Answer(text="\n".join(lines), data={"stations": found, "bases": approved})


def render_checked(found: Checked, why_not_looked_up: str) -> Answer:
    """Render what was found before departure."""
    spec, tree = found.spec, found.tree
    data: dict[str, Json] = {
        "train": spec.name,
        "files": [member.path for member in tree.members],
        "directory": found.directory,
        "packages": found.packages,
        "findings": [finding_document(finding) for finding in found.findings],
    }
    if not found.ready:
        msg = "this train is not ready to depart"
        error = PreflightFailed(msg, findings=len(found.findings), hint=hint_for(found.findings))
        return Answer(text="\n".join(map(str, found.findings)), data=data, error=error)
    known = "in the directory" if found.directory else f"not looked up ({why_not_looked_up})"
    lines = [
        f"{spec.name}: {len(tree.members)} files, {show_size(tree.size)}; {_way(spec)}",
        f"stations and base image: {known}",
        *map(str, found.findings),
        _verdict(found),
    ]
    return Answer(text="\n".join(lines), data=data)


def _verdict(found: Checked) -> str:
    """Say whether a train can depart, and how much of what was found is still to be thought about."""
    findings = found.findings
    if found.packages is False:
        return "not known to be ready: what its packages bring was not looked up; without --offline it is"
    if not findings:
        return "ready to depart"
    people = sum(one.code == BY_HAND for one in findings)
    held = f"; at each station a person decides about {people} of its outputs" if people else ""
    return f"ready to depart, if the above is intended{held}"


def render_problems(folder: Path, problems: Sequence[Problem]) -> Answer:
    """Render everything that is wrong with a train.yaml, if it is more than the error can say."""
    lines = [f"error: {folder / SPEC_FILE}: {problem}" for problem in problems] if problems[1:] else []
    listed: list[Json] = [
        {"line": one.line, "place": one.place, "problem": one.text, "hint": one.hint} for one in problems
    ]
    return Answer(text="\n".join(lines), data={"problems": listed}, error=spec_error(folder, problems))


def render_submitted(sent: Submitted) -> Answer:
    """Render a train that is on its way."""
    manifest = sent.record.manifest
    lines = [
        f"{manifest.name} is on its way to {', '.join(sent.first)}"
        + (" (as made by an earlier attempt)" if sent.resumed else ""),
        f"  train  {sent.record.train}",
        f"  route  {manifest.route} -> {manifest.owner.party}",
        f"  until  {print_time(manifest.valid_until)}",
        *(f"  {wheel.file}" for wheel in sent.wheels),
        *map(str, sent.findings),
        *([] if sent.twin is None else [f"note: the same train was already sent as {sent.twin.short}"]),
        f"next: pht train follow {sent.record.train.short}",
    ]
    data: dict[str, Json] = {
        "train": str(sent.record.train),
        "name": manifest.name,
        "to": list(map(str, sent.first)),
        "resumed": sent.resumed,
        "twin": None if sent.twin is None else str(sent.twin),
        "code": str(manifest.code.digest),
        "base": str(manifest.base),
        "wheels": [{"file": wheel.file, "digest": str(wheel.digest)} for wheel in sent.wheels],
        "findings": [finding_document(finding) for finding in sent.findings],
    }
    return Answer(text="\n".join(lines), data=data)


def _way(spec: TrainSpec) -> str:
    """Say who takes part, and how."""
    if spec.rounds is None:
        return f"route {' -> '.join(spec.route)}"
    rounds = spec.rounds
    return f"up to {rounds.most} rounds of {', '.join(rounds.stations)} with {rounds.junction} as the junction"
