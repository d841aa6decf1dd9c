"""What does an object of a bucket cost, beside fetching the same one with `curl`?"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from datetime import timedelta

from bench.bench import Bench, Case
from bench.fetched import source_at
from bench.figures import Figure, Goal, alternating
from bench.usage import function, program
from station.data.tables.source import Wanted
from tests.support.buckets import BUCKET, KEYS, Buckets

LARGE, QUICK, SMALL = 1 << 30, 64 << 20, 1 << 20
_LINE = b"p1234567,42,171.5,f,true,some words,2020-01-01,2020-02-01\n"
_HEADER = b"patient,age,height,sex,smokes,note,admitted,left\n"


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield the seconds for a large object, and the memory it takes beside a small one."""
    size = QUICK if bench.quick else LARGE
    keys = bench.folder / "keys"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    with contextlib.closing(Buckets()) as server:
        for name, length in (("large", size), ("small", SMALL)):
            with (server.store / f"{name}.csv").open("wb") as out:
                out.write(_HEADER)
                for _ in range(length >> 20):
                    out.write(_LINE * ((1 << 20) // len(_LINE)))
        endpoint = server.endpoint()
        source = source_at(endpoint, str(keys), "large.csv")
        url = server.client().get_presigned_url("GET", BUCKET, "large.csv", expires=timedelta(hours=1))
        copied = bench.folder / "copied.csv"

        def by_station() -> None:
            into = bench.folder / "stage"
            into.mkdir()
            found = source.stage(Wanted(columns=()), into)
            if found.paths[0].stat().st_size != copied.stat().st_size:
                msg = "the station brought something else"
                raise RuntimeError(msg)
            shutil.rmtree(into)

        def by_curl() -> None:
            copied.unlink(missing_ok=True)
            program(["curl", "--silent", "--fail", "--output", str(copied), url])

        by_curl()  # and the server knows the object's digest
        found = alternating({"station": by_station, "curl": by_curl}, rounds=3 if bench.quick else 5)
        memory = {
            name: function("fetched:stage", endpoint, str(keys), f"{name}.csv", str(bench.folder / name)).memory
            / (1 << 20)
            for name in ("small", "large")
        }
    yield Figure(what=f"curl, {size >> 20} MiB", value=found["curl"], unit="s")
    yield Figure(
        what=f"the station, {size >> 20} MiB",
        value=found["station"],
        unit="s",
        to="curl of the same object",
        ratio=found["station"] / found["curl"],
        goal=Goal(most=1.5),
    )
    yield Figure(
        what=f"peak memory of that, {size >> 20} MiB",
        value=memory["large"],
        unit="MiB",
        to="an object of 1 MiB",
        ratio=memory["large"] / memory["small"],
        goal=Goal(most=1.2),
    )


CASE = Case(id="S13", title="An object in a bucket", measure=measure)
