"""How is one stop of a train made to be measured: a station in this process, on a train that has come a long way?"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from station.daemon.reconcile import reconcile
from tests.support.trains import NOW, Train
from tests.support.world import World

STATE: Final = b'{"sum":1,"n":1}'
_MOST_STEPS: Final = 60


class Ticking:
    """The time of the world of the tests, going on."""

    def __init__(self) -> None:
        self._begun, self._skipped = time.monotonic(), 0.0

    def skip(self, seconds: float) -> None:
        """Let time pass at once."""
        self._skipped += seconds

    def now(self) -> datetime:
        """Return it."""
        return NOW + timedelta(seconds=time.monotonic() - self._begun + self._skipped)

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        """Let it pass, or until `stop` is set; return whether it is."""
        return (stop or threading.Event()).wait(seconds)


def travelled(here: World, route: tuple[str, ...], stops: int, **changes: object) -> Train:
    """Return a train that was at the first stops of its route, in its letters; nobody has it yet."""
    made = here.train(route=route, **changes)  # type: ignore[arg-type] # what the train of a test can be told
    for _ in range(stops):
        made.pass_stop({"sums.json": STATE})
    made.parcel  # noqa: B018 - sealed once, and not while the stop is measured
    return made


def visit(here: World, station: str) -> None:
    """Look into the mailbox, and take every step until the train has left."""
    house = here.houses[station]
    here.notice(station)
    for _ in range(_MOST_STEPS):
        for arrival in house.journal.unfinished():
            reconcile(arrival, house, here.now)
    if house.journal.unfinished():
        raise AssertionError(house.journal.visit(house.journal.unfinished()[0]).events[-1])


@contextmanager
def syncs(process: int, into: Path) -> Iterator[Callable[[], int]]:
    """Count what a process makes durable, in all its threads: yields what returns the count, after the block."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,syncfs,sync_file_range", "-o", into, "-p", str(process)],
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(0.5)  # until it is attached
        yield lambda: sum("sync" in line for line in into.read_text().splitlines())
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
