"""Which part of a selection can a database decide, exactly as the engine would?

Only what is left out surely is left out there. Where the database knows an answer and the engine does not (the cell is
NaN, or an empty text), it may keep a row and the engine then leaves it out: more is known there, and nothing that is true
becomes false by that. Whether a value is missing is the exception, and is asked of types only where both agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final, TypeAlias

import sqlalchemy as sql

from security.tables.column import ColumnType
from security.tables.expression import (
    All,
    Compared,
    Condition,
    Constant,
    Missing,
    Name,
    Not,
    OneOf,
    Operator,
    Some,
    Value,
)

Test: TypeAlias = sql.ColumnElement[bool]


class Kind(StrEnum):
    """What a database compares as the engine does."""

    WHOLE = "whole"
    DOUBLE = "double"
    TRUTH = "truth"
    TEXT = "text"
    DAY = "day"


KINDS: Final[Mapping[ColumnType, frozenset[Kind]]] = {
    ColumnType.INTEGER: frozenset({Kind.WHOLE}),
    ColumnType.NUMBER: frozenset({Kind.DOUBLE}),
    ColumnType.BOOLEAN: frozenset({Kind.TRUTH}),
    ColumnType.DATE: frozenset({Kind.DAY}),
    ColumnType.TEXT: frozenset({Kind.TEXT}),
    ColumnType.CATEGORY: frozenset({Kind.TEXT}),
    ColumnType.IDENTIFIER: frozenset({Kind.TEXT}),
}
_TEXTS: Final = frozenset({Operator.EQUAL, Operator.UNEQUAL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A column there. `else_keep` is true of cells the database may hold beside those of its kind: those rows are kept."""

    kind: Kind
    cell: sql.ColumnElement[Any]
    else_keep: Test | None = None


def test_of(condition: Condition, places: Mapping[str, Place]) -> Test | None:
    """Return what the database decides of a condition that must hold; None for nothing."""
    if isinstance(condition, All):
        parts = [part for part in (test_of(one, places) for one in condition.of) if part is not None]
        return sql.and_(*parts) if parts else None
    used: dict[str, Place] = {}
    whole = _whole(condition, places, used)
    if whole is None:
        return None
    return sql.or_(whole, *(one.else_keep for one in used.values() if one.else_keep is not None))


def _whole(condition: Condition, places: Mapping[str, Place], used: dict[str, Place]) -> Test | None:  # noqa: PLR0911 # one for each kind of condition
    match condition:
        case Not(of=inner):
            found = _whole(inner, places, used)
            return None if found is None else sql.not_(found)
        case All(of=parts) | Some(of=parts):
            found_parts = [_whole(one, places, used) for one in parts]
            known = [one for one in found_parts if one is not None]
            if len(known) != len(parts):
                return None
            return sql.and_(*known) if isinstance(condition, All) else sql.or_(*known)
        case Missing(value=value):
            return _missing(_place(value, places, used))
        case OneOf(value=value, among=among):
            place = _place(value, places, used)
            cells = [None if place is None else _constant(place.kind, one.value) for one in among]
            if place is None or any(one is None for one in cells):
                return None
            return sql.or_(*(place.cell == one for one in cells))
        case Compared(left=left, operator=operator, right=right):
            return _compared(left, operator, right, places, used)


def _missing(place: Place | None) -> Test | None:
    if place is None or place.kind is Kind.DOUBLE:  # NaN is missing for the engine
        return None
    if place.kind is Kind.TEXT:
        return sql.or_(place.cell.is_(None), sql.and_(place.cell.is_not(None), place.cell == ""))
    return place.cell.is_(None)


def _compared(
    left: Value, operator: Operator, right: Value, places: Mapping[str, Place], used: dict[str, Place]
) -> Test | None:
    place = _place(left, places, used) or _place(right, places, used)
    if place is None or (place.kind in {Kind.TEXT, Kind.TRUTH} and operator not in _TEXTS):
        return None
    one, other = (_side(value, place.kind, places, used) for value in (left, right))
    if one is None or other is None:
        return None
    return one.op("<>" if operator is Operator.UNEQUAL else operator.value, is_comparison=True)(other)


def _side(
    value: Value, kind: Kind, places: Mapping[str, Place], used: dict[str, Place]
) -> sql.ColumnElement[Any] | None:
    if isinstance(value, Constant):
        return _constant(kind, value.value)
    place = _place(value, places, used)
    return place.cell if place is not None and place.kind is kind else None


def _place(value: Value, places: Mapping[str, Place], used: dict[str, Place]) -> Place | None:
    if not isinstance(value, Name) or value.name not in places:
        return None
    used[value.name] = places[value.name]
    return places[value.name]


def _constant(kind: Kind, value: bool | float | str | date) -> sql.ColumnElement[Any] | None:
    """Return a constant as a bound parameter; None if the engine would compare it in another type."""
    match kind, value:
        case (Kind.TRUTH, bool()):
            return sql.literal(value, sql.Boolean())
        case (Kind.WHOLE, int()) if not isinstance(value, bool):
            return sql.literal(value, sql.BigInteger())
        case (Kind.DOUBLE, int() | float()) if not isinstance(value, bool):
            return sql.literal(float(value), sql.Double())
        case (Kind.TEXT, str()) if "\0" not in value:
            return sql.literal(value, sql.Text())
        case (Kind.DAY, date()):
            return sql.literal(value, sql.Date())
        case _:
            return None
