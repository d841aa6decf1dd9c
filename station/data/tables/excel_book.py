"""What does a sheet of a workbook say, where that is beyond doubt?

A number is written as Python writes it, without a point if it is whole; a date as 2026-11-27. A formula is its value as the workbook
keeps it; one without, an error such as #N/A, a duration, merged cells, and a cell beyond the named columns are told by
their row.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

warnings.filterwarnings("ignore", module="openpyxl")  # of what it leaves out: styles, lists to choose from
_BLOCK: Final = 1 << 20
_MERGED: Final = re.compile(rb"<(?:\w+:)?mergeCell\s")
_BROKEN: Final = (BadZipFile, InvalidFileException, KeyError, ValueError, TypeError, IndexError, EOFError, OSError)


class BookUnfit(Exception):
    """A workbook is no table: why, where, and what to do, in words that hold nothing of it."""

    def __init__(self, message: str, hint: str | None = None, **where: int) -> None:
        super().__init__(message)
        self.hint, self.where = hint, where


def rows_of(path: Path, sheet: str | None) -> Iterator[Sequence[str]]:
    """Yield the rows of a sheet as texts, that of the names first; rows with nothing in them are left out.

    Raises:
        BookUnfit: it is no workbook, or the sheet is no table.
    """
    try:
        yield from _rows(path, sheet)
    except _BROKEN:
        msg = "a file of a table is no workbook of Excel, or not all of it is there"
        raise BookUnfit(msg, "save it as .xlsx, without a password") from None


def _rows(path: Path, sheet: str | None) -> Iterator[Sequence[str]]:
    # A formula and its value are read by two readers side by side: one reader has either.
    with ExitStack() as opened:
        books = [
            opened.enter_context(closing(load_workbook(path, read_only=True, data_only=kept))) for kept in (True, False)
        ]
        name = _chosen(books[0], sheet)
        _need_no_merged(path, books[0][name])
        for book in books:
            book[name].reset_dimensions()  # what a workbook says of its size may be less than there is
        both = [opened.enter_context(closing(book[name].iter_rows())) for book in books]
        width = 0
        for number, (row, asked) in enumerate(zip(*both, strict=True)):
            cells = [_text(cell, ask, number) for cell, ask in zip(row, asked, strict=True)]
            while cells and not cells[-1]:
                cells.pop()
            width = width or len(cells)
            if len(cells) > width:
                msg = "a row has a cell beyond the columns that the first row names"
                raise BookUnfit(msg, "name the column, or empty the cell", row=number)
            if cells:
                yield [*cells, *[""] * (width - len(cells))]


def _chosen(book: Any, sheet: str | None) -> str:  # noqa: ANN401 # the library has no types
    names: list[str] = book.sheetnames
    if sheet is None and len(names) == 1:
        return names[0]
    if sheet is None:
        msg = "a workbook has several sheets"
        raise BookUnfit(msg, "name the one that is the table as 'sheet'", sheets=len(names))
    if sheet not in names:
        msg = "a workbook does not have the sheet that station.yaml names"
        raise BookUnfit(msg, "correct 'sheet' in station.yaml", sheets=len(names))
    return sheet


def _need_no_merged(path: Path, sheet: Any) -> None:  # noqa: ANN401 # the library has no types
    """Of merged cells one has the value, and the others look as if they were missing."""
    with ZipFile(path) as archive, archive.open(str(sheet._worksheet_path)) as text:  # noqa: SLF001 # read-only sheets do not tell of them
        before = b""
        while block := text.read(_BLOCK):
            if _MERGED.search(before + block):
                msg = "a sheet has merged cells"
                raise BookUnfit(msg, "unmerge them, and write the value into each")
            before = block[-64:]


def _text(cell: Any, asked: Any, row: int) -> str:  # noqa: ANN401 # the library has no types
    value = cell.value
    if value is None and getattr(asked, "data_type", "") == "f":
        msg = "a workbook does not keep the value of a formula"
        raise BookUnfit(msg, "open it in Excel and save it, or replace formulas by their values", row=row)
    if getattr(cell, "data_type", "") == "e":
        msg = "a cell holds an error of Excel"
        raise BookUnfit(msg, "correct it, or empty it", row=row)
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if value.is_integer() and abs(value) <= 2**53:
            return str(int(value))
        case datetime() if value.time() == time():
            return str(value.date())
        case int() | float() | str() | datetime() | date():
            return str(value)
        case _:
            msg = "a cell holds a time or a duration, and no date"
            raise BookUnfit(msg, "write it as a number or a text", row=row)
