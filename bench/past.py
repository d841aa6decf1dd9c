"""A station that has had many visits, without waiting for them: its journal is written as the daemon would have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from security.digest import Digest, digest_of
from security.ids import TrainId
from station.journal.chain import Record, link
from station.journal.log import Log
from station.visit.events import Accepted, Blob, Fetched, Noticed, Sealed, Signed, VisitEvent
from tests.support.visits import QUIET_DAY


def live_through(log: Log, visits: int) -> None:
    """Record so many visits that came, passed and left."""
    head = log.head()
    for number in range(visits):
        events = tuple(_a_quiet_day(number))
        for position, event in enumerate(events):
            record = Record(
                sequence=head.sequence + 1, visit=_named(number, "arrival"), position=position, event=event
            ).to_bytes()
            before, head = head, link(head, record)
            log.append(record, after=before, head=head)


def _a_quiet_day(number: int) -> Iterator[VisitEvent]:
    arrival = _named(number, "arrival")
    begun = QUIET_DAY[0].at - timedelta(days=10, minutes=-number)
    for event in QUIET_DAY:
        at = replace(event, at=begun)
        match at:
            case Noticed():
                yield replace(at, arrival=arrival, tag=f"t-{number:064x}")
            case Fetched():
                yield replace(
                    at,
                    letters=(Blob(digest=_named(number, "letter"), size=900),),
                    documents=(Blob(digest=_named(number, "manifest"), size=3000),),
                    sealed=(Blob(digest=_named(number, "code"), size=20000),),
                )
            case Accepted():
                yield replace(at, train=TrainId(_named(number, "train").hex))
            case Sealed():
                yield replace(at, blob=_named(number, "state out"))
            case Signed():
                yield replace(at, envelope=_named(number, "envelope"), letter=_named(number, "our letter"))
            case _:
                yield at


def _named(number: int, what: str) -> Digest:
    return digest_of(f"{what} {number}".encode())


def leave_documents(spool: Path, visits: int) -> None:
    """Put where a station keeps them what `live_through`'s visits have left: the documents of trains that passed."""
    spool.mkdir(exist_ok=True)
    for number in range(visits):
        for what in ("arrival", "letter", "manifest", "envelope", "our letter"):
            (spool / _named(number, what).hex).touch()
