"""How is a run doing, and must it be stopped?

The answer depends on what the sandbox and the disk say now, and not on any earlier look: after a crash of the station the
same questions get the same answers. With one exception: that a disk was read-only can be noted on no disk.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NoReturn

from security.errors import DiskFull, PhtError
from station.errors import LimitExceeded, MemoryExceeded, RunFailed, RunInterrupted, RunPaused, RunTimedOut
from station.sandbox.folder import measure, read_only
from station.sandbox.order import RunLimits, RunOrder
from station.sandbox.port import Absent, Ended, Running, Sandbox, Sight


def watch(sandbox: Sandbox, order: RunOrder, *, now: datetime, spoiled: set[str]) -> Sight:
    """Look at a run and stop it if it breaks a limit. `Ended` is returned only for a run that ended well.

    `spoiled` are the names of runs that could not write for a while, now or at an earlier look: it is added to.

    Raises:
        RunTimedOut: it ran longer than allowed, whether or not a station was watching.
        LimitExceeded: more memory, bytes or files than allowed.
        RunFailed: it ended with an exit status other than zero, or keeps us from looking into its state.
        RunInterrupted: it was ended from outside, or could not write for a while: what it left may be incomplete.
        RunPaused: somebody paused it; it goes on once they let it.
        DiskFull: the file system is running out of space; the run was stopped.
    """
    if read_only(order.state):
        spoiled.add(order.name)
    sight = sandbox.look(order.name)
    if not isinstance(sight, Absent) and order.name in spoiled:
        with contextlib.suppress(PhtError):  # an engine with its data on the same disk cannot
            sandbox.remove(order.name)  # so that it is run again even if the station is killed before that is recorded
        msg = "the workroom's file system has become read-only"
        raise RunInterrupted(msg, run=order.name)
    if isinstance(sight, Running):
        sandbox.listen(order)
        if sight.paused:
            _paused(sandbox, sight, order, now)
        try:
            _in_time(sight.since, now, order.limits)
            _measure(order)
        except (RunTimedOut, LimitExceeded, RunFailed, DiskFull):
            sandbox.stop(order.name)
            raise
    if isinstance(sight, Ended):
        _ended_well(sight, order)
    return sight


def _paused(sandbox: Sandbox, sight: Running, order: RunOrder, now: datetime) -> NoReturn:
    if now - sight.since < timedelta(seconds=order.limits.wall_seconds):
        msg = "the run is paused"
        raise RunPaused(msg, run=order.name)
    sandbox.remove(order.name)
    msg = "the run was paused until its time was over"
    raise RunInterrupted(msg, run=order.name)


def _ended_well(ended: Ended, order: RunOrder) -> None:
    if ended.out_of_memory:
        msg = "the analysis used more memory than allowed"
        raise MemoryExceeded(msg, limit=order.limits.memory_bytes)
    _in_time(ended.started, ended.finished, order.limits)
    _measure(order)
    if ended.killed:
        msg = "the run was ended from outside"
        raise RunInterrupted(msg, run=order.name)
    if ended.exit_code != 0:
        msg = "the analysis ended with an error"
        raise RunFailed(msg, exit=ended.exit_code, hint="'pht station show TRAIN --output' shows what it printed")


def _measure(order: RunOrder) -> None:
    measure(order.state, order.limits)
    measure(order.keep, replace(order.limits, state_bytes=order.limits.keep_bytes))


def _in_time(since: datetime, until: datetime, limits: RunLimits) -> None:
    if until - since >= timedelta(seconds=limits.wall_seconds):
        msg = "the analysis ran longer than allowed"
        raise RunTimedOut(msg, limit=limits.wall_seconds)
