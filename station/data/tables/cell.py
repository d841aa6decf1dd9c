"""How does what a source has become a value of a column's type?

For each column one expression of the engine's SQL, and one that is true for a cell that has no value of this type. Whole
numbers may be written ``7.0``, truth values ``yes`` and ``1``; ``1.5`` is no whole number, and an unlisted word no category.
NaN is a missing number; what is infinite is none, and no day is before the year 1 or after 9999. An identifier has no blanks
around it, and one that the source has as a number no decimals if it is whole: a patient has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from security.tables.column import Column, ColumnType
from station.data.tables.engine import named, quoted
from station.data.tables.source import Described, Form, Spelling, Staged

_TEXT: Final = "VARCHAR"
_WHOLE: Final = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"})
_FINITE: Final = _WHOLE | {"UBIGINT", "HUGEINT", "UHUGEINT"}
_EXACT: Final = {"FLOAT": 2**24, "DOUBLE": 2**53}
"""Up to which whole number each has one spelling: of two beyond it, it makes one."""
_BLANKS: Final = " \t\n\r\v\f\xa0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How the cells of one column are read: `value`, and whether one is `bad`, where it is not missing.

    Of a large table every cell is looked at, so each thing about one is asked once, in three steps that are columns of three
    queries: what is `present`, by the name of the column; what the engine takes it for, `taken`; and `strict`, the value, or an
    error that names the column.
    """

    name: str
    value: str
    bad: str
    present: str
    taken: str
    strict: str


def cell_of(described: Described, place: str, kind: str, staged: Staged) -> Cell:
    """Return how a column is read that is called `place` in the staged rows, and is of the engine's type `kind` there."""
    column, spelling = described.column, staged.spelling
    name, taken = named(column.name), named(f"#{column.name}")
    raw = _present(named(place), column, kind, staged)
    value, good = _judged(column, raw, _taken(column, raw, kind, spelling), kind, spelling)
    strict, strictly = _judged(column, name, taken, kind, spelling)
    if strictly is not None:
        strict = f"CASE WHEN {strictly} THEN {strict} WHEN {name} IS NOT NULL THEN error({quoted(column.name)}) END"
    return Cell(
        name=column.name,
        value=value,
        bad="FALSE" if good is None else f"{raw} IS NOT NULL AND NOT coalesce({good}, FALSE)",
        present=f"{raw} AS {name}",
        taken=f"{_taken(column, name, kind, spelling)} AS {taken}",
        strict=f"{strict} AS {name}",
    )


def _present(raw: str, column: Column, kind: str, staged: Staged) -> str:
    """An empty text is a missing value, as it comes from `scan` of CSV already, and so are the words that the operator names."""
    words = staged.spelling.missing if staged.form is Form.CSV else ("", *staged.spelling.missing)
    if column.type is ColumnType.IDENTIFIER:
        raw, words = _identifier(raw, kind), staged.spelling.missing
    elif kind != _TEXT:
        return raw
    return f"(CASE WHEN {raw} IN ({', '.join(map(quoted, words))}) THEN NULL ELSE {raw} END)" if words else raw


def _identifier(raw: str, kind: str) -> str:
    """Return an identifier as a text without blanks around it; of blanks alone, nothing."""
    text = f"CAST({raw} AS {_TEXT})"
    if kind == _TEXT:
        # nearly all are plain, and to look for each blank takes the engine long
        plain = f"{raw} > '!' AND right({raw}, 1) > ' '"
        return f"(CASE WHEN {plain} THEN {raw} ELSE nullif(trim({raw}, {quoted(_BLANKS)}), '') END)"
    if kind in _EXACT:
        whole = f"{raw} = trunc({raw}) AND abs({raw}) < {_EXACT[kind]}"
        return f"(CASE WHEN {whole} THEN CAST(CAST({raw} AS BIGINT) AS {_TEXT}) WHEN NOT isnan({raw}) THEN {text} END)"
    if kind.startswith("DECIMAL") and not kind.endswith(",0)"):
        return f"regexp_replace({text}, {quoted(r'[.]?0*$')}, '')"
    return text


def _taken(column: Column, raw: str, kind: str, spelling: Spelling) -> str:
    """Return what the engine takes a cell for: nothing, where it is nothing of its column's type."""
    value = raw if kind == _TEXT else f"CAST({raw} AS {_TEXT})"  # a text is what it is
    match column.type:
        case ColumnType.INTEGER if kind in _WHOLE:
            value = f"CAST({raw} AS BIGINT)"
        case ColumnType.INTEGER:
            value = f"TRY_CAST({_decimal(raw, kind, spelling)} AS BIGINT)"
        case ColumnType.NUMBER:
            value = f"TRY_CAST({_decimal(raw, kind, spelling)} AS DOUBLE)"
        case ColumnType.BOOLEAN:
            value = f"TRY_CAST({raw} AS BOOLEAN)"
        case ColumnType.DATE if kind == _TEXT and spelling.dates is not None:
            value = f"CAST(try_strptime({raw}, {quoted(spelling.dates)}) AS DATE)"
        case ColumnType.DATE:
            value = f"TRY_CAST({raw} AS DATE)"
        case _:
            pass
    return value


def _judged(column: Column, raw: str, taken: str, kind: str, spelling: Spelling) -> tuple[str, str | None]:
    """Return the value of a cell, and what is true of one that has a value of its type; None if every cell has."""
    value, good = taken, None
    match column.type:
        case ColumnType.INTEGER if kind not in _WHOLE:
            good = f"{taken} = TRY_CAST({_decimal(raw, kind, spelling)} AS DOUBLE)"
        case ColumnType.NUMBER:
            value = f"(CASE WHEN isfinite({taken}) THEN {taken} END)"
            good = None if kind in _FINITE else f"NOT isinf({taken})"
        case ColumnType.BOOLEAN:
            good = f"{taken} IS NOT NULL"
        case ColumnType.IDENTIFIER if kind in _EXACT:
            good = f"abs(TRY_CAST({taken} AS DOUBLE)) < {_EXACT[kind]}"
        case ColumnType.DATE:
            good = f"{taken} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'"
            if kind == _TEXT:  # 27-11-26 is no day of the year 27
                good += f" AND ({taken} >= DATE '1000-01-01' OR contains({raw}, left(CAST({taken} AS {_TEXT}), 4)))"
        case _:
            pass
    if column.values is not None:
        good = f"{value} IN ({', '.join(map(quoted, column.values))})"
    return value, good


def _decimal(raw: str, kind: str, spelling: Spelling) -> str:
    if kind != _TEXT or spelling.decimal == ".":
        return raw
    # A point is not the decimal sign then, and what else it means is not known: 1.234 may be a thousand times 1,234.
    return f"(CASE WHEN NOT contains({raw}, '.') THEN replace({raw}, {quoted(spelling.decimal)}, '.') END)"
