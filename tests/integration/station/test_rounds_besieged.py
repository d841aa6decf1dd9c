"""Two hundred trains board at once, beside a train of rounds that is under way: who waits for whom?

Daemons with as many workers as they have, whose steps take a turn each: what is counted are turns, not seconds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry.depot import train_tag
from security.ids import PartyId
from station.daemon.lanes import WORKERS, Lane
from station.daemon.loop import About, Shift
from station.daemon.pace import Pace
from station.daemon.workers import Inline, Job
from station.house.expected import Expected
from tests.support.journeys import BOARD_B, DEPARTURE, FIRST, JUNCTION, B
from tests.support.rounds import ROWS, STATIONS, SUMMED, SUMS, board, rounds_train, rounds_world
from tests.support.trains import Train
from tests.support.world import ROOMY, MemoryBlobs, World

EVERYBODY = (*STATIONS, JUNCTION)
MANY = 200
POLL = 2
A_TURN = timedelta(seconds=0.2)


class Few(Inline[About]):
    """Takes in a turn as many steps of each lane as a daemon has workers for it."""

    def __init__(self) -> None:
        super().__init__()
        self._begun: Counter[Lane] = Counter()

    def free(self, lane: Lane) -> bool:
        return self._begun[lane] < WORKERS[lane]

    def begin(self, job: Job[About]) -> None:
        self._begun[job.lane] += 1
        super().begin(job)

    def next_turn(self) -> None:
        self._begun.clear()


class Daemons:
    """A daemon for each party, taking turns."""

    def __init__(self, here: World) -> None:
        self._here = here
        self._workers = {party: Few() for party in EVERYBODY}
        self._shifts = {
            party: Shift(here.houses[party], Pace(clock=here.clock, poll_seconds=POLL), ROOMY, self._workers[party])
            for party in EVERYBODY
        }

    def turn(self) -> None:
        for party in EVERYBODY:
            self._workers[party].next_turn()
            self._shifts[party].turn()
        self._here.now += A_TURN

    def until_home(self, made: Train) -> int:
        """Return how many turns it takes a train to come home."""
        for turns in range(2000):
            if self._here.at_home(made.id):
                return turns
            self.turn()
        pytest.fail("it never came home")

    def until_boarded(self) -> None:
        while not any(visit.departed for visit in self._here.visits(B)):
            self.turn()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = rounds_world(tmp_path / "world", program=SUMS)
    yield made
    made.close()


def a_train(here: World) -> Train:
    return rounds_train(here, outputs=SUMMED)


def test_a_round_that_runs_does_not_wait_for_two_hundred_trains_that_board(here: World, tmp_path: Path) -> None:
    daemons = Daemons(here)
    alone = a_train(here)
    board(here, alone)
    daemons.until_boarded()
    turns = daemons.until_home(alone)
    made = a_train(here)
    board(here, made)
    known = len(here.visits(B))
    while len(here.visits(B)) == known or not here.visits(B)[-1].departed:
        daemons.turn()
    for _ in range(MANY):
        other = a_train(here)
        here.depot.send(other.parcel, MemoryBlobs(other.blobs), to=B, train=other.id, stop=BOARD_B)
    took = daemons.until_home(made)
    boarded = sum(visit.departed is not None for visit in here.visits(B) if visit.boarded)
    model = json.loads(here.results(made, tmp_path / "results")["model.json"])
    assert model["n"] == len(ROWS)
    assert len(here.visits(B)) >= MANY
    assert boarded < MANY // 2
    assert took <= 2 * turns


@pytest.mark.parametrize(("party", "following"), [("hospital-b", FIRST[B]), (JUNCTION, DEPARTURE)])
def test_a_daemon_that_starts_again_expects_the_trains_that_are_under_way(
    here: World, party: str, following: int
) -> None:
    made = a_train(here)
    board(here, made)
    here.settle(party)
    here.change(party, expected=Expected())
    house = here.houses[party]
    Shift(house, Pace(clock=here.clock, poll_seconds=POLL), ROOMY).begin("0")
    assert house.expected.knows(train_tag(made.id, PartyId(party), following))
    assert not house.expected.knows(train_tag(made.id, PartyId(party), following + 1))
    house.passes.destroy(made.id)
    here.change(party, expected=Expected())
    Shift(here.houses[party], Pace(clock=here.clock, poll_seconds=POLL), ROOMY).begin("0")
    assert here.houses[party].expected.next_time is None
