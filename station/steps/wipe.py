"""Wipe: is every trace of plaintext gone?

What a run printed may hold data, and is all that tells the operator why it failed. Of a run that did not pass its end is
kept, sealed for this station alone (attack T20); of one that passed, nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from security.errors import DiskFull
from security.train.seal import seal_note
from station.errors import RoomMissing
from station.house.house import House
from station.sandbox.order import run_name
from station.sandbox.printed import read_printed
from station.visit.events import Blob, Wiped
from station.visit.state import Visit

PRINTED_BYTES: Final = 64 << 10


def perform(visit: Visit, house: House, now: datetime) -> Wiped:
    """Remove the containers of every attempt, and the workroom with what they printed.

    Raises:
        SandboxUnavailable, RunLingers: a run may go on; the room is wiped all the same, and this is tried again.
        WorkroomNotWiped: something is left.
    """
    try:
        printed = visit.wiped.printed if visit.wiped else _keep_printed(visit, house)
    finally:
        clear(visit, house)
    return Wiped(at=now, printed=printed)


def clear(visit: Visit, house: House) -> None:
    """Remove the containers of every attempt, and the workroom.

    Raises:
        SandboxUnavailable, RunLingers: a run may go on; the room is wiped all the same.
        WorkroomNotWiped: something is left.
    """
    try:
        for name in containers_of(visit):
            house.sandbox.remove(name)
    finally:
        house.workrooms.wipe(visit.arrival)


def _keep_printed(visit: Visit, house: House) -> Blob | None:
    if visit.started is None or not (visit.fault or visit.refused):
        return None
    try:
        printed = read_printed(house.workrooms.find(visit.arrival).printed, PRINTED_BYTES)
    except RoomMissing:
        return None
    if not printed:
        return None
    sealed = seal_note(printed, house.secrets.key_set.sealing)
    try:
        return Blob(digest=house.spool.keep(sealed), size=len(sealed))
    except DiskFull:  # wiping makes room, and must not wait for it
        return None


def containers_of(visit: Visit) -> tuple[str, ...]:
    """Return the names of all containers the visit can have, whether or not their start was recorded."""
    if visit.accepted is None or visit.admitted is None:
        return ()
    train, stop = visit.accepted.train, visit.accepted.stop
    return tuple(run_name(train, stop, attempt) for attempt in range(1, visit.attempt + 1))
