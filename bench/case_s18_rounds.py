"""S18: do many rounds cost more than a few: to verify at home, and a station in each of them?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Final

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, alternating
from bench.rounds import Taken, hospitals, take_part
from security.ids import PartyId
from security.keys.keyset import Scheme
from security.train.route_kinds import BoardedRoute, RoundsRoute
from security.train.verify import verify_home
from tests.support.journeys import ALICE, JUNCTION, Journey
from tests.support.rounds import COMBINE, CONTRIBUTE, OUTPUTS
from tests.support.trains import NOW, consortium, train

KIB: Final = 1 << 10
EARLY, LATE, AROUND = 2, 40, 4
"""Rounds that are compared, and how many beside each."""
_LETTERS: Final = "its entry, twice: for the junction and for the owner"
FLAT: Final = Goal(least=0.8, most=1.25)
KINDS: Final = {"ed25519": (Scheme.ED25519,), "ed25519 and ml-dsa-65": (Scheme.ED25519, Scheme.ML_DSA_65)}


def measure(bench: Bench) -> Iterator[Figure]:
    """Models in this process: nothing is sent anywhere."""
    yield from _at_home(bench)
    yield from _in_each_round(bench)
    yield from _sent(bench)


def _at_home(bench: Bench) -> Iterator[Figure]:
    rounds, stations = (5, 20) if bench.quick else (50, 20)
    journeys = {kind: _journey(rounds, stations, schemes) for kind, schemes in KINDS.items()}
    found = alternating(
        {kind: lambda one=one: _verified(one) for kind, one in journeys.items()},  # type: ignore[misc] # bound now
        rounds=1 if bench.quick else 3,
    )
    for kind, seconds in found.items():
        yield Figure(
            what=f"verified at home: {rounds} rounds of {stations} stations, signed with {kind}",
            value=seconds,
            unit="s",
            goal=Goal(most=2, absolute=True),
        )


def _journey(rounds: int, stations: int, schemes: Sequence[Scheme]) -> Journey:
    """Make the journey of a train that has come home from its last round."""
    names = [PartyId(name) for name in hospitals(stations)]
    parties = consortium((*names, JUNCTION), schemes=dict.fromkeys((*names, JUNCTION), schemes))
    route = RoundsRoute(stations=tuple(map(parties.stop, names)), junction=parties.stop(JUNCTION), most=rounds)
    boarded = BoardedRoute(then=route)
    made = Journey(train=train(parties, rounds=boarded, command=CONTRIBUTE, combine=COMBINE, outputs=OUTPUTS))
    return made.to(made.train.manifest.route.home)


def _verified(made: Journey) -> float:
    end = made.train.manifest.route.ends[-1]
    parts, trust = made.home(end), made.consortium.trust
    begun = time.process_time()
    home = verify_home(parts, trust, owner=ALICE, now=NOW)
    taken = time.process_time() - begun
    if len(home.journey.entries) != len(parts.entries):
        msg = "not every entry was verified"
        raise RuntimeError(msg)
    return taken


def _in_each_round(bench: Bench) -> Iterator[Figure]:
    rounds = 12 if bench.quick else LATE + AROUND
    taken = take_part(bench.folder / "flat", stations=3, rounds=rounds, numbers=100)
    late = rounds - 2 * AROUND + 1 if bench.quick else LATE
    first, last = taken[EARLY - 1 : EARLY - 1 + AROUND], taken[late - 1 : late - 1 + AROUND]

    def between(what: str, unit: str, of: str) -> Figure:
        early, later = (statistics.median(getattr(one, of) for one in some) for some in (first, last))
        return Figure(what=what, value=later, unit=unit, to=f"round {EARLY}", ratio=later / early, goal=FLAT)

    yield between(f"a station in round {late}: processor", "s", "processor")
    yield between(f"a station in round {late}: requests", "", "requests")
    yield between(f"a station in round {late}: bytes sent", "B", "uploaded")


def _sent(bench: Bench) -> Iterator[Figure]:
    for stations, numbers, which in ((4, 100_000, 0), (20, 100, 0), (4, 100_000, 1)):
        folder = bench.folder / f"sent-{stations}-{which}"
        taken: Sequence[Taken] = take_part(folder, stations=stations, rounds=2, numbers=numbers, which=which)
        vector, long = numbers * 8, ", that signs with ml-dsa-65 as well" if which else ""
        yield Figure(
            what=f"sent by one of {stations} stations{long} in a round, beside its vector of {vector} B and what that is padded with",
            value=(taken[-1].uploaded - taken[-1].state) / KIB,
            unit="KiB",
            goal=None if which else Goal(most=16, absolute=True),
            note="a signature of 3.3 KB, twice" if which else _LETTERS,
        )


CASE = Case(id="S18", title="Many rounds: verified at home, and the cost of each for a station", measure=measure)
