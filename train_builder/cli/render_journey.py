"""How are a train's whereabouts, its results, its proof and its manifest shown to a person, and to a program?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from console.answer import Answer
from security.encoding import Json, print_time
from security.forms.words import others, printable
from security.train.manifest import LIMITS, MANIFEST, OUTPUT, Limits
from security.train.route import Task, counted
from train_builder.follow.collect import HomeTrain, OpenedResults
from train_builder.follow.follow import StopProgress, StopState, Whereabouts
from train_builder.follow.inspect import Inspection
from train_builder.proof.check import CheckedExport
from train_builder.proof.proof import Proof, describe_proof, proof_document
from train_builder.spec.units import show_duration, show_size

_SHOWN: Final = (
    *("name", "purpose", "approval", "owner", "code", "base", "command", "environment", "data", "outputs", "limits"),
    *("route", "recipient", "valid_from", "valid_until", "nonce", "letter_key"),
)
"""The fields of a manifest that are told in words of their own, or mean nothing to people."""
_SHOWN_OF_OUTPUTS: Final = ("path", "media_type", "max_bytes", "schema")
_SHOWN_OF_LIMITS: Final = ("memory_bytes", "cpu_millis", "wall_seconds", "processes", "output_bytes")


def render_whereabouts(found: Whereabouts, now: datetime) -> Answer:
    """Render where a train is."""
    return Answer(text=describe(found, now=now), data=whereabouts_document(found, now))


def render_opened(train: HomeTrain, opened: OpenedResults) -> Answer:
    """Render what was opened, and where."""
    name = train.accepted.manifest.value.name
    lines = [
        f"{name} ({opened.train.short}): {len(opened.files)} files, {show_size(opened.size)}",
        *(f"  {opened.folder / path}" for path in opened.files),
        f"  {opened.journey}  proves where they come from",
    ]
    data: dict[str, Json] = {
        "train": str(opened.train),
        "folder": str(opened.folder),
        "files": list(opened.files),
        "journey": str(opened.journey),
    }
    return Answer(text="\n".join(lines), data=data)


def render_proof(proof: Proof, into: Path | None = None, files: int = 0) -> Answer:
    """Render what a journey proves; `into` is the folder to which `files` files for other people were written."""
    text, data = describe_proof(proof), proof_document(proof)
    if into is not None:
        text += f"\nwrote {into}: {files} files; run {into / 'verify.sh'}, or read {into / 'README.txt'}"
        data["export"] = str(into)
    return Answer(text=text, data=data)


def render_checked(checked: CheckedExport, *, offline: bool) -> Answer:
    """Render what an exported journey proves, and as of when: `offline`, by the directory in the export."""
    as_of = print_time(checked.as_of)
    told = (
        f"as of {as_of}, by the directory in the export; what was revoked later is known only with --directory"
        if offline
        else f"as of {as_of}, by the directory as it is published now"
    )
    data = proof_document(checked.proof) | {"asOf": as_of, "offline": offline}
    return Answer(text=f"{describe_proof(checked.proof)}\n{told}", data=data)


def render_inspection(inspection: Inspection) -> Answer:
    """Render what a manifest claims, and whether it is believed."""
    return Answer(text=describe_inspection(inspection), data=inspection_document(inspection))


def describe(found: Whereabouts, *, now: datetime) -> str:
    """Say in words where a train is."""
    waited = "" if found.since is None else f" ({show_duration(now - found.since)})"
    return "\n".join(_lines(found, now, waited))


def news(found: Whereabouts, told: Collection[str], *, now: datetime) -> tuple[str, ...]:
    """Return what can be said in words, without what was `told` before."""
    return tuple(line for line in _lines(found, now, "") if line not in told)


def _lines(found: Whereabouts, now: datetime, waited: str) -> list[str]:
    return [f"{found.name} ({found.train.short})", *_stop_lines(_told(found)), *_where(found, now, waited)]


def _told(found: Whereabouts) -> tuple[StopProgress, ...]:
    """Return the stops that are worth a line: of rounds that are over, their combination; of a boarding that is, the departure."""
    last = max((one.round for one in found.stops), default=0)
    departed = any(one.task is Task.DEPART and one.at is not None for one in found.stops)
    over = {Task.BOARD} if departed else set[Task]()
    return tuple(
        one
        for one in found.stops
        if one.task in {Task.COMBINE, Task.DEPART} or (one.round == last and one.task not in over)
    )


def _stop_lines(stops: Sequence[StopProgress]) -> Iterator[str]:
    places = [f"round {counted(one.round):>3}  {one.task:<10}" if one.task.in_rounds else one.place for one in stops]
    width = max(map(len, places), default=0)
    for place, one in zip(places, stops, strict=True):
        when = "" if one.at is None else f"  {print_time(one.at)}"
        what = one.state.value if one.outcome is None else one.outcome.value
        yield f"  {place:<{width}}  {one.station:<24} {what:<9}{when}"


def _where(found: Whereabouts, now: datetime, waited: str) -> list[str]:
    lines = []
    stopped = found.stopped
    if stopped is not None and stopped.outcome is not None:
        lines.append(f"ended at {stopped.station}: {stopped.outcome.value}; {stopped.advice}")
        lines += [] if stopped.answer is None else [f"{stopped.station} says: {stopped.answer}"]
    elif found.passed:
        lines.append("every station has passed it on; 'pht train open' opens what came home")
    elif found.since is not None:
        lines.append(f"waiting for {', '.join(found.waited_for)} since {print_time(found.since)}{waited}")
        lines += _why_silent(found, now)
    else:
        lines.append("not sent yet; 'pht train submit' sends it")
    if found.cut_off is not None:
        lines.append(f"{found.waiting_for} cannot pass it on any more: {found.cut_off}; send a new train")
    if found.stranded(now):
        lines.append(f"its validity ended {print_time(found.valid_until)}: no station will run it; send a new one")
    return [printable(line) for line in (*lines, *(f"not believed: {doubt}" for doubt in found.doubts))]


def _why_silent(found: Whereabouts, now: datetime) -> list[str]:
    silent = found.silent(now)
    if silent is not None:
        can_be = "the train waits there for a person or a file, or the station does not work"
        return [f"  {found.waiting_for} has not answered for {show_duration(silent)}: ask its operator ({can_be})"]
    if found.over(now):
        return []
    if any(one.task in {Task.BOARD, Task.DEPART} for one in found.stops if one.state is StopState.WAITING):
        told = "nothing runs before all are on board; it may wait for a person there who approves the train"
    else:
        run = show_duration(found.longest_run)
        told = f"the run may take {run}; it may wait for a person, or for a file that is missing there"
    return [f"  a station says nothing before it is done: {told}; 'pht train recall' ends it"]


def whereabouts_document(found: Whereabouts, now: datetime) -> dict[str, Json]:
    """Return the same for a program; `silent` is whether the station should have said something by now."""
    silent = found.silent(now)
    return {
        "train": str(found.train),
        "name": found.name,
        "passed": found.passed,
        "ended": found.ended,
        "waitingFor": list(map(str, found.waited_for)),
        "since": None if found.since is None else print_time(found.since),
        "validUntil": print_time(found.valid_until),
        "cutOff": found.cut_off,
        "silent": silent is not None,
        "stops": [
            {
                "stop": one.stop,
                "place": one.place,
                "round": one.round if one.task.in_rounds else None,
                "task": one.task.value,
                "station": str(one.station),
                "state": one.state.value,
                "outcome": None if one.outcome is None else one.outcome.value,
                "reason": one.reason,
                "limit": None if one.limit is None else one.limit.value,
                "answer": one.answer,
                "at": None if one.at is None else print_time(one.at),
            }
            for one in found.stops
        ],
        "doubts": list(found.doubts),
    }


def describe_inspection(inspection: Inspection) -> str:
    """Say in words what a manifest claims, and first whether it can be believed."""
    manifest, doubt = inspection.manifest, inspection.doubt
    verdict = (
        f"signed by {manifest.owner.party} with every key of the key set the directory has for it"
        if doubt is None
        else f"NOT TO BE BELIEVED: {doubt} [{doubt.code}]"
    )
    base = f"{inspection.base_name or 'not in the directory'} ({manifest.base})"
    legal = manifest.approval.legal_basis
    lines = [
        f"{manifest.name} ({inspection.digest.short})",
        f"  {verdict}",
        f"  purpose      {manifest.purpose}",
        f"  approval     {manifest.approval.reference}" + ("" if legal is None else f" ({legal})"),
        f"  valid        {print_time(manifest.valid_from)} to {print_time(manifest.valid_until)}",
        f"  code         {manifest.code.digest}, {show_size(manifest.code.size)}, sealed for the route and the owner",
        f"  base         {base}",
        f"  command      {' '.join(manifest.command)}",
        *(f"  environment  {name}={value}" for name, value in sorted(manifest.environment.items())),
        f"  route        {manifest.route} -> {manifest.owner.party}",
        *(f"  reads        {need.name} ({need.asks}): {need.description}" for need in manifest.data),
        *(
            f"  leaves       {output.path} ({output.media_type}, at most {show_size(output.max_bytes)}"
            + (", with a schema)" if output.schema is not None else ")")
            + "".join(f", {label} {text}" for label, text in others(OUTPUT, output, *_SHOWN_OF_OUTPUTS))
            for output in manifest.outputs
        ),
        f"  limits       {_limits(manifest.limits)}",
        *(f"  {label:<12} {text}" for label, text in others(MANIFEST.record, manifest, *_SHOWN)),
    ]
    return "\n".join(map(printable, lines))


def _limits(limits: Limits) -> str:
    words = (
        f"{show_size(limits.memory_bytes)} of memory",
        f"{limits.cpu_millis / 1000:g} processors",
        show_duration(timedelta(seconds=limits.wall_seconds)),
        f"{limits.processes} processes",
        f"{show_size(limits.output_bytes)} of state",
        *(f"{label} {text}" for label, text in others(LIMITS, limits, *_SHOWN_OF_LIMITS)),
    )
    return ", ".join(words)


def inspection_document(inspection: Inspection) -> dict[str, Json]:
    """Return the same for a program, with the manifest as its owner signed it."""
    doubt = inspection.doubt
    return {
        "train": inspection.digest.hex,
        "proven": doubt is None,
        "doubt": None if doubt is None else doubt.code,
        "baseName": inspection.base_name,
        "manifest": inspection.predicate,
    }
