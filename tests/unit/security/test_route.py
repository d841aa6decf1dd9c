"""A route answers for its stops; nobody else counts them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from security.digest import digest_of
from security.forms.record import Record
from security.ids import PartyId
from security.train.boarding import BoardingPass, SealedSeed
from security.train.route import MOST_ABOARD, MOST_STATIONS, Route, SequenceRoute, Stop, Task, counted
from security.train.route_kinds import KINDS, BoardedRoute, RoundsRoute

ROOT = Path(__file__).parents[3]


def sequence(*names: str) -> SequenceRoute:
    return SequenceRoute(stops=tuple(Stop(party=PartyId(name), key_set=digest_of(name.encode())) for name in names))


def stops(*names: str) -> tuple[Stop, ...]:
    return tuple(Stop(party=PartyId(name), key_set=digest_of(name.encode())) for name in names)


def rounds(*names: str, junction: str = "j", most: int = 3) -> RoundsRoute:
    return RoundsRoute(stations=stops(*names), junction=stops(junction)[0], most=most)


ROUTES: dict[str, Route] = {
    "one stop": sequence("a"),
    "laps": sequence("a", "b", "a"),
    "rounds": rounds("a", "b", "c"),
    "a junction that contributes": rounds("a", "b", junction="b"),
    "a boarded sequence": BoardedRoute(then=sequence("a", "b", "a")),
    "boarded rounds": BoardedRoute(then=rounds("a", "b", junction="b")),
    "boarded rounds with a junction": BoardedRoute(then=rounds("a", "b")),
    "one station": rounds("a", junction="a", most=1),
}


class Plain(Route):
    """The same route, of which only what a kind must say is known: what follows from that is computed."""

    def __init__(self, route: Route) -> None:
        self._route = route

    def __len__(self) -> int:
        return len(self._route)

    def stop(self, index: int) -> Stop:
        return self._route.stop(index)

    def before(self, index: int) -> tuple[int, ...]:
        return self._route.before(index)

    def after(self, index: int) -> tuple[int, ...]:
        return self._route.after(index)

    def task(self, index: int) -> Task:
        return self._route.task(index)

    @property
    def ends(self) -> tuple[int, ...]:
        return self._route.ends

    @property
    def conductor(self) -> Stop:
        return self._route.conductor


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_what_a_kind_says_faster_is_what_follows_from_its_graph(route: Route) -> None:
    plain = Plain(route)
    for one in (*route.indices, route.home):
        assert route.ancestors(one) == plain.ancestors(one)
        assert route.ahead(one) == plain.ahead(one)
    for one in route.indices:
        assert route.descendants(one) == plain.descendants(one)
        assert set(route.readers(one)) >= set(plain.readers(one))
    assert route.places == tuple(dict.fromkeys(plain.places))
    assert route.parties == plain.parties
    for party in {one.party for one in route.places}:
        assert route.of(party) == plain.of(party)
        assert route.boarding(party) == plain.boarding(party)


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_an_entry_is_read_by_who_comes_after_it_and_of_rounds_by_everybody(route: Route) -> None:
    """Which round is the last, whose entries nobody comes after but the junction, comes out in the last round."""
    plain, rounds = Plain(route), any(route.task(end) is Task.COMBINE for end in route.ends)
    for one in route.indices:
        expected = route.places if rounds else plain.readers(one)
        assert set(route.readers(one)) == set(expected)


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_before_and_after_of_any_kind_are_two_views_of_one_graph(route: Route) -> None:
    forth = {(one, onward) for one in route.indices for onward in route.after(one)}
    back = {(earlier, one) for one in (*route.indices, route.home) for earlier in route.before(one)}
    assert forth == back
    assert all(one < onward for one, onward in forth)


def test_t27_nobody_boards_whose_pass_could_not_be_read() -> None:
    """A pass has a seed for each party after its own: the widest rounds there can be fit, and a longer sequence does not."""
    names = [f"h{one}" for one in range(MOST_ABOARD + 1)]
    widest = BoardedRoute(then=rounds(*names[:MOST_STATIONS], junction=names[-1]))
    assert KINDS.read(KINDS.write(widest), "route") == widest
    seed = SealedSeed(party=PartyId("a"), sealed="AAAA")
    seeds = (seed,) * len(widest.parties_after(PartyId(names[0])))
    full = BoardingPass(recipient="r", mask_key="00" * 32, seeds=seeds)
    assert Record(BoardingPass).accepts(full)
    assert KINDS.accepts(BoardedRoute(then=sequence(*names[:MOST_ABOARD], *names[:MOST_ABOARD])))
    assert KINDS.accepts(sequence(*names))
    assert not KINDS.accepts(BoardedRoute(then=sequence(*names)))


def test_in_a_round_all_contribute_and_the_junction_combines() -> None:
    route = rounds("a", "b", most=2)
    assert [(route.round(one), route.stop(one).party, route.task(one)) for one in route.indices] == [
        (0, "a", Task.CONTRIBUTE),
        (0, "b", Task.CONTRIBUTE),
        (0, "j", Task.COMBINE),
        (1, "a", Task.CONTRIBUTE),
        (1, "b", Task.CONTRIBUTE),
        (1, "j", Task.COMBINE),
    ]
    assert (route.starts, route.ends, route.home) == ((0, 1), (2, 5), 6)
    assert [route.before(one) for one in route.indices] == [(), (), (0, 1), (2,), (2,), (3, 4)]
    assert [route.after(one) for one in route.indices] == [(2,), (2,), (3, 4), (5,), (5,), (6,)]
    assert (route.onward(2, finished=True), route.onward(2, finished=False)) == ((6,), (3, 4))
    assert str(route) == "a, b <-> j"
    assert route.told(4) == "round 2 of at most 2 (contribute)"


def test_home_is_reached_from_the_combination_that_finished() -> None:
    route = rounds("a", "b", most=3)
    assert [route.way_to(route.home, entries) for entries in (0, 3, 4, 6, 9, 10)] == [
        (0, 1, 2),
        (0, 1, 2),
        (0, 1, 2, 3, 4, 5),
        (0, 1, 2, 3, 4, 5),
        tuple(range(9)),
        tuple(range(9)),
    ]
    assert route.way_to(4, 99) == (0, 1, 2)


def test_nothing_runs_before_everybody_is_on_board() -> None:
    route = BoardedRoute(then=rounds("a", "b", most=1))
    told = [(route.stop(one).party, route.task(one)) for one in route.indices]
    assert told[:4] == [("a", Task.BOARD), ("b", Task.BOARD), ("j", Task.BOARD), ("j", Task.DEPART)]
    assert told[4:] == [("a", Task.CONTRIBUTE), ("b", Task.CONTRIBUTE), ("j", Task.COMBINE)]
    assert route.starts == (0, 1, 2)
    assert [route.before(one) for one in route.indices] == [(), (), (), (0, 1, 2), (3,), (3,), (4, 5)]
    assert [route.boarding(PartyId(name)) for name in ("a", "b", "j", "x")] == [0, 1, 2, None]
    assert [route.told(one) for one in (0, 3, 4, 7)] == [
        "boarding",
        "departure",
        "round 1 of at most 1 (contribute)",
        "home",
    ]
    assert sequence("a").boarding(PartyId("a")) is None


def test_a_run_is_told_the_same_stop_whether_or_not_its_train_is_boarded() -> None:
    plain = sequence("a", "b", "a")
    boarded = BoardedRoute(then=plain)
    assert [plain.leg(one) for one in (*plain.indices, plain.home)] == [0, 1, 2, 3]
    assert [boarded.leg(one) for one in (*boarded.indices, boarded.home)] == [None, None, None, 0, 1, 2, 3]
    assert [boarded.told(one) for one in boarded.indices] == [
        *("boarding", "boarding", "departure"),
        *(plain.told(one) for one in plain.indices),
    ]


@pytest.mark.parametrize("route", [sequence("a"), rounds("a", most=1), BoardedRoute(then=sequence("a"))])
@pytest.mark.parametrize("claimed", [-1, 40])
def test_what_others_claim_can_be_told(route: Route, claimed: int) -> None:
    assert route.told(claimed) == f"stop {counted(claimed)}, which is not on the route"


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


def test_nobody_else_says_where_a_stop_is() -> None:
    """People read what `Route.told` says; only rounds, and the files of an export, are numbered elsewhere."""
    numbered = re.compile(r"\bcounted\((?!\w+\.round\b|begun\b)")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for package in ("security", "registry", "console", "station", "train_builder", "rehearsal")
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name not in {"route.py", "route_kinds.py"}
        for line in path.read_text(encoding="utf-8").splitlines()
        if numbered.search(line)
    ]
    assert [one.partition(":")[0] for one in found] == ["train_builder/proof/export.py"]
