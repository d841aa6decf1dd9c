"""What is measured of the gate, in a process that holds nothing else: one file, printed and judged; and what a library alone takes."""

from __future__ import annotations

import csv
import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from security.archive import content_of, members_of
from security.encoding import Json
from security.train.manifest import Output, read_manifest
from station.gate.anew import print_anew
from station.gate.inspect import inspect
from station.gate.port import Gate
from station.gate.rules import FORM

TABLE: Final[dict[str, Json]] = {
    "type": "object",
    "properties": {
        "patient": {"type": "string", "pattern": "^P\\d{7}$"},
        "age": {"type": "integer", "minimum": 18, "maximum": 120},
        "sex": {"enum": ["f", "m", "d"]},
        "icd": {"type": "string", "maxLength": 8},
        "visit": {"type": "string", "pattern": "^\\d{4}-\\d{2}-\\d{2}$"},
        "creatinine": {"type": "number", "minimum": 0, "maximum": 30},
        "weight": {"type": "number", "minimum": 0, "maximum": 300},
        "dose": {"enum": [5, 10, 20, 50, 100]},
        "note": {"type": ["string", "null"], "maxLength": 40},
    },
    "required": ["patient", "age"],
    "additionalProperties": False,
}
NUMBERS: Final[Json] = {
    "type": "object",
    "properties": {
        "weights": {
            "type": "array",
            "items": {"type": "array", "maxItems": 256, "items": {"type": "number", "minimum": -100, "maximum": 100}},
        }
    },
    "required": ["weights"],
}
OBJECTS: Final[Json] = {
    "type": "object",
    "properties": {
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "site": {"enum": ["north", "south", "east"]},
                    "age": {"type": "integer", "minimum": 0},
                    "n": {"type": "integer", "minimum": 0},
                    "mean": {"type": "number"},
                    "sd": {"type": "number", "minimum": 0},
                },
                "required": ["site", "age", "n", "mean", "sd"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["rows"],
}
KINDS: Final[dict[str, tuple[str, Json]]] = {
    "table": ("text/csv", TABLE),
    "other": ("text/csv", TABLE),
    "numbers": ("application/json", NUMBERS),
    "objects": ("application/json", OBJECTS),
}


def gate(kind: str, file: str, manifest: str, room: str) -> float:
    """Print and judge a file as the step does, the digest of what was judged included; return the processor seconds."""
    state, outgoing = Path(room) / "state", Path(room) / "outgoing"
    shutil.rmtree(room, ignore_errors=True)
    state.mkdir(parents=True)
    outgoing.mkdir()
    shutil.copy(file, state / "result")
    media_type, schema = KINDS[kind]
    train = read_manifest(Path(manifest).read_bytes())
    output = Output(path="result", media_type=media_type, max_bytes=1 << 30, schema=schema)
    train = replace(train, outputs=(output,), limits=replace(train.limits, output_bytes=1 << 30))
    begun = time.process_time()
    print_anew(state, train, outgoing)
    inspect(outgoing, train, Gate(rules=FORM))
    content_of(members_of(outgoing))
    return time.process_time() - begun


def bare(kind: str, file: str) -> float:
    """Read a file with the library alone, and write a document again; return the processor seconds."""
    begun = time.process_time()
    if KINDS[kind][0] == "text/csv":
        with Path(file).open(newline="") as lines:
            for _ in csv.reader(lines):
                pass
    else:
        json.dumps(json.loads(Path(file).read_bytes()), sort_keys=True)
    return time.process_time() - begun


def make(kind: str, file: str, megabytes: str) -> None:
    """Write a file of a kind: visits of patients, a matrix of doubles, or aggregates as small objects."""
    rng, size = random.Random(2), int(float(megabytes) * 1_000_000)  # noqa: S311 - it hides nothing
    if kind in {"table", "other"}:
        _table(rng, Path(file), size, quoted=kind == "other")
        return
    one: Callable[[random.Random], Json] = _row if kind == "numbers" else _aggregate
    listed, left = list[Json](), size - 100
    while (left := left - len(json.dumps(listed[-1])) - 2 if listed else left) > (6000 if kind == "numbers" else 200):
        listed.append(one(rng))
    Path(file).write_text(json.dumps({"weights" if kind == "numbers" else "rows": listed}))


def _table(rng: random.Random, file: Path, size: int, *, quoted: bool) -> None:
    wrap, end = ('"{}"'.format, "\r\n") if quoted else (str, "\n")
    visits = [",".join(map(wrap, _visit(rng))) for _ in range(50_000)]
    with file.open("w", newline="") as out:
        out.write(",".join(map(wrap, COLUMNS)) + end)
        number = 0
        while out.tell() < size:
            out.writelines(f"{wrap(f'P{number + at:07}')},{visit}{end}" for at, visit in enumerate(visits[:5000]))
            number += 5000
            visits = visits[5000:] + visits[:5000]


COLUMNS: Final = ("patient", "age", "sex", "icd", "visit", "creatinine", "weight", "dose", "note")


def _visit(rng: random.Random) -> tuple[str, ...]:
    return (
        str(rng.randrange(18, 100)),
        rng.choice("fmd"),
        f"{rng.choice('CDEI')}{rng.randrange(100):02}.{rng.randrange(10)}",
        f"20{rng.randrange(10, 25)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
        str(round(abs(rng.gauss(1, 0.4)), 2)),
        str(round(abs(rng.gauss(75, 15)), 1)),
        str(rng.choice([5, 10, 20, 50, 100])),
        rng.choice(["", "stable", "improved", "worse", "lost to follow-up"]),
    )


def _row(rng: random.Random) -> Json:
    return [rng.gauss(0, 1) for _ in range(256)]


def _aggregate(rng: random.Random) -> Json:
    return {
        "site": rng.choice(["north", "south", "east"]),
        "age": rng.randrange(18, 100),
        "n": rng.randrange(1, 500),
        "mean": round(rng.gauss(75, 15), 3),
        "sd": round(abs(rng.gauss(10, 3)), 3),
    }
