"""Start: what is ordered for a run, and is it running?"""

from __future__ import annotations

import os
from datetime import datetime

from security.digest import Digest
from security.verify import AcceptedTrain
from station.errors import DataSourceUnavailable, PolicyRefused
from station.events import Started
from station.house import House
from station.sandbox.order import RunLimits, RunOrder, container_name, run_user
from station.steps.evidence import verified
from station.steps.opening import STATE_FILES
from station.visit import Visit


def perform(visit: Visit, house: House, now: datetime) -> Started:
    """Start the run, or adopt the one that a crash kept us from recording.

    Raises:
        RoomMissing: the workroom is gone.
        BaseNotApproved: the base image was withdrawn meanwhile.
        RunFailed: the command cannot be started.
    """
    trust = house.trust(now)
    accepted = verified(visit, house, trust, now)
    base = trust.approved_base(accepted.manifest.value.base)
    image = house.sandbox.prepare(house.base_image(base))
    order = order_of(visit, accepted, house, image)
    for name, folder in order.data.items():
        if not folder.is_dir():
            msg = "the folder of a data set is not there"
            raise DataSourceUnavailable(msg, data=name, folder=folder, hint="is it mounted?")
    house.sandbox.start(order)
    return Started(at=now, attempt=visit.attempt, name=order.name, image=image)


def order_of(visit: Visit, accepted: AcceptedTrain, house: House, image: Digest) -> RunOrder:
    """Return the order of a visit's run: the same each time for the same attempt.

    Raises:
        RoomMissing: the workroom is gone.
        PolicyRefused: a data set is no longer offered here.
    """
    manifest, room = accepted.manifest.value, house.workrooms.find(visit.arrival)
    for need in manifest.data:
        if need.name not in house.data:
            msg = "this station has no such data set"
            raise PolicyRefused(msg, data=need.name)
    uid, gid = run_user(os.geteuid(), os.getegid())
    return RunOrder(
        name=container_name(accepted.train, accepted.stop, visit.attempt),
        house=house.name,
        image=image,
        command=manifest.command,
        environment=manifest.environment,
        code=room.code,
        data={need.name: house.data[need.name].folder for need in manifest.data},
        state=room.state,
        context=room.context,
        uid=uid,
        gid=gid,
        limits=RunLimits(
            memory_bytes=manifest.limits.memory_bytes,
            cpu_millis=manifest.limits.cpu_millis,
            processes=manifest.limits.processes,
            wall_seconds=manifest.limits.wall_seconds,
            state_bytes=manifest.limits.output_bytes,
            state_files=STATE_FILES,
        ),
        runtime=house.sandbox.runtime,
    )
