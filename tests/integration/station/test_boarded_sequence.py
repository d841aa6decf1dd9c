"""A sequence that is boarded: everybody says that they take part, and then it goes on as any other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from security.train.journey import Outcome
from security.train.route import SequenceRoute, Task
from security.train.route_kinds import BoardedRoute
from station.admission.policy import AllOf, ByHand, Owners
from station.visit.plan import approve
from tests.support.rounds import board
from tests.support.trains import Train, train
from tests.support.world import ROUTE, TOTAL, World, usual_policy, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world")
    yield made
    made.close()


def boarded(here: World, *names: str) -> Train:
    stops = tuple(map(here.consortium.stop, names or ROUTE))
    return train(here.consortium, rounds=BoardedRoute(then=SequenceRoute(stops=stops)))


def test_it_comes_home_with_what_a_plain_sequence_brings(here: World, tmp_path: Path) -> None:
    made = boarded(here)
    board(here, made)
    here.settle()
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"n": 6, "sum": TOTAL}
    for name in ROUTE:
        tasks = [made.manifest.route.task(one.accepted.stop) for one in here.visits(name) if one.accepted]
        assert sorted(tasks) == sorted([Task.BOARD, Task.RUN] + [Task.DEPART] * (name == ROUTE[0]))
        assert list((here.folder(name) / "passes").iterdir()) == []


def test_nothing_runs_anywhere_as_long_as_somebody_has_not_boarded(here: World) -> None:
    here.change("hospital-c", policy=AllOf(rules=(usual_policy(), ByHand())))
    made = boarded(here)
    board(here, made)
    here.settle()
    assert [here.sandboxes[name].started for name in ROUTE] == [[], [], []]
    held = here.visit("hospital-c")
    assert held.held is not None
    yes = approve(held, by="grace", note="", now=here.now)
    here.houses["hospital-c"].journal.append(held.arrival, yes, expect=held.length)
    here.settle()
    assert here.at_home(made.id)
    assert [visit.admitted.by for visit in here.visits("hospital-c") if visit.admitted] == ["boarding"]


def test_a_station_that_does_not_take_part_is_heard_before_anybody_has_worked(here: World) -> None:
    here.change("hospital-b", policy=Owners(allowed=frozenset()))
    made = boarded(here)
    board(here, made)
    here.settle()
    assert here.outcome(made) is Outcome.REFUSED
    assert [here.sandboxes[name].started for name in ROUTE] == [[], [], []]


def test_a_station_that_comes_twice_boards_once(here: World, tmp_path: Path) -> None:
    made = boarded(here, "hospital-a", "hospital-b", "hospital-a")
    board(here, made)
    here.settle()
    assert here.at_home(made.id)
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"n": 7, "sum": 41}
