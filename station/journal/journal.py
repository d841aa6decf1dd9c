"""What has happened here, in order, for good?

A log that only grows (`log`), a hash chain over its records (`chain`), and an index of what they say (`index`), which is
made from them. A visit is signed once and a train accepted once at a stop: asked of the index for a clear answer, and held
by the log whatever the index believes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from security.digest import Digest
from security.errors import Forked, Replayed
from security.ids import TrainId
from security.train.route import counted
from station.errors import AlreadySigned, JournalRaced, LogMoved, VisitUnknown
from station.journal.chain import Head, Record, check_chain, link, parse_record
from station.journal.index import Index
from station.journal.log import Log
from station.journal.sqlite import SqliteLog
from station.visit.events import Accepted, ArrivalId, Signed, VisitEvent, lasts
from station.visit.state import Visit, replay, resume
from station.visit.station_events import Event, HeadSigned, StationEvent


class Journal:
    """The journal of one station. Several processes and threads may use it; whoever loses a race gets an error."""

    def __init__(self, log: Log) -> None:
        self._log, self._index = log, Index()
        self._lock = threading.RLock()
        self._folded: dict[ArrivalId, Visit] = {}
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
                known = len(self._read().of(visit))
                if known != expect:
                    msg = "the visit was updated concurrently"
                    raise JournalRaced(msg, visit=visit.short, expected=expect, found=known)
                self._refuse_second(visit, event)
                try:
                    return self._add(visit, known, event)
                except LogMoved:
                    continue

    def note(self, event: StationEvent) -> Head:
        """Record what happened at the station outside any visit."""
        with self._lock:
            while True:
                self._read()
                try:
                    return self._add(None, None, event)
                except LogMoved:
                    continue

    def _refuse_second(self, visit: ArrivalId, event: VisitEvent) -> None:
        if isinstance(event, Signed) and visit in self._index.signed:
            msg = "this visit was signed before"
            raise AlreadySigned(msg, visit=visit.short)
        if not isinstance(event, Accepted):
            return
        first = self.accepted(event.train, event.stop)
        if first is not None:
            again = Replayed if first.accepted is not None and first.accepted.same_parts(event) else Forked
            msg = "this train was at this stop before"
            raise again(
                msg, train=event.train.short, stop=counted(event.stop), first=first.arrival.short, second=visit.short
            )

    def _add(self, visit: ArrivalId | None, position: int | None, event: Event) -> Head:
        before = self._index.head
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
            index = self._read()
            sequences, known = index.of(arrival), self._folded.get(arrival)
            fresh = self._log.at(sequences[known.length if known else 0 :])
            if fresh:
                news = (parse_record(raw).event for raw in fresh)
                events = tuple(event for event in news if isinstance(event, VisitEvent))
                known = resume(known, events) if known else replay(events)
            if known is not None and arrival in index.open:
                self._folded[arrival] = known
            else:
                self._folded.pop(arrival, None)  # it will not change any more, and is seldom asked for
            return known

    def accepted(self, train: TrainId, stop: int) -> Visit | None:
        """Return the visit in which this train was accepted at this stop, if it was."""
        with self._lock:
            arrival = self._read().where(train, stop)
            return None if arrival is None else self.visit(arrival)

    def arrivals(self) -> tuple[ArrivalId, ...]:
        """Return the names of all visits, oldest first."""
        with self._lock:
            return tuple(self._read().visits)

    def unfinished(self) -> tuple[ArrivalId, ...]:
        """Return the names of the visits that have not departed, oldest first."""
        with self._lock:
            return tuple(self._read().open)

    def age(self, arrival: ArrivalId) -> int:
        """Return the number of the record a visit began with: the older, the smaller."""
        with self._lock:
            return next(iter(self._read().of(arrival)), 0)

    def touched(self) -> frozenset[ArrivalId]:
        """Return the visits that something was recorded for since this was last asked, here or by another process."""
        with self._lock:
            self._read()
            news, self._touched = frozenset(self._touched), set()
            return news

    def records(self) -> Iterator[tuple[bytes, Digest]]:
        """Yield every record as stored, with the hash stored beside it: what `chain.check_chain` takes."""
        return ((stored.record, stored.hash) for stored in self._log.read())

    def station_events(self) -> tuple[StationEvent, ...]:
        """Return the events outside any visit, oldest first."""
        with self._lock:
            news = (parse_record(raw).event for raw in self._log.at(self._read().station))
            return tuple(event for event in news if isinstance(event, StationEvent))

    def last_signed_head(self) -> HeadSigned | None:
        """Return the newest signed head, if there is one."""
        with self._lock:
            sequence = self._read().signed_head
            event = None if sequence is None else parse_record(self._log.at((sequence,))[0]).event
        return event if isinstance(event, HeadSigned) else None

    def was_redelivered(self, arrival: ArrivalId) -> bool:
        """Whether there is a record already that this arrival came again after its visit was over."""
        with self._lock:
            return arrival in self._read().redelivered

    def check(self) -> Head:
        """Follow the whole chain.

        Raises:
            JournalDamaged: a record was changed, removed, added or moved.
        """
        return check_chain(self.records())

    def _read(self) -> Index:
        """Take in what was recorded since the last look, by whichever process."""
        self._touched |= self._index.read(self._log.read(self._index.head.sequence))
        return self._index
