"""What is measured of the gate, in a process that holds nothing else: one file, printed and judged; and what a library alone takes."""

from __future__ import annotations

import csv
import json
import shutil
import time
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
