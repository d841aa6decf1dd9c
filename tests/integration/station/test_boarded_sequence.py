"""A sequence that is boarded: everybody says that they take part, and then it goes on as any other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from security.errors import InvalidInput
from security.sums.errors import MaskedVectorInvalid
from security.train.journey import Outcome, VerifiedJourney
from security.train.manifest import Output
from security.train.route import SequenceRoute, Task
from security.train.route_kinds import BoardedRoute
from security.train.sum_form import Sum
from security.train.verify import AcceptedTrain
from station.admission.policy import AllOf, ByHand, Owners
from station.sandbox.order import DATA, RunOrder
from station.steps.sums import take_aside
from tests.support.rounds import board
from tests.support.trains import Train, train
from tests.support.world import ROUTE, TOTAL, World, usual_policy, world
from train_builder.follow.totals import unmask_results


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
    here.approve("hospital-c")
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


MOMENTS = Output(
    path="moments.json",
    media_type="application/json",
    max_bytes=4096,
    sum=Sum(shape=(2,), bound=1 << 30, bits=64, fraction=24),
)


def count_up(order: RunOrder, say: Callable[[bytes], None]) -> int:
    """Write this hospital's numbers, and nothing of those before: they are not there."""
    assert list(order.state.iterdir()) == []
    rows = [int(line) for line in (order.source(f"{DATA}/patients") / "patients.csv").read_text().splitlines()[1:]]
    (order.state / "moments.json").write_text(json.dumps([len(rows), sum(rows) + 0.5]))
    say(b"counted\n")
    return 0


def summed(here: World, *names: str, **changes: object) -> Train:
    stops = tuple(map(here.consortium.stop, names or ROUTE))
    route = BoardedRoute(then=SequenceRoute(stops=stops))
    return train(here.consortium, rounds=route, **({"outputs": (MOMENTS,)} | changes))  # type: ignore[arg-type] # fields


def test_a_sum_over_a_sequence_is_known_to_its_owner_alone(tmp_path: Path) -> None:
    here = world(tmp_path / "world", program=count_up)
    try:
        made = summed(here)
        board(here, made)
        here.settle()
        came = here.results(made, tmp_path / "came")
        assert came["moments.json"].startswith(b"pht-sum1")
        unmask_results(tmp_path / "came", made.manifest)
        assert json.loads((tmp_path / "came" / "moments.json").read_text()) == [6, TOTAL + 1.5]
    finally:
        here.close()


def test_a_station_without_the_vectors_before_it_adds_nothing(tmp_path: Path) -> None:
    """The last station before the owner could otherwise hand on its own numbers under masks that nobody takes away."""
    here = world(tmp_path / "world", program=count_up)
    try:
        made = summed(here)
        room = here.houses["hospital-b"].workrooms.make(made.envelope.digest)
        with pytest.raises(MaskedVectorInvalid):
            take_aside(_at_second_stop(made), room)
    finally:
        here.close()


def _at_second_stop(made: Train) -> AcceptedTrain:
    journey = VerifiedJourney(stop=5, before=(4,), entries=(), previous=(), states=())
    return AcceptedTrain(manifest=made.verified, journey=journey, stop=5, states=())


@pytest.mark.parametrize("route", [("hospital-a",), ("hospital-a", "hospital-b", "hospital-a")])
def test_no_sum_is_taken_over_one_station_or_over_one_twice(here: World, route: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="outputs"):
        summed(here, *route)
