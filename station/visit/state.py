"""Where does a visit stand, given everything that has happened to it?

A visit is a fold over its events and nothing else: no status column, nothing to get out of step. Losing the workroom
takes back whatever was derived from it, and so does using an approval up, so that no fact outlives its reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from security.digest import Digest
from station.errors import JournalDamaged
from station.visit.events import (
    Accepted,
    Admitted,
    Approved,
    ArrivalId,
    Boarded,
    Cleared,
    Departed,
    Ended,
    Fetched,
    Furnished,
    Held,
    HoldFor,
    Noticed,
    Opened,
    Pushed,
    ReceiptSent,
    Refused,
    RoomLost,
    RunFault,
    Sealed,
    Signed,
    Started,
    Stumbled,
    Superseded,
    VisitEvent,
    Wiped,
)
from station.visit.parts import plain

INTERNAL: Final = "internal"
"""The code of a stumble that was a bug of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One arrival at this station, as the journal tells it. A field is ``None`` until its event was recorded."""

    events: tuple[VisitEvent, ...]
    noticed: Noticed
    fetched: Fetched | None = None
    accepted: Accepted | None = None
    admitted: Admitted | None = None
    boarded: Boarded | None = None
    furnished: Furnished | None = None
    started: Started | None = None
    ended: Ended | None = None
    cleared: Cleared | None = None
    sealed: Sealed | None = None
    wiped: Wiped | None = None
    signed: Signed | None = None
    pushed: Pushed | None = None
    receipt: ReceiptSent | None = None
    departed: Departed | None = None
    refused: Refused | None = None
    superseded: Superseded | None = None
    fault: RunFault | None = None
    held: Held | None = None
    approval: Approved | None = None
    """A person's yes that the next step may use, once."""
    asked: Held | None = None
    """What that person was asked."""
    stumbled: Stumbled | None = None
    """The newest stumble since the last progress."""
    stumbles: int = 0
    internal_stumbles: int = 0
    attempt: int = 1
    """Which run this is, from 1; never used twice, as containers are named after it."""
    rooms_lost: int = 0
    """Workrooms lost since the beginning, or since a person looked."""

    @property
    def arrival(self) -> ArrivalId:
        """What the visit is called."""
        return self.noticed.arrival

    @property
    def length(self) -> int:
        """How many events there are: what `Journal.append` wants as `expect`."""
        return len(self.events)

    @property
    def not_before(self) -> datetime | None:
        """When the next step may be tried, if the last try stumbled."""
        return self.stumbled.not_before if self.stumbled else None

    @property
    def blobs(self) -> frozenset[Digest]:
        """What the spool must keep for this visit: what arrived, as evidence, and what was made from it."""
        found: set[Digest] = set()
        if self.fetched:
            found.update(blob.digest for blob in self.fetched.blobs)
        if self.sealed:
            found.add(self.sealed.blob)
        if self.wiped and self.wiped.printed:
            found.add(self.wiped.printed.digest)
        if self.signed:
            found |= {self.signed.envelope, self.signed.letter}
        return frozenset(found)

    def approved_for(self, hold: HoldFor, reason: str, analysis: Digest | None = None) -> Approved | None:
        """A person's approval for exactly this question, with the reason that person was told, not yet used up."""
        same = self.asked is not None and (self.asked.hold, self.asked.reason) == (hold, plain(reason))
        yes = self.approval
        return yes if yes and (yes.hold, yes.analysis) == (hold, analysis) and same else None


def replay(events: Iterable[VisitEvent]) -> Visit:
    """Fold the events of one visit, oldest first. Whether they were allowed is asked in `plan`.

    Raises:
        JournalDamaged: the first event, and no other, must be `Noticed`.
    """
    told = tuple(events)
    if not told or not isinstance(told[0], Noticed):
        msg = "a visit does not begin with being noticed"
        raise JournalDamaged(msg)
    return resume(Visit(events=told[:1], noticed=told[0]), told[1:])


def resume(visit: Visit, events: Iterable[VisitEvent]) -> Visit:
    """Fold the events that have come since.

    Raises:
        JournalDamaged: a visit is noticed once.
    """
    more = tuple(events)
    visit = replace(visit, events=visit.events + more)
    for event in more:
        visit = _after(visit, event)
    return visit


def _after(visit: Visit, event: VisitEvent) -> Visit:
    match event:
        case Noticed():
            msg = "a visit was noticed twice"
            raise JournalDamaged(msg, arrival=visit.arrival)
        case Stumbled():
            internal = visit.internal_stumbles + (event.code == INTERNAL)
            return replace(visit, stumbled=event, stumbles=visit.stumbles + 1, internal_stumbles=internal)
        case Opened():  # no question is asked here: the room exists or it does not
            return _onward(visit, approval=None)
        case Held():
            return _onward(visit, held=event)
        case Approved():
            return _onward(visit, approval=event, asked=visit.held, rooms_lost=0)
        case RoomLost():
            # State out is always computed from the state that came in, and a release is for the results it was about.
            return _onward(
                visit,
                furnished=None,
                started=None,
                ended=None,
                cleared=None,
                approval=None,
                attempt=visit.attempt + 1,
                rooms_lost=visit.rooms_lost + 1,
            )
        case _:
            return _onward(visit, **{"approval": None, _FIELD_OF[type(event)]: event})


def _onward(visit: Visit, **facts: object) -> Visit:
    onward: dict[str, Any] = {"held": None, "stumbled": None, "stumbles": 0, "internal_stumbles": 0}
    return replace(visit, **(onward | facts))


_FIELD_OF: Final[Mapping[type[VisitEvent], str]] = {
    Fetched: "fetched",
    Accepted: "accepted",
    Admitted: "admitted",
    Boarded: "boarded",
    Furnished: "furnished",
    Started: "started",
    Ended: "ended",
    Cleared: "cleared",
    Sealed: "sealed",
    Wiped: "wiped",
    Signed: "signed",
    Pushed: "pushed",
    ReceiptSent: "receipt",
    Departed: "departed",
    Refused: "refused",
    Superseded: "superseded",
    RunFault: "fault",
}
