"""How does the engine read what a source has staged?

The header of a CSV file is read here, and the engine is told the columns: it guesses nothing.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from security.files import told
from station.data.tables.cell import Cell
from station.data.tables.engine import CellRejected, Engine, RowsRejected, quoted
from station.data.tables.source import Form, Spelling, Staged
from station.errors import DataUnfit

T = TypeVar("T")

_LONGEST_HEADER: Final = 1 << 20
_NO_TEXT: Final = "\ufffd"


def scan(staged: Staged, *, in_order: bool = False) -> str:
    """Return the staged rows as a table of the engine's SQL. Cells of CSV are texts, or missing if empty: what they are is for `cell` to say."""
    paths = "[" + ", ".join(quoted(str(path)) for path in staged.paths) + "]"
    if staged.form is Form.PARQUET:
        return f"read_parquet({paths}, union_by_name = true, hive_partitioning = false)"
    spelling = staged.spelling
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in header_of(staged.paths[0], spelling))
    options = {
        "header": "true",
        "columns": f"{{{columns}}}",
        "auto_detect": "false",
        "delim": quoted(spelling.delimiter),
        "quote": quoted(spelling.quote),
        "escape": quoted(spelling.quote),
        "encoding": quoted(spelling.encoding),
        "nullstr": quoted(""),
        "allow_quoted_nulls": "true",
        "hive_partitioning": "false",
        "parallel": "false" if in_order or staged.in_order else "true",
    }
    return f"read_csv({paths}, {', '.join(f'{name} = {value}' for name, value in options.items())})"


def whole(engine: Engine, staged: Staged, use: Callable[[Staged], T]) -> T:
    """Return what `use` makes of all staged rows.

    Threads that read a large CSV file together guess where rows begin. Where cells hold lines they may guess wrongly, and find cells
    and rows that are none. So these are looked at again by one thread, which knows. That one passes over a last row that is cut:
    it is believed only if there is none.

    Raises:
        CellRejected, RowsRejected: it is so all the same.
    """
    try:
        return use(staged)
    except (CellRejected, RowsRejected):
        if staged.form is not Form.CSV:
            raise
        in_order = replace(staged, in_order=True)
        found = use(in_order)
        if not _are_all(engine, in_order):  # asked last: it takes long, and most of what is rejected is so again
            raise
        return found


def _are_all(engine: Engine, staged: Staged) -> bool:
    """Whether one thread of the engine finds as many rows as there are in CSV, the last one included."""
    rows = 0
    try:
        ((found,),) = engine.rows(f"SELECT count(*) FROM {scan(staged)}")
        for path in staged.paths:
            with told(path), path.open(encoding=staged.spelling.encoding, newline="") as text:
                delimiter, quote = staged.spelling.delimiter, staged.spelling.quote
                rows += sum(map(bool, csv.reader(text, delimiter=delimiter, quotechar=quote, strict=True))) - 1
    except (RowsRejected, UnicodeError, csv.Error):
        return False
    return bool(found == rows)


def header_of(path: Path, spelling: Spelling) -> tuple[str, ...]:
    """Return the names of the columns of a CSV file.

    Raises:
        DataUnfit: a name is empty or given twice, or it is not text that the engine reads.
    """
    _need_order(path, spelling)
    with told(path), path.open(encoding=spelling.encoding, errors="replace", newline="") as text:
        first = ""
        try:
            first = text.readline(_LONGEST_HEADER).removeprefix("\ufeff")
            names = tuple(
                next(csv.reader([first], delimiter=spelling.delimiter, quotechar=spelling.quote, strict=True), ())
            )
        except (UnicodeError, csv.Error):
            names = ()
    if not names or "" in names or _NO_TEXT in first or len(set(map(str.lower, names))) != len(names):
        msg = "the first row of a table must hold different names"
        raise DataUnfit(msg, file=path)
    return names


def _need_order(path: Path, spelling: Spelling) -> None:
    """Refuse UTF-16 in the order of bytes in which the engine would find no row, and so nobody."""
    if spelling.encoding != "utf-16":
        return
    with told(path), path.open("rb") as source:
        if source.read(len(codecs.BOM_UTF16_BE)) == codecs.BOM_UTF16_BE:
            msg = "a file of a table is in big-endian UTF-16, which the station does not read"
            raise DataUnfit(msg, file=path, hint="save it as UTF-8")


def columns_of(engine: Engine, path: Path) -> frozenset[str]:
    """Return the names of the columns of a file of Parquet, which its end tells."""
    return frozenset(name for (name,) in engine.rows("SELECT name FROM parquet_schema(?)", [str(path)]))


def kinds_in(engine: Engine, staged: Staged) -> Mapping[str, str]:
    """Return the engine's types of the staged columns, by name."""
    return {name: kind for name, kind, *_ in engine.rows(f"DESCRIBE SELECT * FROM {scan(staged)}")}


def first_bad(engine: Engine, staged: Staged, cell: Cell) -> int | None:
    """Return the number of the first row, the header not counted, whose cell is not of its type."""
    numbered = f'SELECT row_number() OVER () AS "#row", * FROM {scan(staged, in_order=True)}'
    ((found,),) = engine.rows(f'SELECT min("#row") FROM ({numbered}) WHERE {cell.bad}')
    return None if found is None else int(found)
