"""What has happened here, in order, for good?

A log that only grows (`log`), which finds its records by what they are about (`index`), and a hash chain over them
(`chain`). Nothing of it is kept in memory but the visits under way, and a few that have just ended. A visit is signed once
and a train accepted once at a stop: asked first, for a clear answer, and held by the log whatever was answered.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from security.digest import Digest
from security.errors import Forked, Replayed
from security.ids import TrainId
from station.errors import AlreadySigned, JournalDamaged, JournalRaced, JournalTruncated, LogMoved, VisitUnknown
from station.journal.chain import START, Head, Record, broken, check_chain, follow, link, parse_record
from station.journal.log import Log
from station.journal.sqlite import SqliteLog
from station.visit.events import Accepted, ArrivalId, Signed, VisitEvent, lasts
from station.visit.state import Visit, replay, resume
from station.visit.station_events import Event, HeadSigned, StationEvent

_LATELY: Final = 64
"""Visits that are over and still in memory: whoever has just seen one end asks what it has left."""


class Journal:
    """The journal of one station. Several processes and threads may use it; whoever loses a race gets an error."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lock = threading.RLock()
        self._seen: int | None = None
        self._folded: dict[ArrivalId, Visit] = {}
        self._stale: set[ArrivalId] = set()
        self._over: deque[ArrivalId] = deque()
        self._touched: set[ArrivalId] = set()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the journal at `path`; begin an empty one if there is none.

        Raises:
            JournalDamaged: the file is something else, or was written by a newer version.
            FileMissing: the folder cannot be written.
        """
        return cls(SqliteLog.open(path))

    @classmethod
    def in_memory(cls) -> Self:
        """Begin an empty journal that ends with the process: for tests, which write thousands."""
        return cls(SqliteLog.in_memory())

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- Writing

    def append(self, visit: ArrivalId, event: VisitEvent, *, expect: int) -> Head:
        """Record what happened to a visit; durable when it returns, if the event `lasts`.

        `expect` is the number of events the caller knows of (`Visit.length`; 0 for a new visit).

        Raises:
            JournalRaced: there are more events by now. Nothing was recorded.
            Replayed: this train was accepted at this stop before, in another visit.
            Forked: likewise, and the two deliveries carry different parts.
            AlreadySigned: this visit has its one signature.
            DiskFull: nothing was recorded.
        """
        with self._lock:
            while True:
                end = self._log.head()  # first: what is found next may be newer, and then this end is refused
                known = self.find(visit)
                length = known.length if known else 0
                if length != expect:
                    msg = "the visit was updated concurrently"
                    raise JournalRaced(msg, visit=visit.short, expected=expect, found=length)
                self._refuse_second(visit, known, event)
                try:
                    after = self._add(end, visit, length, event)
                except LogMoved:
                    continue
                self._fold(visit, known, (event,))
                self._seen = after.sequence  # whatever came before was taken in, or the log would have moved
                self._touched.add(visit)
                return after

    def note(self, event: StationEvent) -> Head:
        """Record what happened at the station outside any visit."""
        with self._lock:
            while True:
                try:
                    return self._add(self._log.head(), None, None, event)
                except LogMoved:
                    continue

    def _refuse_second(self, visit: ArrivalId, known: Visit | None, event: VisitEvent) -> None:
        if isinstance(event, Signed) and known is not None and known.signed:
            msg = "this visit was signed before"
            raise AlreadySigned(msg, visit=visit.short)
        if not isinstance(event, Accepted):
            return
        first = self.accepted(event.train, event.stop)
        if first is not None:
            again = Replayed if first.accepted is not None and first.accepted.same_parts(event) else Forked
            msg = "this train was at this stop before"
            raise again(msg, train=event.train.short, place=event.place, first=first.arrival.short, second=visit.short)

    def _add(self, before: Head, visit: ArrivalId | None, position: int | None, event: Event) -> Head:
        record = Record(sequence=before.sequence + 1, visit=visit, position=position, event=event).to_bytes()
        after = link(before, record)
        write = self._log.append if lasts(event) else self._log.add
        write(record, after=before, head=after)
        return after

    # --- Reading

    def head(self) -> Head:
        """Return the end of the chain."""
        return self._log.head()

    def visit(self, arrival: ArrivalId) -> Visit:
        """Return a visit.

        Raises:
            VisitUnknown: there is none.
        """
        visit = self.find(arrival)
        if visit is None:
            msg = "no such visit"
            raise VisitUnknown(msg, visit=arrival.short)
        return visit

    def find(self, arrival: ArrivalId) -> Visit | None:
        """Return a visit, if there is one. Of a visit under way, only what is new is read: the rest cannot have changed."""
        with self._lock:
            self._take_in_news()
            return self._up_to_date(arrival)

    def accepted(self, train: TrainId, stop: int) -> Visit | None:
        """Return the visit in which this train was accepted at this stop, if it was."""
        arrival = self._log.index.accepted(train, stop)
        return None if arrival is None else self.visit(arrival)

    def beginning(self, digits: str) -> tuple[Visit, ...]:
        """Return the visits whose name, or whose train's id, begins with these digits, in the order of their arrival."""
        return tuple(map(self.visit, self._log.index.beginning(digits)))

    def arrivals(self, newest: int | None = None) -> tuple[ArrivalId, ...]:
        """Return the names of all visits, or of so many of the newest, oldest first."""
        return self._log.index.arrivals(newest)

    def count(self) -> int:
        """Return how many visits there are and were."""
        return self._log.index.count()

    def unfinished(self) -> tuple[ArrivalId, ...]:
        """Return the names of the visits that have not departed, oldest first."""
        return self._log.index.under_way()

    def going_on(self) -> tuple[Visit, ...]:
        """Return the visits that have not departed, oldest first."""
        with self._lock:
            self._take_in_news()
            found = map(self._up_to_date, self._log.index.under_way())
            return tuple(visit for visit in found if visit is not None)

    def finished(self, *, after: int = 0, until: int) -> tuple[ArrivalId, ...]:
        """Return the names of the visits whose departure is a record after one number and until another, in that order."""
        return self._log.index.departed(after=after, until=until)

    def age(self, arrival: ArrivalId) -> int:
        """Return the number of the record a visit began with: the older, the smaller."""
        return self._log.index.began(arrival)

    def touched(self) -> frozenset[ArrivalId]:
        """Return the visits that something was recorded for since this was last asked, here or by another process."""
        with self._lock:
            self._take_in_news()
            news, self._touched = frozenset(self._touched), set()
            return news

    def news(self, after: int) -> tuple[int, frozenset[ArrivalId]]:
        """Return the number of the newest record, and which visits the records after number `after` are about."""
        return self._log.index.news(after)

    def records(self) -> Iterator[tuple[bytes, Digest]]:
        """Yield every record as stored, with the hash stored beside it: what `chain.check_chain` takes."""
        return ((stored.record, stored.hash) for stored in self._log.read())

    def newest(self) -> datetime | None:
        """Return when the newest record was written, if there is any."""
        last = next(self._log.read(max(0, self._log.head().sequence - 1)), None)
        return None if last is None else parse_record(last.record).event.at

    def station_events(self, kind: type[StationEvent] | None = None, *, after: int = 0) -> tuple[StationEvent, ...]:
        """Return the events outside any visit, all or those of a kind, of the records after a number; oldest first."""
        found = self._log.index.outside(None if kind is None else kind.kind, after=after)
        news = (parse_record(raw).event for raw in found)
        return tuple(event for event in news if isinstance(event, StationEvent))

    def last_signed_head(self) -> HeadSigned | None:
        """Return the newest signed head, if there is one."""
        raw = self._log.index.newest(HeadSigned.kind)
        event = None if raw is None else parse_record(raw).event
        return event if isinstance(event, HeadSigned) else None

    def was_redelivered(self, arrival: ArrivalId) -> bool:
        """Whether there is a record already that this arrival came again after its visit was over."""
        return self._log.index.redelivered(arrival)

    def _take_in_news(self) -> None:
        """Note which visits anything was recorded for since the last look, by whichever process."""
        if self._seen is None:
            self._seen = self._log.head().sequence
        self._seen, news = self._log.index.news(self._seen)
        self._touched |= news
        self._stale |= news & self._folded.keys()

    def _up_to_date(self, arrival: ArrivalId) -> Visit | None:
        known = self._folded.get(arrival)
        if known is not None and arrival not in self._stale:
            return known
        events = self._events(arrival, known.length if known else 0)
        self._stale.discard(arrival)
        return self._fold(arrival, known, events)

    def _fold(self, arrival: ArrivalId, known: Visit | None, events: Sequence[VisitEvent]) -> Visit | None:
        visit = known
        if events:
            visit = replay(events) if known is None else resume(known, events)
        if visit is None:
            return None
        self._folded[arrival] = visit
        if visit.departed is not None:  # it will not change any more, and will soon not be asked for
            self._over.append(arrival)
            if len(self._over) > _LATELY:
                self._folded.pop(self._over.popleft(), None)
        return visit

    def _events(self, arrival: ArrivalId, length: int) -> tuple[VisitEvent, ...]:
        events: list[VisitEvent] = []
        for raw in self._log.index.of(arrival, length):
            record = parse_record(raw)
            if (record.visit, record.position) != (arrival, length + len(events)):
                msg = "an event of a visit is missing or misplaced"
                raise JournalDamaged(msg, sequence=record.sequence)
            if isinstance(record.event, VisitEvent):
                events.append(record.event)
        return tuple(events)

    # --- Checking

    def check(self) -> Head:
        """Follow the whole chain, and look into every record.

        Raises:
            JournalDamaged: a record was changed, removed, added or moved, or the index tells of others.
        """
        head = check_chain(self.records())
        self._log.index.check()
        return head

    def follow(self, since: Head = START) -> Head:
        """Follow the chain from an end that it is known to have had, or whole, without looking into the records.

        Raises:
            JournalTruncated: it ends before that.
            JournalDamaged: it never had that end, or a record after it was changed, removed, added or moved.
        """
        stored = self._log.read(since.sequence - 1 if since.sequence else 0)
        if since.sequence:
            first = next(stored, None)
            if first is None:
                msg = "records that were there are missing at the end"
                raise JournalTruncated(msg, signed=since.sequence)
            if (first.sequence, first.hash) != (since.sequence, since.hash):
                msg = "the journal is not the one whose head was signed"
                raise JournalDamaged(msg, signed=since.sequence)
        head = since
        for one in stored:
            head = follow(head, one.record, one.hash)
            if one.sequence != head.sequence:
                raise broken(head)
        if since == START:
            self._log.index.check()
        return head
