"""Fetch: how does a train get into the spool without filling it with unverified data?"""

from __future__ import annotations

from datetime import datetime

from registry.artifact import pack, train_layers
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
from security.train.letters import OpenedParcel, Parcel, check_readers, check_room
from security.train.verify import AcceptedTrain
from station.house.house import House
from station.house.proofs import Proof
from station.house.trust import newest_trust
from station.steps.admit import refused_unseen
from station.steps.evidence import arrival_of, believe, opened, print_envelopes
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
    believed: list[tuple[OpenedParcel, TrustStore, AcceptedTrain]] = []
    admissible: list[bool] = []

    def accept(parcel: Parcel) -> None:
        try:
            check_room(parcel)
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
        believed.append((found, known, accepted))

    def wanted() -> bool:
        return all(admissible)

    try:
        stored = house.mailbox.take_manifest(visit.arrival)
        parcel = house.depot.take(arrival_of(visit, house), house.spool, accept=accept, wanted=wanted, stored=stored)
    except (DigestMismatch, BudgetExceeded) as error:
        if error in judged:
            raise
        msg = "the registry gave other bytes than it announced"
        raise RegistryMisbehaved(msg, visit=visit.arrival.short) from error
    kept = pack(parcel)
    layers = train_layers(kept.manifest)
    ((found, known, accepted),) = believed
    envelopes = print_envelopes(found.parts)
    event = Fetched(
        at=now,
        letters=(
            Blob(digest=kept.manifest.digest, size=len(kept.manifest.raw)),
            *(Blob(digest=one, size=len(raw)) for one, raw in kept.documents.items()),
        ),
        documents=(Blob(digest=house.spool.keep(envelopes), size=len(envelopes)),),
        sealed=tuple(Blob(digest=one.digest, size=one.size) for one in layers.sealed) if wanted() else (),
    )
    proof = Proof(parts=event.parts.digest, envelopes=event.documents[0].digest, trust=known, accepted=accepted)
    house.proofs.note(visit.arrival, proof)
    return event
