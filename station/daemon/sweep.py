"""What lies in the spool that nothing refers to any more?

Asked after each departure and once an hour, and by an operator: `pht station sweep`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from security.digest import Digest
from station.daemon.retention import Remains, kept, remains_of
from station.house.config import Retention
from station.house.house import House
from station.house.spool import Spool
from station.journal.journal import Journal
from station.visit.events import ArrivalId, Blob
from station.visit.station_events import HeadSigned

ABANDONED: Final = timedelta(days=1)
"""After which a part of a blob is not gone on with: a registry that is away for longer sends all of it again."""


class Keeper:
    """Knows what the spool must keep. What visits that are over have left is read once: they do not change."""

    def __init__(self, journal: Journal, retention: Retention) -> None:
        self._journal, self._retention = journal, retention
        self._over: dict[ArrivalId, Remains] = {}

    def references(self, now: datetime) -> frozenset[Digest]:
        """Return every blob that something refers to."""
        found: set[Digest] = {event.envelope for event in self._heads()}
        going_on = set(self._journal.unfinished())
        for arrival in going_on:
            found |= self._journal.visit(arrival).blobs
        for arrival in self._journal.arrivals():
            if arrival not in going_on and arrival not in self._over:
                self._over[arrival] = remains_of(self._journal.visit(arrival))
        ended = sorted(self._over.values(), key=lambda one: one.since)
        return frozenset(found | kept(ended, self._retention, now))

    def _heads(self) -> Iterable[HeadSigned]:
        return (event for event in self._journal.station_events() if isinstance(event, HeadSigned))


def sweep(spool: Spool, keeper: Keeper, now: datetime) -> tuple[Blob, ...]:
    """Remove what nothing refers to; return what was removed. Nobody keeps what no event names yet meanwhile."""
    spool.clear_abandoned(now - ABANDONED)
    with spool.unswept():
        return spool.sweep(lambda: keeper.references(now))


class Sweeper:
    """The daemon's own sweeping."""

    def __init__(self, house: House, retention: Retention) -> None:
        self._spool, self._keeper = house.spool, Keeper(house.journal, retention)

    def sweep(self, now: datetime) -> tuple[Blob, ...]:
        """Remove what nothing refers to."""
        return sweep(self._spool, self._keeper, now)
