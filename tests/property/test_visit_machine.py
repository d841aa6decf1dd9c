"""A crash at every point, at every pair of points, and in every order Hypothesis can think of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from station.errors import NothingToDecide
from station.visit import plan
from station.visit.events import Held, HoldFor, Signed, Stumbled, VisitEvent
from station.visit.plan import Over, next_step
from station.visit.state import Visit
from tests.support.model_house import ARRIVAL, CrashError, Cut, House, Story

ENDED_BY_SIGNATURE = {Story.GOOD, Story.HELD, Story.FAILING, Story.UNWANTED}


def points_of(story: Story) -> int:
    house = House(story=story)
    house.finish()
    return house.points


def live(house: House, fuses: Iterable[int], cut: Cut) -> int:
    """Run to the end, crashing after so many points each time; return how often it crashed."""
    crashes = 0
    for fuse in fuses:
        house.fuse = fuse
        try:
            house.finish()
        except CrashError:
            crashes += 1
            house.after(cut)
            house.check_always()
    house.fuse = None
    house.finish()
    house.check_finished()
    return crashes


@pytest.mark.parametrize("story", Story)
def test_without_a_crash_every_story_ends(story: Story) -> None:
    house = House(story=story)
    assert live(house, (), Cut.KILLED) == 0
    assert house.runs == (0 if story in {Story.FORGED, Story.UNWANTED} else 1)
    assert house.signatures == (1 if story in ENDED_BY_SIGNATURE else 0)
    assert len(house.sent) == (1 if story in {Story.GOOD, Story.HELD} else 0)


@pytest.mark.parametrize("cut", Cut)
@pytest.mark.parametrize("story", Story)
def test_a_crash_at_every_point(story: Story, cut: Cut) -> None:
    left = []
    for fuse in range(1, points_of(story) + 1):
        house = House(story=story, fuse=fuse)
        with pytest.raises(CrashError):
            house.finish()
        house.after(cut)
        house.check_always()
        left.append(house)
    for house in unlike(left):
        # A killed process adopts its container; only a power cut costs a second run.
        assert ended(house) <= (1 if cut is Cut.KILLED else 2)


def ended(house: House) -> int:
    """Run to the end, and return how often the train ran."""
    house.finish()
    house.check_finished()
    house.journal.close()
    return house.runs


def unlike(worlds: Iterable[House]) -> list[House]:
    """Leave out worlds in which everything is as in another one: what happens next is the same."""
    return list({repr(house.survives()): house for house in worlds}.values())


def test_what_a_crash_leaves_is_what_was_there() -> None:
    """The next two tests copy the world at each point instead of crashing there: the same is left."""
    for fuse, left in enumerate(House().crashes(Cut.KILLED), start=1):
        house = House(fuse=fuse)
        with pytest.raises(CrashError):
            house.finish()
        house.after(Cut.KILLED)
        assert house.survives() == left.survives()


def test_a_crash_at_every_pair_of_points() -> None:
    points, schedules = points_of(Story.GOOD), 0
    left: list[House] = []
    for once in House().crashes(Cut.KILLED):
        twice = once.copy().crashes(Cut.KILLED)
        schedules += len(twice)
        left = unlike([*left, once, *twice])
    assert schedules >= points * (points - 1) // 2
    for house in left:
        assert ended(house) == 1


def test_two_power_cuts_at_a_coarser_grid() -> None:
    for cut in (Cut.POWER, Cut.POWER_DISK):
        left = [twice for once in unlike(House().crashes(cut)[::3]) for twice in once.crashes(cut)[::5]]
        for house in unlike(left):
            assert 1 <= ended(house) <= 3


class HastyHouse(House):
    """Pushes what it signed before it wrote down that it had signed: the tempting order."""

    def _sign(self, visit: Visit) -> VisitEvent:
        event = super()._sign(visit)
        assert isinstance(event, Signed)
        assert visit.sealed is not None
        self.leave((self.spool[visit.sealed.blob], self.spool[event.envelope]))
        return event


def test_this_model_would_notice_the_tempting_order() -> None:
    noticed = []
    for fuse in range(1, points_of(Story.GOOD) + 2):
        house = HastyHouse()
        try:
            live(house, (fuse,), Cut.KILLED)
        except AssertionError:
            noticed.append(fuse)
    assert noticed


class SlovenlyHouse(House):
    """Forgets the container when wiping."""

    def _wipe(self, visit: Visit) -> VisitEvent:
        kept = dict(self.containers)
        event = super()._wipe(visit)
        self.containers.update(kept)
        return event


def test_this_model_would_notice_plaintext_that_stays() -> None:
    with pytest.raises(AssertionError):
        live(SlovenlyHouse(), (), Cut.KILLED)


class RestlessHouse(House):
    """Starts again what it could have adopted."""

    def _start(self, visit: Visit) -> VisitEvent:
        self.containers.clear()
        return super()._start(visit)


def test_this_model_would_notice_a_second_run() -> None:
    runs: Sequence[int] = []
    for fuse in range(1, points_of(Story.GOOD) + 1):
        house = RestlessHouse()
        try:
            live(house, (fuse,), Cut.KILLED)
        except AssertionError:
            runs = [*runs, house.runs]
    assert runs


class HalfwayHouse(House):
    """Goes on with a copy where a crash has left it."""

    def _furnish(self, visit: Visit) -> VisitEvent:
        kept = list(self.data or ())
        event = super()._furnish(visit)
        self.data = [*kept, *(self.data or ())]
        return event


def test_this_model_would_notice_a_run_on_other_data_than_were_asked_for() -> None:
    noticed = []
    for fuse in range(1, points_of(Story.GOOD) + 1):
        try:
            live(HalfwayHouse(), (fuse,), Cut.KILLED)
        except AssertionError:
            noticed.append(fuse)
    assert noticed


class VisitMachine(RuleBasedStateMachine):
    """Crashes, power cuts, outages, bugs and people, in any order and number."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House()
        self.cuts = 0

    @rule(story=st.sampled_from(Story))
    @precondition(lambda self: self.house.visit() is None)
    def arrives(self, story: Story) -> None:
        self.house.story = story

    @rule(turns=st.integers(1, 4))
    def works(self, turns: int) -> None:
        for _ in range(turns):
            self.house.turn()

    @rule(fuse=st.integers(1, 12), cut=st.sampled_from(Cut))
    def crashes(self, fuse: int, cut: Cut) -> None:
        self.house.fuse = fuse
        try:
            for _ in range(6):
                self.house.turn()
        except CrashError:
            self.house.after(cut)
            self.cuts += cut is not Cut.KILLED
        self.house.fuse = None

    @rule()
    def loses_power(self) -> None:
        self.house.after(Cut.POWER)
        self.cuts += 1

    @rule()
    def is_away(self) -> None:
        self._setback(lambda visit: plan.stumble(visit, code="registry.unavailable", now=self.house.now))

    @rule(times=st.integers(1, 6))
    def has_a_bug(self, times: int) -> None:
        for _ in range(times):
            self._setback(lambda visit: plan.stumble_internally(visit, now=self.house.now))

    @rule()
    def time_passes(self) -> None:
        self.house.now += plan.LONGEST_BACKOFF

    @rule()
    @precondition(lambda self: self._visit_is_held())
    def somebody_approves(self) -> None:
        self.house.answer()

    @rule()
    def somebody_refuses(self) -> None:
        visit = self.house.visit()
        if visit is None:
            return
        if self.house.signatures and visit.signed:
            with pytest.raises(NothingToDecide):
                plan.refuse(visit, code="policy.refused", reason="", by="grace", now=self.house.now)
        elif visit.refused is None and visit.fault is None and visit.superseded is None:
            refusal = plan.refuse(visit, code="policy.refused", reason="", by="grace", now=self.house.now)
            self.house.append(visit, refusal)

    @rule()
    def is_asked_twice(self) -> None:
        visit = self.house.visit()
        if visit is not None:
            assert next_step(visit, self.house.now) == next_step(visit, self.house.now)

    @invariant()
    def nothing_is_broken(self) -> None:
        self.house.check_always()

    def teardown(self) -> None:
        self.house.finish()
        self.house.check_finished()
        assert self.house.runs <= 1 + self.cuts
        assert isinstance(self.house.turn(), Over)
        self.house.journal.close()

    def _visit_is_held(self) -> bool:
        visit = self.house.visit()
        return visit is not None and visit.held is not None

    def _setback(self, make: object) -> None:
        visit = self.house.visit()
        if visit is None or visit.held is not None or visit.departed is not None:
            return
        assert callable(make)
        event = make(visit)
        assert isinstance(event, Stumbled | Held)
        self.house.append(visit, event)
        if isinstance(event, Held):
            assert event.hold is HoldFor.ATTENTION
            assert self.house.journal.visit(ARRIVAL).held == event


VisitMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestVisitMachine = VisitMachine.TestCase
