"""Is a file of the media type that was declared for it, and which documents are in it?

Each reader raises `GateType` at the first byte that is not of the type, and names the declaration only (attack T20).
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NoReturn

from security.archive import Member
from security.encoding import MAX_NUMBER, Json, parse_json
from security.errors import MalformedJson
from security.train.manifest import Output
from station.errors import GateOversized, GateType

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


WITH_SCHEMA: Final = frozenset({MediaType.JSON, MediaType.CSV})
"""Media types that a JSON Schema can be declared for: for a document, or for the rows of a table."""


def check_form(member: Member, output: Output) -> None:
    """Read a file to its end.

    Raises:
        GateType: it is not of its declared media type.
        GateOversized: it is a JSON document that is too large to be checked.
    """
    match output.media_type:
        case MediaType.JSON:
            document(member, output)
        case MediaType.CSV:
            for _ in rows(member, output):
                pass
        case MediaType.TEXT:
            for _ in _text(member, output):
                pass
        case _:
            pass  # path and size are all there is to check


def documents(member: Member, output: Output) -> Iterator[Json]:
    """Yield what a schema is held against: a JSON document, or the rows of a table as objects.

    Raises:
        GateType, GateOversized: see `check_form`.
    """
    match output.media_type:
        case MediaType.JSON:
            yield document(member, output)
        case MediaType.CSV:
            for header, row in rows(member, output):
                if row is not None:
                    yield dict(zip(header, map(cell, row), strict=True))
        case _:
            pass


def document(member: Member, output: Output) -> Json:
    """Read a JSON document.

    Raises:
        GateType, GateOversized: see `check_form`.
    """
    if member.size > MAX_JSON_BYTES:
        msg = "a JSON output is too large to be checked"
        raise GateOversized(msg, output=output.path, bytes=member.size, limit=MAX_JSON_BYTES)
    with member.open() as source:
        raw = source.read(MAX_JSON_BYTES + 1)
    if len(raw) != member.size:
        _not_of_type(output, "changed while it was read")
    try:
        return parse_json(raw, limit=MAX_JSON_BYTES)
    except MalformedJson as error:
        _not_of_type(output, error.message)


def rows(member: Member, output: Output) -> Iterator[tuple[list[str], list[str] | None]]:
    """Yield the header alone, then with each row (RFC 4180): distinct column names, and as many cells in every row.

    A byte order mark at the beginning is no part of the first name.

    Raises:
        GateType: it is no such table.
    """
    read = csv.reader(_lines(_unmarked(_text(member, output)), output), strict=True)
    try:
        header = next(read, None)
        if not header or len(header) > MAX_COLUMNS or len(set(header)) != len(header):
            _not_of_type(output, "no header row with distinct names")
        yield header, None
        for row in read:
            if len(row) != len(header):
                _not_of_type(output, "a row has more or fewer cells than the header")
            yield header, row
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


def _unmarked(pieces: Iterator[str]) -> Iterator[str]:
    """Yield text without the byte order mark that some programs begin it with."""
    begun = False
    for piece in pieces:
        yield piece if begun else piece.removeprefix("\ufeff")
        begun = begun or bool(piece)


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


def cell(text: str) -> Json:
    """Return a cell as a schema sees it: a number if it reads as a JSON number, null if empty, else a string.

    Integers beyond 2^53 are strings: as numbers, readers would take different ones for the same.
    """
    if not text:
        return None
    if len(text) > _LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
        return text
    if text.lstrip("-").isdigit():
        return int(text) if abs(int(text)) <= MAX_NUMBER else text
    return float(text) if math.isfinite(float(text)) else text


def _not_of_type(output: Output, reason: str) -> NoReturn:
    msg = "an output is not of its declared type"
    raise GateType(msg, output=output.path, media_type=output.media_type, reason=reason) from None  # attack T20
