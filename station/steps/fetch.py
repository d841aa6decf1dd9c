"""Fetch: how does a train get into the spool without filling it with unverified data?"""

from __future__ import annotations

from datetime import datetime

from registry.artifact import pack, train_layers
from registry.errors import RegistryMisbehaved
from security.errors import (
    BaseNotApproved,
    BudgetExceeded,
    DigestMismatch,
    KeyNotTrusted,
    KeyOutsideValidity,
    PhtError,
)
from security.train.letters import Letter, OpenedParcel, Parcel, check_readers
from station.house.house import House
from station.house.trust import newest_trust
from station.steps.admit import refused_unseen
from station.steps.evidence import arrival_of, believe, opened
from station.visit.events import Blob, Fetched
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Fetched:
    """Fetch the letters, open and verify them, then fetch code and state (attack T17).

    What the policy refuses by its manifest alone is fetched without them: it goes on to ADMIT, where its owner is known
    and is told.

    Raises:
        Refused: the train does not verify, or is none.
        RegistryMisbehaved: the registry gave other bytes than it announced; that is not the train's fault.
    """
    trust = house.trust(now)
    judged: list[PhtError] = []
    believed: list[OpenedParcel] = []
    admissible: list[bool] = []

    def accept(parcel: Parcel) -> None:
        try:
            found = opened(parcel, house, trust, now)
            known = trust
            try:
                accepted = believe(found.parts, house, known, now)
            except (KeyNotTrusted, KeyOutsideValidity, BaseNotApproved):
                # It may have been published since we looked: a refusal is for good, and our haste is not its fault.
                known = newest_trust(house, now)
                accepted = believe(found.parts, house, known, now)
            check_readers(found, accepted)
            admissible.append(refused_unseen(accepted.manifest.value, known, house) is None)
        except PhtError as error:
            judged.append(error)
            raise
        believed.append(found)

    def wanted() -> bool:
        return all(admissible)

    try:
        parcel = house.depot.take(arrival_of(visit, house), house.spool, accept=accept, wanted=wanted)
    except (DigestMismatch, BudgetExceeded) as error:
        if error in judged:
            raise
        msg = "the registry gave other bytes than it announced"
        raise RegistryMisbehaved(msg, visit=visit.arrival.short) from error
    layers = train_layers(pack(parcel).manifest)
    (found,) = believed
    return Fetched(
        at=now,
        letters=tuple(Blob(digest=one.digest, size=one.size) for one in layers.documents),
        documents=tuple(_keep(one, house) for one in (found.manifest, *found.entries)),
        sealed=tuple(Blob(digest=one.digest, size=one.size) for one in layers.sealed) if wanted() else (),
    )


def _keep(letter: Letter, house: House) -> Blob:
    raw = letter.envelope.to_bytes()
    return Blob(digest=house.spool.keep(raw), size=len(raw))
