"""What is known to come is asked for by name, often at first and then less, and not for ever."""

from __future__ import annotations

import itertools
from datetime import timedelta

from registry.names import Tag
from station.house.expected import FIRST, MOST, SHARE, Expected
from tests.support.trains import NOW

POLL = timedelta(seconds=2)
ONE = Tag("t-" + "0" * 64)


def test_it_is_asked_for_soon_and_then_less_often() -> None:
    expected = Expected()
    expected.add(ONE, NOW)
    asked = []
    while (due := expected.next_time) is not None:
        if expected.due(due, POLL):
            asked.append(due - NOW)
    assert asked[0] == FIRST
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses == sorted(pauses)
    assert all(pause <= max(FIRST, waited / SHARE) for waited, pause in zip(asked, pauses, strict=False))
    assert asked[-1] <= POLL * SHARE * 1.2
    assert len(asked) < 60


def test_what_has_come_is_not_asked_for() -> None:
    expected = Expected()
    expected.add(ONE, NOW)
    expected.seen(ONE)
    assert (expected.next_time, expected.due(NOW + POLL, POLL)) == (None, ())


def test_nothing_is_asked_for_before_its_time() -> None:
    expected = Expected()
    expected.add(ONE, NOW)
    assert expected.due(NOW, POLL) == ()
    assert expected.due(NOW + FIRST, POLL) == (ONE,)


def test_a_clock_that_was_turned_back_ends_the_waiting() -> None:
    expected = Expected()
    expected.add(ONE, NOW)
    assert expected.due(NOW - timedelta(hours=1), POLL) == (ONE,)
    assert expected.next_time is None


def test_of_many_the_newest_are_asked_for() -> None:
    expected = Expected()
    tags = [Tag(f"t-{number:064x}") for number in range(MOST + 3)]
    for tag in tags:
        expected.add(tag, NOW)
    assert set(expected.due(NOW + FIRST, POLL)) == set(tags[3:])
