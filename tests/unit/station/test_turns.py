"""Whose train is opened next, and is there room for it?"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.ids import PartyId
from station.daemon.turns import Waiting, next_to_open
from station.house.capacity import Capacity, Resources
from station.house.usage import needs_of, used_by
from station.visit.events import HoldFor, VisitEvent
from station.visit.plan import Phase, phase_of
from station.visit.state import Visit, replay
from tests.support.visits import ADMITTED, HELD, LOST, NOTICED, NOW, QUIET_DAY, REFUSED, digest

ALICE, BOB, CAROL = PartyId("alice"), PartyId("bob"), PartyId("carol")
ONE = Resources(runs=1, memory_bytes=4, cpu_millis=1000, disk_bytes=10)
ROOM_FOR_TWO = Capacity.of(Resources(runs=2, memory_bytes=100, cpu_millis=4000, disk_bytes=100))


def waiting(number: int, owner: PartyId, needs: Resources = ONE) -> Waiting:
    visit = replay([replace(NOTICED, arrival=digest(f"arrival {number}"))])
    return Waiting(visit=visit, owner=owner, needs=needs)


def numbers(opened: tuple[Visit, ...], queue: list[Waiting]) -> list[int]:
    return [[one.visit for one in queue].index(visit) for visit in opened]


def test_trains_are_opened_oldest_first_as_long_as_there_is_room() -> None:
    queue = [waiting(number, ALICE) for number in range(4)]
    assert numbers(next_to_open(queue, [], ROOM_FOR_TWO, {}), queue) == [0, 1]
    assert next_to_open(queue, [(ALICE, ONE), (ALICE, ONE)], ROOM_FOR_TWO, {}) == ()
    assert numbers(next_to_open(queue, [(ALICE, ONE)], ROOM_FOR_TWO, {}), queue) == [0]


@pytest.mark.parametrize("short", ["runs", "memory_bytes", "cpu_millis", "disk_bytes"])
def test_every_resource_is_held(short: str) -> None:
    plenty = Resources(runs=9, memory_bytes=99, cpu_millis=99_000, disk_bytes=99)
    capacity = Capacity.of(replace(plenty, **{short: getattr(ONE, short) * 2 - 1}))
    queue = [waiting(number, ALICE) for number in range(3)]
    assert len(next_to_open(queue, [], capacity, {})) == 1


def test_owners_take_turns_however_many_trains_one_of_them_sends() -> None:
    queue = [*(waiting(number, ALICE) for number in range(5)), waiting(5, BOB), waiting(6, BOB)]
    assert numbers(next_to_open(queue, [], ROOM_FOR_TWO, {}), queue) == [0, 5]


def test_an_owner_whose_turn_was_longer_ago_comes_first_even_if_nobody_runs_now() -> None:
    capacity = Capacity.of(replace(ROOM_FOR_TWO.total, runs=1))
    queue = [*(waiting(number, ALICE) for number in range(5)), waiting(5, BOB)]
    turns = {ALICE: NOW}
    assert numbers(next_to_open(queue, [], capacity, turns), queue) == [5]
    assert numbers(next_to_open(queue, [], capacity, turns | {BOB: NOW + timedelta(seconds=1)}), queue) == [0]


def test_nobody_is_let_past_a_train_that_waits_for_room() -> None:
    large = replace(ONE, memory_bytes=99)
    queue = [waiting(0, ALICE, large), waiting(1, ALICE), waiting(2, BOB)]
    using = [(CAROL, ONE)]
    assert next_to_open(queue, [*using, (BOB, replace(ONE, runs=0))], ROOM_FOR_TWO, {}) == ()


def test_a_train_that_its_owners_share_holds_back_lets_others_go_ahead() -> None:
    capacity = replace(ROOM_FOR_TWO, per_owner=replace(ROOM_FOR_TWO.total, runs=1))
    queue = [waiting(0, ALICE), waiting(1, ALICE), waiting(2, BOB)]
    assert numbers(next_to_open(queue, [(ALICE, ONE)], capacity, {}), queue) == [2]


@given(
    st.lists(
        st.tuples(st.sampled_from([ALICE, BOB, CAROL]), st.integers(1, 5), st.integers(1, 3000)),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 4),
)
def test_every_train_gets_its_turn_and_no_limit_is_ever_broken(
    asked: list[tuple[PartyId, int, int]], runs: int
) -> None:
    """Runs end in the order in which they began; whoever fits alone must have been opened at last."""
    capacity = Capacity.of(Resources(runs=runs, memory_bytes=5, cpu_millis=3000, disk_bytes=1000))
    queue = [
        waiting(number, owner, Resources(runs=1, memory_bytes=memory, cpu_millis=cpu, disk_bytes=1))
        for number, (owner, memory, cpu) in enumerate(asked)
    ]
    left, running, now = list(queue), list[Waiting](), NOW
    turns: dict[PartyId, datetime] = {}
    for _ in range(len(queue) * 2 + 1):
        for visit in next_to_open(left, [(one.owner, one.needs) for one in running], capacity, turns):
            (one,) = (each for each in left if each.visit is visit)
            left.remove(one)
            running.append(one)
            turns[one.owner] = now = now + timedelta(seconds=1)
        total = Resources()
        for one in running:
            total = total + one.needs
        assert total.within(capacity.total)
        running = running[1:]
    assert left == []


def up_to(phase: Phase, *more: VisitEvent) -> Visit:
    (length,) = (count for count in range(1, len(QUIET_DAY) + 1) if phase_of(replay(QUIET_DAY[:count])) is phase)
    return replay((*QUIET_DAY[:length], *more))


@pytest.mark.parametrize(
    ("phase", "taken"),
    [
        (Phase.NOTICED, ""),
        (Phase.ADMITTED, ""),
        (Phase.OPENED, "all"),
        (Phase.RUNNING, "all"),
        (Phase.ENDED, "disk"),
        (Phase.SEALED, "disk"),
        (Phase.SIGNED, ""),
        (Phase.GONE, ""),
    ],
)
def test_a_visit_takes_up_what_it_was_granted_from_its_room_to_its_end(phase: Phase, taken: str) -> None:
    visit = up_to(phase)
    disk = Resources(disk_bytes=ADMITTED.disk_bytes)
    assert used_by(visit) == {"": Resources(), "disk": disk, "all": needs_of(visit)}[taken]


@pytest.mark.parametrize("phase", [Phase.OPENED, Phase.FURNISHED, Phase.RUNNING])
def test_a_run_of_which_nothing_is_left_while_a_person_is_asked_takes_up_nothing(phase: Phase) -> None:
    assert used_by(up_to(phase, replace(HELD, hold=HoldFor.ATTENTION))) == Resources()


def test_results_that_wait_for_a_person_take_up_disk_only() -> None:
    assert used_by(up_to(Phase.ENDED, replace(HELD, hold=HoldFor.RELEASE))) == Resources(disk_bytes=ADMITTED.disk_bytes)


def test_a_lost_room_takes_up_nothing_and_a_stopped_one_its_disk() -> None:
    assert used_by(up_to(Phase.RUNNING, LOST)) == Resources()
    assert used_by(up_to(Phase.RUNNING, REFUSED)) == Resources(disk_bytes=ADMITTED.disk_bytes)
