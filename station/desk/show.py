"""How are visits, trains and findings shown to an operator, and to a program?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from console.answer import Answer
from security.encoding import Json, dump_json, print_time
from security.errors import PhtError
from security.forms.words import others
from security.statement.envelope import Envelope, parse_statement
from security.train.journey import TrainParts, read_entry
from security.train.manifest import (
    LIMITS,
    MANIFEST,
    MANIFEST_TYPE,
    OUTPUT,
    DataNeed,
    Output,
    TrainManifest,
    read_manifest,
)
from security.train.route import counted
from station.desk.checkup import Checkup
from station.visit.event_json import print_event
from station.visit.events import VisitEvent, plain
from station.visit.plan import Ask, Do, Over, Wait, next_step, phase_of
from station.visit.state import Visit

_SHOWN: Final = (
    *("name", "purpose", "approval", "owner", "base", "command", "environment", "data", "outputs", "limits", "route"),
    *("code", "recipient", "valid_from", "valid_until", "nonce"),
)
"""The fields of a manifest that `told_train` has words of its own for, or that mean nothing to a person."""
_SHOWN_OF_OUTPUTS: Final = ("path", "media_type", "max_bytes", "schema")
_SHOWN_OF_LIMITS: Final = ("memory_bytes", "cpu_millis", "wall_seconds", "processes", "output_bytes")


def told_visits(visits: Sequence[Visit], now: datetime, *, nobody: str = "no train has been here") -> Answer:
    """Show all visits as a table, the newest last."""
    rows = [("TRAIN", "STOP", "NAME", "OWNER", "PHASE", "NEXT", "SINCE")]
    listed: list[Json] = []
    for visit in visits:
        accepted = visit.accepted
        since = print_time(visit.events[-1].at)
        rows.append(
            (
                accepted.train.short if accepted else f"({visit.arrival.short})",
                str(counted(accepted.stop)) if accepted else "-",
                accepted.name if accepted else "-",
                str(accepted.owner) if accepted else "-",
                phase_of(visit).value,
                _next(visit, now),
                since,
            )
        )
        listed.append(_summary(visit, now))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return Answer(text="\n".join(lines) if visits else nobody, data={"visits": listed})


def told_train(visit: Visit, parts: TrainParts, code: Mapping[str, Json] | None, now: datetime) -> Answer:
    """Show what a train is, what it wants, what it will leave behind, and where it has been.

    A program gets the manifest's predicate as its owner signed it. Before the visit was accepted none of it is proven,
    and the answer says so.
    """
    payload = parts.manifest.payload
    manifest, predicate = read_manifest(payload), parse_statement(payload, predicate_type=MANIFEST_TYPE).predicate
    limits, proven = manifest.limits, visit.accepted is not None
    lines = [
        f"{plain(manifest.name)}  (train {_train(visit)}, visit {visit.arrival.short})",
        *([] if proven else ["  NOT VERIFIED: what follows is what it claims"]),
        f"  owner      {manifest.owner.party}",
        f"  purpose    {plain(manifest.purpose)}",
        f"  approval   {plain(manifest.approval.reference)}"
        + (f" ({plain(manifest.approval.legal_basis)})" if manifest.approval.legal_basis else ""),
        f"  route      {manifest.route} -> home" + _place(visit, manifest),
        f"  valid      {print_time(manifest.valid_from)} to {print_time(manifest.valid_until)}",
        "wants",
        f"  base       {manifest.base}",
        f"  command    {plain(' '.join(manifest.command))}",
        *(f"  sets       {name}={plain(value)}" for name, value in sorted(manifest.environment.items())),
        *(line for one in manifest.data for line in _need_lines(one)),
        f"  memory     {limits.memory_bytes >> 20} MiB",
        f"  processor  {limits.cpu_millis / 1000:g}",
        f"  time       {limits.wall_seconds} s",
        f"  processes  {limits.processes}",
        *(f"  {label:<10} {plain(text)}" for label, text in others(LIMITS, limits, *_SHOWN_OF_LIMITS)),
        "leaves behind",
        *(line for one in manifest.outputs for line in _output_lines(one)),
        f"  {limits.output_bytes} bytes at most in all",
        *(f"  {label:<10} {plain(text)}" for label, text in others(MANIFEST.record, manifest, *_SHOWN)),
        *_code_lines(code),
        "journey so far",
        *(_journey_lines(parts.entries) or ["  this is its first stop"]),
        "in this house",
        *(f"  {print_time(event.at)}  {event.kind}{_detail(event)}" for event in visit.events),
        f"next: {_next(visit, now)}",
    ]
    data: dict[str, Json] = {
        **_summary(visit, now),
        "verified": proven,
        "manifest": predicate,
        "code": None if code is None else dict(code),
        "events": [print_event(event) for event in visit.events],
    }
    return Answer(text="\n".join(lines), data=data)


def told_checkup(found: Checkup) -> Answer:
    """Show every finding on a line of its own, with what to do below."""
    lines = []
    for one in found.findings:
        lines.append(f"{'ok  ' if one.ok else 'FAIL'}  {one.name:<14} {one.detail}")
        if not one.ok and one.hint:
            lines.append(f"      {'':<14} -> {one.hint}")
    listed: list[Json] = [
        {"name": one.name, "ok": one.ok, "detail": one.detail, "hint": one.hint} for one in found.findings
    ]
    return Answer(text="\n".join(lines), data={"ok": found.ok, "findings": listed})


def printable(data: bytes) -> str:
    """Return what somebody else wrote as text that cannot move the cursor or hide anything."""
    text = data.decode("utf-8", "replace")
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _train(visit: Visit) -> str:
    return visit.accepted.train.short if visit.accepted else "unknown"


def _place(visit: Visit, manifest: TrainManifest) -> str:
    return f"; this is {manifest.route.told(visit.accepted.stop)}" if visit.accepted else ""


def _summary(visit: Visit, now: datetime) -> dict[str, Json]:
    accepted = visit.accepted
    return {
        "visit": visit.arrival,
        "train": accepted.train if accepted else None,
        "stop": accepted.stop if accepted else None,
        "name": accepted.name if accepted else None,
        "owner": accepted.owner if accepted else None,
        "phase": phase_of(visit).value,
        "next": _next(visit, now),
        "since": print_time(visit.events[-1].at),
    }


def _next(visit: Visit, now: datetime) -> str:
    match next_step(visit, now):
        case Do(step=step):
            return step.value
        case Wait(until=until):
            code = visit.stumbled.code if visit.stumbled else ""
            return f"again at {print_time(until)} ({code})"
        case Ask(hold=hold, reason=reason):
            return f"a person, for {hold.value}: {reason}"
        case Over():
            if visit.superseded:
                return "nothing: it was signed before; the journal is older than that"
            ending = visit.refused or visit.fault
            return f"nothing: {ending.code}" if ending else "nothing: sent on"


def _detail(event: VisitEvent) -> str:
    told = {name: getattr(event, name, None) for name in ("code", "reason", "by", "note", "statement")}
    return "".join(f"  {name}={value}" for name, value in told.items() if value)


def _need_lines(need: DataNeed) -> list[str]:
    lines = [f"  data       {need.name}: {', '.join(need.files) or 'any files'}"]
    return [*lines, f"             {plain(need.description)}"] if need.description else lines


def _output_lines(output: Output) -> list[str]:
    lines = [f"  {output.path}: {output.media_type}, at most {output.max_bytes} bytes"]
    lines += [f"    {label} {plain(text)}" for label, text in others(OUTPUT, output, *_SHOWN_OF_OUTPUTS)]
    # whole, however long: what a person does not see, a person cannot decide on
    return lines if output.schema is None else [*lines, f"    schema {printable(dump_json(output.schema))}"]


def _journey_lines(entries: Sequence[Envelope]) -> list[str]:
    lines = []
    for envelope in entries:
        try:
            entry = read_entry(envelope.payload)
        except PhtError:
            lines.append("  an entry that cannot be read")
            continue
        lines.append(f"  stop {counted(entry.stop)}: {entry.station}, {print_time(entry.time)}, {plain(entry.sandbox)}")
    return lines


def _code_lines(code: Mapping[str, Json] | None) -> list[str]:
    if code is None:
        return ["code: sealed; --code lists it, --code FILE prints a file"]
    files = code["files"]
    shown = (
        [f"  {one['size']:>9}  {one['path']}" for one in files if isinstance(one, dict)]
        if isinstance(files, list)
        else []
    )
    return [f"code {code['content']}", *shown]
