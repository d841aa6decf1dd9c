"""Fetch: how does a train get into the spool without filling it with what nobody verified?"""

from __future__ import annotations

from datetime import datetime

from registry.artifact import need_receivable
from registry.errors import RegistryMisbehaved
from security.directory.trust import TrustStore
from security.errors import (
    BaseNotApproved,
    BudgetExceeded,
    DigestMismatch,
    KeyNotTrusted,
    KeyOutsideValidity,
    PhtError,
)
from security.statement.envelope import Envelope
from security.train.journey import TrainParts
from security.train.verify import to_send_on
from station.house.house import House
from station.house.trust import newest_trust
from station.steps.evidence import arrival_of, believe
from station.visit.events import Blob, Fetched
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Fetched:
    """Fetch the documents, verify them, then fetch the sealed blobs (attack T17).

    Raises:
        Refused: the train does not verify, or is none.
        RegistryMisbehaved: the registry gave other bytes than it announced; that is not the train's fault.
    """
    trust = house.trust(now)
    judged: list[PhtError] = []
    onward: list[TrainParts] = []

    def accept(parts: TrainParts) -> None:
        try:
            onward.append(_believed(parts, house, trust, now))
        except PhtError as error:
            judged.append(error)
            raise

    try:
        house.depot.take(arrival_of(visit, house), house.spool, accept=accept)
    except (DigestMismatch, BudgetExceeded) as error:
        if error in judged:
            raise
        msg = "the registry gave other bytes than it announced"
        raise RegistryMisbehaved(msg, visit=visit.arrival.short) from error
    layers = house.depot.layers(visit.arrival, house.spool)
    return Fetched(
        at=now,
        documents=tuple(Blob(digest=one.digest, size=one.size) for one in layers.documents),
        sealed=tuple(Blob(digest=one.digest, size=one.size) for one in layers.sealed),
        onward=tuple(_kept(envelope, house) for one in onward for envelope in (one.manifest, *one.entries)),
    )


def _believed(parts: TrainParts, house: House, trust: TrustStore, now: datetime) -> TrainParts:
    """Verify a train, and return what of it will be sent on: it must be readable there, before anything is run for it."""
    try:
        accepted = believe(parts, house, trust, now)
    except (KeyNotTrusted, KeyOutsideValidity, BaseNotApproved):
        # It may have been published since we looked: a refusal is for good, and our haste is not its fault.
        trust = newest_trust(house, now)
        accepted = believe(parts, house, trust, now)
    onward = to_send_on(parts, accepted, trust)
    need_receivable(onward)
    return onward


def _kept(envelope: Envelope, house: House) -> Blob:
    raw = envelope.to_bytes()
    return Blob(digest=house.spool.keep(raw), size=len(raw))
