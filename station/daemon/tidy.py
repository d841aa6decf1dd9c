"""What does a daemon clear away, and say, before it takes its first step?"""

from __future__ import annotations

import logging
from datetime import datetime

from security.errors import PhtError
from security.ids import Role
from station.daemon.sweep import unlog
from station.house.house import House
from station.steps.wipe import containers_of

log = logging.getLogger(__name__)


def tidy(house: House) -> None:
    """Remove what crashes and finished visits left: orphaned containers and rooms, and half-written files."""
    unfinished = house.journal.going_on()
    wanted = {name for visit in unfinished for name in containers_of(visit)}
    try:
        for name in house.sandbox.leftovers(house.name):
            if name not in wanted:
                house.sandbox.remove(name)
        unlog(house)
    except PhtError as error:
        log.warning("cannot look for leftover containers", extra={"code": error.code, "reason": str(error)})
    rooms = {visit.arrival for visit in unfinished}
    for room in house.workrooms.names():
        if room not in rooms:
            house.workrooms.wipe(room)
    house.spool.clear_unfinished()
    house.passes.clear_unfinished()


def warn(house: House, now: datetime) -> None:
    """Log at once what would keep the first train waiting. None of it keeps the daemon from starting."""
    try:
        known = house.trust(now).current(house.party, Role.STATION, now).fingerprint
        house.keys(known)
    except PhtError as error:
        log.warning("not ready", extra={"code": error.code, "reason": str(error), "hint": error.hint})
    for finding in house.sandbox.doctor(None):
        if not finding.ok:
            log.warning("not ready", extra={"reason": f"{finding.name}: {finding.detail}", "hint": finding.hint})
