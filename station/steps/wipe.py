"""Wipe: is every trace of plaintext gone?"""

from __future__ import annotations

from datetime import datetime

from station.events import Wiped
from station.house import House
from station.sandbox.order import container_name
from station.visit import Visit


def perform(visit: Visit, house: House, now: datetime) -> Wiped:
    """Remove the containers of every attempt, with what they printed, and the workroom.

    Raises:
        SandboxUnavailable: the engine is away; the room is wiped all the same, and this is tried again.
        WorkroomNotWiped: something is left.
    """
    try:
        for name in containers_of(visit):
            house.sandbox.remove(name)
    finally:
        house.workrooms.wipe(visit.arrival)
    return Wiped(at=now)


def containers_of(visit: Visit) -> tuple[str, ...]:
    """Return the names of all containers the visit can have, whether or not their start was recorded."""
    if visit.accepted is None or visit.admitted is None:
        return ()
    train, stop = visit.accepted.train, visit.accepted.stop
    return tuple(container_name(train, stop, attempt) for attempt in range(1, visit.attempt + 1))
