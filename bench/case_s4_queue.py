"""How many trains does a station bring through, when few or many wait, and does the oldest leave first?"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bench.bench import Bench, Case
from bench.figures import Figure, Goal
from station.daemon.lanes import WORKERS
from station.daemon.loop import About, Shift
from station.daemon.pace import Pace, Terms
from station.daemon.workers import Threads
from station.house.capacity import Capacity, Resources
from station.journal.journal import Journal
from station.visit.events import ArrivalId
from tests.support.clocks import SetClock
from tests.support.scripted_sandbox import ScriptedSandbox
from tests.support.trains import NOW
from tests.support.world import add_up, world

NAME = "hospital-a"
RUNS = 4
_CAPACITY = Capacity.of(Resources(runs=RUNS, memory_bytes=1 << 50, cpu_millis=1 << 30, disk_bytes=1 << 50))
_RATE = Goal(least=45, absolute=True)
_LIMIT = (
    "three quarters of it are the steps themselves, at every depth alike: fourteen that each read and verify anew, 34 000 calls of Python "
    "a visit, of which no function takes a twentieth"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Passed:
    """How a queue was worked off: `overtaken` is by how many younger trains one was overtaken at most."""

    processor: float
    seconds: float
    first: float
    overtaken: int


class _Awake(SetClock):
    """Shows the trains' own time, and really waits: the workers are threads."""

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        begun = time.monotonic()
        ended = stop.wait(seconds) if stop is not None else False
        self.at += timedelta(seconds=time.monotonic() - begun)
        return ended


def _work_off(folder: Path, waiting: int) -> _Passed:
    here = world(folder, stations=[NAME])
    clock = _Awake(NOW)
    here.change(NAME, sandbox=ScriptedSandbox(add_up, turns=0, clock=clock.now))
    for _ in range(waiting):
        here.submit(here.train(route=(NAME,)))
    house = here.houses[NAME]
    pace = Pace(clock=clock, poll_seconds=1)
    workers = Threads[About](WORKERS, pace.awake.set)
    shift = Shift(house, pace, Terms(capacity=_CAPACITY), workers)
    processor, begun, first = time.process_time(), time.perf_counter(), 0.0
    while True:
        shift.turn()
        if not first and _left(house.journal):
            first = time.perf_counter() - begun
        if first and not shift.visits() and not shift.at_work() and house.journal.count() == waiting:
            break
        pace.sleep(shift.pause())
    found = _Passed(
        processor=time.process_time() - processor,
        seconds=time.perf_counter() - begun,
        first=first,
        overtaken=_overtaken(house.journal.arrivals(), _left(house.journal)),
    )
    workers.dismiss()
    here.close()
    return found


def _left(journal: Journal) -> tuple[ArrivalId, ...]:
    return journal.finished(until=journal.head().sequence)


def _overtaken(arrived: tuple[ArrivalId, ...], left: tuple[ArrivalId, ...]) -> int:
    """Return how many younger trains left before the one that most of them overtook."""
    age = {visit: number for number, visit in enumerate(arrived)}
    ages = [age[visit] for visit in left]
    return max(sum(earlier > one for earlier in ages[:place]) for place, one in enumerate(ages))


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield visits per processor-second, and when the first and the oldest leave, for each depth of the queue."""
    logging.getLogger("station").setLevel(logging.ERROR)
    depths = (5, 25) if bench.quick else (10, 100, 1_000)
    rates: dict[int, float] = {}
    for depth in depths:
        found = _work_off(bench.folder / str(depth), depth)
        rates[depth] = depth / found.processor
        yield Figure(
            what=f"visits per processor-second, {depth} waiting",
            value=rates[depth],
            unit="",
            to="" if depth == depths[0] else f"{depths[0]} waiting",
            ratio=None if depth == depths[0] else rates[depth] / rates[depths[0]],
            goal=_RATE,
            note="" if _RATE.met(rates[depth]) else _LIMIT,
        )
        yield Figure(
            what=f"the first leaves, {depth} waiting",
            value=found.first,
            unit="s",
            to="when the last does",
            ratio=found.first / found.seconds,
        )
        yield Figure(
            what=f"overtaken by, at most, {depth} waiting, room for {RUNS} runs",
            value=found.overtaken,
            unit="younger trains",
            goal=Goal(most=RUNS, absolute=True),
        )


CASE = Case(id="S4", title="a queue: no engine, no network, a registry in memory", measure=measure)
