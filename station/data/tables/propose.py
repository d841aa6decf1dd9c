"""Which columns could a table have, going by what is in it?

A proposal for the operator, who knows what the columns mean. Words of a category are proposed only if each stands in many
rows: what is described is published, and nothing of small groups may be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from security.tables.column import COLUMN_NAMES, LONGEST_VALUE, Column, ColumnType
from station.data.tables.cell import cell_of
from station.data.tables.engine import Engine
from station.data.tables.scan import kinds_in, scan
from station.data.tables.source import Described, Staged

MOST_WORDS: Final = 20
LEAST_ROWS: Final = 10
"""Of each word of a category that is proposed."""

_TRIED: Final = (ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.DATE, ColumnType.BOOLEAN)
_TELLING: Final = re.compile(
    r"(?:^|_)(?:patient|patid|pid|subject|person|mrn|id)(?:_|$)|_id$|Id$|^(?:subject|patient)\.reference$", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Columns as they could be described, and which of them may tell patients apart."""

    columns: tuple[Described, ...]
    patient: str | None


def propose(engine: Engine, staged: Staged) -> Proposal:
    """Look at every row, and propose columns of whatever type all their cells are."""
    kinds = kinds_in(engine, staged)
    names = dict(zip(kinds, _plain_names(tuple(kinds)), strict=True))
    columns = tuple(_proposed(engine, staged, place, kind, names[place]) for place, kind in kinds.items())
    telling = [one.column.name for one in columns if one.column.type is ColumnType.IDENTIFIER]
    return Proposal(columns=columns, patient=telling[0] if telling else None)


def _proposed(engine: Engine, staged: Staged, place: str, kind: str, name: str) -> Described:
    if place in staged.types:
        return Described(column=Column(name=name, type=staged.types[place]), origin=place)
    if _TELLING.search(place.lower()):
        return Described(column=Column(name=name, type=ColumnType.IDENTIFIER), origin=place)
    words = _words(engine, staged, place)
    fitting = [one for one in _TRIED if _fits(engine, staged, place, kind, one)]
    if fitting and not (fitting[0] is ColumnType.BOOLEAN and words == ("0", "1")):
        return Described(column=Column(name=name, type=fitting[0]), origin=place)
    if words is None:
        return Described(column=Column(name=name, type=ColumnType.TEXT), origin=place)
    return Described(column=Column(name=name, type=ColumnType.CATEGORY, values=words), origin=place)


def _fits(engine: Engine, staged: Staged, place: str, kind: str, wanted: ColumnType) -> bool:
    """Whether every cell is of a type, and at least one is there."""
    cell = cell_of(Described(column=Column(name="one", type=wanted), origin=place), place, kind, staged.spelling)
    ((bad, there),) = engine.rows(
        f"SELECT count(*) FILTER ({cell.bad}), count({cell.value}) FILTER (NOT ({cell.bad})) FROM {scan(staged)}"
    )
    return not bad and bool(there)


def _words(engine: Engine, staged: Staged, place: str) -> tuple[str, ...] | None:
    """Return the words of a column, if they are few and none of them is rare."""
    cell = cell_of(
        Described(column=Column(name="one", type=ColumnType.TEXT), origin=place),
        place,
        kinds_in(engine, staged)[place],
        staged.spelling,
    )
    found = engine.rows(
        f"SELECT {cell.value} AS word, count(*) AS rows FROM {scan(staged)} WHERE {cell.value} IS NOT NULL"
        f" GROUP BY word ORDER BY word LIMIT {MOST_WORDS + 1}"
    )
    few = 0 < len(found) <= MOST_WORDS and all(
        rows >= LEAST_ROWS and len(word) <= LONGEST_VALUE for word, rows in found
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
