"""What has a table now, and what does its description say?

For the operator: columns that came, went, or hold something else than they did when they were described.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from security.tables.column import Column
from station.data.tables.engine import Engine
from station.data.tables.examine import Flaw, examine
from station.data.tables.propose import Proposal
from station.data.tables.scan import whole
from station.data.tables.source import Described, Staged
from station.errors import DataUnfit


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A column as it is `described`, and as it would be proposed now (`found`); None where it is only in one of them.

    `differs` says what is wrong with the description, in words for a person; nothing, if it can stay as it is.
    """

    origin: str
    described: Column | None
    found: Column | None
    differs: tuple[str, ...]


def compare(
    engine: Engine, staged: Staged, proposal: Proposal, columns: Sequence[Described], patient: str
) -> tuple[Compared, ...]:
    """Hold every described column against what the staged rows have, then name those that nobody described.

    A text that looks like numbers may stay a text: what differs is what no longer fits, and words nobody told of.

    Raises:
        DataUnfit: none of the columns is there. Nothing is told then of those that are: they may be somebody's row.
    """
    found = {one.origin: one.column for one in proposal.columns}
    places = {one.column.name: staged.names[one.column.name] for one in columns}
    if not set(places.values()) & set(found):
        msg = "none of the columns of a data set is there"
        raise DataUnfit(msg, hint="has the table lost its first row, with the names of its columns?")
    told = whole(engine, staged, lambda rows: examine(engine, rows, columns, patient))
    flaws = {one.column: one for one in told.flaws}
    compared = []
    for one in columns:
        name, now = one.column.name, found.get(places[one.column.name])
        differs = (
            ("no row has a value",) if name in told.empty else tuple(_differences(one.column, now, flaws.get(name)))
        )
        compared.append(Compared(origin=one.origin, described=one.column, found=now, differs=differs))
    fresh = [
        Compared(origin=one.origin, described=None, found=one.column, differs=("not in station.yaml",))
        for one in proposal.columns
        if one.origin not in places.values()
    ]
    return (*compared, *fresh)


def _differences(described: Column, found: Column | None, flaw: Flaw | None) -> Iterator[str]:
    if found is None:
        yield "not in the data any more"
        return
    if flaw is not None and flaw.bad:
        yield f"{flaw.bad} cells are no {described.type}, the first in row {flaw.first_row}"
    if flaw is not None and flaw.outside:
        yield f"{flaw.outside} cells are outside its range"
    if described.values is not None and found.values is not None:
        new = sorted(set(found.values) - set(described.values))
        gone = sorted(set(described.values) - set(found.values))
        if new:
            yield f"not in station.yaml: {', '.join(new)}"
        if gone:
            yield f"in no row any more: {', '.join(gone)}"
