"""How often does a daemon look into its mailbox?"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from registry.depot import Depot, Waiting, mailbox
from registry.errors import RegistryUnavailable
from registry.memory import MemoryRegistry
from registry.names import Repository, Tag
from registry.oci import MAX_MANIFEST
from registry.port import Registry
from security.digest import digest_of
from security.ids import PartyId
from station.daemon.loop import Shift
from station.daemon.pace import Pace
from station.house.mailbox import MailboxMemory
from station.steps.notice import notice
from tests.support.world import ROOMY, World, world

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
def listed() -> Listed:
    return Listed()


@pytest.fixture
def here(tmp_path: Path, listed: Listed) -> Iterator[World]:
    made = world(tmp_path, stations=[STATION], registry=listed)
    yield made
    made.close()


def shift(here: World) -> Shift:
    return Shift(here.houses[STATION], Pace(clock=here.clock, poll_seconds=POLL), ROOMY)


def test_a_train_that_runs_does_not_make_the_daemon_ask_more_often(here: World, listed: Listed) -> None:
    own = shift(here)
    here.submit(here.train(route=(STATION,)))
    while not (visits := here.visits(STATION)) or not visits[0].pushed:
        own.turn()
        here.now += timedelta(seconds=0.25)
    assert listed.lists == 1
    here.now += timedelta(seconds=POLL)
    own.turn()
    assert listed.lists == 2


def test_a_daemon_with_nothing_to_do_rests_until_the_next_look(here: World) -> None:
    own = shift(here)
    made = here.train(route=(STATION,))
    here.submit(made)
    while not here.at_home(made.id) or not here.visit(STATION).departed:
        own.turn()
        here.now += timedelta(seconds=0.25)
    for _ in range(4):
        here.now += timedelta(seconds=POLL)
        own.turn()
        assert own.rests()
        assert own.pause() > 1


def test_what_has_just_left_may_have_come_to_ourselves(here: World) -> None:
    own = shift(here)
    made = here.train(route=(STATION, STATION))
    here.submit(made)
    begun = here.now
    while not here.at_home(made.id):
        own.turn()
        here.now += timedelta(seconds=0.25)
        assert here.now - begun < timedelta(seconds=POLL)


def test_a_clock_that_is_turned_back_does_not_stop_the_looking(here: World, listed: Listed) -> None:
    own = shift(here)
    own.turn()
    here.now -= timedelta(days=1)
    own.turn()
    assert listed.lists == 2


def test_that_the_mailbox_cannot_be_read_is_told_until_it_can(here: World, listed: Listed) -> None:
    own = shift(here)
    listed.away = True
    for _ in range(2):
        trouble = own.turn().trouble
        assert isinstance(trouble, RegistryUnavailable)
    assert listed.lists == 1
    listed.away = False
    here.now += timedelta(seconds=POLL)
    assert own.turn().trouble is None


class Doubled(Depot):
    """While one look reads what waits under a tag, another look begins what it found there."""

    def __init__(self, registry: Registry, other: Callable[[], object]) -> None:
        super().__init__(registry)
        self._other = other

    def look_up(self, party: PartyId, tag: Tag, *, most: int = MAX_MANIFEST) -> Waiting | None:
        found = super().look_up(party, tag, most=most)
        self._other()
        return found


def test_a_train_that_two_looks_find_at_once_stays_in_the_mailbox_and_is_visited_once(here: World) -> None:
    """A daemon looks through its mailbox beside asking for what it expects."""
    made = here.train(route=(STATION,))
    here.submit(made)
    usual = here.houses[STATION]
    beside = replace(usual, depot=Doubled(usual.depot.registry, lambda: notice(usual, here.now)))
    assert notice(beside, here.now) == ()
    assert len(here.waits_for(STATION)) == 1
    (begun,) = here.visits(STATION)
    assert not usual.journal.was_redelivered(begun.arrival)
    here.settle()
    assert here.at_home(made.id)


def test_a_train_that_leaves_while_another_look_has_it_in_its_hand_was_not_delivered_again(here: World) -> None:
    """A boarding takes less time than a look through a mailbox: it was found by the one, and is over by the time the other looks."""
    made = here.train(route=(STATION,))
    here.submit(made)
    usual = here.houses[STATION]
    beside = replace(usual, depot=Doubled(usual.depot.registry, here.settle))
    assert notice(beside, here.now) == ()
    (over,) = here.visits(STATION)
    assert over.departed is not None
    assert not usual.journal.was_redelivered(over.arrival)
    here.submit(made)
    here.settle()
    assert usual.journal.was_redelivered(over.arrival)
    assert here.waits_for(STATION) == ()


def test_what_two_looks_begin_at_once_is_begun_once_and_is_no_trouble(here: World) -> None:
    for _ in range(2):
        here.submit(here.train(route=(STATION,)))
    usual = here.houses[STATION]
    turns = count()

    def at_the_second() -> None:
        if next(turns) == 1:
            assert len(notice(usual, here.now)) == 2

    beside = replace(usual, depot=Doubled(usual.depot.registry, at_the_second))
    assert notice(beside, here.now) == ()
    assert [len(visit.events) for visit in here.visits(STATION)] == [1, 1]


def test_what_is_remembered_of_a_mailbox_stands_two_looks_at_once() -> None:
    memory, tags = MailboxMemory(), [Tag(f"t-{digest_of(b'%d' % number).hex}") for number in range(4000)]
    over, usual = threading.Event(), sys.getswitchinterval()

    def ask_for_expected() -> None:
        for number in count():
            memory.looked_at(tags[number % len(tags)], digest_of(b"an arrival"))
            memory.doubt(digest_of(b"%d" % (number % 1000)))
            if over.is_set():
                return

    other = threading.Thread(target=ask_for_expected)
    sys.setswitchinterval(1e-6)
    other.start()
    try:
        for _ in range(50):
            memory.choose(tags, ())
            memory.still_doubtful(())
    finally:
        over.set()
        other.join()
        sys.setswitchinterval(usual)
    assert memory.seen.keys() <= set(tags)
