"""How does what a source has become a value of a column's type?

For each column one expression of the engine's SQL, and one that is true for a cell that has no value of this type. Whole
numbers may be written ``7.0``, truth values ``yes`` and ``1``; ``1.5`` is no whole number, and an unlisted word no category.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from security.tables.column import ColumnType
from station.data.tables.engine import named, quoted
from station.data.tables.source import Described, Spelling

_TEXT: Final = "VARCHAR"
_WHOLE: Final = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How the cells of one column are read: `value`, and whether one is `bad`, where it is not missing."""

    name: str
    value: str
    bad: str

    @property
    def strict(self) -> str:
        """The value, or an error that names the column."""
        if self.bad == "FALSE":
            return f"{self.value} AS {named(self.name)}"
        return f"CASE WHEN {self.bad} THEN error({quoted(self.name)}) ELSE {self.value} END AS {named(self.name)}"


def cell_of(described: Described, place: str, kind: str, spelling: Spelling) -> Cell:
    """Return how a column is read that is called `place` in the staged rows, and is of the engine's type `kind` there."""
    column = described.column
    raw = _present(named(place), spelling) if kind == _TEXT else named(place)
    value, bad = _read(column.type, raw, kind, spelling)
    if column.values is not None:
        bad = f"{raw} IS NOT NULL AND {value} NOT IN ({', '.join(map(quoted, column.values))})"
    return Cell(name=column.name, value=value, bad=bad)


def _present(raw: str, spelling: Spelling) -> str:
    """An empty text is a missing value, and so are the words that the operator names."""
    missing = ", ".join(quoted(word) for word in ("", *spelling.missing))
    return f"(CASE WHEN {raw} IN ({missing}) THEN NULL ELSE {raw} END)"


def _read(wanted: ColumnType, raw: str, kind: str, spelling: Spelling) -> tuple[str, str]:
    text = kind == _TEXT
    match wanted:
        case ColumnType.INTEGER if kind in _WHOLE:
            return f"CAST({raw} AS BIGINT)", "FALSE"
        case ColumnType.INTEGER:
            number = _decimal(raw, spelling) if text else raw
            value = f"TRY_CAST({number} AS BIGINT)"
            return value, f"{raw} IS NOT NULL AND NOT coalesce({value} = TRY_CAST({number} AS DOUBLE), FALSE)"
        case ColumnType.NUMBER:
            number = f"TRY_CAST({_decimal(raw, spelling) if text else raw} AS DOUBLE)"
            bad = f"{raw} IS NOT NULL AND {number} IS NULL" if text else "FALSE"
            return f"(CASE WHEN isfinite({number}) THEN {number} END)", bad
        case ColumnType.BOOLEAN:
            value = f"TRY_CAST({raw} AS BOOLEAN)"
            return value, f"{raw} IS NOT NULL AND {value} IS NULL"
        case ColumnType.DATE:
            day = f"TRY_CAST({raw} AS DATE)"
            if text and spelling.dates is not None:
                day = f"CAST(try_strptime({raw}, {quoted(spelling.dates)}) AS DATE)"
            return day, f"{raw} IS NOT NULL AND NOT coalesce(isfinite({day}), FALSE)"
        case _:
            return (raw if text else f"CAST({raw} AS VARCHAR)"), "FALSE"


def _decimal(raw: str, spelling: Spelling) -> str:
    return raw if spelling.decimal == "." else f"replace({raw}, {quoted(spelling.decimal)}, '.')"
