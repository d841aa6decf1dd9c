"""Depart: has the train left our mailbox?"""

from __future__ import annotations

from datetime import datetime

from station.house.house import House
from station.steps.evidence import arrival_of
from station.visit.events import Departed
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Departed:
    """Take the arrival out of the mailbox; the next party has confirmed its own, or there is none."""
    house.depot.remove(arrival_of(visit, house))
    return Departed(at=now)
