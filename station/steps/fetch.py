"""Fetch: how does a train get into the spool without filling it with unverified data?"""

from __future__ import annotations

from datetime import datetime

from registry.artifact import pack
from registry.errors import RegistryMisbehaved
from security.errors import (
    BaseNotApproved,
    BudgetExceeded,
    DigestMismatch,
    KeyNotTrusted,
    KeyOutsideValidity,
    PhtError,
)
from security.train.journey import TrainParts
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

    def accept(parts: TrainParts) -> None:
        try:
            try:
                believe(parts, house, trust, now)
            except (KeyNotTrusted, KeyOutsideValidity, BaseNotApproved):
                # It may have been published since we looked: a refusal is for good, and our haste is not its fault.
                believe(parts, house, newest_trust(house, now), now)
        except PhtError as error:
            judged.append(error)
            raise

    try:
        parts = house.depot.take(arrival_of(visit, house), house.spool, accept=accept)
    except (DigestMismatch, BudgetExceeded) as error:
        if error in judged:
            raise
        msg = "the registry gave other bytes than it announced"
        raise RegistryMisbehaved(msg, visit=visit.arrival.short) from error
    artifact = pack(parts)
    documents: list[Blob] = []
    sealed: list[Blob] = []
    for layer in artifact.manifest.layers:
        place = documents if layer.digest in artifact.documents else sealed
        place.append(Blob(digest=layer.digest, size=layer.size))
    return Fetched(at=now, documents=tuple(documents), sealed=tuple(sealed))
