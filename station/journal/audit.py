"""Is the journal, or an exported copy of it, complete and unchanged, and does it tell of nothing impossible?

An export is one line of JSON for each record, ``{"hash": ..., "record": {...}}``, and is checked without the database,
by whoever has it. The chain alone cannot show that the newest records are missing or that everything was written anew;
heads signed by the station and kept elsewhere can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, BinaryIO, Final

from security.digest import Digest
from security.encoding import Fields, dump_json, parse_json, print_time
from security.errors import Malformed, MalformedStatement
from security.forms.form import Number
from security.forms.record import Elsewhere, Record
from security.ids import PartyId
from security.keys.keyset import KeySet, Signer
from security.statement.envelope import Envelope, Verified, sign, verify
from security.statement.form import StatementForm
from station.errors import JournalDamaged, JournalTruncated
from station.journal.chain import START, Head, check_chain, parse_record
from station.visit.events import ArrivalId, VisitEvent
from station.visit.plan import phase_of
from station.visit.state import Visit, replay
from station.visit.station_events import StationEvent

HEAD_TYPE: Final = "urn:pht:statement:journal-head:v1"
_SUBJECT: Final = "journal"
_LONGEST_LINE: Final = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A station's statement of where its journal ended: after so many records, with the hash of the last."""

    station: PartyId
    records: Annotated[int, Number()]
    last: Annotated[Digest, Elsewhere()]
    at: datetime

    @property
    def head(self) -> Head:
        """The end of the journal then."""
        return Head(sequence=self.records, hash=self.last)


HEAD: Final = StatementForm(type=HEAD_TYPE, record=Record(SignedHead), subjects={_SUBJECT: "last"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A journal that was found to be in order."""

    head: Head
    visits: tuple[Visit, ...]
    station_events: tuple[StationEvent, ...]
    proven: int
    """The number of records that a signed head vouches for."""


# --- Signed heads ----------------------------------------------------------------------------------------------------


def sign_head(head: Head, *, station: PartyId, signers: Sequence[Signer], now: datetime) -> Envelope:
    """Sign where the journal ends, for keeping elsewhere."""
    signed = SignedHead(station=station, records=head.sequence, last=head.hash, at=now)
    return sign(HEAD.print(signed), signers)


def read_head(envelope: Envelope, key_set: KeySet, *, station: PartyId) -> Verified[SignedHead]:
    """Verify what a station said of its journal.

    Raises:
        SignatureRejected: a key of the set did not sign, or not this.
        MalformedStatement: not a statement about the journal of `station`.
    """
    found = HEAD.parse(verify(envelope, key_set))
    if found.value.station != station:
        msg = "statement is about the journal of another station"
        raise MalformedStatement(msg, station=found.value.station, expected=station)
    return found


# --- Export ----------------------------------------------------------------------------------------------------------


def export(records: Iterable[tuple[bytes, Digest]], sink: BinaryIO) -> None:
    """Write records, as `Journal.records` yields them, one line each."""
    sink.writelines(_line(raw, claimed) for raw, claimed in records)


def read_export(source: BinaryIO) -> Iterator[tuple[bytes, Digest]]:
    """Yield the records of an export.

    Raises:
        JournalDamaged: a line is not as `export` writes it.
    """
    while line := source.readline(_LONGEST_LINE):
        try:
            fields = Fields(parse_json(line), "line")
            raw, claimed = dump_json(fields.take("record")), Digest(fields.text("hash", most=71))
        except Malformed as error:
            msg = "not a line of an exported journal"
            raise JournalDamaged(msg) from error
        if line != _line(raw, claimed):
            msg = "a line of an exported journal was changed"
            raise JournalDamaged(msg)
        yield raw, claimed


def _line(raw: bytes, claimed: Digest) -> bytes:
    return b'{"hash":"%b","record":%b}\n' % (claimed.encode(), raw)


# --- Audit -----------------------------------------------------------------------------------------------------------


def audit(records: Iterable[tuple[bytes, Digest]], heads: Iterable[Verified[SignedHead]] = ()) -> Audit:
    """Check a journal, live or exported, against itself and against heads signed earlier.

    1. Every record follows from the one before by the chain, and is in its one spelling.
    2. Every signed head is somewhere in it.
    3. In every visit the events have their positions, and the machine's table allows each of them; so none was signed
       twice.
    4. No train was accepted twice at a stop.

    Raises:
        JournalTruncated: a signed head lies beyond its end.
        JournalDamaged: anything else is not so.
    """
    kept = tuple(records)
    head = check_chain(kept)  # 1
    proven = _check_heads(kept, heads)  # 2
    by_visit: dict[ArrivalId, list[VisitEvent]] = {}
    station_events: list[StationEvent] = []
    for raw, _ in kept:
        record = parse_record(raw)
        if isinstance(record.event, StationEvent):
            station_events.append(record.event)
        elif record.visit is not None:
            events = by_visit.setdefault(record.visit, [])
            if record.position != len(events):  # 3
                msg = "an event of a visit is missing or misplaced"
                raise JournalDamaged(msg, sequence=record.sequence)
            events.append(record.event)
    visits = tuple(_checked(arrival, events) for arrival, events in by_visit.items())
    stops = [(visit.accepted.train, visit.accepted.stop) for visit in visits if visit.accepted]
    if len(set(stops)) != len(stops):  # 4
        msg = "a train was accepted twice at a stop"
        raise JournalDamaged(msg)
    return Audit(head=head, visits=visits, station_events=tuple(station_events), proven=proven)


def _check_heads(kept: Sequence[tuple[bytes, Digest]], heads: Iterable[Verified[SignedHead]]) -> int:
    proven = 0
    for signed in heads:
        head = signed.value.head
        if head.sequence > len(kept):
            msg = "records that were there are missing at the end"
            raise JournalTruncated(msg, signed=head.sequence, found=len(kept), at=print_time(signed.value.at))
        found = START.hash if head.sequence == 0 else kept[head.sequence - 1][1]
        if found != head.hash:
            msg = "the journal is not the one whose head was signed"
            raise JournalDamaged(msg, signed=head.sequence, at=print_time(signed.value.at))
        proven = max(proven, head.sequence)
    return proven


def _checked(arrival: ArrivalId, events: Sequence[VisitEvent]) -> Visit:
    visit = replay(events)
    phase_of(visit)
    if visit.arrival != arrival:
        msg = "a visit is recorded under another name"
        raise JournalDamaged(msg, visit=arrival.short)
    return visit
