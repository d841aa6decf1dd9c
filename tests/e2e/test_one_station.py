"""One busy hospital, as a real process with a real engine and a real registry: its capacity, its patience, its memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from security.ids import PartyId, TrainId
from station.visit.plan import Phase
from tests.support.engine import Engine
from tests.support.hospitals import Hospitals

STATION = "hospital-a"
ALICE, BOB = "alice", "bob"

CODE = """
import csv, json, os, pathlib, sys, time
data = pathlib.Path(os.environ["PHT_DATA"]) / "patients"
state = pathlib.Path(os.environ["PHT_STATE"])
if os.environ["TRAIN_HOW"] == "fails":
    print("a word of the run")
    sys.exit(1)
while os.environ["TRAIN_HOW"] == "endless":
    time.sleep(0.05)
time.sleep(0.3)
with (data / "patients.csv").open(newline="") as source:
    values = [int(row["value"]) for row in csv.DictReader(source)]
(state / "sums.json").write_text(json.dumps({"sum": sum(values)}))
"""

SETTINGS = """
capacity:
  runs: 1
retention:
  evidence_days: 0
  printed_days: 0
"""

pytestmark = pytest.mark.registry


@pytest.fixture(scope="session")
def hospital(engine: Engine, python_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    made = Hospitals(
        root=tmp_path_factory.mktemp("hospital"),
        engine=engine,
        base=python_layout,
        route=(STATION,),
        owners=(ALICE, BOB),
        behind=STATION,
        settings=SETTINGS,
    )
    try:
        made.found()
        yield made
    finally:
        made.close()


def submit(hospital: Hospitals, owner: str, name: str, how: str = "quick", *, wall_time: str = "5min") -> TrainId:
    folder = hospital.root / "trains" / name
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "main.py").write_text(CODE)
    (folder / "train.yaml").write_text(f"""
train: {name}
purpose: Add up
approval: {{reference: none}}
base: python
code: code
command: [python3, main.py]
environment: {{TRAIN_HOW: "{how}"}}
route: [{STATION}]
data: [{{name: patients, description: a value per patient, files: ["*.csv"]}}]
outputs:
  - {{path: sums.json, media_type: application/json, max_bytes: 1KB}}
limits: {{memory: 256MiB, cpu: 1, wall_time: {wall_time}, processes: 16, output: 1MiB}}
valid: 1d
""")
    sent = hospital.answer("train", "submit", folder, "--home", owner, *hospital.secret(owner))
    return TrainId(sent["train"])


def runs_since(hospital: Hospitals, since: int) -> list[tuple[str, str]]:
    """What the engine says about starts and ends of containers, in order: (train's digits, start or die)."""
    with closing(hospital.engine.client()) as client:
        events = client.events(since=since, until=int(time.time()) + 1, filters={"type": "container"}, decode=True)
        told = [
            (event["timeNano"], event["Actor"]["Attributes"]["name"], event["Action"])
            for event in events
            if event["Action"] in {"start", "die"}
        ]
    return [(name.split("-")[1], action) for _, name, action in sorted(told) if name.startswith("pht-")]


def test_runs_keep_within_the_capacity_and_owners_take_turns(hospital: Hospitals) -> None:
    """Alice sends three trains, then Bob one: he is not behind all of hers, and never do two run at once."""
    hospital.kill(STATION)
    since = int(time.time())
    first, second, third = (submit(hospital, ALICE, f"turns-{number}") for number in range(3))
    other = submit(hospital, BOB, "turns-bob")
    hospital.start(STATION)
    for train in (first, second, third, other):
        hospital.wait_for(STATION, train, Phase.GONE)
    ours = {train[:32] for train in (first, second, third, other)}
    told = [(train, action) for train, action in runs_since(hospital, since) if train in ours]
    assert [action for _, action in told] == ["start", "die"] * 4
    order = [train for train, action in told if action == "start"]
    assert order.index(other[:32]) <= 1
    assert set(order) == ours


def test_a_run_that_breaks_its_limit_is_ended_while_the_registry_hangs(hospital: Hospitals) -> None:
    assert hospital.barrier is not None
    train = submit(hospital, ALICE, "endless", "endless", wall_time="4s")
    hospital.wait_for(STATION, train, Phase.RUNNING)
    hospital.barrier.hang()
    try:
        visit = hospital.wait_for(STATION, train, Phase.ANSWERABLE)
        assert visit.fault is not None
        assert visit.fault.code == "run.timed-out"
        assert visit.wiped is not None
        assert hospital.containers() == []
        assert not list((hospital.root / STATION / "state" / "workrooms").iterdir())
        listed: list[dict[str, Any]] = hospital.answer("station", "ls", STATION)["visits"]
        assert listed[-1]["train"] == train
    finally:
        hospital.barrier.free()
    hospital.wait_for(STATION, train, Phase.GONE)
    found = hospital.answer("train", "follow", train, "--home", ALICE)
    assert found["stops"][0]["outcome"] == "exceeded"


def test_what_a_train_leaves_behind_goes_at_the_station_at_home_and_in_the_registry(hospital: Hospitals) -> None:
    train = submit(hospital, BOB, "fails", "fails")
    visit = hospital.wait_for(STATION, train, Phase.GONE)
    assert visit.fetched is not None
    assert visit.wiped is not None
    assert visit.wiped.printed is not None
    spool = hospital.root / STATION / "state" / "spool"
    sealed = [blob.digest.hex for blob in (*visit.fetched.sealed, visit.wiped.printed)]
    hospital.wait(lambda: not any((spool / name).exists() for name in sealed), "the spool to be swept")
    assert visit.signed is not None
    assert (spool / visit.signed.envelope.hex).exists()
    assert hospital.answer("station", "sweep", STATION, "--dry-run")["files"] == []
    assert hospital.refused("station", "sweep", STATION) == "station.busy"

    assert hospital.answer("train", "follow", train, "--home", BOB)["stops"][0]["outcome"] == "failed"
    assert len(hospital.depot.receipts_of(PartyId(BOB), train, range(3))) == 1
    done = hospital.answer("train", "forget", train, "--home", BOB, "--yes")
    assert (done["trains"], done["messages"]) == ([train], 1)
    assert int(done["freed"]) > 0
    assert hospital.depot.receipts_of(PartyId(BOB), train, range(3)) == ()
    assert int(hospital.answer("registry", "sweep", "registry")["freed"]) > 0
