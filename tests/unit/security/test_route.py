"""A route answers for its stops; nobody else counts them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from security.digest import digest_of
from security.ids import PartyId
from security.train.route import SequenceRoute, Stop, counted

ROOT = Path(__file__).parents[3]


def sequence(*names: str) -> SequenceRoute:
    return SequenceRoute(stops=tuple(Stop(party=PartyId(name), key_set=digest_of(name.encode())) for name in names))


def test_a_sequence_begins_at_its_first_stop_and_ends_at_home() -> None:
    route = sequence("a", "b", "a")
    assert (len(route), route.home, list(route.indices), route.starts) == (3, 3, [0, 1, 2], (0,))
    assert [route.before(one) for one in (0, 1, 2, route.home)] == [(), (0,), (1,), (2,)]
    assert [route.after(one) for one in route.indices] == [(1,), (2,), (3,)]


def test_before_and_after_are_two_views_of_one_graph() -> None:
    route = sequence("a", "b", "c", "b")
    forth = {(one, onward) for one in route.indices for onward in route.after(one)}
    back = {(earlier, one) for one in (*route.indices, route.home) for earlier in route.before(one)}
    assert forth == back
    assert all(one < onward for one, onward in forth)


def test_the_ancestors_of_a_stop_are_all_that_must_have_passed() -> None:
    route = sequence("a", "b", "c")
    assert [route.ancestors(one) for one in (0, 1, 2, route.home)] == [(), (0,), (0, 1), (0, 1, 2)]
    assert [route.ahead(one) for one in (0, 1, 2, route.home)] == [(0, 1, 2), (1, 2), (2,), ()]


def test_a_party_may_have_several_stops_or_none() -> None:
    route = sequence("a", "b", "a")
    assert (route.of(PartyId("a")), route.of(PartyId("b")), route.of(PartyId("c"))) == ((0, 2), (1,), ())
    assert route.parties == ("a", "b")
    assert route.stop(2) == route.stop(0)


@pytest.mark.parametrize("index", [-1, 2, 3])
def test_there_are_no_other_stops(index: int) -> None:
    with pytest.raises(IndexError):
        sequence("a", "b").stop(index)


def test_people_count_from_one() -> None:
    route = sequence("a", "b")
    assert [counted(one) for one in route.indices] == [1, 2]
    assert [route.told(one) for one in (0, 1, route.home)] == ["stop 1 of 2", "stop 2 of 2", "home"]
    assert str(route) == "a -> b"


def test_nobody_else_computes_with_the_index_of_a_stop() -> None:
    """What comes before or after a stop, and how people count it, is the route's to say."""
    sums = re.compile(
        r"\b(?:stop|stops|index_of_stop|home)\b\)? *[-+] *1\b|\bstops\[|len\([\w.]*(?:stops|entries)\) *[-+]"
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in ("security", "registry", "console", "station", "train_builder", "rehearsal")
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "route.py"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if sums.search(line)
    ]
    assert found == []
