"""Gate: may what the run left behind leave the house?"""

from __future__ import annotations

from datetime import datetime

from station.gate.inspect import inspect
from station.house.house import House
from station.steps.evidence import verified
from station.visit.events import Cleared, ClearedFile, Held, HoldFor
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Cleared | Held:
    """Let the gate judge, and a person where the station wants one.

    The journal keeps each file's declaration and size, not its name: a run could write data into names.

    Raises:
        GateRefused: which rule is broken.
        NoResults: nothing was left behind.
    """
    manifest = verified(visit, house, house.trust(now), now).manifest.value
    cleared = inspect(house.workrooms.find(visit.arrival).state, manifest.outputs, manifest.limits)
    files = tuple(ClearedFile(path=one.declared, size=one.member.size) for one in cleared.files)
    if not house.release_by_hand:
        return Cleared(at=now, by="gate", files=files)
    reason = (
        f"{len(files)} files with {sum(one.size for one in files)} bytes wait to be released: show them with --results"
    )
    approval = visit.approved_for(HoldFor.RELEASE, reason)
    if approval is None:
        return Held(at=now, hold=HoldFor.RELEASE, reason=reason)
    return Cleared(at=now, by=approval.by, files=files)
