"""How is a table read, held against its schema and printed anew, in one pass?

Rows that are plain are passed on as they are, many at a time (`station.gate.plain`). The others are read cell by cell, and
what was made of a cell is kept: a column has few different ones.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from operator import getitem
from typing import Final

from security.archive import Member
from security.encoding import Json, dump_json
from security.train.manifest import Output
from station.gate.check import Check
from station.gate.form import MAX_COLUMNS, cell, not_of_type, plain_number, text_of
from station.gate.plain import PlainRows, plain_rows
from station.gate.schema import Checker

_LONGEST_LINE: Final = 1 << 20
_QUOTED: Final = frozenset(',"\n')
_MOST_KEPT: Final = 200_000
_LONGEST_KEPT: Final = 40
_MOST_PATIENT: Final = 256


def print_table(member: Member, output: Output, checker: Checker | None) -> Iterator[bytes]:
    """Yield a table (RFC 4180) as the gate prints it: distinct column names, and as many cells in every row.

    A byte order mark at the beginning is no part of the first name. A row is an object to the schema, a cell a number where it
    reads as one.

    Raises:
        GateType: it is no such table.
        GateSchema: a row does not satisfy the schema.
    """
    lines = _Lines(text_of(member, output), output)
    read = csv.reader(lines, strict=True)
    try:
        header = [_text(name) for name in next(read, [])]
        if not header or len(header) > MAX_COLUMNS or len(set(header)) != len(header):
            not_of_type(output, "no header row with distinct names")
        yield _line([_written(name) for name in header])
        yield from _Rows(header, output, checker).printed(lines, read)
    except csv.Error:
        not_of_type(output, "not CSV")


class _Rows:
    """What is known of the rows of a table before any is read: the columns, and what their cells have to satisfy."""

    def __init__(self, header: Sequence[str], output: Output, checker: Checker | None) -> None:
        self._header, self._output, self._checker = header, output, checker
        members = checker.members(self._header) if checker else dict.fromkeys(header, (True, _any))
        self._together = members is None  # what is in one cell decides what another may be
        wanted = [members[name] if members is not None else (True, _any) for name in header]
        self._columns = [_Column(check, _MOST_KEPT // len(header)) for _, check in wanted]
        self._plain = None if self._together else plain_rows(wanted)
        self._spent = 0

    def printed(self, lines: _Lines, read: Iterator[list[str]]) -> Iterator[bytes]:
        """Yield the rows, in pieces."""
        patience = _MOST_PATIENT if self._plain is None else 1
        while True:
            if self._plain is not None:
                found = lines.plain(self._plain)
                self._spend(found.count("\n"))
                yield found.encode()
                patience = 1 if found else min(2 * patience, _MOST_PATIENT)  # few plain ones: look for them less often
            rows = [self._row(row) for row in itertools.islice(read, patience)]
            if not rows:
                return
            yield b"".join(rows)

    def _row(self, row: list[str]) -> bytes:
        if len(row) != len(self._columns):
            not_of_type(self._output, "a row has more or fewer cells than the header")
        self._spend(1)
        if self._together:
            self._hold(row)
        try:
            return _line(list(map(getitem, self._columns, row)))
        except _UnfitError:
            self._hold(row)
            raise

    def _spend(self, rows: int) -> None:
        if self._checker is not None:
            self._spent = self._checker.spend(rows, 1 + len(self._header), spent=self._spent)

    def _hold(self, row: list[str]) -> None:
        if self._checker is not None:
            self._checker.check(dict(zip(self._header, map(_value, row), strict=True)))


class _UnfitError(Exception):
    """A cell is not as its column's schema says."""


class _Column(dict[str, str]):
    """Each cell of a column, and how it is written. One that is asked for first is held against the column's schema then."""

    def __init__(self, check: Check, kept: int) -> None:
        super().__init__()
        self._check, self._kept = check, kept

    def __missing__(self, text: str) -> str:
        value = _value(text)
        if self._check(value) is not None:
            raise _UnfitError
        written = _written(value) if isinstance(value, str) else "" if value is None else dump_json(value).decode()
        if len(self) < self._kept and len(text) <= _LONGEST_KEPT:
            self[text] = written
        return written


class _Lines:
    """The lines of a text, with their ends: the reader's next one, or all plain ones at once."""

    def __init__(self, pieces: Iterator[str], output: Output) -> None:
        self._pieces, self._output = pieces, output
        self._text, self._at, self._simple = next(pieces, "").removeprefix("\ufeff"), 0, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while not (end := self._text.find("\n", self._at) + 1):
            rest = self._text[self._at :]
            if len(rest) > _LONGEST_LINE:
                not_of_type(self._output, "a line is too long")
            piece = next(self._pieces, None)
            if piece is None:
                self._text = ""
                self._at = 0
                if rest:
                    return rest
                raise StopIteration
            self._text, self._at, self._simple = rest + piece, 0, 0
        line, self._at = self._text[self._at : end], end
        return line

    def plain(self, rows: PlainRows) -> str:
        """Return the plain rows that come next, of the text that is at hand."""
        end = rows.end(self._text, self._at)
        if end < len(self._text) and end >= self._simple:
            self._text, self._simple = rows.simplified(self._text, end)
            end = rows.end(self._text, end)
        found, self._at = self._text[self._at : end], end
        return found


def _any(_: Json) -> None:
    return None


def _value(text: str) -> Json:
    """Return a cell as it is printed: what a schema is held against."""
    value = cell(text)
    return _text(value) if isinstance(value, str) else plain_number(value) if isinstance(value, float) else value


def _text(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _written(text: str) -> str:
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if _QUOTED & set(text) else text


def _line(cells: Sequence[str]) -> bytes:
    return ((",".join(cells) if cells != [""] else '""') + "\n").encode()
