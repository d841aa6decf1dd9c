"""Push: does the next party's mailbox hold the train as we signed it?"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from security.statement.envelope import MAX_ENVELOPE, Envelope, parse_envelope
from security.train.journey import StateRef
from security.train.manifest import read_manifest
from station.errors import SpoolDamaged
from station.house.house import House
from station.steps.evidence import parts_of
from station.visit.events import Pushed
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Pushed:
    """Send the recorded bytes on, as often as it takes.

    Raises:
        SpoolDamaged: the spool no longer holds what was recorded; nothing else is sent instead.
    """
    parts = parts_of(visit, house)
    if visit.accepted is None or visit.sealed is None or parts.manifest.digest != visit.accepted.manifest:
        msg = "what is in the spool is not what was accepted"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    ours = StateRef(digest=visit.sealed.blob, size=visit.sealed.size)
    onward = replace(parts, entries=(*parts.entries, signed_envelope(visit, house)), state=ours)
    manifest = read_manifest(parts.manifest.payload)  # verified: it has its digest
    (following,) = manifest.route.after(visit.accepted.stop)
    head = house.depot.send(
        onward,
        house.spool,
        to=manifest.expected_at(following).party,
        train=visit.accepted.train,
        stop=following,
        mount_from=house.party,
    )
    return Pushed(at=now, head=head)


def signed_envelope(visit: Visit, house: House) -> Envelope:
    """Return the visit's one signed statement, as recorded.

    Raises:
        SpoolDamaged: it is not there any more.
    """
    if visit.signed is None:
        msg = "nothing was signed"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    envelope = parse_envelope(house.spool.document(visit.signed.envelope, limit=MAX_ENVELOPE))
    if envelope.digest != visit.signed.entry:
        msg = "the signed statement in the spool is another one than was recorded"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    return envelope
