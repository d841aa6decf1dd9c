"""S3: what do stop 2 and stop 100 of one route cost?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Final

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, alternating
from bench.stops import travelled, visit
from registry.depot import Depot
from registry.http.remote import HttpRegistry
from registry.http.request import Http
from registry.names import HttpLocation, location
from tests.support.barrier import Barrier
from tests.support.world import World, world

FLAT: Final = 1.5
LIMIT: Final = (
    "a journey of 99 entries is 99 letters, 8.5 MB together, since each has 1.6 KB for every later station: a decapsulation (ML-KEM and "
    "X25519) and .8 ms each to open, and all are kept, named and sent on; and 99 signatures to verify: once a visit"
)


def measure(bench: Bench) -> Iterator[Figure]:
    """Visit trains at their second stop and at their last; everything but the run itself is what a station does."""
    logging.disable(logging.CRITICAL)
    stops, rounds = (12, 1) if bench.quick else (100, 5)
    route = tuple(f"hospital-{number}" for number in range(stops))
    here = world(bench.folder / "world", stations=route, registry=client(bench.registries.address("http")))
    barrier = Barrier(bench.registries.address("http"))
    with closing(here), closing(barrier):
        early, late = f"stop 2 of {stops}", f"stop {stops} of {stops}"
        for stop in (1, stops - 1):
            waiting(here, route, stop)()  # the first: mailboxes that are new, keys never seen
        requests = {name: counted(here, route, stop, barrier) for name, stop in ((early, 1), (late, stops - 1))}
        yield Figure(what=f"requests of {early}", value=requests[early], unit="requests")
        yield Figure(
            what=f"requests of {late}",
            value=requests[late],
            unit="requests",
            to=early,
            ratio=requests[late] / requests[early],
            goal=Goal(most=FLAT),
        )
        prepared = {
            name: [waiting(here, route, stop) for _ in range(rounds)] for name, stop in ((early, 1), (late, stops - 1))
        }
        taken = alternating({name: lambda name=name: prepared[name].pop()() for name in prepared}, rounds=rounds)  # type: ignore[misc]
        yield Figure(what=f"processor time of {early}", value=taken[early], unit="ms")
        yield Figure(
            what=f"processor time of {late}",
            value=taken[late],
            unit="ms",
            to=early,
            ratio=taken[late] / taken[early],
            goal=Goal(most=FLAT),
            note="" if taken[late] <= FLAT * taken[early] else LIMIT,
        )


def client(url: str) -> HttpRegistry:
    """Return a client of a registry."""
    place = location(url)
    if not isinstance(place, HttpLocation):
        raise TypeError(url)
    return HttpRegistry(Http(place.origin), prefix=None)


def waiting(here: World, route: tuple[str, ...], stop: int) -> Callable[[], float]:
    """Prepare a train for one stop; return what lets it be visited, and tells the milliseconds of processor that took."""
    made = travelled(here, route, stop)

    def run() -> float:
        here.submit(made)
        begun = time.process_time()
        visit(here, route[stop])
        return (time.process_time() - begun) * 1000

    return run


def counted(here: World, route: tuple[str, ...], stop: int, barrier: Barrier) -> int:
    """Return the requests that a stop makes."""
    here.submit(travelled(here, route, stop))
    usual = here.houses[route[stop]].depot
    here.change(route[stop], depot=Depot(client(barrier.url)))
    barrier.asked.clear()
    visit(here, route[stop])
    here.change(route[stop], depot=usual)
    return len(barrier.asked)


CASE = Case(id="S3", title="A stop at the beginning and at the end of a long route", measure=measure)
