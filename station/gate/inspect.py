"""May what a run left behind leave the house?

Only what the signed manifest declared may: plain files whose paths are declared, no larger than declared, of the
declared media type, satisfying the declared schema. Everything else refuses the stop (attack T18). The gate looks and
decides; it changes nothing and is asked again before sealing.

Its errors name the rule and the declared path pattern, never a path, a value or a byte the run produced: those are
plaintext, and errors end up in journals and logs (attack T20).
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn

from security.archive import Member, members_of
from security.encoding import Json, parse_json
from security.errors import ArchiveRejected, BudgetExceeded, FileMissing, MalformedJson
from security.train.manifest import Limits, Output
from station.errors import GateOversized, GateType, GateUndeclared, NoResults, PolicyRefused
from station.gate.schema import Checker, compile_schema

MAX_JSON_BYTES: Final = 16 << 20
"""A JSON document is checked in memory; a larger one must be declared as something else."""
MAX_COLUMNS: Final = 2_000


_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_PIECE: Final = 1 << 20
_LONGEST_NUMBER: Final = 40


class MediaType(StrEnum):
    """The media types whose form is checked; of any other, any bytes are."""

    JSON = "application/json"
    CSV = "text/csv"
    TEXT = "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedOutput:
    """A file that may leave, and the declaration it falls under."""

    member: Member
    declared: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedOutputs:
    """Everything that leaves. Made by `inspect` only; sealing takes nothing else."""

    files: tuple[ClearedOutput, ...]

    @property
    def members(self) -> tuple[Member, ...]:
        """The files, as they go into the archive."""
        return tuple(one.member for one in self.files)


def inspect(state: Path, outputs: Sequence[Output], limits: Limits) -> ClearedOutputs:
    """Examine the state folder of a run that has ended.

    A declared file that is missing is no offence; a folder without any file is.

    Raises:
        GateUndeclared, GateOversized, GateType, GateSchema: the first rule that is broken.
        NoResults: there is nothing to send on.
    """
    try:
        return judge(list_state(state), outputs, limits)
    except FileMissing:
        msg = "the state holds something that is closed to the station"
        raise GateType(msg) from None  # the cause names a path, and the run chose that


def list_state(state: Path) -> tuple[Member, ...]:
    """Return the plain files below the state folder, without following any link.

    Raises:
        GateType: there is something else than plain files and folders, or a name that cannot travel.
    """
    try:
        return members_of(state)
    except (ArchiveRejected, BudgetExceeded):
        msg = "the state holds something else than plain files with plain names"
        raise GateType(msg) from None  # the cause names paths, and the run chose those


def judge(members: Sequence[Member], outputs: Sequence[Output], limits: Limits) -> ClearedOutputs:
    """Hold a listing against the declarations; see `inspect`."""
    if not members:
        msg = "the run left nothing behind"
        raise NoResults(msg)
    files = [(member, _declaration(member, outputs)) for member in members]
    undeclared = sum(declared is None for _, declared in files)
    if undeclared:
        msg = "files in the state match no declared output"
        raise GateUndeclared(msg, files=undeclared, declared=", ".join(one.path for one in outputs))
    total = sum(member.size for member in members)
    if total > limits.output_bytes:
        msg = "the state is larger than the manifest's output limit"
        raise GateOversized(msg, bytes=total, limit=limits.output_bytes)
    checkers = {one: _checker(outputs[one]) for one in range(len(outputs))}
    cleared = []
    for member, declared in files:
        if declared is not None:
            _check(member, outputs[declared], checkers[declared])
            cleared.append(ClearedOutput(member=member, declared=outputs[declared].path))
    return ClearedOutputs(files=tuple(cleared))


def need_usable(outputs: Sequence[Output]) -> None:
    """Refuse, before anything runs, declarations the gate could not check afterwards.

    Raises:
        PolicyRefused: a schema this station does not evaluate, or one for a media type it is not defined for.
    """
    for one in outputs:
        _checker(one)


def _declaration(member: Member, outputs: Sequence[Output]) -> int | None:
    """Return the first declaration that covers the file."""
    return next((index for index, one in enumerate(outputs) if one.covers(member.path)), None)


def _checker(output: Output) -> Checker | None:
    if output.schema is None:
        return None
    if output.media_type not in {MediaType.JSON, MediaType.CSV}:
        msg = "a schema is declared for a media type it is not defined for"
        raise PolicyRefused(msg, output=output.path, media_type=output.media_type)
    return compile_schema(output.schema, pattern=output.path)


def _check(member: Member, output: Output, checker: Checker | None) -> None:
    if member.size > output.max_bytes:
        msg = "an output is larger than declared"
        raise GateOversized(msg, output=output.path, bytes=member.size, limit=output.max_bytes)
    match output.media_type:
        case MediaType.JSON:
            _check_json(member, output, checker)
        case MediaType.CSV:
            _check_csv(member, output, checker)
        case MediaType.TEXT:
            for _ in _text(member, output):
                pass
        case _:
            pass  # path and size are all there is to check


def _check_json(member: Member, output: Output, checker: Checker | None) -> None:
    if member.size > MAX_JSON_BYTES:
        msg = "a JSON output is too large to be checked"
        raise GateOversized(msg, output=output.path, bytes=member.size, limit=MAX_JSON_BYTES)
    with member.open() as source:
        raw = source.read(MAX_JSON_BYTES + 1)
    if len(raw) != member.size:
        _not_of_type(output, "changed while it was read")
    try:
        document = parse_json(raw, limit=MAX_JSON_BYTES)
    except MalformedJson as error:
        _not_of_type(output, error.message)
    if checker is not None:
        checker.check(document, pattern=output.path)


def _check_csv(member: Member, output: Output, checker: Checker | None) -> None:
    """Check RFC 4180 with a header: distinct column names, and as many cells in every row."""
    rows, spent = csv.reader(_lines(_text(member, output), output), strict=True), 0
    try:
        header = next(rows, None)
        if not header or len(header) > MAX_COLUMNS or len(set(header)) != len(header):
            _not_of_type(output, "no header row with distinct names")
        for row in rows:
            if len(row) != len(header):
                _not_of_type(output, "a row has more or fewer cells than the header")
            if checker is not None:
                document: Json = dict(zip(header, map(_cell, row), strict=True))
                spent = checker.check(document, pattern=output.path, spent=spent)
    except csv.Error:
        _not_of_type(output, "not CSV")


def _text(member: Member, output: Output) -> Iterator[str]:
    """Yield the file's text: UTF-8 without control characters other than tabs and line ends."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    seen = 0
    with member.open() as source:
        try:
            while piece := source.read(_PIECE):
                seen += len(piece)
                text = decoder.decode(piece)
                if _CONTROL.search(text):
                    _not_of_type(output, "control characters")
                yield text
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            _not_of_type(output, "not UTF-8")
    if seen != member.size:
        _not_of_type(output, "changed while it was read")


def _lines(pieces: Iterator[str], output: Output) -> Iterator[str]:
    """Yield lines with their ends, from pieces that end anywhere."""
    held = ""
    for piece in pieces:
        *lines, held = (held + piece).split("\n")
        yield from (line + "\n" for line in lines)
        if len(held) > _PIECE:
            _not_of_type(output, "a line is too long")
    if held:
        yield held


def _cell(text: str) -> Json:
    """Return a cell as a schema sees it: a number if it reads as a JSON number, null if empty, else a string."""
    if not text:
        return None
    if len(text) > _LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
        return text
    if text.lstrip("-").isdigit():
        return int(text)
    return float(text) if math.isfinite(float(text)) else text


def _not_of_type(output: Output, reason: str) -> NoReturn:
    msg = "an output is not of its declared type"
    raise GateType(msg, output=output.path, media_type=output.media_type, reason=reason) from None  # attack T20
