"""How are a station's visits, trains, findings and audits shown to a person, and to a program?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from console.answer import Answer
from console.visible import visible, visible_lines
from security.encoding import Json, dump_json, print_time
from security.forms.words import others
from security.keys.keyset import spell
from security.train.journey import JourneyEntry
from security.train.manifest import LIMITS, MANIFEST, OUTPUT, DataNeed, Output, TrainManifest
from station.desk.audit import Audited
from station.desk.checkup import Checkup
from station.desk.export import Exported
from station.desk.inside import Inside, TrainSheet
from station.desk.setup import NewStation, StationMade
from station.desk.visits import NO_DAEMON, VisitSummary, summary
from station.errors import CheckFailed
from station.visit.event_json import print_event
from station.visit.events import VisitEvent
from station.visit.parts import plain
from station.visit.plan import Phase
from station.visit.state import Visit

_TITLES = ("VISIT", "TRAIN", "PLACE", "NAME", "OWNER", "PHASE", "NEXT", "SINCE")


_SHOWN: Final = (
    *("name", "purpose", "approval", "owner", "base", "command", "environment", "data", "outputs", "limits", "route"),
    *("code", "recipient", "valid_from", "valid_until", "nonce", "letter_key"),
)
"""The fields of a manifest that `render_train` has words of its own for, or that mean nothing to a person."""
_SHOWN_OF_OUTPUTS: Final = ("path", "media_type", "max_bytes", "schema")
_SHOWN_OF_LIMITS: Final = ("memory_bytes", "cpu_millis", "wall_seconds", "processes", "output_bytes")


def render_visits(
    visits: Sequence[VisitSummary],
    *,
    none: str = "no train has been here",
    more: int = 0,
    silence: timedelta | None = None,
) -> Answer:
    """Render visits as a table, in their order; `more` are over and were left out.

    `silence` is for how long the daemon has said nothing, if too long.
    """
    rows = [_TITLES, *map(_row, visits)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    listed: list[Json] = [_document(one) for one in visits]
    if more:
        lines.append(f"{more} more were here before: --all")
    if silence is not None:
        lines.append(f"the daemon has said nothing for {int(silence.total_seconds()) // 60} min: pht station check")
    return Answer(text="\n".join(lines) if visits else none, data={"visits": listed, "more": more})


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
        **_document(listed),
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


def render_checkup(found: Checkup) -> Answer:
    """Render every result on a line of its own, with what to do below."""
    lines = []
    for one in found.results:
        word = "FAIL" if not one.ok else "WARN" if one.warning else "ok  "
        lines.append(f"{word}  {one.name:<14} {one.detail}")
        if one.hint and (one.warning or not one.ok):
            lines.append(f"      {'':<14} -> {one.hint}")
    listed: list[Json] = [
        {"name": one.name, "ok": one.ok, "warning": one.warning, "detail": one.detail, "hint": one.hint}
        for one in found.results
    ]
    error = None
    if not found.ok:
        msg = "the station is not ready"
        failed = ", ".join(one.name for one in found.results if not one.ok)
        error = CheckFailed(msg, failed=failed, hint="do what the lines above say, and check again")
    return Answer(text="\n".join(lines), data={"ok": found.ok, "checks": listed}, error=error)


def render_made(folder: Path, new: NewStation, made: StationMade, *, pinned: bool) -> Answer:
    """Render a new station, and what to do next."""
    spelled = spell(made.fingerprint)
    steps = [
        f"send {made.card} to the consortium, and read out its fingerprint over the phone:",
        f"  {spelled}",
        *([] if pinned else [f"put the consortium's root.json at {made.config.directory.root_file}"]),
        f"read {made.config.file}, and change what you need",
        f"pht station check {folder}",
    ]
    return Answer(
        text="\n".join([f"made {folder}", _who_decides(new), *steps]),
        data={
            "folder": str(folder),
            "config": str(made.config.file),
            "card": str(made.card),
            "fingerprint": made.fingerprint,
            "spelled": spelled,
            "pinned": pinned,
            "approve": made.config.admission.approve.value,
            "release": "by-hand" if made.config.release_by_hand else "small-json",
            "releaseTypes": list(new.release),
        },
    )


def _who_decides(new: NewStation) -> str:
    if new.asks:
        return "a person approves each train and releases its results" + (
            "" if new.admit else "; no owner is admitted yet"
        )
    unseen = " and ".join(["small JSON under a schema", *new.release])
    return f"trains of {', '.join(new.admit)} run unasked; of their results {unseen} leave unseen, all else waits for a person"


def render_exported(into: Path, done: Exported) -> Answer:
    """Render an export of the journal, and how far it can be relied on."""
    lines = [
        f"{done.records} records and {done.heads} signed heads in {into}; 'pht station audit verify {into}' checks them",
        *_vouched(done.records, done.proven),
        f"read the fingerprint of the station's keys to the auditor: {spell(done.fingerprint)}",
    ]
    data: dict[str, Json] = {
        "folder": str(into),
        "records": done.records,
        "heads": done.heads,
        "proven": done.proven,
        "fingerprint": done.fingerprint,
    }
    return Answer(text="\n".join(lines), data=data)


def render_audited(done: Audited) -> Answer:
    """Render what an audit found."""
    found, keys = done.found, done.keys
    spelled = spell(keys.key_set.fingerprint)
    earlier = [spell(one.fingerprint) for one in keys.earlier]
    compare = "compare it with what the station or the consortium reads out: an export can contain any keys"
    lines = [
        f"in order: {found.head.sequence} records, {len(found.visits)} visits of {keys.party}",
        *_vouched(found.head.sequence, found.proven),
        *([f"heads signed by other keys, and ignored: {done.others}"] if done.others else []),
        f"keys of the {keys.source}, fingerprint {spelled}",
        *(f"earlier keys of the {keys.source}, fingerprint {one}" for one in earlier),
        *([] if keys.compared else [compare]),
    ]
    data: dict[str, Json] = {
        "station": keys.party,
        "records": found.head.sequence,
        "head": found.head.hash,
        "visits": len(found.visits),
        "proven": found.proven,
        "otherHeads": done.others,
        "keys": keys.source,
        "fingerprint": keys.key_set.fingerprint,
        "spelled": spelled,
        "earlier": list(earlier),
    }
    return Answer(text="\n".join(lines), data=data)


def visit_in_short(visit: Visit) -> str:
    """Say which train is meant, for a person who decides about it."""
    told = visit.accepted
    if told is None:
        return f"visit {visit.arrival.short}"
    return f"{told.train.short} ({plain(told.name)}) of {told.owner}, {plain(told.place)}"


def _row(visit: VisitSummary) -> tuple[str, ...]:
    return (
        visit.visit.short,
        "-" if visit.train is None else visit.train.short,
        visit.place or "-",
        visit.name or "-",
        str(visit.owner or "-"),
        _phase(visit),
        visit.next,
        print_time(visit.since),
    )


def _phase(visit: VisitSummary) -> str:
    """Return the phase; that of a run is what the journal knows, and its container may be gone if no daemon looks."""
    return "was running" if visit.phase is Phase.RUNNING and visit.next.startswith(NO_DAEMON) else visit.phase.value


def _document(visit: VisitSummary) -> dict[str, Json]:
    return {
        "visit": visit.visit,
        "train": visit.train,
        "stop": visit.stop,
        "place": visit.place,
        "name": visit.name,
        "owner": visit.owner,
        "phase": _phase(visit),
        "next": visit.next,
        "since": print_time(visit.since),
    }


def _files(inside: Inside) -> list[Json]:
    return [{"path": path, "size": size} for path, size in inside.files]


def _vouched(records: int, proven: int) -> list[str]:
    """Say how far a signed head vouches; the record of its own signing is always after it."""
    rest = records - proven
    if not proven:
        return ["no signed head vouches for any record: sign one with --passphrase-file"]
    beyond = f"; nothing proves that the {rest} after them are complete" if rest else ""
    return [f"signed heads vouch for records 1 to {proven}{beyond}"]


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
