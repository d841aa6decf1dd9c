"""What of a FHIR resource is in a column?

One value, or none. Several are an error, as are a quantity in another unit than the column's, one that is only a bound, and a
code of another code system: what a column says must be so in every row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from security.encoding import Json
from security.tables.column import ColumnType
from station.data.tables.fhir_path import Linked, Met, Object, Step, met, parse_path
from station.data.tables.source import Described

_UCUM: Final = "http://unitsofmeasure.org"
_DAY: Final = len("2026-11-27")


class CellUnfit(Exception):
    """A resource has no cell for a column, and why: in words that hold nothing of it."""

    def __init__(self, column: str, why: str) -> None:
        super().__init__(column, why)
        self.column, self.why = column, why


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A column, the path to its values, and what it is called in the staged file."""

    described: Described
    steps: tuple[Step, ...]
    header: str


def places_of(columns: Sequence[Described]) -> tuple[Place, ...]:
    """Return where columns are. Their paths are their names in the file, made different if they only differ in case.

    Raises:
        InvalidInput: an origin is no path.
    """
    taken: set[str] = set()
    found = []
    for one in columns:
        header, number = one.origin, 1
        while header.lower() in taken:
            number += 1
            header = f"{one.origin} #{number}"
        taken.add(header.lower())
        found.append(Place(described=one, steps=parse_path(one.origin), header=header))
    return tuple(found)


def cell(place: Place, resource: Object, linked: Linked, local: Callable[[str], str]) -> str:
    """Return the cell of a column; an empty one is a missing value. A reference is in it as `local` writes it: a patient has one name.

    Raises:
        CellUnfit: there are several values, or not one of a plain type, or in another unit.
    """
    found = met(place.steps, resource, linked)
    name = place.described.column.name
    if not found:
        return ""
    if len(found) > 1:
        raise CellUnfit(name, "several values in one resource: say which, by where(…), or first()")
    (one,) = found
    _need_exact(place, one)
    coding = place.described.column.coding
    system = one.owner.get("system")
    if coding is not None and system not in {None, coding} and one.owner.get("code") is one.value:
        raise CellUnfit(name, "a code is of another code system: say which, by where(system = '…')")
    if isinstance(one.value, str) and one.owner.get("reference") is one.value:
        return local(one.value)
    return _text(one.value, name, place.described.column.type)


def _need_exact(place: Place, one: Met) -> None:
    column = place.described.column
    if isinstance(one.value, str | bool) or one.owner.get("value") is not one.value:
        return  # no quantity
    if one.owner.get("comparator") is not None:
        raise CellUnfit(column.name, "a quantity is a bound (< or >): leave such out by where(comparator.empty())")
    if column.measure is None:
        return
    system, code = one.owner.get("system"), one.owner.get("code")
    unit = code if code is not None and system in {None, _UCUM} else one.owner.get("unit") if code is None else None
    if unit != column.measure:
        raise CellUnfit(column.name, "a quantity is in another unit, or in none: leave such out by where(code = '…')")


def _text(value: Json, column: str, kind: ColumnType) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if not isinstance(value, str):
        raise CellUnfit(column, "not a plain value: let the path go on to a field of it")
    return value[:_DAY] if kind is ColumnType.DATE and value[_DAY : _DAY + 1] == "T" else value
