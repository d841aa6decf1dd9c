"""What lies in the spool that nothing refers to any more?

Asked after each departure about what the visit leaves behind, once an hour about everything, and by an operator: `pht
station sweep`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from security.digest import Digest
from security.ids import TrainId
from station.daemon.retention import Ending, Left, remains_of
from station.house.config import Retention
from station.house.house import House
from station.house.passes import PassKeys
from station.house.spool import Spool
from station.journal.journal import Journal
from station.visit.events import ArrivalId, Blob
from station.visit.state import Visit
from station.visit.station_events import HeadSigned

log = logging.getLogger(__name__)

SWEEP_EVERY: Final = timedelta(hours=1)
ABANDONED: Final = timedelta(days=1)
"""After which a part of a blob is not gone on with: a registry that is away for longer sends all of it again."""


class Keeper:
    """Knows what the spool must keep. A visit that is over is read once: it does not change.

    `passes` tell which trains are to come again: what they left is needed then, however old it is.
    """

    def __init__(self, journal: Journal, retention: Retention, passes: PassKeys | None = None) -> None:
        self._journal, self._left, self._passes = journal, Left(retention), passes
        self._read: int | None = None  # the newest record that was taken in
        self._heads: set[Digest] = set()
        self._going: dict[ArrivalId, frozenset[Digest]] = {}
        self._used: Counter[Digest] = Counter()  # by how many visits under way
        self._evidence: frozenset[Digest] = frozenset()
        self._needed: dict[TrainId, set[Digest]] = {}
        self._loose: set[Digest] = set()

    def references(self, now: datetime) -> frozenset[Digest]:
        """Return every blob that something refers to."""
        self._take_in(now)
        self._evidence = self._left.evidence(now)
        return frozenset(self._heads | (+self._used).keys() | self._left.kept(now) | self._to_come())

    def loosened(self, now: datetime) -> frozenset[Digest]:
        """Return what has lost a reason to be kept since this was last asked; it may have others (`among`).

        It is what visits that are over had, and evidence that newer evidence has displaced.
        """
        self._take_in(now)
        found, self._loose = frozenset(self._loose), set()
        return found

    def among(self, some: Collection[Digest], now: datetime) -> frozenset[Digest]:
        """Return which of some blobs something refers to. What has only become too old since `references` counts."""
        self._take_in(now)
        kept = self._heads | self._evidence | self._to_come()
        return frozenset(one for one in some if one in kept or self._used[one] or self._left.keeps(one, now))

    def _on_board(self) -> frozenset[TrainId]:
        return frozenset(self._passes.trains() if self._passes is not None else ())

    def _to_come(self) -> frozenset[Digest]:
        """Return what the trains have left here that are to come again."""
        on_board = self._on_board()
        self._needed = {train: documents for train, documents in self._needed.items() if train in on_board}
        return frozenset().union(*self._needed.values())

    def _take_in(self, now: datetime) -> None:
        """Take in what was recorded since the last time. Everything is read first: what fails changes nothing."""
        if self._read is None:
            read = self._journal.head().sequence
            over = self._visits(self._journal.finished(until=read))
            going: Iterable[Visit] = self._journal.going_on()
            heads = self._signed_heads(0)
            self._read = read
            self._note(over, going, heads, now)
        last, touched = self._journal.news(self._read)
        if last > self._read:
            gone = self._journal.finished(after=self._read, until=last)
            over, going = self._visits(gone), self._visits(touched - set(gone))
            heads = self._signed_heads(self._read)
            self._read = last
            self._note(over, going, heads, now)

    def _note(self, over: Collection[Visit], going: Iterable[Visit], heads: Collection[Digest], now: datetime) -> None:
        self._heads.update(heads)
        for visit in going:
            self._replace(visit.arrival, visit.blobs)
        judge, on_board = False, self._on_board() if over else frozenset[TrainId]()
        for visit in over:
            self._replace(visit.arrival, frozenset())
            left = remains_of(visit)
            self._left.add(left)
            self._loose |= visit.blobs
            if visit.accepted is not None and visit.accepted.train in on_board:
                self._needed.setdefault(visit.accepted.train, set()).update(left.documents)
            judge = judge or left.ending not in {Ending.PASSED, Ending.UNVERIFIED}
        if judge:
            before, self._evidence = self._evidence, self._left.evidence(now)
            self._loose |= before - self._evidence

    def _replace(self, arrival: ArrivalId, blobs: frozenset[Digest]) -> None:
        self._used.subtract(self._going.pop(arrival, frozenset()))
        if blobs:
            self._going[arrival] = blobs
            self._used.update(blobs)

    def _visits(self, arrivals: Iterable[ArrivalId]) -> list[Visit]:
        return [self._journal.visit(arrival) for arrival in arrivals]

    def _signed_heads(self, after: int) -> set[Digest]:
        events = self._journal.station_events(HeadSigned, after=after)
        return {event.envelope for event in events if isinstance(event, HeadSigned)}


def sweep(spool: Spool, keeper: Keeper, now: datetime) -> tuple[Blob, ...]:
    """Remove what nothing refers to; return what was removed. Nobody keeps what no event names yet meanwhile."""
    spool.clear_abandoned(now - ABANDONED)
    with spool.unswept():
        return spool.sweep(lambda: keeper.references(now))


def unlog(house: House) -> None:
    """Remove the runs of which something else than the station keeps what they print; a visit under way begins it again.

    Raises:
        SandboxUnavailable: the engine is away.
    """
    for name in house.sandbox.logged(house.name):
        log.warning("a container with a log of the engine's was removed", extra={"run": name})
        house.sandbox.remove(name)


def destroy_passes(house: House, now: datetime) -> None:
    """Destroy our keys for trains whose time is over, unless a visit of one is under way: it was let in before, and may end.

    A train that has finished, was refused or was lost elsewhere does not come back to say so (attack T26). Nothing is done without
    a directory that is in force: with one that has run out it may be our clock that is ahead, and the keys would be missed.

    Raises:
        Unavailable, DirectoryRejected: there is none now.
    """
    over = house.passes.over(now)
    if not over:
        return
    house.trust(now)
    going = {visit.accepted.train for visit in house.journal.going_on() if visit.accepted is not None}
    for train in over:
        if train not in going:
            log.info("the keys for a train were destroyed", extra={"train": train.short})
            house.passes.destroy(train)


class Sweeper:
    """The daemon's own sweeping."""

    def __init__(self, house: House, retention: Retention) -> None:
        self._house, self._spool, self._keeper = house, house.spool, Keeper(house.journal, retention, house.passes)
        self._whole: datetime | None = None

    def sweep(self, now: datetime) -> tuple[Blob, ...]:
        """Remove what nothing refers to: of everything once an hour, logs of the engine's and keys for trains included, otherwise of what may have become so.

        Raises:
            SandboxUnavailable, Unavailable, DirectoryRejected: the engine or the directory is away; the spool is swept.
        """
        if self._whole is None or not timedelta(0) <= now - self._whole < SWEEP_EVERY:
            self._spool.let_go()  # looked at with everything else
            self._keeper.loosened(now)
            removed, self._whole = sweep(self._spool, self._keeper, now), now
            try:
                destroy_passes(self._house, now)
            finally:
                unlog(self._house)
            return removed
        with self._spool.unswept():
            loose = self._spool.let_go() | self._keeper.loosened(now)
            return self._spool.sweep(lambda: self._keeper.among(loose, now), among=loose) if loose else ()
