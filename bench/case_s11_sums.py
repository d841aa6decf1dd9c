"""What does a masked sum cost a station and the junction, beside the bare key stream and the bare addition?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, Run, alternating
from bench.usage import function

MIB: Final = 1 << 20
FEW: Final = 3
READS: Final = "with key exchanges, reading the .npy file and writing the vector"


def measure(bench: Bench) -> Iterator[Figure]:
    """Every measured program is a process of its own, so that its peak memory is nobody else's."""
    scale = 10 if bench.quick else 1
    yield from _sum(bench, numbers=1_000_000 // scale, bits=64, stations=20, most=(0.5, 1.0))
    yield from _sum(bench, numbers=1_000_000 // scale, bits=128, stations=20, most=None)
    yield from _sum(bench, numbers=10_000, bits=64, stations=50, most=(0.05, None))


def _sum(
    bench: Bench, *, numbers: int, bits: int, stations: int, most: tuple[float | None, float | None] | None
) -> Iterator[Figure]:
    what = f"{stations} stations × {numbers} numbers, {bits} bits"
    file = bench.folder / f"{numbers}.npy"
    function("added:make", str(file), str(numbers))
    folders = {among: bench.folder / f"{numbers}-{bits}-{among}" for among in (stations, FEW)}
    sizes = {among: f"{numbers} {bits} {among}" for among in folders}
    for among, folder in folders.items():
        folder.mkdir()
        function("added:vectors", str(file), str(folder), sizes[among])
    times = "3" if bench.quick else "9"
    masks = (stations - 1) * numbers * bits // 8

    def station(among: int) -> list[str]:
        return ["added:station", str(file), str(folders[among]), sizes[among], times]

    def junction(among: int) -> list[str]:
        return ["added:junction", str(folders[among]), sizes[among], times]

    def seconds(words: list[str]) -> Run:
        return lambda: float(function(*words).printed)

    runs = {
        "station": station(stations),
        "stream": ["added:bare_stream", str(masks), times],
        "junction": junction(stations),
        "adding": ["added:bare_adding", str(numbers * bits // 64), str(stations), times],
    }
    found = alternating(
        {name: seconds(words) for name, words in runs.items()},
        rounds=1 if bench.quick else 3,
    )
    goals = [Goal(most=one, absolute=True) if one else None for one in most or (None, None)]
    yield Figure(
        what=f"{what}: a station",
        value=found["station"],
        unit="s",
        to="the bare key stream",
        ratio=found["station"] / found["stream"],
        goal=goals[0],
        note=READS,
    )
    yield Figure(
        what=f"{what}: the junction",
        value=found["junction"],
        unit="s",
        to="bare numpy addition of as many limbs",
        ratio=found["junction"] / found["adding"],
        goal=goals[1],
    )
    for who, words in (("a station", station), ("the junction", junction)):
        many, few = (function(*words(among)).memory / MIB for among in (stations, FEW))
        yield Figure(
            what=f"{what}: peak of {who}",
            value=many,
            unit="MiB",
            to=f"{FEW} stations",
            ratio=many / few,
            goal=Goal(most=1.1),
        )


CASE = Case(id="S11", title="Masked sums", measure=measure)
