"""Collect: has the run ended, and well?"""

from __future__ import annotations

import contextlib
from datetime import datetime

from security.digest import Digest
from security.errors import DirectoryRejected, Unavailable
from station.errors import RoomMissing
from station.house.house import House
from station.house.trust import trust_at_hand, trust_or_at_hand
from station.sandbox.port import Absent, Running
from station.sandbox.watch import watch
from station.steps.evidence import accepted_manifest, verified
from station.steps.start import order_of
from station.visit.events import Ended
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Ended | None:
    """Look at the run once, and stop it if it breaks a limit; None as long as it goes on.

    Raises:
        RoomMissing: there is no such run any more.
        RunFailed, RunTimedOut, LimitExceeded: the analysis is at fault.
        RunInterrupted: the engine or the machine is; it is run again from the state that came in.
    """
    if visit.started is None:
        msg = "nothing was started"
        raise RoomMissing(msg, visit=visit.arrival.short)
    # Whoever can keep the directory away must not keep the station from watching: limits first, then trust (T19).
    order = order_of(visit, accepted_manifest(visit, house), house, Digest(visit.started.image))
    sight = watch(house.sandbox, order, now=now, spoiled=house.spoiled)
    if isinstance(sight, Running):
        with contextlib.suppress(Unavailable, DirectoryRejected):
            verified(visit, house, trust_at_hand(house, now), now)
        return None
    verified(visit, house, trust_or_at_hand(house, now), now)
    if isinstance(sight, Absent):
        msg = "the run is gone"
        raise RoomMissing(msg, visit=visit.arrival.short)
    seconds = int((sight.finished - sight.started).total_seconds())
    return Ended(at=now, exit_code=sight.exit_code, seconds=max(0, seconds))
