"""Which hash does the next record of the journal carry, and do these records form one unbroken chain?

``hash[n] = SHA-256(DOMAIN, hash[n-1], bytes[n])`` with ``hash[0] = SHA-256(DOMAIN)``: the domain has a fixed length, a
hash has 32 bytes, and the rest is the record exactly as stored, so no two histories feed the same bytes to the hash.
The number of the record and the visit it belongs to are inside its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from security.digest import Digest
from security.encoding import Fields, Json, dump_json, parse_json
from security.errors import Malformed
from station.errors import JournalDamaged
from station.visit.event_json import parse_event, print_event
from station.visit.events import ArrivalId
from station.visit.station_events import Event, StationEvent

DOMAIN: Final = b"pht-journal-v1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of a journal: how many records there are, and the hash of the last."""

    sequence: int
    hash: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An event at its place: its number in the journal (from 1), its visit, and its position there (from 0)."""

    sequence: int
    visit: ArrivalId | None
    position: int | None
    event: Event

    def to_bytes(self) -> bytes:
        """Return what is stored and hashed."""
        return dump_json(
            {
                "sequence": self.sequence,
                "visit": self.visit,
                "position": self.position,
                "event": print_event(self.event),
            }
        )


START: Final = Head(sequence=0, hash=Digest.of_hex(hashlib.sha256(DOMAIN).hexdigest()))


def link(before: Head, record: bytes) -> Head:
    """Return the head after one more record."""
    hasher = hashlib.sha256(DOMAIN)
    hasher.update(bytes.fromhex(before.hash.hex))
    hasher.update(record)
    return Head(sequence=before.sequence + 1, hash=Digest.of_hex(hasher.hexdigest()))


def parse_record(raw: bytes) -> Record:
    """Parse what `Record.to_bytes` wrote.

    Raises:
        JournalDamaged: it is anything else, be it only spelt differently.
    """
    try:
        fields = Fields(parse_json(raw), "record")
        record = Record(
            sequence=fields.number("sequence", least=1),
            visit=_digest(fields.take("visit")),
            position=_position(fields.take("position")),
            event=parse_event(fields.take("event")),
        )
        fields.end()
    except Malformed as error:
        msg = "not a journal record"
        raise JournalDamaged(msg) from error
    outside = isinstance(record.event, StationEvent)
    if (record.visit is None) is not outside or (record.position is None) is not outside:
        msg = "a journal record is at the wrong place"
        raise JournalDamaged(msg, sequence=record.sequence)
    if record.to_bytes() != raw:
        msg = "a journal record is not in its one spelling"
        raise JournalDamaged(msg, sequence=record.sequence)
    return record


def check_chain(records: Iterable[tuple[bytes, Digest]]) -> Head:
    """Follow the chain from its start over records and the hashes they claim; return where it ends.

    Raises:
        JournalDamaged: a record was changed, removed, added or moved, or is none.
    """
    head = START
    for raw, claimed in records:
        head = follow(head, raw, claimed)
        if parse_record(raw).sequence != head.sequence:
            raise broken(head)
    return head


def follow(head: Head, raw: bytes, claimed: Digest) -> Head:
    """Follow the chain from a head that is believed by one record, which is not looked into.

    Raises:
        JournalDamaged: the record does not follow.
    """
    after = link(head, raw)
    if after.hash != claimed:
        raise broken(after)
    return after


def broken(head: Head) -> JournalDamaged:
    """Return the error that the record at this head does not follow from those before."""
    msg = "the journal's chain is broken"
    return JournalDamaged(msg, sequence=head.sequence)


def _digest(value: Json) -> Digest | None:
    return None if value is None else Digest(str(value))


def _position(value: Json) -> int | None:
    return None if value is None else Fields({"position": value}, "record").number("position", least=0)
