"""How fast does the gate take in a table and a document with a schema, from the state of a run to what is sealed?"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, alternating
from bench.gated import KINDS
from bench.usage import Usage, function
from tests.support.trains import consortium, train

MB: Final = 1_000_000
MIB: Final = 1 << 20

DICTS: Final = (
    "a document is in memory as Python's objects: 15 MB of small ones take 86 MiB, and each value is looked at"
)


def measure(bench: Bench) -> Iterator[Figure]:
    """The table and the documents are shaped like those of real analyses; every gate is a process of its own."""
    scale = 0.1 if bench.quick else 1
    files = {kind: bench.folder / kind for kind in KINDS}
    sizes = {
        "table": table(files["table"], 100 * scale, line="\n"),
        "other": table(files["other"], 20 * scale, line="\r\n", quoted=True),
        "numbers": document(files["numbers"], {"weights": list(numbers(15 * scale))}),
        "objects": document(files["objects"], {"rows": list(objects(15 * scale))}),
    }
    signed = bench.folder / "manifest"
    signed.write_bytes(train(consortium()).envelope.payload)
    used: dict[str, list[Usage]] = {kind: [] for kind in KINDS}

    def gate(kind: str) -> float:
        taken = function("gated:gate", kind, str(files[kind]), str(signed), str(bench.folder / "room"))
        used[kind].append(taken)
        return float(taken.printed)

    def bare(kind: str) -> float:
        return float(function("gated:bare", kind, str(files[kind])).printed)

    runs = {
        f"{kind} {of}": (lambda do=do, kind=kind: do(kind))
        for kind in KINDS
        for of, do in (("gate", gate), ("bare", bare))
    }
    seconds = alternating(runs, rounds=1 if bench.quick else 3)
    for kind, what, goal, note in (
        ("table", "a table of 100 MB, as pandas writes it", Goal(least=40, absolute=True), ""),
        ("other", "a table of which every cell is quoted", None, ""),
    ):
        took, reference = seconds[f"{kind} gate"], seconds[f"{kind} bare"]
        yield Figure(
            what=what,
            value=sizes[kind] / MB / took,
            unit="MB/s",
            ratio=took / reference,
            to="csv.reader alone (time)",
            goal=goal,
            note=note,
        )
    for kind, what, note in (("numbers", "15 MB of numbers", ""), ("objects", "15 MB of objects", DICTS)):
        took, reference = seconds[f"{kind} gate"], seconds[f"{kind} bare"]
        yield Figure(
            what=f"JSON, {what}",
            value=took,
            unit="s",
            ratio=took / reference,
            to="json.loads and dumps alone",
            goal=Goal(most=1, absolute=True),
            note=note,
        )
        memory = max(one.memory for one in used[kind]) / MIB
        yield Figure(
            what=f"JSON, {what}: peak memory", value=memory, unit="MiB", goal=Goal(most=96, absolute=True), note=note
        )


def table(file: Path, megabytes: float, *, line: str, quoted: bool = False) -> int:
    """Write a table of visits: identifiers, whole numbers, decimals, codes, dates, words."""
    rng = random.Random(2)  # noqa: S311 - it hides nothing
    wrap: Callable[[str], str] = '"{}"'.format if quoted else str
    header = ",".join(map(wrap, COLUMNS)) + line
    with file.open("w", newline="") as out:
        out.write(header)
        number = 0
        while out.tell() < megabytes * MB:
            rows = [visit(rng, number + one) for one in range(10_000)]
            out.writelines(",".join(map(wrap, row)) + line for row in rows)
            number += len(rows)
    return file.stat().st_size


COLUMNS: Final = ("patient", "age", "sex", "icd", "visit", "creatinine", "weight", "dose", "note")


def visit(rng: random.Random, number: int) -> tuple[str, ...]:
    """Return a row of the table."""
    return (
        f"P{number:07}",
        str(rng.randrange(18, 100)),
        rng.choice("fmd"),
        f"{rng.choice('CDEI')}{rng.randrange(100):02}.{rng.randrange(10)}",
        f"20{rng.randrange(10, 25)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
        str(round(abs(rng.gauss(1, 0.4)), 2)),
        str(round(abs(rng.gauss(75, 15)), 1)),
        str(rng.choice([5, 10, 20, 50, 100])),
        rng.choice(["", "stable", "improved", "worse", "lost to follow-up"]),
    )


def document(file: Path, whole: object) -> int:
    """Write a JSON document."""
    file.write_text(json.dumps(whole))
    return file.stat().st_size


def numbers(megabytes: float) -> Iterator[list[float]]:
    """Yield rows of a matrix of doubles."""
    rng, size = random.Random(3), 0.0  # noqa: S311
    while size < megabytes * MB - 6000:
        row = [rng.gauss(0, 1) for _ in range(256)]
        size += len(json.dumps(row)) + 2
        yield row


def objects(megabytes: float) -> Iterator[dict[str, object]]:
    """Yield aggregates, each a small object."""
    rng, size = random.Random(4), 0.0  # noqa: S311
    while size < megabytes * MB - 1000:
        one: dict[str, object] = {
            "site": rng.choice(["north", "south", "east"]),
            "age": rng.randrange(18, 100),
            "n": rng.randrange(1, 500),
            "mean": round(rng.gauss(75, 15), 3),
            "sd": round(abs(rng.gauss(10, 3)), 3),
        }
        size += len(json.dumps(one)) + 2
        yield one


CASE = Case(id="S2", title="The gate with a schema: a table of 100 MB, documents of 15 MB", measure=measure)
