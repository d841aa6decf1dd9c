"""An owner follows a train of rounds: who has boarded, who is waited for, and the rounds with their times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.depot import Depot
from registry.memory import MemoryRegistry
from registry.names import Reference, Repository, Tag
from registry.port import StoredManifest
from station.admission.policy import AllOf, ByHand, Owners
from tests.support.rounds import (
    COMBINE,
    CONTRIBUTE,
    JUNCTION,
    board,
    combine_until,
    contribute,
    rounds_train,
    rounds_world,
)
from tests.support.scripted_sandbox import Program
from tests.support.trains import MAIL, Train
from tests.support.world import World, usual_policy
from train_builder.cli.render_journey import describe, whereabouts_document
from train_builder.follow.follow import StopState, Whereabouts, read_mail, whereabouts_of


class Asked(MemoryRegistry):
    """A registry that counts what it is asked for by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = 1 << 22) -> StoredManifest:
        if isinstance(reference, Tag):
            self.names[repo] += 1
        return super().get_manifest(repo, reference, most=most)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    program: dict[tuple[str, ...], Program] = {CONTRIBUTE: contribute, COMBINE: combine_until(3)}
    made = rounds_world(tmp_path / "world", program=program, registry=Asked())
    yield made
    made.close()


def follow(here: World, made: Train) -> Whereabouts:
    mail = read_mail(Depot(here.registry), made.manifest.owner.party, made.id, made.manifest.route, MAIL)
    return whereabouts_of(made.verified, mail, here.consortium.trust, sent=here.now, now=here.now)


def told(here: World, made: Train) -> str:
    return describe(follow(here, made), now=here.now)


def test_who_has_boarded_is_seen_and_who_is_waited_for(here: World) -> None:
    here.change("hospital-b", policy=AllOf(rules=(usual_policy(), ByHand())))
    made = rounds_train(here, most=6)
    board(here, made)
    here.settle()
    text = told(here, made)
    assert text.count("boarding") == 4
    assert "hospital-a               passed" in text
    assert "waiting for hospital-b since" in text
    assert "nothing runs before all are on board; it may wait for a person" in text
    assert "'pht train recall' ends it" in text
    assert whereabouts_document(follow(here, made), here.now)["waitingFor"] == ["hospital-b"]


def test_a_station_that_refuses_to_board_is_named_with_its_reason(here: World) -> None:
    here.change("hospital-b", policy=Owners(allowed=frozenset()))
    made = rounds_train(here, most=6)
    board(here, made)
    here.settle()
    found = follow(here, made)
    assert found.stopped is not None
    assert (found.stopped.station, found.stopped.place) == ("hospital-b", "boarding")
    assert "ended at hospital-b: refused" in told(here, made)


def test_rounds_go_by_with_their_times_and_several_are_waited_for(here: World) -> None:
    made = rounds_train(here, most=6)
    board(here, made)
    second = made.manifest.route.ends[1]
    while not any(one.departed and one.accepted and one.accepted.stop == second for one in here.visits(JUNCTION)):
        for name in here.houses:
            here.step(name)
    text = told(here, made)
    assert "departure" in text
    assert "boarding" not in text
    for number in (1, 2):
        assert f"round   {number}  combine     {JUNCTION}                 passed" in text
    found = follow(here, made)
    assert {one.round for one in found.stops if one.state is StopState.WAITING} <= {2}
    here.settle()
    assert follow(here, made).passed
    assert "every station has passed it on" in told(here, made)


def test_following_asks_for_a_bounded_number_of_names(here: World) -> None:
    made = rounds_train(here, most=90)
    board(here, made)
    here.settle()
    assert isinstance(here.registry, Asked)
    here.registry.names.clear()
    assert follow(here, made).passed
    assert here.registry.names["mailbox/alice"] <= 20
