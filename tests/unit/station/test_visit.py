from __future__ import annotations

from datetime import timedelta

import pytest

from station.errors import JournalDamaged
from station.visit.events import Approved, Held, HoldFor, Stumbled, VisitEvent
from station.visit.state import INTERNAL, replay
from tests.support.visits import (
    ACCEPTED,
    ADMITTED,
    APPROVED,
    ARRIVAL,
    CLEARED,
    ENDED,
    FAULT,
    FETCHED,
    FURNISHED,
    HELD,
    LOST,
    NOTICED,
    NOW,
    OPENED,
    QUIET_DAY,
    REFUSED,
    STARTED,
    STUMBLED,
    digest,
)

RELEASE = Held(at=NOW, hold=HoldFor.RELEASE, reason="small counts")
RELEASED = Approved(at=NOW, hold=HoldFor.RELEASE, by="grace", note="")
BUG = Stumbled(at=NOW, step="admit", code=INTERNAL, attempt=2, not_before=NOW + timedelta(seconds=2))


def test_a_quiet_day_leaves_every_fact() -> None:
    visit = replay(QUIET_DAY)
    assert visit.arrival == ARRIVAL
    assert visit.length == len(QUIET_DAY)
    facts = (
        visit.noticed,
        visit.fetched,
        visit.accepted,
        visit.admitted,
        visit.furnished,
        visit.started,
        visit.ended,
        visit.cleared,
        visit.sealed,
        visit.wiped,
        visit.signed,
        visit.pushed,
        visit.receipt,
        visit.departed,
    )
    assert facts == tuple(event for event in QUIET_DAY if event != OPENED)
    assert (visit.refused, visit.fault, visit.held, visit.approval, visit.stumbled) == (None,) * 5


def test_a_refusal_and_a_fault_are_facts() -> None:
    assert replay((NOTICED, REFUSED)).refused == REFUSED
    assert replay((*QUIET_DAY[:7], FAULT)).fault == FAULT


@pytest.mark.parametrize("events", [(), (FETCHED,), (NOTICED, NOTICED)])
def test_a_visit_begins_once_with_being_noticed(events: tuple[VisitEvent, ...]) -> None:
    with pytest.raises(JournalDamaged):
        replay(events)


def test_the_spool_keeps_what_arrived_and_what_was_made() -> None:
    assert replay((NOTICED,)).blobs == set()
    assert replay(QUIET_DAY).blobs == {
        digest("letter"),
        digest("our letter"),
        digest("manifest"),
        digest("code"),
        digest("state out"),
        digest("envelope"),
    }


def test_a_lost_room_takes_back_what_was_derived_from_it() -> None:
    visit = replay((*QUIET_DAY[:8], RELEASE, RELEASED, LOST))
    assert (visit.furnished, visit.started, visit.ended, visit.cleared, visit.approval) == (None,) * 5
    assert visit.admitted == ADMITTED
    assert (visit.attempt, visit.rooms_lost) == (2, 1)


def test_attempts_are_never_counted_back() -> None:
    attention = Held(at=NOW, hold=HoldFor.ATTENTION, reason="lost")
    looked = Approved(at=NOW, hold=HoldFor.ATTENTION, by="grace", note="")
    visit = replay((*QUIET_DAY[:5], LOST, OPENED, LOST, attention, looked))
    assert (visit.attempt, visit.rooms_lost) == (3, 0)


def test_an_approval_is_for_one_question() -> None:
    visit = replay((NOTICED, FETCHED, ACCEPTED, HELD, APPROVED))
    assert visit.held is None
    assert visit.approved_for(HoldFor.ADMISSION, HELD.reason) == APPROVED
    assert visit.approved_for(HoldFor.RELEASE, HELD.reason) is None
    assert visit.approved_for(HoldFor.ADMISSION, "something nobody was told") is None


def test_an_approval_is_used_up_by_the_step_it_allowed() -> None:
    visit = replay((NOTICED, FETCHED, ACCEPTED, HELD, APPROVED, ADMITTED, OPENED, FURNISHED, STARTED, ENDED))
    assert visit.approved_for(HoldFor.ADMISSION, HELD.reason) is None
    visit = replay((*visit.events, RELEASE, RELEASED, CLEARED))
    assert visit.approved_for(HoldFor.RELEASE, HELD.reason) is None


def test_an_approval_outlives_a_stumble() -> None:
    assert (
        replay((NOTICED, FETCHED, ACCEPTED, HELD, APPROVED, BUG)).approved_for(HoldFor.ADMISSION, HELD.reason)
        == APPROVED
    )


def test_stumbles_are_counted_until_the_next_progress() -> None:
    visit = replay((NOTICED, STUMBLED, BUG))
    assert (visit.stumbles, visit.internal_stumbles, visit.not_before) == (2, 1, BUG.not_before)
    visit = replay((*visit.events, FETCHED))
    assert (visit.stumbles, visit.internal_stumbles, visit.not_before) == (0, 0, None)


@pytest.mark.parametrize("event", [HELD, RELEASE])
def test_a_question_ends_the_stumbling(event: Held) -> None:
    visit = replay((NOTICED, STUMBLED, event))
    assert (visit.stumbles, visit.not_before, visit.held) == (0, None, event)
