"""What does the spool keep of visits that are over, and for how long?

Of a train that was sent on, the documents: the next party has the sealed blobs. Of one that did not pass, the documents and
the sealed blobs, as evidence, within an age and, together, a number of bytes. Of what was not verified, nothing:
strangers must not fill the disk (attack T17). What a failed run printed, sealed for this station, for as long as questions
may still come. The journal itself is never shortened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from security.digest import Digest
from security.errors import Forked, Replayed
from station.errors import VisitUnknown
from station.house.config import Retention
from station.visit.events import Blob
from station.visit.state import Visit

MOST_REPLAYS: Final = 64
"""Of which more is kept than the journal's record: anybody can deliver a train again, as often as they like."""


class Ending(StrEnum):
    """How a visit ended, as far as it matters for what is kept of it."""

    PASSED = "passed"
    ANSWERED = "answered"  # ended here, with a signed answer to its owner
    FORKED = "forked"
    REPLAYED = "replayed"
    REFUSED = "refused"  # before its owner was known
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """What a visit that is over has left in the spool.

    `documents` are signed and take up `document_bytes`, `sealed` is ciphertext of any size that arrived, `printed` what its run printed.
    """

    since: datetime
    ending: Ending
    documents: frozenset[Digest]
    sealed: tuple[Blob, ...]
    printed: Blob | None
    document_bytes: int = 0

    @property
    def blobs(self) -> frozenset[Digest]:
        """The sealed blobs."""
        return frozenset(blob.digest for blob in self.sealed)

    @property
    def sealed_bytes(self) -> int:
        """The size of the sealed blobs, in bytes."""
        return sum(blob.size for blob in self.sealed)


def remains_of(visit: Visit) -> Remains:
    """Return what a visit that is over has left.

    Raises:
        VisitUnknown: it is not over.
    """
    if visit.departed is None:
        msg = "this visit is not over"
        raise VisitUnknown(msg, visit=visit.arrival.short)
    fetched = visit.fetched
    documents = {blob.digest for blob in (*fetched.letters, *fetched.documents)} if fetched else set()
    documents |= {visit.signed.envelope, visit.signed.letter} if visit.signed else set()
    return Remains(
        since=visit.departed.at,
        ending=_ending(visit),
        documents=frozenset(documents),
        sealed=fetched.sealed if fetched else (),
        printed=visit.wiped.printed if visit.wiped else None,
        document_bytes=sum(blob.size for blob in fetched.letters + fetched.documents) if fetched else 0,
    )


class Left:
    """What visits that are over have left: each is taken in once, in the order in which they ended, and what is kept of it is told.

    Of trains that were sent on it is enough to know which documents they left when, and of what runs printed likewise.
    """

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._documents: dict[Digest, datetime] = {}
        self._printed: dict[Digest, datetime] = {}
        self._others: list[Remains] = []

    def add(self, one: Remains) -> None:
        """Take in a visit that is over."""
        if one.ending is Ending.PASSED:
            _note(self._documents, one.documents, one.since)
        elif one.ending is not Ending.UNVERIFIED:
            self._others.append(one)
        if one.printed is not None:
            _note(self._printed, (one.printed.digest,), one.since)

    def kept(self, now: datetime) -> frozenset[Digest]:
        """Return what the spool must keep."""
        rules = self._retention
        documents = {one for one, since in self._documents.items() if _young(since, rules.document_days, now)}
        printed = {one for one, since in self._printed.items() if _young(since, rules.printed_days, now)}
        return frozenset(documents | printed | self.evidence(now))

    def keeps(self, digest: Digest, now: datetime) -> bool:
        """Whether a blob must be kept as a document or as what was printed; as evidence, see `evidence`."""
        document, printed = self._documents.get(digest), self._printed.get(digest)
        return (document is not None and _young(document, self._retention.document_days, now)) or (
            printed is not None and _young(printed, self._retention.printed_days, now)
        )

    def evidence(self, now: datetime) -> frozenset[Digest]:
        """Return what is kept of trains that did not pass, within `Retention.evidence_bytes` for everything together.

        A fork proves a fraud: the first ones are kept, and no later flood displaces them. A replay proves nothing that the
        first delivery does not, and anybody can make one. Of the others the newest are kept, their documents before any
        sealed blob.
        """
        over, rules = self._others, self._retention
        replays = [one for one in over if one.ending is Ending.REPLAYED][-MOST_REPLAYS:]
        forks = [one for one in over if one.ending is Ending.FORKED]
        others = [one for one in reversed(over) if one.ending in {Ending.ANSWERED, Ending.REFUSED}]
        documents = [(one, rules.document_days, one.documents, one.document_bytes) for one in (*others, *replays[::-1])]
        sealed = [(one, rules.evidence_days, one.blobs, one.sealed_bytes) for one in others]
        first = [(one, rules.evidence_days, one.blobs, one.sealed_bytes) for one in forks]
        first += [(one, rules.document_days, one.documents, one.document_bytes) for one in forks]
        found: set[Digest] = set()
        left = rules.evidence_bytes
        for one, days, digests, size in (*first, *documents, *sealed):
            if _young(one.since, days, now) and size <= left:
                left -= size
                found |= digests
        return frozenset(found)


def _note(known: dict[Digest, datetime], digests: Iterable[Digest], since: datetime) -> None:
    for digest in digests:
        known[digest] = max(since, known.get(digest, since))


def _young(since: datetime, days: int, now: datetime) -> bool:
    return now - since < timedelta(days=days)


def _ending(visit: Visit) -> Ending:
    if visit.pushed:
        return Ending.PASSED
    if visit.fetched is None:
        return Ending.UNVERIFIED
    code = Replayed.code if visit.superseded else visit.refused.code if visit.refused else None
    if code == Replayed.code:
        return Ending.REPLAYED
    if code == Forked.code:
        return Ending.FORKED
    return Ending.ANSWERED if visit.accepted else Ending.REFUSED
