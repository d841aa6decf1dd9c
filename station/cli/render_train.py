"""How is one train shown to an operator: what it is and wants, its code, what it printed, what waits for release?"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from console.answer import Answer
from console.visible import visible, visible_lines
from security.encoding import Json, dump_json, print_time
from security.forms.words import others
from security.train.journey import JourneyEntry
from security.train.manifest import LIMITS, MANIFEST, OUTPUT, DataNeed, Output, TrainManifest
from station.cli.render import visit_document
from station.desk.inside import Inside, TrainSheet
from station.desk.visits import summary
from station.visit.event_json import print_event
from station.visit.events import VisitEvent
from station.visit.state import Visit

_SHOWN: Final = (
    *("name", "purpose", "approval", "owner", "base", "command", "environment", "data", "outputs", "limits", "route"),
    *("code", "recipient", "valid_from", "valid_until", "nonce", "letter_key"),
)
"""The fields of a manifest that `render_train` has words of its own for, or that mean nothing to a person."""
_SHOWN_OF_OUTPUTS: Final = ("path", "media_type", "max_bytes", "schema")
_SHOWN_OF_LIMITS: Final = ("memory_bytes", "cpu_millis", "wall_seconds", "processes", "output_bytes")


def render_train(sheet: TrainSheet, code: Inside | None, now: datetime, *, worked: bool) -> Answer:
    """Render what a train is, what it wants, what it will leave behind, and where it has been.

    A program gets the manifest's predicate as its owner signed it, without the letter key. Before the visit was accepted none of it is proven,
    and the answer says so.
    """
    visit, manifest = sheet.visit, sheet.manifest
    limits, listed = manifest.limits, summary(visit, now, worked=worked)
    lines = [
        f"{visible(manifest.name)}  (train {_short(visit)}, visit {visit.arrival.short})",
        *([] if sheet.proven else ["  NOT VERIFIED: what follows is what it claims"]),
        f"  owner      {manifest.owner.party}",
        f"  purpose    {visible(manifest.purpose)}",
        f"  approval   {visible(manifest.approval.reference)}"
        + (f" ({visible(manifest.approval.legal_basis)})" if manifest.approval.legal_basis else ""),
        f"  route      {manifest.route} -> home" + _place(visit, manifest),
        f"  valid      {print_time(manifest.valid_from)} to {print_time(manifest.valid_until)}",
        f"  analysis   {sheet.analysis or 'not known before the code is opened: --code'}",
        "wants",
        f"  base       {manifest.base}",
        f"  command    {visible(manifest.command[0])}",
        *(f"             {visible(word)}" for word in manifest.command[1:]),
        *(f"  sets       {name}={visible(value)}" for name, value in sorted(manifest.environment.items())),
        *(line for one in manifest.data for line in _need_lines(one)),
        f"  memory     {limits.memory_bytes >> 20} MiB",
        f"  processor  {limits.cpu_millis / 1000:g}",
        f"  time       {limits.wall_seconds} s",
        f"  processes  {limits.processes}",
        *(f"  {label:<10} {visible(text)}" for label, text in others(LIMITS, limits, *_SHOWN_OF_LIMITS)),
        "leaves behind",
        *(line for one in manifest.outputs for line in _output_lines(one)),
        f"  {limits.output_bytes} bytes at most in all",
        *(f"  {label:<10} {visible(text)}" for label, text in others(MANIFEST.record, manifest, *_SHOWN)),
        *_code_lines(code),
        "journey so far",
        *((_entry_line(one, manifest) for one in sheet.journey) if sheet.journey else ["  this is its first stop"]),
        "at this station",
        *(f"  {print_time(event.at)}  {event.kind}{_detail(event)}" for event in visit.events),
        f"next: {listed.next}",
    ]
    data: dict[str, Json] = {
        **visit_document(listed),
        "verified": sheet.proven,
        "manifest": sheet.predicate,
        "analysis": sheet.analysis,
        "code": None if code is None else {"content": code.content, "files": _files(code)},
        "events": [print_event(event) for event in visit.events],
    }
    return Answer(text="\n".join(lines), data=data)


def render_inside(inside: Inside, name: str | None) -> Answer:
    """Render one file, or the list of them."""
    if inside.text is not None:
        text = visible_lines(inside.text)
        return Answer(text=text.removesuffix("\n"), data={"path": name, "text": text})
    lines = [f"{size:>12}  {visible(path)}" for path, size in inside.files]
    return Answer(text="\n".join(lines) or "no files", data={"files": _files(inside)})


def render_output(printed: bytes) -> Answer:
    """Render what a run printed."""
    text = visible_lines(printed)
    return Answer(text=text.removesuffix("\n"), data={"output": text})


def _files(inside: Inside) -> list[Json]:
    return [{"path": path, "size": size} for path, size in inside.files]


def _short(visit: Visit) -> str:
    return visit.accepted.train.short if visit.accepted else "unknown"


def _detail(event: VisitEvent) -> str:
    told = {name: getattr(event, name, None) for name in ("code", "reason", "by", "note", "statement")}
    return "".join(f"  {name}={value}" for name, value in told.items() if value)


def _place(visit: Visit, manifest: TrainManifest) -> str:
    return f"; this is {manifest.route.told(visit.accepted.stop)}" if visit.accepted else ""


def _need_lines(need: DataNeed) -> list[str]:
    lines = [f"  data       {need.name}: {visible(need.asks)}"]
    return [*lines, f"             {visible(need.description)}"] if need.description else lines


def _output_lines(output: Output) -> list[str]:
    lines = [f"  {output.path}: {output.media_type}, at most {output.max_bytes} bytes"]
    lines += [f"    {label} {visible(text)}" for label, text in others(OUTPUT, output, *_SHOWN_OF_OUTPUTS)]
    # whole, however long: what a person does not see, a person cannot decide on
    return lines if output.schema is None else [*lines, f"    schema {visible(dump_json(output.schema).decode())}"]


def _entry_line(entry: JourneyEntry | None, manifest: TrainManifest) -> str:
    if entry is None:
        return "  an entry that cannot be read"
    return f"  {manifest.route.told(entry.stop)}: {entry.station}, {print_time(entry.time)}, {visible(entry.sandbox)}"


def _code_lines(code: Inside | None) -> list[str]:
    if code is None:
        return ["code: sealed; --code lists it, --code FILE prints a file"]
    return [f"code {code.content}", *(f"  {size:>9}  {visible(path)}" for path, size in code.files)]
