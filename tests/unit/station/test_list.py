"""What a list of visits says of a station where no daemon works, and how one visit of several is meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from console.answer import Answer
from security.ids import TrainId
from station.cli.render import render_visits
from station.desk.opening import find_visit
from station.desk.visits import summary
from station.errors import VisitUnknown
from station.journal.journal import Journal
from station.visit.events import Accepted, Noticed, VisitEvent
from station.visit.state import Visit
from tests.support.visits import (
    ACCEPTED,
    ADMITTED,
    FETCHED,
    FURNISHED,
    HELD,
    NOTICED,
    NOW,
    OPENED,
    QUIET_DAY,
    STARTED,
    TRAIN,
    digest,
)

RUNNING = (NOTICED, FETCHED, ACCEPTED, ADMITTED, OPENED, FURNISHED, STARTED)


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal.in_memory() as opened:
        yield opened


def written(journal: Journal, *events: VisitEvent, arrival: str = "arrival") -> Visit:
    """Record a visit, event by event."""
    noticed = Noticed(at=NOW, arrival=digest(arrival), tag=f"train-{arrival}", size=700)
    for expect, event in enumerate((noticed, *events)):
        journal.append(noticed.arrival, event, expect=expect)
    return journal.visit(noticed.arrival)


def table(visit: Visit, *, worked: bool) -> Answer:
    return render_visits([summary(visit, NOW, worked=worked)])


def test_nothing_runs_where_no_daemon_works(journal: Journal) -> None:
    visit = written(journal, *RUNNING[1:])
    alive, dead = table(visit, worked=True), table(visit, worked=False)
    assert "running" in alive.text
    assert "no daemon" not in alive.text
    assert "was running" in dead.text
    assert "nothing, for no daemon works here: pht station run" in dead.text


def test_a_visit_that_waits_for_a_person_does_so_with_and_without_a_daemon(journal: Journal) -> None:
    visit = written(journal, FETCHED, ACCEPTED, HELD)
    for worked in (True, False):
        assert summary(visit, NOW, worked=worked).next == "a person, for admission: a first train of this owner"


def test_a_daemon_that_says_nothing_is_told_below_the_list(journal: Journal) -> None:
    visit = written(journal, *RUNNING[1:])
    told = render_visits([summary(visit, NOW, worked=True)], silence=timedelta(minutes=31))
    assert told.text.splitlines()[-1] == "the daemon has said nothing for 31 min: pht station check"


def test_of_several_visits_of_a_train_the_digits_are_listed(journal: Journal) -> None:
    def accepted(stop: int) -> Accepted:
        return replace(ACCEPTED, stop=stop, place=f"stop {stop + 1} of 4")

    first = written(journal, FETCHED, accepted(1), arrival="first")
    second = written(journal, FETCHED, accepted(3), arrival="second")
    with pytest.raises(VisitUnknown) as caught:
        find_visit(journal, "7" * 12)
    assert f"{first.arrival.short} (stop 2 of 4, accepted)" in str(caught.value.hint)
    assert f"{second.arrival.short} (stop 4 of 4, accepted)" in str(caught.value.hint)
    assert find_visit(journal, second.arrival.short) == second
    listed = render_visits([summary(one, NOW, worked=True) for one in (first, second)]).text.splitlines()
    assert [line.split()[0] for line in listed] == ["VISIT", first.arrival.short, second.arrival.short]


def test_of_several_visits_of_a_train_that_are_over_the_newest_is_meant(journal: Journal) -> None:
    """A train that was boarded has been here twice: to board, and to run."""
    over = QUIET_DAY[3:]
    boarded = replace(ACCEPTED, stop=0, place="boarding")
    written(journal, FETCHED, boarded, *over, arrival="first")
    second = written(journal, FETCHED, ACCEPTED, *over, arrival="second")
    assert find_visit(journal, "7" * 12) == second
    other = replace(ACCEPTED, train=TrainId(TRAIN[:12] + "8" * 52))
    written(journal, FETCHED, other, *over, arrival="another train")
    with pytest.raises(VisitUnknown, match="more than one visit"):
        find_visit(journal, "7" * 12)
    assert find_visit(journal, "7" * 20) == second


def test_what_a_list_leaves_out_is_told_below_it_and_to_programs(journal: Journal) -> None:
    visit = written(journal, *RUNNING[1:])
    told = render_visits([summary(visit, NOW, worked=True)], more=7)
    assert told.text.splitlines()[-1] == "7 more were here before: --all"
    assert told.data["more"] == 7
    assert table(visit, worked=True).data["more"] == 0


@pytest.mark.parametrize("name", ["%%%%", "____", "sha256:", "7777 OR 1", "77\x0077", "ABCDEF"])
def test_a_name_is_never_a_pattern(journal: Journal, name: str) -> None:
    written(journal, *RUNNING[1:])
    with pytest.raises(VisitUnknown):
        find_visit(journal, name)
