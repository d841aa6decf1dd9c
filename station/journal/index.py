"""What do the records of a journal say, so that it need not be read again to be asked?

A fold over the records, and nothing else: it is gone with the process, and made again from the log. It keeps where a
visit's records are, not what they say; of what must happen once, it knows that it has happened.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from security.digest import Digest
from security.errors import Malformed
from security.ids import TrainId
from station.errors import JournalDamaged
from station.journal.chain import START, Head
from station.journal.log import Stored
from station.visit.events import Accepted, ArrivalId, Departed, Noticed, Signed
from station.visit.station_events import HeadSigned, Redelivered

_NOTHING: Final[tuple[int, ...]] = ()


@dataclass(slots=True)
class Index:
    """Where everything stands in a log that was read up to `head`. Numbers are those of records, from 1."""

    head: Head = START
    visits: dict[ArrivalId, list[int]] = field(default_factory=dict)
    """The records of each visit, in order; the visits in the order of their arrival."""
    open: dict[ArrivalId, None] = field(default_factory=dict)
    """The visits that have not departed, in the order of their arrival."""
    accepted: dict[tuple[str, int], ArrivalId] = field(default_factory=dict)
    """In which visit a train was accepted at a stop."""
    signed: set[ArrivalId] = field(default_factory=set)
    redelivered: set[ArrivalId] = field(default_factory=set)
    station: list[int] = field(default_factory=list)
    """The records outside any visit."""
    signed_head: int | None = None
    """The newest record that tells of a signed head."""

    def read(self, news: Iterable[Stored]) -> set[ArrivalId]:
        """Take in the records that have come since; return which visits they are about.

        Raises:
            JournalDamaged: one of them is no record.
        """
        touched: set[ArrivalId] = set()
        for stored in news:
            arrival = self._take(stored)
            if arrival is not None:
                touched.add(arrival)
        return touched

    def of(self, arrival: ArrivalId) -> tuple[int, ...]:
        """Return the records of a visit."""
        return tuple(self.visits.get(arrival, _NOTHING))

    def where(self, train: TrainId, stop: int) -> ArrivalId | None:
        """Return the visit in which a train was accepted at a stop."""
        return self.accepted.get((train, stop))

    def _take(self, stored: Stored) -> ArrivalId | None:
        """Read as much of a record as is kept; who acts on what it says parses all of it (`chain.parse_record`)."""
        try:
            record: dict[str, Any] = json.loads(stored.record)
            arrival, event = record["visit"], record["event"]
            kind = event["kind"]
            self.head = Head(sequence=stored.sequence, hash=stored.hash)
            if arrival is None:
                self._note(stored.sequence, kind, event)
                return None
            about = Digest(arrival)
            self._visit(about, stored.sequence, kind, event)
        except (ValueError, KeyError, TypeError, AttributeError, Malformed) as error:
            msg = "not a journal record"
            raise JournalDamaged(msg, sequence=stored.sequence) from error
        return about

    def _note(self, sequence: int, kind: str, event: dict[str, Any]) -> None:
        self.station.append(sequence)
        if kind == HeadSigned.kind:
            self.signed_head = sequence
        elif kind == Redelivered.kind:
            self.redelivered.add(Digest(event["arrival"]))

    def _visit(self, arrival: ArrivalId, sequence: int, kind: str, event: dict[str, Any]) -> None:
        self.visits.setdefault(arrival, []).append(sequence)
        match kind:
            case Noticed.kind:
                self.open[arrival] = None
            case Departed.kind:
                self.open.pop(arrival, None)
            case Accepted.kind:
                self.accepted.setdefault((event["train"], event["stop"]), arrival)
            case Signed.kind:
                self.signed.add(arrival)
            case _:
                pass
