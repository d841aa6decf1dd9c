"""Is a table as it is described?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from station.data.tables.cell import cell_of
from station.data.tables.engine import Engine, named
from station.data.tables.scan import first_bad, kinds_in, scan
from station.data.tables.source import Described, Staged
from station.data.tables.withdrawn import withdrew


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """What is different about a column: it is `absent`, or so many cells are not of its type, or not in its range."""

    column: str
    absent: bool = False
    bad: int = 0
    first_row: int | None = None
    outside: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found: for the operator's eyes, with exact numbers. `empty` are columns without a value in any row.

    Of the patients, `withdrawn` are on the list of those who withdrew.
    """

    rows: int
    patients: int
    without_patient: int
    flaws: tuple[Flaw, ...]
    empty: tuple[str, ...] = ()
    withdrawn: int = 0


def examine(
    engine: Engine, staged: Staged, columns: Sequence[Described], patient: str, withdrawn: Sequence[str] = ()
) -> Examination:
    """Look at every cell of every described column."""
    kinds = kinds_in(engine, staged)
    flaws = tuple(_flaws(engine, staged, columns, kinds))
    if any(one.absent and one.column == patient for one in flaws):
        return Examination(rows=0, patients=0, without_patient=0, flaws=flaws)
    place = staged.names.get(patient, patient)
    described = next(one for one in columns if one.column.name == patient)
    person = cell_of(described, place, kinds[place], staged).value
    ((rows, patients, without, left_out),) = engine.rows(
        f"SELECT count(*), count(DISTINCT person), count(*) FILTER (person IS NULL),"
        f" count(DISTINCT person) FILTER ({withdrew('person')}) FROM (SELECT {person} AS person FROM {scan(staged)})",
        [withdrawn],
    )
    empty = tuple(_empty(engine, staged, columns, kinds)) if rows else ()
    return Examination(
        rows=rows, patients=patients, without_patient=without, flaws=flaws, empty=empty, withdrawn=left_out
    )


def _empty(engine: Engine, staged: Staged, columns: Sequence[Described], kinds: Mapping[str, str]) -> Iterator[str]:
    places = {one.column.name: staged.names.get(one.column.name, one.column.name) for one in columns}
    there = {name: place for name, place in places.items() if place in kinds}
    counts = ", ".join(f"count({named(place)})" for place in there.values())
    (found,) = engine.rows(f"SELECT {counts} FROM {scan(staged)}")
    yield from (name for name, count in zip(there, found, strict=True) if not count)


def _flaws(engine: Engine, staged: Staged, columns: Sequence[Described], kinds: Mapping[str, str]) -> Iterator[Flaw]:
    for one in columns:
        name = one.column.name
        place = staged.names.get(name, name)
        if place not in kinds:
            yield Flaw(column=name, absent=True)
            continue
        cell = cell_of(one, place, kinds[place], staged)
        beyond = [
            f"{cell.value} {sign} CAST({bound} AS DOUBLE)"
            for sign, bound in (("<", one.column.least), (">", one.column.most))
            if bound is not None
        ]
        ((bad, outside),) = engine.rows(
            f"SELECT count(*) FILTER ({cell.bad}), count(*) FILTER (NOT ({cell.bad}) AND ({' OR '.join(beyond) or 'FALSE'}))"
            f" FROM {scan(staged)}"
        )
        if bad or outside:
            first = first_bad(engine, staged, cell) if bad else None
            yield Flaw(column=name, bad=bad, first_row=first, outside=outside)
