"""S17: what does a round cost over the containers it runs, and how long does a regression take from its submission to its results?"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.bench import Bench, Case
from bench.case_s5_stop import run
from bench.figures import Figure, Goal
from registry.places import Login, registry_at
from security.digest import Digest
from security.directory.trust import Base
from security.ids import TrainId
from station.house.assembly import base_loader
from tests.support.bases import CHECKOUT
from tests.support.hospitals import Hospitals
from tests.support.runs import Room

STATIONS: Final = ("hospital-a", "hospital-b", "hospital-c", "hospital-d")
JUNCTION: Final = "hub"
SCRIPT: Final = "echo '[1]' > \"$PHT_STATE/$1.json\"\n"
COMMAND: Final = ("sh", "/pht/code/main.sh")
TRIVIAL: Final = f"""\
train: rounds
purpose: a round in which nothing is computed
approval: {{reference: bench}}
base: python
rounds: {{stations: [{", ".join(STATIONS)}], junction: {JUNCTION}, most: MOST}}
contribute: [sh, main.sh, part]
combine: [sh, main.sh, model]
outputs:
  - {{path: part.json, media_type: application/json, max_bytes: 1KB, task: contribute}}
  - {{path: model.json, media_type: application/json, max_bytes: 1KB, task: combine}}
limits: {{memory: 64MiB, cpu: 1, wall_time: 1min, processes: 16, output: 100KB}}
valid: 14d
"""
EXAMPLE: Final = CHECKOUT / "examples" / "tumour-risk"
ROUNDS: Final = 5
LOOKED: Final = ("--watch", "--every", "0.2")


def measure(bench: Bench) -> Iterator[Figure]:
    """Five stations as processes of their own, and the owner's commands."""
    with consortium(bench) as ours:
        a_round = taken(ours, trivial(ours, 3 if bench.quick else 16))
        run_twice, run_at_once = bare(ours, bench, rounds=2 if bench.quick else 7)
        base = f"two containers in a row and {len(STATIONS)} at once"
        yield Figure(what=base, value=run_twice + run_at_once, unit="s")
        yield Figure(
            what=f"a round of {len(STATIONS)} stations and a junction",
            value=a_round,
            unit="s",
            to=base,
            ratio=a_round / (run_twice + run_at_once),
        )
        over = a_round - 1.5 * (run_twice + run_at_once)
        yield Figure(what="a round over 1.5 of that", value=over, unit="s", goal=Goal(most=1, absolute=True))
        yield Figure(
            what=f"a regression in {ROUNDS} rounds of {len(STATIONS)} stations, from submit to opened",
            value=statistics.median(regression(ours, number) for number in range(1 if bench.quick else 3)),
            unit="s",
            goal=Goal(most=30, absolute=True),
        )


@contextmanager
def consortium(bench: Bench) -> Iterator[Hospitals]:
    """Yield five stations that run, of which four have the patients."""
    root = bench.folder / "consortium-of-five"
    root.mkdir()
    base = CHECKOUT / ".state" / "base" / "python.tar"
    ours = Hospitals(root=root, engine=bench.engine, base=base, route=(*STATIONS, JUNCTION))
    try:
        ours.found()
        words: list[str | Path] = [sys.executable, CHECKOUT / "examples" / "breast-cancer" / "split.py", root / "split"]
        subprocess.run(words, check=True)
        parts = [one.read_text().splitlines() for one in sorted((root / "split").glob("*/patients.csv"))]
        parts = [[parts[0][0], *parts[0][1::2]], [parts[0][0], *parts[0][2::2]], *parts[1:]]
        for station, lines in zip(STATIONS, parts, strict=True):
            (root / "data" / station / "patients.csv").write_text("\n".join(lines) + "\n")
        yield ours
    finally:
        ours.close()


def trivial(ours: Hospitals, most: int) -> TrainId:
    """Send a train of so many rounds, and wait until it is home."""
    folder = ours.root / "trivial"
    (folder / "code").mkdir(parents=True)
    (folder / "train.yaml").write_text(TRIVIAL.replace("MOST", str(most)))
    (folder / "code" / "main.sh").write_text(SCRIPT)
    sent = ours.answer("train", "submit", folder, "--home", "alice", *ours.secret("alice"))
    ours.answer("train", "follow", "latest", "--home", "alice", *LOOKED)
    return TrainId(sent["train"])


def taken(ours: Hospitals, train: TrainId) -> float:
    """Return the seconds from a combination to the next, on average: a journal's times are in whole seconds."""
    with ours.journal(JUNCTION) as journal:
        visits = [journal.visit(one) for one in journal.arrivals()]
    ended = sorted(
        one.pushed.at for one in visits if one.accepted and one.accepted.train == train and one.cleared and one.pushed
    )
    return (ended[-1] - ended[0]).total_seconds() / (len(ended) - 1)


def bare(ours: Hospitals, bench: Bench, *, rounds: int) -> tuple[float, float]:
    """Return the median seconds of two containers in a row, and of as many at once as there are stations."""
    names = ours.answer("train", "stations", "--home", "alice")["bases"]
    digest = Digest(next(one["digest"] for one in names if one["name"] == "python"))
    image = base_loader(registry_at(ours.url, Login()))(Base(name="python", digest=digest, note="", withdrawn=False))
    prepared = bench.engine.sandbox().prepare(image)

    def once(number: int) -> None:
        room = Room(path=ours.root / "bare" / str(number))
        (room.path / "code" / "main.sh").write_text(SCRIPT)
        run(bench.engine.url, room.order((*COMMAND, "part"), image=prepared))

    numbers = iter(range(10**6))
    twice, at_once = [], []
    with ThreadPoolExecutor(len(STATIONS)) as threads:
        for _ in range(rounds):
            begun = time.perf_counter()
            for _ in range(2):
                once(next(numbers))
            between = time.perf_counter()
            list(threads.map(once, [next(numbers) for _ in STATIONS]))
            twice.append(between - begun)
            at_once.append(time.perf_counter() - between)
    return statistics.median(twice), statistics.median(at_once)


def regression(ours: Hospitals, number: int) -> float:
    """Send the example over all four stations; return the seconds until its results lie open."""
    folder = ours.root / f"regression-{number}"
    shutil.copytree(EXAMPLE, folder)
    spec = (folder / "train.yaml").read_text()
    spec = spec.replace("[hospital-a, hospital-b, hospital-c]", f"[{', '.join(STATIONS)}]")
    spec = spec.replace("junction: hospital-a", f"junction: {JUNCTION}").replace("most: 15", f"most: {ROUNDS}")
    (folder / "train.yaml").write_text(spec.replace("train: tumour-risk", f"train: tumour-risk-{number}"))
    begun = time.perf_counter()
    ours.answer("train", "submit", folder, "--home", "alice", *ours.secret("alice"))
    ours.answer("train", "follow", "latest", "--home", "alice", *LOOKED)
    results = Path(f"results-{number}")
    ours.answer("train", "open", "latest", results, "--home", "alice", *ours.secret("alice"))
    return time.perf_counter() - begun


CASE = Case(id="S17", title="A round, over the containers it runs; a regression from submit to opened", measure=measure)
