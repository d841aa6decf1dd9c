"""How is a run doing, and must it be stopped?

The answer depends only on what the sandbox and the disk say now, and not on any earlier look: after a crash of the
station the same questions get the same answers.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from security.errors import DiskFull
from station.errors import LimitExceeded, MemoryExceeded, RunFailed, RunInterrupted, RunTimedOut
from station.sandbox.folder import measure
from station.sandbox.order import RunLimits, RunOrder
from station.sandbox.port import Ended, Running, Sandbox, Sight


def watch(sandbox: Sandbox, order: RunOrder, *, now: datetime) -> Sight:
    """Look at a run and stop it if it breaks a limit. `Ended` is returned only for a run that ended well.

    Raises:
        RunTimedOut: it ran longer than allowed, whether or not a station was watching.
        LimitExceeded: more memory, bytes or files than allowed.
        RunFailed: it ended with an exit status other than zero.
        RunInterrupted: it was killed from outside.
        DiskFull: the file system is running out of space; the run was stopped.
    """
    sight = sandbox.look(order.name)
    if isinstance(sight, Running):
        try:
            _in_time(sight.since, now, order.limits)
            measure(order.state, order.limits)
        except (RunTimedOut, LimitExceeded, DiskFull):
            sandbox.stop(order.name)
            raise
    if isinstance(sight, Ended):
        _ended_well(sight, order)
    return sight


def _ended_well(ended: Ended, order: RunOrder) -> None:
    if ended.out_of_memory:
        msg = "the analysis used more memory than allowed"
        raise MemoryExceeded(msg, limit=order.limits.memory_bytes)
    _in_time(ended.started, ended.finished, order.limits)
    measure(order.state, order.limits)
    if ended.killed:
        msg = "the run was killed from outside"
        raise RunInterrupted(msg, run=order.name)
    if ended.exit_code != 0:
        msg = "the analysis ended with an error"
        raise RunFailed(msg, exit=ended.exit_code, hint="'pht station show TRAIN --output' shows what it printed")


def _in_time(since: datetime, until: datetime, limits: RunLimits) -> None:
    if until - since >= timedelta(seconds=limits.wall_seconds):
        msg = "the analysis ran longer than allowed"
        raise RunTimedOut(msg, limit=limits.wall_seconds)
