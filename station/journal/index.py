"""Which records is a question about, out of all there are?

Asked of the place where the log lies, which keeps what finds them up to date with every record that is added: an answer
takes as long after ten thousand visits as after ten, and nothing is read when a process starts. What is found is parsed by
whoever acts on it, and names its visit and its position itself.
"""

from __future__ import annotations

from typing import Protocol

from security.ids import TrainId
from station.visit.events import ArrivalId


class Index(Protocol):
    """Finds records. Numbers are those of records, from 1; visits are told in the order of their arrival.

    Every method may raise `JournalDamaged`.
    """

    def of(self, visit: ArrivalId, position: int = 0) -> tuple[bytes, ...]:
        """Return the records of a visit from a position on, in order."""

    def began(self, visit: ArrivalId) -> int:
        """Return the number of the record a visit began with; 0 if there is no such visit."""

    def news(self, after: int) -> tuple[int, frozenset[ArrivalId]]:
        """Return the number of the newest record, and which visits the records after number `after` are about."""

    def arrivals(self, newest: int | None = None) -> tuple[ArrivalId, ...]:
        """Return all visits, or so many of the newest."""

    def count(self) -> int:
        """Return how many visits there are."""

    def under_way(self) -> tuple[ArrivalId, ...]:
        """Return the visits that have not departed."""

    def departed(self, *, after: int, until: int) -> tuple[ArrivalId, ...]:
        """Return the visits whose departure is a record after one number and until another, in that order."""

    def accepted(self, train: TrainId, stop: int) -> ArrivalId | None:
        """Return the visit in which a train was accepted at a stop."""

    def beginning(self, digits: str) -> tuple[ArrivalId, ...]:
        """Return the visits whose name, or whose train's id, begins with these digits."""

    def redelivered(self, visit: ArrivalId) -> bool:
        """Whether a record tells that this arrival came again."""

    def outside(self, kind: str | None = None, *, after: int = 0) -> tuple[bytes, ...]:
        """Return the records after number `after` that are outside any visit: all, or those of a kind."""

    def newest(self, kind: str) -> bytes | None:
        """Return the newest record of a kind that is outside any visit."""

    def check(self) -> None:
        """Compare what is kept besides the records with the records.

        Raises:
            JournalDamaged: it is not what follows from them.
        """
