"""S14: what does it take to read very many resources of a FHIR server?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.bench import Bench, Case
from bench.figures import Figure, Goal
from bench.searched import PAGE
from bench.usage import Usage, function
from tests.support.fhir import FhirServer, patients, pressures

MANY, FEWER = 100_000, 10_000
_MIB = 1 << 20


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield times and peaks; each reading is a process of its own, and the server is in this one."""
    scale = 10 if bench.quick else 1
    with FhirServer() as server:
        server.resources["Patient"] = patients(1000)
        fewer = _read(bench, server, FEWER // scale)
        many = _read(bench, server, MANY // scale)
        begun = len(server.asked)
        bare = float(function("searched:bare", server.base, str(bench.folder)).printed)
        pages = len(server.asked) - begun
    seconds = float(many.printed)
    what = f"{MANY // scale} observations, with their patients, in {pages} pages of {PAGE}"
    yield Figure(
        what=what,
        value=seconds,
        unit="s",
        to="the same pages fetched and parsed, by http.client and json",
        ratio=seconds / bare,
    )
    yield Figure(
        what="peak memory",
        value=many.memory / _MIB,
        unit="MiB",
        to=f"{FEWER // scale} observations",
        ratio=many.memory / fewer.memory,
        goal=Goal(most=1.1),
    )


def _read(bench: Bench, server: FhirServer, count: int) -> Usage:
    server.again()
    server.resources["Observation"] = pressures(count, patients=1000)
    return function("searched:ours", server.base, str(bench.folder))


CASE = Case(id="S14", title="Resources of a FHIR server", measure=measure)
