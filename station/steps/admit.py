"""Admit: does this hospital want to run this train?"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from security.digest import Digest
from security.directory.trust import TrustStore
from security.errors import BoardingRejected, RouteCutOff
from security.train.analysis import analysis_digest
from security.train.manifest import TrainManifest
from security.train.route import Task
from security.train.verify import AcceptedTrain
from station.admission.policy import Hold, Request
from station.errors import PolicyRefused, TrainRecalled
from station.house.capacity import granted_disk
from station.house.house import House
from station.house.trust import newest_trust
from station.steps.evidence import keys_for, verified
from station.steps.opening import unseal_code
from station.steps.recall import recalled, seen_recall
from station.visit.events import Admitted, Boarded, Held, HoldFor
from station.visit.state import Visit
from station.visit.station_events import KeyUsed

BOARDING: Final = "boarding"
"""Who let in a train that this station has boarded."""
DEPARTURE: Final = "departure"
"""Who lets it depart: everybody is on board."""


def perform(visit: Visit, house: House, now: datetime) -> Admitted | Boarded | Held:
    """Ask the policy, and a person where the policy says so: about the analysis as a whole, code included.

    A train that is boarded is asked about once, when it boards: what comes later has been promised by then.

    Raises:
        RouteCutOff: a station still to come has no valid keys any more, also in the newest directory.
        DataSourceUnavailable: a data set cannot be reached now.
        PolicyRefused: the policy says no, with or without a person's approval.
        TrainRecalled: its owner has recalled it.
    """
    if visit.fetched is not None and visit.fetched.recalled:
        raise TrainRecalled(visit.fetched.recalled)
    trust = house.trust(now)
    try:
        accepted = verified(visit, house, trust, now)
    except RouteCutOff:  # its keys may have been published since we looked, and a refusal is for good
        trust = newest_trust(house, now)
        accepted = verified(visit, house, trust, now)
    manifest = accepted.manifest.value.at_stop(accepted.stop)
    unwanted = refused_unseen(manifest, trust, house) or _recalled(accepted, house, now)
    if unwanted is not None:
        raise unwanted
    if visit.fetched is not None and not visit.fetched.sealed:
        msg = "the policy did not want this train when it arrived, and has changed since"
        raise PolicyRefused(
            msg, owner=manifest.owner.party, hint="its sealed files were not fetched: ask for a new one"
        )
    if boarded(accepted, house):
        if manifest.route.task(accepted.stop) is Task.DEPART:
            return Boarded(at=now, by=DEPARTURE)
        return _admitted(visit, manifest, BOARDING, house, now)
    request = Request(
        manifest=manifest,
        base=trust.approved_base(manifest.base).name,
        analysis=_analysis(visit, accepted, house, now) if house.by_analysis else None,
        missing={
            need.name: house.data[need.name].source.missing(need) for need in manifest.data if need.name in house.data
        },
    )
    verdict = house.policy.consider(request)
    if not isinstance(verdict, Hold):
        return _let_in(visit, accepted, "policy", house, now)
    analysis = request.analysis or _analysis(visit, accepted, house, now)
    approval = visit.approved_for(HoldFor.ADMISSION, verdict.reason, analysis)
    if approval is None:
        return Held(at=now, hold=HoldFor.ADMISSION, reason=verdict.reason, analysis=analysis)
    return _let_in(visit, accepted, approval.by, house, now)


def _recalled(accepted: AcceptedTrain, house: House, now: datetime) -> TrainRecalled | None:
    """Return that the owner has recalled the train, if it lay in our mailbox when we last looked."""
    recall = seen_recall(accepted.train, accepted.manifest.value, house, now)
    return None if recall is None else recalled(recall)


def boarded(accepted: AcceptedTrain, house: House) -> bool:
    """Whether this station has boarded the train, and so has decided about it.

    Raises:
        BoardingRejected: the pass in our name is not one that this station, as far as it remembers, has signed.
    """
    route = accepted.manifest.value.route
    stop = route.boarding(house.party)
    if stop is None or stop == accepted.stop:
        return False
    before = house.journal.accepted(accepted.train, stop)
    signed = None if before is None or before.signed is None else before.signed.entry
    if signed != accepted.journey.entry(stop).digest:
        msg = "the boarding pass in our name is not the one we signed"
        hint = "was the journal restored from a backup? its owner sends a new train"
        raise BoardingRejected(msg, train=accepted.train.short, hint=hint)
    return True


def _let_in(visit: Visit, accepted: AcceptedTrain, by: str, house: House, now: datetime) -> Admitted | Boarded:
    manifest = accepted.manifest.value
    if manifest.route.task(accepted.stop) is Task.BOARD:
        return Boarded(at=now, by=by)
    return _admitted(visit, manifest, by, house, now)


def refused_unseen(manifest: TrainManifest, trust: TrustStore, house: House) -> PolicyRefused | None:
    """Return why the policy refuses a train whatever is sealed in it or missing here; None if that is to be seen.

    Asked before a large blob is fetched or a seal opened: the rules about owner, base, limits, data sets and outputs need
    no more than the manifest. A person's approval answers holds only, so that none of them could change it.
    """
    request = Request(manifest=manifest, base=trust.approved_base(manifest.base).name, analysis=None, missing={})
    try:
        house.policy.consider(request)
    except PolicyRefused as error:
        return error
    return None


def _admitted(visit: Visit, manifest: TrainManifest, by: str, house: House, now: datetime) -> Admitted:
    """Grant what the run may use, unless there will never be so much disk for its owner: it would wait for ever."""
    limits, arrived = manifest.limits, visit.fetched.sealed if visit.fetched else ()
    disk, capacity = granted_disk(manifest, sum(blob.size for blob in arrived)), house.copies.capacity
    if capacity is not None and disk > capacity.per_owner.disk_bytes:
        msg = "the train asks for more than this station gives a run"
        raise PolicyRefused(msg, limit="disk_bytes", wanted=disk, most=capacity.per_owner.disk_bytes)
    return Admitted(
        at=now,
        by=by,
        memory_bytes=limits.memory_bytes,
        cpu_millis=limits.cpu_millis,
        disk_bytes=disk,
    )


def _analysis(visit: Visit, accepted: AcceptedTrain, house: House, now: datetime) -> Digest:
    """Look into the sealed code to see which analysis this is, and leave nothing behind."""
    purpose = f"look at the code of {accepted.train}"
    house.journal.note(
        KeyUsed(
            at=now, key_set=keys_for(accepted.manifest.value, accepted.stop, house).key_set.fingerprint, purpose=purpose
        )
    )
    room = house.workrooms.make(visit.arrival)
    try:
        return analysis_digest(accepted.manifest.value, unseal_code(accepted, house, room.code))
    finally:
        house.workrooms.wipe(visit.arrival)
