"""Push: does the next party's mailbox hold the train as we signed it?"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from security.statement.envelope import MAX_ENVELOPE, Envelope, parse_envelope
from security.train.journey import StateRef, TrainParts
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
    if visit.accepted is None:
        msg = "what is in the spool is not what was accepted"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    onward = sent_on(visit, signed_envelope(visit, house), house)
    manifest = read_manifest(onward.manifest.payload)  # verified: it has its digest
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


def sent_on(visit: Visit, ours: Envelope, house: House) -> TrainParts:
    """Return the train as it goes on: what arrived, with the signatures that count and no others, our entry and our state.

    Raises:
        SpoolDamaged: the spool no longer holds what was recorded.
    """
    parts = parts_of(visit, house)
    recorded = () if visit.fetched is None else visit.fetched.onward
    onward = [parse_envelope(house.spool.document(blob.digest, limit=MAX_ENVELOPE)) for blob in recorded]
    arrived = [one.digest for one in (parts.manifest, *parts.entries)]
    whole = visit.accepted is not None and arrived[0] == visit.accepted.manifest
    if visit.sealed is None or not whole or [one.digest for one in onward] != arrived:
        msg = "what is in the spool is not what was accepted"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    state = StateRef(digest=visit.sealed.blob, size=visit.sealed.size)
    return replace(parts, manifest=onward[0], entries=(*onward[1:], ours), state=state)


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
