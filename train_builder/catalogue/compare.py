"""Where do hospitals describe the same column differently?

What differs is seen before anything is sent: a column that is not there, another type, unit of measurement, code system, or
other words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from security.catalogue import CatalogueEntry
from security.ids import PartyId
from security.tables.column import Column, column_named

_MEANING = ("type", "measure", "coding", "values")
"""What an analysis must know; ranges differ as patients do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One column over all stations that have the data set: who describes it how, and in what they `differ`."""

    name: str
    at: Mapping[PartyId, Column | None]
    differ: tuple[str, ...]

    @property
    def missing(self) -> tuple[PartyId, ...]:
        """The stations that do not have it."""
        return tuple(party for party, column in self.at.items() if column is None)


def compare(entries: Mapping[PartyId, CatalogueEntry]) -> tuple[Compared, ...]:
    """Put the columns of a data set beside each other, in the order in which stations list them."""
    names = dict.fromkeys(column.name for one in entries.values() for column in one.columns or ())
    return tuple(_compared(name, entries) for name in names)


def _compared(name: str, entries: Mapping[PartyId, CatalogueEntry]) -> Compared:
    at = {party: column_named(one.columns or (), name) for party, one in entries.items()}
    there = [column for column in at.values() if column is not None]
    return Compared(name=name, at=at, differ=tuple(_differing(there)))


def _differing(columns: list[Column]) -> Iterator[str]:
    for aspect in _MEANING:
        said = {_said(column, aspect) for column in columns}
        if len(said) > 1:
            yield aspect


def _said(column: Column, aspect: str) -> object:
    value = getattr(column, aspect)
    return frozenset(value) if aspect == "values" and value is not None else value
