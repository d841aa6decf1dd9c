"""A rehearsal: a whole route in one process, the analysis a plain process of this machine."""

from __future__ import annotations

import io
import json
import os
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from rehearsal.errors import RehearsalStuck
from rehearsal.stations import Rehearsal, Stage, Venue, rehearse
from security.clock import SystemClock
from security.digest import digest_of
from security.directory.trust import Base
from security.ids import PartyId, Role, TrainId
from security.statement.envelope import sign
from security.train.journey import TrainParts
from security.train.manifest import Approval, DataNeed, Limits, Output, Route, Stop, TrainManifest, print_manifest
from security.train.seal import CodeBinding, code_recipients, seal_code
from station.visit.events import VisitEvent
from tests.support.trains import members
from tests.support.world import MemoryBlobs

ALICE = PartyId("alice")
BASE = Base(name="python", digest=digest_of(b"any"), note="", withdrawn=False)
SUM = """
import json, os, pathlib
state = pathlib.Path(os.environ["PHT_STATE"]) / "sum.json"
before = json.loads(state.read_text())["sum"] if state.exists() else 0
rows = (pathlib.Path(os.environ["PHT_DATA"]) / "patients" / "patients.csv").read_text().split()
print("rows", len(rows))
state.write_text(json.dumps({"sum": before + sum(map(int, rows))}))
"""


def sender(script: str, route: tuple[str, ...]) -> Callable[[Stage], TrainId]:
    """Build a train as `train_builder` does, from a script."""

    def submit(stage: Stage) -> TrainId:
        nonce, sink = secrets.token_hex(16), io.BytesIO()
        keys = [stage.trust.current(PartyId(name), Role.STATION, stage.now) for name in route]
        own = stage.secrets.key_set
        code = seal_code(
            sink,
            members({"main.py": script.encode()}),
            binding=CodeBinding(owner=stage.owner, nonce=nonce),
            recipients=code_recipients([one.sealing for one in keys], own.sealing),
        )
        stops = zip(route, keys, strict=True)
        manifest = TrainManifest(
            name="sum",
            purpose="add up",
            approval=Approval(reference="none"),
            owner=Stop(party=stage.owner, key_set=own.fingerprint),
            code=code.ref,
            base=BASE.digest,
            command=("python3", "main.py"),
            environment={},
            data=(DataNeed(name="patients", description="numbers", files=("*.csv",)),),
            outputs=(Output(path="sum.json", media_type="application/json", max_bytes=1000),),
            limits=Limits(memory_bytes=256 << 20, cpu_millis=1000, wall_seconds=60, processes=32, output_bytes=1 << 20),
            route=Route(stops=tuple(Stop(party=PartyId(name), key_set=one.fingerprint) for name, one in stops)),
            recipient=own.sealing,
            valid_from=stage.now - timedelta(hours=1),
            valid_until=stage.now + timedelta(days=1),
            nonce=nonce,
        )
        envelope = sign(print_manifest(manifest), stage.secrets.signers)
        parts = TrainParts(manifest=envelope, entries=(), code=code.ref, state=None)
        train = TrainId(envelope.digest.hex)
        blobs = MemoryBlobs({code.ref.digest: sink.getvalue()})
        stage.depot.send(parts, blobs, to=PartyId(route[0]), train=train)
        return train

    return submit


def run(folder: Path, script: str, *, rows: dict[str, str], events: list[VisitEvent] | None = None) -> Rehearsal:
    stations = {}
    for name, text in rows.items():
        data = folder / "samples" / name
        data.mkdir(parents=True)
        (data / "patients.csv").write_text(text)
        stations[PartyId(name)] = {"patients": data}
    (folder / "room").mkdir()
    seen: list[VisitEvent] = [] if events is None else events
    return rehearse(
        sender(script, tuple(rows)),
        owner=ALICE,
        stations=stations,
        base=BASE,
        venue=Venue(
            room=folder / "room",
            engine="unix:///nowhere",
            bases=None,
            path=os.environ["PATH"],
            clock=SystemClock(),
        ),
        results=folder / "results",
        tell=lambda _station, event: seen.append(event),
    )


def test_a_rehearsed_train_comes_home_and_says_what_it_ran_in(tmp_path: Path) -> None:
    events: list[VisitEvent] = []
    done = run(tmp_path, SUM, rows={"hospital-a": "1 2 3", "hospital-b": "10"}, events=events)
    assert json.loads((tmp_path / "results" / "sum.json").read_text()) == {"sum": 16}
    assert not done.sealed
    assert done.lacking == "nobody said which registry has the base image (--home does)"
    assert done.sandbox == "process-v1"
    assert [(one.stop, one.station, one.passed, one.printed) for one in done.stops] == [
        (0, "hospital-a", True, b"rows 3\n"),
        (1, "hospital-b", True, b"rows 1\n"),
    ]
    assert len(events) == 2 * 14


def test_a_rehearsal_shows_what_a_failing_analysis_printed(tmp_path: Path) -> None:
    done = run(tmp_path, "raise SystemExit('no such column: age')", rows={"hospital-a": "1"})
    assert done.results is None
    (stop,) = done.stops
    assert (stop.passed, stop.code) == (False, "run.failed")
    assert b"no such column: age" in stop.printed


def test_a_rehearsal_has_the_same_gate(tmp_path: Path) -> None:
    script = SUM + "(state.parent / 'patients.csv').write_text('1 2 3')\n"
    done = run(tmp_path, script, rows={"hospital-a": "1"})
    assert done.results is None
    assert done.stops[0].code == "gate.undeclared"


def test_a_rehearsal_does_not_wait_for_samples_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "empty").mkdir()
    venue = Venue(
        room=tmp_path / "room",
        engine="unix:///nowhere",
        bases=None,
        path=os.environ["PATH"],
        clock=SystemClock(),
    )
    with pytest.raises(RehearsalStuck) as caught:
        rehearse(
            sender(SUM, ("hospital-a",)),
            owner=ALICE,
            stations={PartyId("hospital-a"): {"patients": tmp_path / "empty"}},
            base=BASE,
            venue=venue,
            results=tmp_path / "results",
        )
    assert caught.value.fields["reason"] == "files that the train expects are missing: patients/*.csv"
