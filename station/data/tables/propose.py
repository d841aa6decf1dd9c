"""Which columns could a table have, going by what is in it?

A proposal for the operator, who knows what the columns mean. Words of a category are proposed only if each stands in the rows
of many patients: what is described is published, and nothing of small groups may be. Where nothing tells patients apart, a
row stands for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from security.tables.column import COLUMN_NAMES, LONGEST_VALUE, Column, ColumnType
from station.data.tables.cell import cell_of
from station.data.tables.engine import Engine, named
from station.data.tables.scan import kinds_in, scan
from station.data.tables.source import Described, Staged

MOST_WORDS: Final = 20
LEAST_PATIENTS: Final = 10
"""Of each word of a category that is proposed."""

_UNNAMED: Final = "one"
_TRIED: Final = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.DATE, ColumnType.BOOLEAN)
_TELLING: Final = re.compile(
    r"(?:^|_)(?:patient|patid|pid|subject|person|mrn|id)(?:_|$)|_id$|Id$|^(?:subject|patient)\.reference$", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Columns as they could be described, and which of them may tell patients apart."""

    columns: tuple[Described, ...]
    patient: str | None


def propose(engine: Engine, staged: Staged, patient: str | None = None) -> Proposal:
    """Look at every row, and propose columns of whatever type all their cells are: those that were asked for.

    `patient` is what the source calls the column that tells patients apart, if that is known.
    """
    asked = set(staged.names.values())
    kinds = {place: kind for place, kind in kinds_in(engine, staged).items() if place in asked}
    names = dict(zip(kinds, _plain_names(tuple(kinds)), strict=True))
    telling = [place for place in kinds if _type_of(staged, place) is ColumnType.IDENTIFIER]
    apart = patient if patient in kinds else next(iter(telling), None)
    columns = (_proposed(engine, staged, place, kind, apart) for place, kind in kinds.items())
    called = tuple(
        Described(column=replace(one, name=names[place]), origin=place)
        for place, one in zip(kinds, columns, strict=True)
    )
    return Proposal(columns=called, patient=names[telling[0]] if telling else None)


def _type_of(staged: Staged, place: str) -> ColumnType | None:
    """Return the type of a column whose cells need not be looked at."""
    telling = ColumnType.IDENTIFIER if _TELLING.search(place.lower()) else None
    return staged.types.get(place, telling)


def _proposed(engine: Engine, staged: Staged, place: str, kind: str, patient: str | None) -> Column:
    """Return a column as it could be, but for its name."""
    known = _type_of(staged, place)
    if known is not None:
        return Column(name=_UNNAMED, type=known)
    words = _words(engine, staged, place, patient)
    fitting = [one for one in _TRIED if _fits(engine, staged, place, kind, one)]
    if fitting and not (fitting[0] is ColumnType.BOOLEAN and words == ("0", "1")):
        return Column(name=_UNNAMED, type=fitting[0])
    if words is None:
        return Column(name=_UNNAMED, type=ColumnType.TEXT)
    return Column(name=_UNNAMED, type=ColumnType.CATEGORY, values=words)


def _fits(engine: Engine, staged: Staged, place: str, kind: str, wanted: ColumnType) -> bool:
    """Whether every cell is of a type, and at least one is there."""
    cell = cell_of(Described(column=Column(name=_UNNAMED, type=wanted), origin=place), place, kind, staged)
    ((bad, there),) = engine.rows(
        f"SELECT count(*) FILTER ({cell.bad}), count({cell.value}) FILTER (NOT ({cell.bad})) FROM {scan(staged)}"
    )
    return not bad and bool(there)


def _words(engine: Engine, staged: Staged, place: str, patient: str | None) -> tuple[str, ...] | None:
    """Return the words of a column, if they are few and none of them is rare."""
    count = "count(*)" if patient is None else f"count(DISTINCT {named(patient)})"
    cell = cell_of(
        Described(column=Column(name=_UNNAMED, type=ColumnType.TEXT), origin=place),
        place,
        kinds_in(engine, staged)[place],
        staged,
    )
    found = engine.rows(
        f"SELECT {cell.value} AS word, {count} AS patients FROM {scan(staged)} WHERE {cell.value} IS NOT NULL"
        f" GROUP BY word ORDER BY word LIMIT {MOST_WORDS + 1}"
    )
    few = 0 < len(found) <= MOST_WORDS and all(
        patients >= LEAST_PATIENTS and len(word) <= LONGEST_VALUE for word, patients in found
    )
    return tuple(word for word, _ in found) if few else None


def _plain_names(places: tuple[str, ...]) -> Iterator[str]:
    """Yield a name that trains can use for each column of a source."""
    taken: set[str] = set()
    for number, place in enumerate(places, start=1):
        plain = re.sub(r"[^A-Za-z0-9]+", "_", place).strip("_")[:50]
        name = plain if re.fullmatch(COLUMN_NAMES, plain) else f"column_{number}"
        while name.lower() in taken:
            name = f"{name}_{number}"
        taken.add(name.lower())
        yield name
