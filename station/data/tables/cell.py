"""How does what a source has become a value of a column's type?

For each column one expression of the engine's SQL, and one that is true for a cell that has no value of this type. Whole
numbers may be written ``7.0``, truth values ``yes`` and ``1``; ``1.5`` is no whole number, and an unlisted word no category.
NaN is a missing number; what is infinite is none, and no day is before the year 1 or after 9999.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from security.tables.column import ColumnType
from station.data.tables.engine import named, quoted
from station.data.tables.source import Described, Spelling

_TEXT: Final = "VARCHAR"
_WHOLE: Final = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
_FINITE: Final = _WHOLE | {"UBIGINT", "HUGEINT", "UHUGEINT"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How the cells of one column are read: `value`, and whether one is `bad`, where it is not missing.

    `strict` is the value of a cell that is called by the name of the column and was read by `present`, or an error that
    names the column: of a large table every cell is looked at, and each thing about it is asked once.
    """

    name: str
    value: str
    bad: str
    present: str
    strict: str


def cell_of(described: Described, place: str, kind: str, spelling: Spelling) -> Cell:
    """Return how a column is read that is called `place` in the staged rows, and is of the engine's type `kind` there."""
    column = described.column
    there, name = named(place), named(column.name)
    raw = _present(there, spelling) if kind == _TEXT else there
    value, good = _read(described, raw, kind, spelling)
    strict, strictly = _read(described, name, kind, spelling)
    if strictly is not None:
        strict = f"CASE WHEN {name} IS NULL OR {strictly} THEN {strict} ELSE error({quoted(column.name)}) END"
    return Cell(
        name=column.name,
        value=value,
        bad="FALSE" if good is None else f"{raw} IS NOT NULL AND NOT coalesce({good}, FALSE)",
        present=f"{raw} AS {name}",
        strict=f"{strict} AS {name}",
    )


def _present(raw: str, spelling: Spelling) -> str:
    """An empty text is a missing value, and so are the words that the operator names."""
    missing = ", ".join(quoted(word) for word in ("", *spelling.missing))
    return f"(CASE WHEN {raw} IN ({missing}) THEN NULL ELSE {raw} END)"


def _read(described: Described, raw: str, kind: str, spelling: Spelling) -> tuple[str, str | None]:
    """Return the value of a cell, and what is true of one that has a value of its type; None if every cell has."""
    column, text = described.column, kind == _TEXT
    value, good = raw if text else f"CAST({raw} AS {_TEXT})", None
    match column.type:
        case ColumnType.INTEGER if kind in _WHOLE:
            value = f"CAST({raw} AS BIGINT)"
        case ColumnType.INTEGER:
            number = _decimal(raw, spelling) if text else raw
            value = f"TRY_CAST({number} AS BIGINT)"
            good = f"{value} = TRY_CAST({number} AS DOUBLE)"
        case ColumnType.NUMBER:
            number = f"TRY_CAST({_decimal(raw, spelling) if text else raw} AS DOUBLE)"
            value = f"(CASE WHEN isfinite({number}) THEN {number} END)"
            good = None if kind in _FINITE else f"NOT isinf({number})"
        case ColumnType.BOOLEAN:
            value = f"TRY_CAST({raw} AS BOOLEAN)"
            good = f"{value} IS NOT NULL"
        case ColumnType.DATE:
            value = f"TRY_CAST({raw} AS DATE)"
            if text and spelling.dates is not None:
                value = f"CAST(try_strptime({raw}, {quoted(spelling.dates)}) AS DATE)"
            good = f"{value} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"
        case _:
            pass  # a text is what it is
    if column.values is not None:
        good = f"{value} IN ({', '.join(map(quoted, column.values))})"
    return value, good


def _decimal(raw: str, spelling: Spelling) -> str:
    return raw if spelling.decimal == "." else f"replace({raw}, {quoted(spelling.decimal)}, '.')"
