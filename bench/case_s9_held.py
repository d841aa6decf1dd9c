"""What do trains cost that wait for a person, while nobody answers?"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from bench.bench import Bench, Case
from bench.figures import Figure, Goal
from registry.depot import Depot
from registry.port import Registry
from station.admission.policy import AllOf, ByHand
from station.daemon.loop import Shift
from station.daemon.pace import Pace
from tests.support.world import ROOMY, usual_policy, world

NAME = "hospital-a"
HELD = 50
POLL = 2
_MINUTES = 30


class _Counting:
    """A registry that counts what it is asked."""

    def __init__(self, inner: Registry) -> None:
        self._inner = inner
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> object:
        self.asked[name] += 1
        return getattr(self._inner, name)


def _requests_a_minute(folder: Path, held: int) -> float:
    here = world(folder, stations=[NAME])
    registry = _Counting(here.registry)
    here.change(NAME, depot=Depot(registry), policy=AllOf(rules=(usual_policy(), ByHand())))  # type: ignore[arg-type] # the rest is passed on
    for _ in range(held):
        here.submit(here.train(route=(NAME,)))
    shift = Shift(here.houses[NAME], Pace(clock=here.clock, poll_seconds=POLL), ROOMY)
    for _ in range(100):
        shift.turn()
        here.now += timedelta(seconds=1)
    if sum(visit.held is not None for visit in shift.visits()) != held:
        msg = "not every train is held"
        raise RuntimeError(msg)
    registry.asked.clear()
    until = here.now + timedelta(minutes=_MINUTES)
    while here.now < until:
        shift.turn()
        here.now += timedelta(seconds=shift.pause())
    here.close()
    return registry.asked.total() / _MINUTES


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield the requests of an idle station with and without trains that are held."""
    logging.getLogger("station").setLevel(logging.ERROR)
    empty = _requests_a_minute(bench.folder / "empty", 0)
    yield Figure(what=f"idle, an empty mailbox, looked into every {POLL} s", value=empty, unit="requests a minute")
    held = _requests_a_minute(bench.folder / "held", HELD)
    yield Figure(
        what=f"idle, {HELD} trains held for a person",
        value=held,
        unit="requests a minute",
        to="an empty mailbox",
        ratio=held / empty,
        goal=Goal(most=1),
    )


CASE = Case(id="S9", title="trains that are held for a person", measure=measure)
