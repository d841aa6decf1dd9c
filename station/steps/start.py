"""Start: what is ordered for a run, and is it running?"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime

from security.digest import Digest
from security.errors import PhtError
from security.files import write_note
from security.train.manifest import TrainManifest
from station.errors import RoomMissing
from station.house.house import House
from station.sandbox.folder import hand_over
from station.sandbox.order import RunLimits, RunOrder, mounts_of, run_name, run_user
from station.sandbox.port import Absent, Ended, Running, Sight
from station.steps.evidence import verified
from station.steps.furnish import furnished_in
from station.steps.opening import STATE_FILES
from station.visit.events import Started
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Started:
    """Start the run, or adopt the one that a crash kept us from recording.

    Raises:
        RoomMissing: the workroom is gone, or data that were furnished.
        PolicyRefused: a data set is no longer offered here.
        BaseNotApproved: the base image was withdrawn meanwhile.
        RunFailed: the command cannot be started.
    """
    trust = house.trust(now)
    accepted = verified(visit, house, trust, now)
    house.workrooms.need_laid_out(visit.arrival)
    base = trust.approved_base(accepted.manifest.value.base)
    image = house.sandbox.prepare(house.base_image(base))
    order = order_of(visit, accepted.manifest.value, house, image)
    _start(order, house, visit)
    return Started(at=now, attempt=visit.attempt, name=order.name, image=image, profile=order.profile)


def _start(order: RunOrder, house: House, visit: Visit) -> None:
    """Start the run in a room that no run has been in, or adopt the run that is in it.

    State out is computed from the state that came in: where an earlier run of this attempt has been and is not to be
    found as ordered (removed by hand, or the configuration was changed), the room is not what was opened any more.
    """
    room, before = house.workrooms.find(visit.arrival), house.sandbox.look(order.name)
    used = room.used
    if isinstance(before, Absent):
        if used.exists():
            raise _used(visit)
        if any(not mount.source.exists() for mount in order.mounts):
            msg = "something that was furnished is gone"
            raise RoomMissing(msg, visit=visit.arrival.short)
        for path in (room.code, room.incoming, room.keep, room.state, room.context):
            hand_over(path, order.uid, order.gid)
    write_note(used, b"")
    try:
        house.sandbox.start(order)
    except PhtError:
        with contextlib.suppress(PhtError):  # the first error is the one to tell
            if isinstance(before, Absent) and isinstance(house.sandbox.look(order.name), Absent):
                used.unlink()
        raise
    if not isinstance(before, Absent) and _since(house.sandbox.look(order.name)) != _since(before):
        house.sandbox.remove(order.name)  # the run that was there was not as ordered, and this one is in its room
        raise _used(visit)


def _since(sight: Sight) -> datetime | None:
    match sight:
        case Running():
            return sight.since
        case Ended():
            return sight.started
        case Absent():
            return None


def _used(visit: Visit) -> RoomMissing:
    msg = "an earlier run has been in the workroom"
    return RoomMissing(msg, visit=visit.arrival.short)


def order_of(visit: Visit, manifest: TrainManifest, house: House, image: Digest) -> RunOrder:
    """Return the order of a visit's run: the same each time for the same attempt.

    Raises:
        RoomMissing: the workroom is gone, or was not furnished.
        PolicyRefused: a data set is no longer offered here.
    """
    room, accepted = house.workrooms.find(visit.arrival), visit.accepted
    if accepted is None:
        msg = "nothing was accepted"
        raise RoomMissing(msg, visit=visit.arrival.short)
    uid, gid = run_user(os.geteuid(), os.getegid())
    manifest = manifest.at_stop(accepted.stop)
    return RunOrder(
        name=run_name(accepted.train, accepted.stop, visit.attempt),
        house=house.name,
        profile=house.sandbox.profile,
        image=image,
        printed=room.printed,
        command=manifest.command,
        environment=manifest.environment,
        mounts=mounts_of(
            code=room.code,
            data=furnished_in(room, manifest.data, house),
            incoming=room.incoming,
            keep=room.keep,
            state=room.state,
            context=room.context,
        ),
        uid=uid,
        gid=gid,
        limits=RunLimits(
            memory_bytes=manifest.limits.memory_bytes,
            cpu_millis=manifest.limits.cpu_millis,
            processes=manifest.limits.processes,
            wall_seconds=manifest.limits.wall_seconds,
            state_bytes=manifest.limits.output_bytes,
            state_files=STATE_FILES,
            keep_bytes=manifest.keep_bytes or 0,
        ),
    )
