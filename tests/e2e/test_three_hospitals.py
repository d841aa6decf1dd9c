"""A train goes through three hospitals whose daemons, and whose registry, are killed at the worst of times.

Real processes, a real registry, a real engine. Whatever is killed, and when: the train comes home once, with the right
numbers, one signed entry for each stop (boarding and departure are stops), and nothing left behind anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from registry.depot import ReceiptKind, train_tag
from security.ids import PartyId, TrainId
from station.sandbox.order import run_name
from station.visit.events import RoomLost, Signed, SignedKind, Started, Stumbled
from station.visit.plan import Phase, phase_of
from station.visit.station_events import Redelivered
from tests.support.engine import Engine
from tests.support.hospitals import CANARY, PATIENTS, ROUTE, Hospitals

ALICE = PartyId("alice")
BALLAST = 128 << 20
"""What hospital-b adds to the state in the test that wants sealing and sending it to take a while."""

CODE = """
import csv, json, os, pathlib, time
data = pathlib.Path(os.environ["PHT_DATA"]) / "patients"
state = pathlib.Path(os.environ["PHT_STATE"])
stop = json.loads(pathlib.Path(os.environ["PHT_CONTEXT"]).read_text())["stop"]
while not (data / "go").exists():
    time.sleep(0.05)
sums, ballast = state / "sums.json", state / "ballast.bin"
before = json.loads(sums.read_text()) if stop else {"sum": 0, "n": 0, "stops": 0}
with (data / "patients.csv").open(newline="") as source:
    values = [int(row["value"]) for row in csv.DictReader(source)]
sums.write_text(json.dumps(
    {"sum": before["sum"] + sum(values), "n": before["n"] + len(values), "stops": before["stops"] + 1}
))
ballast.unlink(missing_ok=True)
if stop == 1:
    ballast.write_bytes(bytes(int(os.environ["TRAIN_BALLAST"])))
"""


pytestmark = pytest.mark.registry


@pytest.fixture(scope="session")
def consortium(engine: Engine, python_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    made = Hospitals(root=tmp_path_factory.mktemp("hospitals"), engine=engine, base=python_layout)
    try:
        made.found()
        with made.listening():
            yield made
    finally:
        made.close()


def submit(consortium: Hospitals, name: str, *, ballast: int = 0) -> TrainId:
    folder = consortium.root / "trains" / name
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "main.py").write_text(CODE)
    (folder / "train.yaml").write_text(f"""
train: {name}
purpose: Add up
approval: {{reference: none}}
base: python
code: code
command: [python3, main.py]
environment: {{TRAIN_BALLAST: "{ballast}"}}
route: [{", ".join(ROUTE)}]
data: [{{name: patients, description: a value per patient, files: ["*.csv"]}}]
outputs:
  - {{path: sums.json, media_type: application/json, max_bytes: 1KB}}
  - {{path: ballast.bin, media_type: application/octet-stream, max_bytes: 200MiB}}
limits: {{memory: 512MiB, cpu: 1, wall_time: 10min, processes: 8, output: 200MiB}}
valid: 1d
""")
    sent = consortium.answer("train", "submit", folder, "--home", "alice", *consortium.secret("alice"))
    return TrainId(sent["train"])


@contextmanager
def waiting_at(consortium: Hospitals, hospital: str) -> Iterator[Callable[[], None]]:
    """Let analyses wait at a hospital, until the function this gives is called."""
    go = consortium.root / "data" / hospital / "go"
    go.unlink()
    try:
        yield go.touch
    finally:
        go.touch()


def running_at(consortium: Hospitals, hospital: str, train: TrainId) -> str:
    """Wait until the container of a train runs, and the station knows; return its name."""
    name = run_name(train, consortium.stop(hospital), 1)
    consortium.wait_for(hospital, train, Phase.RUNNING)
    consortium.wait(lambda: consortium.runs(name), f"{name} to run")
    return name


def came_home_once(consortium: Hospitals, train: TrainId, *, attempts: Sequence[int] = (1, 1, 1)) -> None:
    """Wait for a train to come home and for everybody to be done with it; then look at everything it may have left."""
    depot = consortium.depot
    consortium.wait(lambda: bool(depot.arrivals(ALICE, train)), "the train to come home")
    for hospital in ROUTE:
        consortium.wait_for(hospital, train, Phase.GONE)
        consortium.wait(lambda: depot.arrivals(PartyId(hospital)) == (), f"{hospital}'s mailbox to be empty")  # noqa: B023 - called at once

    # Once, with one entry for each stop, none of them twice, and nothing else.
    assert [one.tag for one in depot.arrivals(ALICE, train)] == [train_tag(train, ALICE, None)]
    legs = range(len(ROUTE) + 1 + len(ROUTE))
    receipts = [(one.kind, one.stop) for one in depot.receipts_of(ALICE, train, legs)]
    assert receipts == [(ReceiptKind.ENTRY, stop) for stop in legs]
    proof = consortium.answer("train", "verify", train, "--home", "alice")
    assert [one["station"]["party"] for one in proof["stops"]] == [*ROUTE, ROUTE[0], *ROUTE]
    runs = [one for one in proof["stops"] if one["task"] == "run"]
    assert [one["attempt"] for one in runs] == list(attempts)
    followed = consortium.answer("train", "follow", train, "--home", "alice")
    assert (followed["ended"], followed["passed"], followed["doubts"]) == (True, True, [])
    for hospital, stop in zip(ROUTE, runs, strict=True):
        visit = consortium.visit(hospital, train)
        assert visit is not None
        signed = [event for event in visit.events if isinstance(event, Signed)]
        assert [event.entry for event in signed] == [stop["entry"]]

    # With the numbers that pooling gives.
    into = consortium.root / "results" / train[:12]
    into.parent.mkdir(exist_ok=True)
    consortium.answer("train", "open", train, into, "--home", "alice", *consortium.secret("alice"))
    assert [path.name for path in into.iterdir()] == ["sums.json"]
    values = [value for rows in PATIENTS.values() for value in rows]
    assert json.loads((into / "sums.json").read_text()) == {"sum": sum(values), "n": len(values), "stops": len(ROUTE)}

    # Nothing is left: no container, no plaintext, no sealed state that is a file; and each journal is whole.
    assert consortium.containers() == []
    states = {digest.partition(":")[2] for one in proof["stops"] for digest in (one["stateOut"], *one["statesIn"])}
    for hospital in ROUTE:
        state = consortium.root / hospital / "state"
        assert list((state / "workrooms").iterdir()) == []
        documents = {path.name: path.stat().st_size for path in (state / "spool").iterdir()}
        assert documents.keys() & states == set()
        assert max(documents.values()) < 1 << 20
        assert [
            path for path in state.parent.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()
        ] == []
        assert consortium.answer("station", "audit", "verify", "--station", hospital)["visits"] >= 1
        assert consortium.daemons[hospital].poll() is None, consortium.last_words()


def test_a_daemon_killed_while_the_analysis_runs_finds_it_again(consortium: Hospitals) -> None:
    with waiting_at(consortium, "hospital-b") as go:
        train = submit(consortium, "adopted")
        name = running_at(consortium, "hospital-b", train)
        for command in ("run", "once"):
            assert consortium.refused("station", command, "hospital-b") == "station.busy"
        consortium.kill("hospital-b")
        assert consortium.runs(name)
        assert list((consortium.root / "hospital-b" / "state" / "workrooms").iterdir()) != []
        consortium.start("hospital-b")
        assert consortium.runs(name)
        go()
        came_home_once(consortium, train)
    assert sorted(consortium.starts(train)) == [run_name(train, consortium.stop(one), 1) for one in ROUTE]


def test_a_daemon_killed_while_sealing_and_at_each_step_of_sending(consortium: Hospitals) -> None:
    assert consortium.barrier is not None
    train = submit(consortium, "sealed", ballast=BALLAST)

    consortium.wait_for("hospital-b", train, Phase.CLEARED, Phase.SEALED, every=0.002)
    consortium.kill("hospital-b")
    visit = consortium.visit("hospital-b", train)
    assert visit is not None
    assert visit.signed is None

    for begin, after, phase in (
        ("PATCH /v2/mailbox/hospital-c/blobs/", False, Phase.SIGNED),  # the next mailbox has a part of the state
        ("PUT /v2/mailbox/hospital-c/manifests/", False, Phase.SIGNED),  # it has everything but the manifest
        ("PUT /v2/mailbox/hospital-c/manifests/", True, Phase.SIGNED),  # it has the train, and we do not know
        ("PUT /v2/mailbox/alice/manifests/", True, Phase.REPORTING),  # the owner has the receipt
        ("DELETE /v2/mailbox/hospital-b/manifests/", True, Phase.LEAVING),  # our mailbox is empty
    ):
        hold = consortium.barrier.hold(begin, after=after)
        consortium.launch("hospital-b")
        consortium.wait(hold.reached.is_set, f"{begin} to be sent")
        consortium.kill("hospital-b")
        visit = consortium.visit("hospital-b", train)
        assert visit is not None
        assert phase_of(visit) is phase, f"{begin} after={after}: {visit.events[-4:]}"
        if (phase, after) == (Phase.SIGNED, True):  # what is sent again finds that the train has long gone on
            consortium.wait_for("hospital-c", train, Phase.GONE)
    consortium.start("hospital-b")
    came_home_once(consortium, train)
    assert sorted(consortium.starts(train)) == [run_name(train, consortium.stop(one), 1) for one in ROUTE]
    with consortium.journal("hospital-c") as journal:
        again = [event for event in journal.station_events() if isinstance(event, Redelivered)]
        arrival = journal.accepted(train, consortium.stop("hospital-c"))
    assert arrival is not None
    assert {event.arrival for event in again} == {arrival.arrival}


def test_a_registry_killed_while_the_train_is_under_way(consortium: Hospitals) -> None:
    with waiting_at(consortium, "hospital-b") as go:
        train = submit(consortium, "cut-off")
        running_at(consortium, "hospital-b", train)
        consortium.kill_registry()
        go()

        def stumbles() -> bool:
            visit = consortium.visit("hospital-b", train)
            return visit is not None and phase_of(visit) is Phase.READY and isinstance(visit.events[-1], Stumbled)

        consortium.wait(stumbles, "hospital-b to find the registry away")
        assert list((consortium.root / "hospital-b" / "state" / "workrooms").iterdir()) == []
        consortium.kill("hospital-b")
        consortium.start("hospital-b")
        before = consortium.visit("hospital-b", train)
        assert consortium.answer("registry", "up", "registry")["url"] == consortium.url
        came_home_once(consortium, train)
        visit = consortium.visit("hospital-b", train)
    assert before is not None
    assert before.signed is None  # whether it was signed for before could not be asked
    assert visit is not None
    assert [event.what for event in visit.events if isinstance(event, Signed)] == [SignedKind.ENTRY]


def test_a_machine_that_goes_down_runs_the_analysis_again_from_the_state_that_came_in(consortium: Hospitals) -> None:
    with waiting_at(consortium, "hospital-b") as go:
        train = submit(consortium, "rebooted")
        name = running_at(consortium, "hospital-b", train)
        consortium.kill("hospital-b")
        with closing(consortium.engine.client()) as client:
            client.remove_container(name, force=True)
        go()
        consortium.start("hospital-b")
        came_home_once(consortium, train, attempts=(1, 2, 1))
    visit = consortium.visit("hospital-b", train)
    assert visit is not None
    assert [event.attempt for event in visit.events if isinstance(event, RoomLost)] == [1]
    assert [event.attempt for event in visit.events if isinstance(event, Started)] == [1, 2]
    assert consortium.starts(train).count(run_name(train, consortium.stop("hospital-b"), 2)) == 1
