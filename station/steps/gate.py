"""Gate: may what the run left behind leave the station?"""

from __future__ import annotations

from datetime import datetime

from station.gate.inspect import Inspected, inspect
from station.gate.port import Clear, Hold
from station.house.house import House
from station.steps.evidence import verified
from station.visit.events import Cleared, Held, HoldFor
from station.visit.parts import ClearedFile
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Cleared | Held:
    """Let the gate judge, and a person where one of its rules wants that.

    Raises:
        GateRefused: which rule is broken.
        NoResults: nothing was left behind.
    """
    manifest = verified(visit, house, house.trust(now), now).manifest.value
    found = inspect(house.workrooms.find(visit.arrival).state, manifest, house.gate)
    match found.verdict:
        case Clear(cost=cost):
            return Cleared(at=now, by="gate", files=cleared_files(found), cost=cost)
        case Hold(reason=reason, cost=cost):
            approval = visit.approved_for(HoldFor.RELEASE, reason)
            if approval is None:
                return Held(at=now, hold=HoldFor.RELEASE, reason=reason)
            return Cleared(at=now, by=approval.by, files=cleared_files(found), cost=cost)


def cleared_files(found: Inspected) -> tuple[ClearedFile, ...]:
    """Return what the journal keeps of each file: its declaration and size, not its name, which may hold data."""
    return tuple(ClearedFile(path=one.declared, size=one.member.size) for one in found.files)
