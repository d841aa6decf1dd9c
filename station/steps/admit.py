"""Admit: does this hospital want to run this train?"""

from __future__ import annotations

from datetime import datetime

from security.digest import Digest
from security.train.manifest import TrainManifest
from security.train.verify import AcceptedTrain
from station.admission.policy import Hold, Request
from station.house.house import House
from station.steps.evidence import keys_for, verified
from station.steps.opening import unseal_code
from station.visit.events import Admitted, Held, HoldFor
from station.visit.state import Visit
from station.visit.station_events import KeyUsed


def perform(visit: Visit, house: House, now: datetime) -> Admitted | Held:
    """Ask the policy, and a person where the policy says so.

    Raises:
        DataSourceUnavailable: a data set cannot be reached now.
        PolicyRefused: the policy says no, with or without a person's approval.
    """
    trust = house.trust(now)
    accepted = verified(visit, house, trust, now)
    manifest = accepted.manifest.value
    request = Request(
        manifest=manifest,
        base=trust.approved_base(manifest.base).name,
        code=_code(visit, accepted, house, now) if house.by_code else None,
        missing={
            need.name: house.data[need.name].source.missing(need) for need in manifest.data if need.name in house.data
        },
    )
    verdict = house.policy.consider(request)
    if not isinstance(verdict, Hold):
        return _admitted(visit, manifest, "policy", now)
    approval = visit.approved_for(HoldFor.ADMISSION, verdict.reason)
    if approval is None:
        return Held(at=now, hold=HoldFor.ADMISSION, reason=verdict.reason)
    return _admitted(visit, manifest, approval.by, now)


def _admitted(visit: Visit, manifest: TrainManifest, by: str, now: datetime) -> Admitted:
    limits, arrived = manifest.limits, visit.fetched.sealed if visit.fetched else ()
    return Admitted(
        at=now,
        by=by,
        memory_bytes=limits.memory_bytes,
        cpu_millis=limits.cpu_millis,
        disk_bytes=2 * limits.output_bytes + sum(blob.size for blob in arrived),
    )


def _code(visit: Visit, accepted: AcceptedTrain, house: House, now: datetime) -> Digest:
    """Look into the sealed code to see whether it is one that was approved, and put nothing by."""
    purpose = f"look at the code of {accepted.train}"
    house.journal.note(
        KeyUsed(
            at=now, key_set=keys_for(accepted.manifest.value, accepted.stop, house).key_set.fingerprint, purpose=purpose
        )
    )
    room = house.workrooms.make(visit.arrival)
    try:
        return unseal_code(accepted, house, room.code)
    finally:
        house.workrooms.wipe(visit.arrival)
