"""Which step of which visit is next, when several go on at once?"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from security.ids import PartyId
from station.daemon.agenda import Agenda
from station.daemon.lanes import LANES, Lane
from station.house.capacity import Capacity, Resources
from station.visit.events import Accepted, Noticed, VisitEvent
from station.visit.plan import LONGEST_ABSENCE, Step
from station.visit.state import Visit, replay
from tests.support.visits import (
    ACCEPTED,
    ADMITTED,
    ENDED,
    HELD,
    NOTICED,
    NOW,
    OPENED,
    QUIET_DAY,
    STARTED,
    STUMBLED,
    WIPED,
    digest,
)

ROOMY = Capacity.of(Resources(runs=100, memory_bytes=1 << 50, cpu_millis=1 << 30, disk_bytes=1 << 50))
FOR_ONE = Capacity.of(replace(ROOMY.total, runs=1))
MOMENT = timedelta(seconds=1)
OPENED_UP, STARTED_UP, ENDED_UP, WIPED_UP = (QUIET_DAY.index(one) + 1 for one in (OPENED, STARTED, ENDED, WIPED))


def visit(number: int, length: int, *more: VisitEvent, owner: str = "ada") -> Visit:
    """A visit after the first `length` events of a quiet day."""
    events: list[VisitEvent] = []
    for event in (*QUIET_DAY[:length], *more):
        if isinstance(event, Noticed):
            events.append(replace(NOTICED, arrival=digest(f"arrival {number}")))
        elif isinstance(event, Accepted):
            events.append(replace(ACCEPTED, owner=PartyId(owner)))
        else:
            events.append(event)
    return replay(events)


def all_ready(agenda: Agenda, lane: Lane) -> list[Visit]:
    found = []
    while (one := agenda.take(lane, NOW)) is not None:
        found.append(one)
    return found


def test_the_oldest_visit_of_a_lane_comes_first_whatever_its_step() -> None:
    agenda = Agenda(capacity=ROOMY)
    oldest, middle, newest = visit(1, WIPED_UP), visit(2, 2), visit(3, 1)
    for one in (oldest, middle, newest):
        agenda.put(one, NOW)
    agenda.put(middle, NOW)  # what happens to it later does not make it younger
    assert all_ready(agenda, Lane.REGISTRY) == [oldest, middle, newest]


def test_a_visit_is_never_with_two_workers() -> None:
    agenda = Agenda(capacity=ROOMY)
    first = visit(1, 1)
    agenda.put(first, NOW)
    assert agenda.take(Lane.REGISTRY, NOW) is first
    assert agenda.busy(first.arrival)
    assert agenda.take(Lane.REGISTRY, NOW) is None
    agenda.put(visit(1, 2), NOW)
    assert not agenda.busy(first.arrival)
    assert all_ready(agenda, Lane.REGISTRY) == [visit(1, 2)]


def test_each_step_is_found_in_its_lane_only() -> None:
    agenda = Agenda(capacity=ROOMY)
    agenda.put(visit(1, STARTED_UP), NOW)
    assert LANES[Step.COLLECT] is Lane.ENGINE
    assert agenda.take(Lane.MACHINE, NOW) is None
    assert agenda.take(Lane.REGISTRY, NOW) is None
    assert agenda.take(Lane.ENGINE, NOW) is not None


def test_who_waits_for_a_person_or_is_over_costs_nothing() -> None:
    agenda = Agenda(capacity=ROOMY)
    agenda.put(visit(1, 3, HELD), NOW)
    agenda.put(visit(2, len(QUIET_DAY)), NOW)
    assert [all_ready(agenda, lane) for lane in Lane] == [[]] * len(Lane)
    assert agenda.next_time() is None
    assert [one.arrival for one in agenda.visits()] == [digest("arrival 1")]


def test_who_stumbled_is_tried_again_when_its_time_has_come() -> None:
    agenda = Agenda(capacity=ROOMY)
    agenda.put(visit(1, 1, STUMBLED), NOW)
    assert agenda.take(Lane.REGISTRY, NOW) is None
    assert agenda.next_time() == STUMBLED.not_before
    assert agenda.take(Lane.REGISTRY, STUMBLED.not_before) is not None


def test_a_step_that_brought_nothing_is_put_off() -> None:
    agenda = Agenda(capacity=ROOMY)
    running = visit(1, STARTED_UP)
    agenda.put(running, NOW)
    assert agenda.take(Lane.ENGINE, NOW) is running
    agenda.put_off(running.arrival, NOW + MOMENT)
    assert agenda.take(Lane.ENGINE, NOW) is None
    assert agenda.next_time() == NOW + MOMENT
    assert agenda.take(Lane.ENGINE, NOW + MOMENT) is running


def test_what_was_planned_before_something_else_was_recorded_is_void() -> None:
    agenda = Agenda(capacity=ROOMY)
    agenda.put(visit(1, 1, STUMBLED), NOW)
    agenda.put(visit(1, 2), NOW)
    assert agenda.next_time() is None
    assert all_ready(agenda, Lane.REGISTRY) == [visit(1, 2)]


def test_a_clock_that_was_turned_back_strands_nobody() -> None:
    agenda = Agenda(capacity=ROOMY)
    ahead = NOW + timedelta(days=400)
    agenda.take(Lane.REGISTRY, ahead)
    agenda.put(visit(1, 1, replace(STUMBLED, at=ahead, not_before=ahead + MOMENT)), ahead)
    assert agenda.take(Lane.REGISTRY, ahead) is None
    assert ahead > NOW + LONGEST_ABSENCE
    assert agenda.take(Lane.REGISTRY, NOW) is not None


def test_rooms_are_opened_within_the_capacity_and_given_back_when_the_run_is_over() -> None:
    agenda = Agenda(capacity=FOR_ONE)
    for number in (1, 2):
        agenda.put(visit(number, 4), NOW)
    opening = all_ready(agenda, Lane.MACHINE)
    assert opening == [visit(1, 4)]
    agenda.put(visit(1, OPENED_UP), NOW)  # opened
    assert agenda.take(Lane.MACHINE, NOW) is None
    agenda.put(visit(1, STARTED_UP), NOW)  # running
    assert agenda.take(Lane.MACHINE, NOW) is None
    agenda.put(visit(1, ENDED_UP), NOW)  # ended: its gate is next, and the other may open its room
    assert all_ready(agenda, Lane.MACHINE) == [visit(1, ENDED_UP), visit(2, 4)]


def test_who_cannot_open_its_room_for_now_holds_up_nobody() -> None:
    agenda = Agenda(capacity=FOR_ONE)
    agenda.put(visit(1, 4, replace(STUMBLED, step="open")), NOW)
    agenda.put(visit(2, 4), NOW)
    assert all_ready(agenda, Lane.MACHINE) == [visit(2, 4)]


def test_owners_take_turns() -> None:
    agenda = Agenda(capacity=FOR_ONE)
    for number in (1, 2, 3):
        agenda.put(visit(number, 4, owner="ada"), NOW)
    agenda.put(visit(4, 4, owner="bob"), NOW)
    order = []
    for second in range(4):
        (one,) = [found for lane in (Lane.MACHINE,) if (found := agenda.take(lane, NOW + second * MOMENT))]
        order.append(one.arrival)
        number = next(number for number in range(1, 5) if digest(f"arrival {number}") == one.arrival)
        agenda.put(visit(number, len(QUIET_DAY), owner="bob" if number == 4 else "ada"), NOW + second * MOMENT)
    assert order == [digest(f"arrival {number}") for number in (1, 4, 2, 3)]


def test_what_a_run_takes_up_is_what_was_recorded_when_it_was_admitted() -> None:
    agenda = Agenda(capacity=Capacity.of(replace(ROOMY.total, memory_bytes=ADMITTED.memory_bytes * 2 - 1)))
    for number in (1, 2):
        agenda.put(visit(number, 4), NOW)
    assert all_ready(agenda, Lane.MACHINE) == [visit(1, 4)]
