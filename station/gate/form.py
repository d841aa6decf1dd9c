"""Is a file of the media type that was declared for it, and what is in it?

Each reader raises `GateType` at the first byte that is not of the type, and names the declaration only (attack T20).
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NoReturn

from security.archive import Member
from security.encoding import MAX_NUMBER, Json
from security.train.manifest import Output
from station.errors import GateType

MAX_COLUMNS: Final = 2_000

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_NO_CONTROL: Final = bytes({*range(256)} - {*range(32), 127} | {*b"\t\n\r"})
_PIECE: Final = 64 << 10
_LONGEST_NUMBER: Final = 40


class MediaType(StrEnum):
    """The media types whose form is checked; of any other, any bytes are."""

    JSON = "application/json"
    CSV = "text/csv"
    TEXT = "text/plain"


WITH_SCHEMA: Final = frozenset({MediaType.JSON, MediaType.CSV})
"""Media types that a JSON Schema can be declared for: for a document, or for the rows of a table."""


def text_of(member: Member, output: Output) -> Iterator[str]:
    """Yield the file's text: UTF-8 without control characters other than tabs and line ends.

    Raises:
        GateType: it is no such text.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    seen = 0
    with member.open() as source:
        try:
            while piece := source.read(_PIECE):
                seen += len(piece)
                if piece.translate(None, _NO_CONTROL):
                    not_of_type(output, "control characters")
                yield decoder.decode(piece)
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            not_of_type(output, "not UTF-8")
    if seen != member.size:
        not_of_type(output, "changed while it was read")


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


def plain_number(value: float) -> float:
    """Return a number as the type it is printed by: a whole one as an integer where all readers agree on that."""
    return int(value) if value.is_integer() and abs(value) <= MAX_NUMBER else value


def not_of_type(output: Output, reason: str) -> NoReturn:
    """Refuse an output."""
    msg = "an output is not of its declared type"
    raise GateType(msg, output=output.path, media_type=output.media_type, reason=reason) from None  # attack T20
