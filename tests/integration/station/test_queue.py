"""What do trains cost that wait, for their turn or for a person?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry.depot import Depot
from registry.memory import MemoryRegistry
from registry.port import Registry
from security.digest import Digest
from security.train.journey import Outcome
from station.admission.policy import AllOf, ByHand
from station.daemon.lanes import Lane
from station.daemon.loop import About, Shift
from station.daemon.pace import Pace, Terms
from station.daemon.workers import Done, Job, Workers
from station.house.capacity import Capacity, Resources
from station.house.usage import Copies
from station.visit.events import Approved
from station.visit.plan import Phase, approve, phase_of
from tests.support.trains import CODE, LARGE, Train
from tests.support.world import ROOMY, World, usual_policy, world

STATION = "hospital-a"
POLL = 10
HELD = 50
ONE_AT_A_TIME = Terms(
    capacity=Capacity.of(Resources(runs=1, memory_bytes=1 << 50, cpu_millis=1 << 30, disk_bytes=1 << 50))
)


class Counting:
    """A registry that counts what it is asked."""

    def __init__(self, inner: Registry) -> None:
        self._inner = inner
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> object:
        self.asked[name] += 1
        return getattr(self._inner, name)


class OneEach(Workers[About]):
    """One worker in each lane, who is done before the next turn."""

    def __init__(self) -> None:
        self._done: dict[Lane, Done[About]] = {}

    def free(self, lane: Lane) -> bool:
        return lane not in self._done

    def begin(self, job: Job[About]) -> None:
        self._done[job.lane] = Done(job=job, result=job.work())

    def finished(self) -> tuple[Done[About], ...]:
        found, self._done = tuple(self._done.values()), {}
        return found

    def at_work(self) -> int:
        return len(self._done)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path, stations=[STATION])
    yield made
    made.close()


def shift(here: World, terms: Terms = ROOMY, workers: Workers[About] | None = None) -> Shift:
    return Shift(here.houses[STATION], Pace(clock=here.clock, poll_seconds=POLL), terms, workers)


def live(here: World, daemon: Shift, turns: int) -> None:
    for _ in range(turns):
        daemon.turn()
        here.now += timedelta(seconds=1)


def sent(here: World, count: int, *, files: Mapping[str, bytes] = CODE) -> list[Train]:
    made = [here.train(route=(STATION,), files=files) for _ in range(count)]
    for one in made:
        here.submit(one)
    return made


def left(here: World) -> tuple[Digest, ...]:
    journal = here.houses[STATION].journal
    return journal.finished(until=journal.head().sequence)


# --- For their turn


@pytest.mark.parametrize("workers", [None, OneEach()], ids=["every step at once", "a step of each lane at a time"])
def test_trains_are_brought_to_their_end_in_the_order_of_their_arrival(
    here: World, workers: Workers[About] | None
) -> None:
    sent(here, 12)
    daemon = shift(here, ONE_AT_A_TIME, workers)
    most = 0
    while len(left(here)) < 12:
        live(here, daemon, 1)
        most = max(most, sum(phase_of(visit) is Phase.RUNNING for visit in daemon.visits()))
    assert left(here) == here.houses[STATION].journal.arrivals()
    assert most == 1


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_train_for_which_there_is_never_disk_enough_is_refused_and_stands_before_no_other(
    here: World, lacking: int
) -> None:
    (large,) = sent(here, 1, files=LARGE)
    limits = large.manifest.limits
    needs = 2 * limits.output_bytes + large.manifest.code.size
    every = replace(ONE_AT_A_TIME.capacity.total, disk_bytes=needs - lacking)
    terms = Terms(capacity=Capacity.of(every))
    here.change(STATION, copies=Copies(terms.capacity))
    daemon = shift(here, terms)
    live(here, daemon, 5)
    (small,) = sent(here, 1)
    for _ in range(60):
        live(here, daemon, 1)
    assert here.at_home(small.id)
    assert here.at_home(large.id) is not bool(lacking)
    if lacking:
        assert here.outcome(large) is Outcome.REFUSED


def test_a_train_whose_runs_were_lost_holds_nothing_up_while_a_person_is_asked(here: World) -> None:
    (lost,) = sent(here, 1)
    daemon = shift(here, ONE_AT_A_TIME)
    for _ in range(60):
        live(here, daemon, 1)
        here.sandboxes[STATION].lose_power()
    assert [visit.held is not None for visit in daemon.visits()] == [True]
    (other,) = sent(here, 1)
    live(here, daemon, 60)
    assert here.at_home(other.id)
    assert not here.at_home(lost.id)


def turns_until_one_left(here: World, count: int) -> int:
    made, daemon, turns = sent(here, count), shift(here, ONE_AT_A_TIME, OneEach()), 0
    while not left(here):
        live(here, daemon, 1)
        turns += 1
    assert len(here.houses[STATION].journal.arrivals()) <= len(made)
    return turns


def test_the_oldest_leaves_as_soon_however_many_wait_behind_it(tmp_path: Path) -> None:
    few, many = world(tmp_path / "few", stations=[STATION]), world(tmp_path / "many", stations=[STATION])
    assert turns_until_one_left(many, 40) <= turns_until_one_left(few, 4)
    many.close()
    few.close()


# --- For a person


def counted(here: World) -> Counting:
    registry = Counting(here.registry)
    here.change(STATION, depot=Depot(registry), policy=AllOf(rules=(usual_policy(), ByHand())))  # type: ignore[arg-type] # the rest is passed on
    return registry


def idle(here: World, daemon: Shift, registry: Counting) -> Counter[str]:
    registry.asked.clear()
    live(here, daemon, 30 * POLL)
    return Counter(registry.asked)


def test_trains_that_wait_for_a_person_cost_no_more_requests_than_an_empty_mailbox(tmp_path: Path) -> None:
    empty, full = world(tmp_path / "empty", stations=[STATION]), world(tmp_path / "full", stations=[STATION])
    sent(full, HELD)
    found = []
    for here in (empty, full):
        registry, daemon = counted(here), shift(here)
        live(here, daemon, 5 * POLL)
        found.append(idle(here, daemon, registry))
    assert [visit.held is not None for visit in full.visits(STATION)] == [True] * HELD
    assert found[0] == found[1]
    assert set(found[0]) == {"list_tags"}
    for here in (empty, full):
        here.close()


def test_what_comes_under_the_tag_of_a_train_that_waits_is_found_when_that_has_left(here: World) -> None:
    registry, daemon = counted(here), shift(here)
    (made,) = sent(here, 1)
    live(here, daemon, 3 * POLL)
    made.letters.clear()  # sealed anew: another arrival under the same tag
    second = here.submit(made)
    live(here, daemon, 3 * POLL)
    journal = here.houses[STATION].journal
    (first,) = journal.going_on()
    assert journal.find(second) is None
    said: Approved = approve(first, by="grace", note="", now=here.now)
    journal.append(first.arrival, said, expect=first.length)
    live(here, daemon, 5 * POLL)
    assert phase_of(journal.visit(first.arrival)) is Phase.GONE
    again = journal.visit(second)
    assert again.refused is not None
    assert again.refused.code == "visit.replayed"
    assert registry.asked["get_manifest"] > 0


def test_a_train_whose_first_delivery_is_incomplete_is_found_under_the_same_tag(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    here = world(tmp_path, stations=[STATION], registry=registry)
    (made,) = sent(here, 1, files=LARGE)
    for blobs in registry._blobs.values():
        blobs.pop(made.manifest.code.digest)  # gone from the registry
    daemon = shift(here)
    live(here, daemon, 2 * POLL)
    (stuck,) = here.visits(STATION)
    assert stuck.accepted is None
    made.letters.clear()
    second = here.submit(made)
    live(here, daemon, 3 * POLL)
    assert here.houses[STATION].journal.visit(second).departed is not None
    assert here.at_home(made.id)
    here.close()


def test_a_station_does_not_rest_while_a_step_waits_for_a_worker(here: World) -> None:
    """As `pht station once` asks: an errand that had the only worker may be over by then, and have recorded nothing."""
    made = here.train(route=(STATION,))
    here.submit(made)
    working = shift(here, workers=OneEach())
    while working.turn().recorded or not working.rests():
        here.now += timedelta(seconds=1)
    assert here.at_home(made.id)
