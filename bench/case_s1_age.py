"""Is an old station as fast as a new one?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, alternating
from bench.past import leave_documents, live_through
from station.cli.render import render_visits
from station.daemon.loop import Shift
from station.daemon.pace import Pace
from station.desk.visits import listing
from station.journal.journal import Journal
from station.journal.sqlite import SqliteLog
from station.visit.plan import Phase, phase_of
from tests.support.world import ROOMY, World, world

NAME = "hospital-a"
_TURNS = 200
_FLAT = Goal(most=2)


class _Station:
    """A station with a past, and a daemon on it that is at work."""

    def __init__(self, folder: Path, visits: int) -> None:
        self.world: World = world(folder, stations=[NAME])
        journal = folder / NAME / "journal.sqlite"
        self.world.houses[NAME].journal.close()
        log = SqliteLog.open(journal)
        log._database.execute("PRAGMA synchronous = OFF")  # noqa: SLF001 - this past need not survive a power cut
        live_through(log, visits)
        log.close()
        leave_documents(folder / NAME / "spool", visits)
        self.path = journal
        self.first = 0.0
        self.start()

    def start(self) -> float:
        """Open the station and begin its daemon's work; return how long that took until the first turn."""
        begun = time.process_time()
        self.world.restart(NAME)
        self.shift = Shift(self.world.houses[NAME], Pace(clock=self.world.clock, poll_seconds=3600), ROOMY)
        self.shift.begin("bench")
        taken = time.process_time() - begun
        self.first = _processor(self.shift.turn)
        self.shift.turn()
        return taken

    def turn(self) -> float:
        """Return the processor time of a turn in which nothing happens."""
        return _processor(lambda: [self.shift.turn() for _ in range(_TURNS)]) / _TURNS

    def departure(self) -> float:
        """Let a train come and leave; return what it took from its last step to the swept spool."""
        self.world.submit(self.world.train(route=(NAME,)))
        self.world.now += timedelta(hours=1)
        while not self.shift.visits() or phase_of(self.shift.visits()[0]) is not Phase.LEAVING:
            self._turn()
        begun = time.process_time()
        for _ in range(3):
            self._turn()
        return time.process_time() - begun

    def ls(self) -> float:
        """Return how long `pht station ls` takes, without the start of a Python."""
        return _processor(lambda: render_visits(listing(Journal.open(self.path), self.world.now, worked=True).visits))

    def _turn(self) -> None:
        self.shift.turn()
        self.world.now += timedelta(seconds=0.25)


def _processor(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield a turn, a departure, a list and a start for each age, and what goes on beside the first turns."""
    ages = (30, 300) if bench.quick else (100, 1_000, 10_000)
    stations = {age: _Station(bench.folder / str(age), age) for age in ages}
    young = ages[0]
    first = f"with {young} past visits"
    for what, unit, scale, goal in (
        ("turn", "ms", 1e3, _FLAT),
        ("departure", "ms", 1e3, _FLAT),
        ("ls", "s", 1, Goal(most=0.4, absolute=True)),
        ("start", "s", 1, Goal(most=1, absolute=True)),
    ):
        found = alternating(
            {str(age): partial(getattr(one, what)) for age, one in stations.items()},
            rounds=3 if bench.quick or what == "start" else 7,
        )
        for age in ages:
            yield Figure(
                what=f"{what}, {age} past visits",
                value=found[str(age)] * scale,
                unit=unit,
                to="" if age == young else first,
                ratio=None if age == young else found[str(age)] / found[str(young)],
                goal=None if age == young and not goal.absolute else goal,
            )
    yield Figure(
        what=f"beside the first steps after a start, {ages[-1]} past visits",
        value=stations[ages[-1]].first,
        unit="s",
        note="in a worker: the whole chain is followed, and what every visit has left is read once",
    )


CASE = Case(
    id="S1", title="a station with a past: processor time of a turn, a departure, a list, a start", measure=measure
)
