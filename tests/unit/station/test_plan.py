from __future__ import annotations

import typing
from datetime import timedelta

import pytest

from station.errors import JournalDamaged, NothingToDecide
from station.visit.events import Approved, Held, HoldFor, Noticed, Refused, Signed, Stumbled, VisitEvent
from station.visit.plan import (
    LONGEST_BACKOFF,
    MOST_INTERNAL_STUMBLES,
    MOST_ROOMS_LOST,
    TABLE,
    Ask,
    Do,
    Over,
    Phase,
    Step,
    Wait,
    approve,
    backoff,
    diagram,
    lose_room,
    next_step,
    permits,
    phase_of,
    refuse,
    stumble,
    stumble_internally,
)
from station.visit.state import INTERNAL, Visit, replay
from tests.support.visits import (
    ACCEPTED,
    ADMITTED,
    APPROVED,
    BOARDED,
    DEPARTED,
    FAULT,
    FETCHED,
    FURNISHED,
    HELD,
    LOST,
    NOTICED,
    NOW,
    ONE_OF_EACH,
    OPENED,
    PUSHED,
    QUIET_DAY,
    RECEIPT,
    REFUSAL,
    REFUSED,
    SIGNED,
    STARTED,
    STUMBLED,
    SUPERSEDED,
    WIPED,
)

ATTENTION = Held(at=NOW, hold=HoldFor.ATTENTION, reason="look")
LOOKED = Approved(at=NOW, hold=HoldFor.ATTENTION, by="grace", note="")
VISIT_EVENTS = tuple(event for event in ONE_OF_EACH if isinstance(event, VisitEvent))

WAYS: dict[Phase, tuple[VisitEvent, ...]] = {
    Phase.NOTICED: QUIET_DAY[:1],
    Phase.FETCHED: QUIET_DAY[:2],
    Phase.ACCEPTED: QUIET_DAY[:3],
    Phase.ADMITTED: QUIET_DAY[:4],
    Phase.BOARDED: (*QUIET_DAY[:3], BOARDED),
    Phase.OPENED: QUIET_DAY[:5],
    Phase.FURNISHED: QUIET_DAY[:6],
    Phase.RUNNING: QUIET_DAY[:7],
    Phase.ENDED: QUIET_DAY[:8],
    Phase.CLEARED: QUIET_DAY[:9],
    Phase.SEALED: QUIET_DAY[:10],
    Phase.READY: QUIET_DAY[:11],
    Phase.SIGNED: QUIET_DAY[:12],
    Phase.REPORTING: QUIET_DAY[:13],
    Phase.LEAVING: QUIET_DAY[:14],
    Phase.GONE: QUIET_DAY,
    Phase.STOPPED: (*QUIET_DAY[:7], FAULT),
    Phase.ANSWERABLE: (*QUIET_DAY[:7], FAULT, WIPED),
    Phase.REJECTED: (NOTICED, FETCHED, REFUSED),
}


def at(phase: Phase, *more: VisitEvent) -> Visit:
    return replay((*WAYS[phase], *more))


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_can_be_reached(phase: Phase) -> None:
    assert phase_of(at(phase)) is phase


@pytest.mark.parametrize("phase", TABLE)
def test_every_phase_but_the_last_has_its_step(phase: Phase) -> None:
    assert next_step(at(phase), NOW) == Do(step=TABLE[phase].step)


def test_the_last_phase_has_none() -> None:
    assert next_step(at(Phase.GONE), NOW) == Over()
    assert set(Phase) - set(TABLE) == {Phase.GONE}


def test_every_step_is_used() -> None:
    assert {row.step for row in TABLE.values()} == set(Step)


@pytest.mark.parametrize("phase", TABLE)
def test_from_everywhere_the_end_can_be_reached(phase: Phase) -> None:
    reached, front = set[Phase](), {phase}
    while front:
        reached |= front
        front = {target for one in front if one in TABLE for target in TABLE[one].then.values()} - reached
    assert Phase.GONE in reached


def _paths(phase: Phase, path: tuple[Phase, ...] = ()) -> typing.Iterator[tuple[Phase, ...]]:
    path = (*path, phase)
    if phase is Phase.GONE:
        yield path
        return
    for target in set(TABLE[phase].then.values()):
        if target not in path:
            yield from _paths(target, path)


def test_on_every_way_wiping_comes_before_signing_and_signing_before_anything_leaves() -> None:
    ways = list(_paths(Phase.NOTICED))
    for way in ways:
        steps = [TABLE[phase].step for phase in way[:-1]]
        again = (Phase.STOPPED in way and Phase.SEALED in way) + (Phase.REJECTED in way and steps.count(Step.SIGN) > 0)
        assert steps.count(Step.WIPE) == 1 + again, way  # a person refuses meanwhile; it turns out to be signed before
        assert steps.count(Step.SIGN) == len({Phase.READY, Phase.ANSWERABLE} & set(way))
        assert (Step.RECEIPT in steps) is not (Phase.REJECTED in way)
        for leaving in (Step.SIGN, Step.PUSH, Step.RECEIPT, Step.DEPART):
            if leaving in steps:
                assert Step.WIPE in steps[: steps.index(leaving)]
        for sending in (Step.PUSH, Step.RECEIPT):
            if sending in steps:
                assert Step.SIGN in steps[: steps.index(sending)]
    assert any(Phase.REJECTED in way for way in ways)


def test_signed_leads_to_where_nothing_is_signed() -> None:
    for row in TABLE.values():
        if Signed not in row.then:
            continue
        reached, front = set[Phase](), {row.then[Signed]}
        while front:
            reached |= front
            front = {target for one in front if one in TABLE for target in TABLE[one].then.values()} - reached
        assert not any(Signed in TABLE[phase].then for phase in reached if phase in TABLE)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", VISIT_EVENTS, ids=lambda event: event.kind)
def test_what_is_not_in_the_table_is_not_permitted(phase: Phase, event: VisitEvent) -> None:
    row = TABLE.get(phase)
    match event:
        case Noticed() | Approved():
            expected = False
        case Signed():
            expected = row is not None and row.signs is event.what
        case Held():
            expected = phase is Phase.ACCEPTED
        case Stumbled():
            expected = phase is Phase.NOTICED
        case _:
            expected = row is not None and type(event) in row.then
    assert permits(at(phase), event) is expected


@pytest.mark.parametrize("phase", TABLE)
def test_a_held_visit_waits_for_a_person_and_nothing_else(phase: Phase) -> None:
    visit = at(phase, ATTENTION)
    assert next_step(visit, NOW) == Ask(hold=HoldFor.ATTENTION, reason="look")
    assert phase_of(visit) is phase
    assert [event for event in VISIT_EVENTS if permits(visit, event)] == (
        [REFUSED] if Refused in TABLE[phase].then else []
    )
    assert permits(visit, LOOKED)
    assert not permits(visit, APPROVED)
    assert next_step(at(phase, ATTENTION, LOOKED), NOW) == Do(step=TABLE[phase].step)


def test_release_is_asked_at_the_gate_only() -> None:
    asked = Held(at=NOW, hold=HoldFor.RELEASE, reason="")
    assert [phase for phase in Phase if permits(at(phase), asked)] == [Phase.ENDED]


def test_an_impossible_story_is_told_as_damage() -> None:
    with pytest.raises(JournalDamaged):
        phase_of(replay((NOTICED, ADMITTED)))
    with pytest.raises(JournalDamaged):
        phase_of(replay((*QUIET_DAY, REFUSED)))
    with pytest.raises(JournalDamaged):
        phase_of(replay((*QUIET_DAY[:11], REFUSAL)))


def test_the_other_ways_end_too() -> None:
    answered = (FAULT, WIPED, REFUSAL, RECEIPT, DEPARTED)
    assert phase_of(replay((*QUIET_DAY[:7], *answered))) is Phase.GONE
    assert phase_of(replay((*QUIET_DAY[:11], REFUSED, REFUSAL, RECEIPT, DEPARTED))) is Phase.GONE
    assert phase_of(replay((NOTICED, REFUSED, WIPED, DEPARTED))) is Phase.GONE
    for before in (QUIET_DAY[:11], (*QUIET_DAY[:11], REFUSED), (*QUIET_DAY[:7], FAULT, WIPED)):
        assert phase_of(replay((*before, SUPERSEDED))) is Phase.REJECTED
        assert phase_of(replay((*before, SUPERSEDED, WIPED, DEPARTED))) is Phase.GONE
        with pytest.raises(JournalDamaged):
            phase_of(replay((*before, SUPERSEDED, WIPED, RECEIPT)))
    again = (LOST, OPENED, FURNISHED, STARTED)
    assert phase_of(replay((*QUIET_DAY[:7], *again))) is Phase.RUNNING


def test_after_a_stumble_the_step_waits() -> None:
    visit = replay((NOTICED, STUMBLED))
    assert next_step(visit, NOW) == Wait(until=STUMBLED.not_before)
    assert next_step(visit, STUMBLED.not_before) == Do(step=Step.FETCH)


def test_backoff_doubles_and_is_capped() -> None:
    seconds = [backoff(attempt).total_seconds() for attempt in range(1, 12)]
    assert seconds[:5] == [1, 2, 4, 8, 16]
    assert seconds == sorted(seconds)
    assert backoff(10**6) == LONGEST_BACKOFF


def test_a_stumble_counts_itself() -> None:
    event = stumble(replay((NOTICED, STUMBLED)), code="registry.unavailable", now=NOW)
    assert (event.step, event.attempt, event.not_before) == ("fetch", 2, NOW + timedelta(seconds=2))


def test_stumbling_over_somebody_else_goes_on_for_ever() -> None:
    visit = replay((NOTICED,))
    for _ in range(50):
        visit = replay((*visit.events, stumble(visit, code="registry.unavailable", now=NOW)))
    assert isinstance(next_step(visit, NOW), Wait)
    assert phase_of(visit) is Phase.NOTICED


def test_stumbling_over_ourselves_ends_with_a_person() -> None:
    visit = replay((NOTICED,))
    for _ in range(MOST_INTERNAL_STUMBLES - 1):
        event = stumble_internally(visit, now=NOW)
        assert isinstance(event, Stumbled)
        assert event.code == INTERNAL
        visit = replay((*visit.events, event))
    event = stumble_internally(visit, now=NOW)
    assert isinstance(event, Held)
    assert event.hold is HoldFor.ATTENTION
    assert permits(visit, event)


def test_rooms_are_lost_three_times_at_most() -> None:
    visit = at(Phase.OPENED)
    for attempt in range(1, MOST_ROOMS_LOST):
        event = lose_room(visit, now=NOW)
        assert event == LOST.__class__(at=NOW, attempt=attempt)
        visit = replay((*visit.events, event, OPENED))
    assert isinstance(lose_room(visit, now=NOW), Held)


def test_a_person_answers_what_was_asked() -> None:
    visit = replay((NOTICED, FETCHED, ACCEPTED, HELD))
    event = approve(visit, by="grace", note="fine", now=NOW)
    assert event.hold is HoldFor.ADMISSION
    assert permits(visit, event)


def test_nobody_can_approve_what_was_not_asked() -> None:
    with pytest.raises(NothingToDecide):
        approve(at(Phase.ACCEPTED), by="grace", note="", now=NOW)


@pytest.mark.parametrize("phase", Phase)
def test_a_person_can_refuse_until_the_signature(phase: Phase) -> None:
    late = {Phase.SIGNED, Phase.REPORTING, Phase.LEAVING, Phase.GONE, Phase.STOPPED, Phase.ANSWERABLE, Phase.REJECTED}
    if phase in late:
        with pytest.raises(NothingToDecide):
            refuse(at(phase), code="policy.refused", reason="", by="grace", now=NOW)
    else:
        assert permits(at(phase), refuse(at(phase), code="policy.refused", reason="", by="grace", now=NOW))


def test_nothing_stumbles_when_it_is_over() -> None:
    with pytest.raises(NothingToDecide):
        stumble(at(Phase.GONE), code="registry.unavailable", now=NOW)


def test_the_diagram_has_an_arrow_for_every_cell_of_the_table() -> None:
    lines = diagram().splitlines()
    for phase, row in TABLE.items():
        for event, target in row.then.items():
            assert any(
                line.startswith(f"    {phase} --> {target} : {row.step} / ") and event.kind in line for line in lines
            )
    assert lines[0] == "stateDiagram-v2"
    assert lines[-1] == "    gone --> [*]"
    assert sum("held for" in line for line in lines) == 2


def test_the_samples_of_success_and_refusal_differ() -> None:
    assert permits(at(Phase.READY), SIGNED)
    assert not permits(at(Phase.ANSWERABLE), SIGNED)
    assert permits(at(Phase.SIGNED), PUSHED)
    assert permits(at(Phase.FURNISHED), STARTED)
    assert not permits(at(Phase.OPENED), STARTED)
