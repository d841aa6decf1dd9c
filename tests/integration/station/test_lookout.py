"""How often does a daemon look into its mailbox?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry.depot import mailbox
from registry.errors import RegistryUnavailable
from registry.memory import MemoryRegistry
from registry.names import Repository, Tag
from security.ids import PartyId
from station.daemon.loop import Pace, turn
from tests.support.world import World, world

POLL = 30
STATION = PartyId("hospital-a")


class Listed(MemoryRegistry):
    """Counts how often the station's mailbox is listed, and can be away for that."""

    def __init__(self) -> None:
        super().__init__()
        self.lists, self.away = 0, False

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        self.lists += repo == mailbox(STATION)
        if self.away:
            msg = "the registry is away"
            raise RegistryUnavailable(msg)
        return super().list_tags(repo)


@pytest.fixture
def registry() -> Listed:
    return Listed()


@pytest.fixture
def here(tmp_path: Path, registry: Listed) -> Iterator[World]:
    made = world(tmp_path, stations=[STATION], registry=registry)
    yield made
    made.close()


def pace(here: World) -> Pace:
    return Pace(clock=here.clock, stop=threading.Event(), poll_seconds=POLL)


def test_a_train_that_runs_does_not_make_the_daemon_ask_more_often(here: World, registry: Listed) -> None:
    own = pace(here)
    here.submit(here.train(route=(STATION,)))
    while not (visits := here.visits(STATION)) or not visits[0].pushed:
        turn(here.houses[STATION], own)
        here.now += timedelta(seconds=0.25)
    assert registry.lists == 1
    here.now += timedelta(seconds=POLL)
    turn(here.houses[STATION], own)
    assert registry.lists == 2


def test_what_has_just_left_may_have_come_to_ourselves(here: World) -> None:
    own = pace(here)
    made = here.train(route=(STATION, STATION))
    here.submit(made)
    begun = here.now
    while not here.at_home(made.id):
        turn(here.houses[STATION], own)
        here.now += timedelta(seconds=0.25)
        assert here.now - begun < timedelta(seconds=POLL)


def test_a_clock_that_is_turned_back_does_not_stop_the_looking(here: World, registry: Listed) -> None:
    own = pace(here)
    turn(here.houses[STATION], own)
    here.now -= timedelta(days=1)
    turn(here.houses[STATION], own)
    assert registry.lists == 2


def test_that_the_mailbox_cannot_be_read_is_told_until_it_can(here: World, registry: Listed) -> None:
    own = pace(here)
    registry.away = True
    for _ in range(2):
        trouble = turn(here.houses[STATION], own).trouble
        assert isinstance(trouble, RegistryUnavailable)
    assert registry.lists == 1
    registry.away = False
    here.now += timedelta(seconds=POLL)
    assert turn(here.houses[STATION], own).trouble is None
