"""Depart: has the train left our mailbox?"""

from __future__ import annotations

from datetime import datetime

from station.house.house import House
from station.steps.evidence import accepted_manifest, arrival_of
from station.visit.events import Departed
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Departed:
    """Take the arrival, in all its parts, out of the mailbox; who is next has confirmed its own, or there is nobody.

    The parts go first: what is left of them after a crash is asked for again as long as the visit goes on.
    """
    if visit.accepted is not None:
        train, stop = visit.accepted.train, visit.accepted.stop
        for sender in accepted_manifest(visit, house).route.before(stop)[1:]:
            part = house.depot.part(house.party, train, stop, sender)
            if part is not None:
                house.depot.remove(part)
    house.depot.remove(arrival_of(visit, house))
    return Departed(at=now)
