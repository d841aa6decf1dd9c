"""An operator's command acts on the same visit at every point between two effects of a step.

A worker has a visit to itself (`station.daemon.agenda`), but not its journal: an operator's command is another process.
Whoever loses the race records nothing, and what must hold of a visit holds all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from station.errors import JournalRaced, NothingToDecide
from station.journal.journal import Journal
from station.visit import plan
from station.visit.events import Signed, VisitEvent
from station.visit.state import Visit
from tests.support.model_house import ARRIVAL, House, Story

BEGIN = 1


@dataclass
class SharedHouse(House):
    """A house in which, at one point, an operator refuses the visit; through a journal of their own on the same log."""

    at: int = 0
    raced: int = 0
    acted: bool = False
    _others: bool = field(default=False, repr=False)

    def point(self) -> None:
        super().point()
        if self.points >= self.at and not self.acted and not self._others:
            self._others = True
            self.acted = True
            mine, self.journal = self.journal, Journal(self.journal._log)
            try:
                self._act()
            finally:
                self.journal, self._others = mine, False

    def _act(self) -> None:
        visit = self.visit()
        if visit is None:
            self.acted = False
            return
        try:
            event = plan.refuse(visit, code="policy.refused", reason="", by="grace", now=self.now)
        except NothingToDecide:
            return
        self.journal.append(ARRIVAL, event, expect=visit.length)

    def append(self, visit: Visit | None, event: VisitEvent) -> None:
        try:
            super().append(visit, event)
        except JournalRaced:
            self.raced += 1
            self.check_always()


def points_of(story: Story) -> int:
    house = House(story=story)
    house.finish()
    return house.points


@pytest.mark.parametrize("story", Story)
def test_whoever_loses_the_race_records_nothing_and_what_must_hold_holds(story: Story) -> None:
    races = 0
    for at in range(BEGIN, points_of(story) + 1):
        house = SharedHouse(story=story, at=at)
        house.finish()
        house.check_finished()
        visit = house.visit()
        assert visit is not None
        assert sum(isinstance(event, Signed) for event in visit.events) <= 1
        races += house.raced
    assert races > 0


def test_an_operator_who_refuses_in_time_is_heeded_and_one_who_is_late_changes_nothing() -> None:
    outcomes = set()
    for at in range(BEGIN, points_of(Story.GOOD) + 1):
        house = SharedHouse(at=at)
        house.finish()
        visit = house.visit()
        assert visit is not None
        assert (visit.refused is None) is bool(house.sent)
        outcomes.add(visit.refused is None)
    assert outcomes == {True, False}
