"""Fetch: how does a train get into the spool without filling it with what nobody verified?"""

from __future__ import annotations

from dataclasses import dataclass
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
from station.steps.admit import refused_unseen
from station.steps.evidence import arrival_of, believe
from station.visit.events import Blob, Fetched
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Fetched:
    """Fetch the documents, verify them, then fetch the sealed blobs (attack T17).

    What the policy refuses by its manifest alone is fetched without them: it goes on to ADMIT, where its owner is known
    and is told.

    Raises:
        Refused: the train does not verify, or is none.
        RegistryMisbehaved: the registry gave other bytes than it announced; that is not the train's fault.
    """
    trust = house.trust(now)
    judged: list[PhtError] = []
    believed: list[_Believed] = []

    def accept(parts: TrainParts) -> None:
        try:
            believed.append(_believed(parts, house, trust, now))
        except PhtError as error:
            judged.append(error)
            raise

    def wanted() -> bool:
        return all(one.wanted for one in believed)

    try:
        house.depot.take(arrival_of(visit, house), house.spool, accept=accept, wanted=wanted)
    except (DigestMismatch, BudgetExceeded) as error:
        if error in judged:
            raise
        msg = "the registry gave other bytes than it announced"
        raise RegistryMisbehaved(msg, visit=visit.arrival.short) from error
    layers = house.depot.layers(visit.arrival, house.spool)
    return Fetched(
        at=now,
        documents=tuple(Blob(digest=one.digest, size=one.size) for one in layers.documents),
        sealed=tuple(Blob(digest=one.digest, size=one.size) for one in layers.sealed) if wanted() else (),
        onward=tuple(
            _kept(envelope, house) for one in believed for envelope in (one.onward.manifest, *one.onward.entries)
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Believed:
    """A verified train: the parts that will be sent on, and whether the policy may let it run."""

    onward: TrainParts
    wanted: bool


def _believed(parts: TrainParts, house: House, trust: TrustStore, now: datetime) -> _Believed:
    """Verify a train. What will be sent on must be readable there, before anything is run for it."""
    try:
        accepted = believe(parts, house, trust, now)
    except (KeyNotTrusted, KeyOutsideValidity, BaseNotApproved):
        # It may have been published since we looked: a refusal is for good, and our haste is not its fault.
        trust = newest_trust(house, now)
        accepted = believe(parts, house, trust, now)
    onward = to_send_on(parts, accepted, trust)
    need_receivable(onward)
    return _Believed(onward=onward, wanted=refused_unseen(accepted.manifest.value, trust, house) is None)


def _kept(envelope: Envelope, house: House) -> Blob:
    raw = envelope.to_bytes()
    return Blob(digest=house.spool.keep(raw), size=len(raw))
