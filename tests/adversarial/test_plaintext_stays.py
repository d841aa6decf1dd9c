"""Analyses that try to carry data out, by mistake or on purpose (T18, T20)."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest

from registry.memory import MemoryRegistry
from security.encoding import Json
from security.train.journey import Outcome
from security.train.manifest import Output
from station.daemon.log import JsonLines
from station.journal.audit import export
from station.sandbox.order import DATA, RunOrder
from tests.support.scripted_sandbox import Program
from tests.support.world import World, world

CANARY = "CANARY-5d41402abc4b2a76"
SCHEMA: Json = {"type": "object", "properties": {"sum": {"type": "integer"}}, "additionalProperties": False}
OUTPUTS = (
    Output(path="sums.json", media_type="application/json", max_bytes=4096, schema=SCHEMA),
    Output(path="part-*.csv", media_type="text/csv", max_bytes=100),
)


def writing(name: str, data: bytes) -> Program:
    def program(order: RunOrder, say: Callable[[bytes], None]) -> int:
        (order.state / name).write_bytes(data)
        say(CANARY.encode())
        return 0

    return program


def linking(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del say
    (order.state / "sums.json").symlink_to(order.source(f"{DATA}/patients") / "patients.csv")
    return 0


T18 = {
    "undeclared": (writing("patients.csv", b"x"), "gate.undeclared"),
    "undeclared in a folder": (writing("part-1.csv.bak", b"x"), "gate.undeclared"),
    "oversized": (writing("part-1.csv", b"a\n" + b"1\n" * 100), "gate.oversized"),
    "schema": (writing("sums.json", b'{"sum":1,"name":"x"}'), "gate.schema"),
    "trailing bytes": (writing("sums.json", b'{"sum":1} and more'), "gate.type"),
    "doubled key": (writing("sums.json", b'{"sum":1,"sum":2}'), "gate.type"),
    "no table": (writing("part-1.csv", b"a,b\n1\n"), "gate.type"),
    "a link to the data": (linking, "gate.type"),
}


@pytest.mark.parametrize(("program", "code"), T18.values(), ids=T18.keys())
def test_t18_what_was_not_declared_does_not_leave(tmp_path: Path, program: Program, code: str) -> None:
    here = world(tmp_path / "world", program=program)
    made = here.train(route=("hospital-a", "hospital-b"), outputs=OUTPUTS)
    here.submit(made)
    here.settle()
    refused = here.visit("hospital-a").refused
    assert refused is not None
    assert refused.code == code
    assert here.outcome(made) is (Outcome.EXCEEDED if code == "gate.oversized" else Outcome.REFUSED)
    assert here.waits_for("hospital-b") == ()
    assert here.plaintext("hospital-a") == []
    assert here.visit("hospital-a").sealed is None
    here.close()


def crash(order: RunOrder, say: Callable[[bytes], None]) -> int:
    say((order.source(f"{DATA}/patients") / "patients.csv").read_bytes())
    (order.state / CANARY).write_text(CANARY)
    return 1


def confess(order: RunOrder, say: Callable[[bytes], None]) -> int:
    """Leave only what was declared, and say everything."""
    say(CANARY.encode() * 100)
    return add_up_numbers(order, say)


def add_up_numbers(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del say
    (order.state / "sums.json").write_text(json.dumps({"sum": 3}))
    return 0


T20 = {
    "an honest one that talks": confess,
    "a crash": crash,
    "the name of a file": writing(f"{CANARY}.csv", b"x"),
    "the name of a declared file": writing(f"part-{CANARY}.csv", b"a\n1\n"),
    "a key": writing("sums.json", json.dumps({CANARY: 1}).encode()),
    "a value": writing("sums.json", json.dumps({"sum": CANARY}).encode()),
    "doubled keys": writing("sums.json", f'{{"{CANARY}":1,"{CANARY}":2}}'.encode()),
    "a table": writing("part-1.csv", f"a,{CANARY}\n{CANARY}\n".encode()),
    "a table too large": writing("part-1.csv", f"{CANARY}\n".encode() * 50),
}


@pytest.fixture
def logged() -> Iterator[StringIO]:
    """Everything anybody logs, at the lowest level, as the daemon would write it."""
    said, root = StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(said), root.level
    handler.setFormatter(JsonLines())
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield said
    root.removeHandler(handler)
    root.setLevel(level)


def everything(here: World, station: str) -> Iterator[tuple[str, bytes]]:
    """Every byte outside the hospital's data folder: its disk, its journal as exported, and the registry."""
    for path in here.folder(station).rglob("*"):
        inside = path.relative_to(here.folder(station))
        if inside.parts[0] != "data":
            yield f"name of {inside}", str(inside).encode()
            if path.is_file():
                yield str(inside), path.read_bytes()
    exported = here.root / "export.jsonl"
    with exported.open("wb") as sink:
        export(here.houses[station].journal.records(), sink)
    yield "journal", exported.read_bytes()
    registry = here.registry
    assert isinstance(registry, MemoryRegistry)
    for repository, blobs in registry._blobs.items():
        for digest, data in blobs.items():
            yield f"{repository} {digest}", data
    for manifests in registry._manifests.values():
        for stored in manifests.values():
            yield "manifest", stored.raw


@pytest.mark.parametrize("program", T20.values(), ids=T20.keys())
def test_t20_a_canary_in_the_data_is_nowhere_else_afterwards(
    tmp_path: Path, logged: StringIO, program: Program
) -> None:
    here = world(tmp_path / "world", program=program)
    data = here.folder("hospital-a") / "data" / "patients.csv"
    data.write_text(f"value\n{CANARY}\n")
    made = here.train(route=("hospital-a",), outputs=OUTPUTS)
    here.submit(made)
    here.settle()
    assert here.plaintext("hospital-a") == []
    found = [where for where, content in everything(here, "hospital-a") if CANARY.encode() in content]
    assert found == []
    assert CANARY not in logged.getvalue()
    assert "recorded" in logged.getvalue()
    here.close()


def test_t20_the_canary_is_there_while_the_run_is_which_shows_that_the_search_works(tmp_path: Path) -> None:
    here = world(tmp_path / "world", program=writing("sums.json", json.dumps({"sum": 1, "x": CANARY}).encode()))
    here.submit(here.train(route=("hospital-a",)))
    while here.visits("hospital-a") == () or here.visit("hospital-a").ended is None:
        here.step("hospital-a")
    assert any(CANARY.encode() in content for _, content in everything(here, "hospital-a"))
    here.close()


def test_t20_an_internal_error_is_logged_without_what_it_says(tmp_path: Path, logged: StringIO) -> None:
    def broken(order: RunOrder, say: Callable[[bytes], None]) -> int:
        del order, say
        raise ValueError(CANARY)

    here = world(tmp_path / "world", program=broken)
    here.submit(here.train(route=("hospital-a",)))
    for _ in range(12):
        here.step("hospital-a")
    assert "internal error" in logged.getvalue()
    assert CANARY not in logged.getvalue()
    assert all(CANARY.encode() not in content for _, content in everything(here, "hospital-a"))
    here.close()


CLOSING = """
import os, sys
from pathlib import Path
from security.train.manifest import Limits, Output
from station.errors import GateType, RunFailed
from dataclasses import replace
from station.gate.anew import print_anew
from tests.support.trains import consortium, train
from station.sandbox.folder import measure
from station.sandbox.order import RunLimits

manifest = train(consortium()).manifest
if os.geteuid() == 0:
    os.setuid(65532)
state, into, what = Path(sys.argv[1]) / "state", Path(sys.argv[1]) / "into", sys.argv[2]
state.mkdir()
into.mkdir()
(state / "CANARY.json").write_text("{}")
(state / "CANARY.json" if what == "file" else state).chmod(0o400 if what == "unsearchable" else 0)
limits = RunLimits(memory_bytes=1, cpu_millis=1, processes=1, wall_seconds=1, state_bytes=9999, state_files=9,
                   disk_reserve_bytes=0)
try:
    measure(state, limits)
except RunFailed as error:
    print("measure", error)
output = Output(path="*.json", media_type="application/json", max_bytes=99, schema=None)
limits = Limits(memory_bytes=1, cpu_millis=1, wall_seconds=1, processes=1, output_bytes=99)
try:
    print_anew(state, replace(manifest, outputs=(output,), limits=limits), into)
except GateType as error:
    print("gate", error)
"""


@pytest.mark.parametrize(("what", "told"), [("file", 1), ("folder", 2), ("unsearchable", 2)])
def test_t18_what_a_run_closes_to_the_station_is_the_runs_fault_and_names_nothing(what: str, told: int) -> None:
    """A station that is not root shares its user with the run, which can take that user's rights away."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", CLOSING, folder, what],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        (Path(folder) / "state").chmod(0o700)
    assert len(done.stdout.splitlines()) == told
    assert "the station cannot read" in done.stdout
    assert "CANARY" not in done.stdout
