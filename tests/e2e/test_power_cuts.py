"""A real daemon, its engine and the engine's shims are killed together in mid-run: the train comes home, and nothing is left."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from security.ids import TrainId
from station.sandbox.docker.processes import living
from station.visit.plan import Phase
from tests.support.hospitals import Hospitals
from tests.support.victim import Victim, holds, victim

pytestmark = [pytest.mark.engine, pytest.mark.registry]

STATION = "hospital-a"
CANARY = b"swept-9a41"
CODE = """
import csv, json, os, pathlib, time
data = pathlib.Path(os.environ["PHT_DATA"]) / "patients"
state = pathlib.Path(os.environ["PHT_STATE"])
with (data / "patients.csv").open(newline="") as source:
    values = [int(row["value"]) for row in csv.DictReader(source)]
if not (data / "go").exists():
    for place in ("/tmp", "/dev/shm", state):
        (pathlib.Path(place) / "canary").write_text("-".join(("swept", "9a41")))
    (state / "begun").touch()
    time.sleep(600)
(state / "sums.json").write_text(json.dumps({"sum": sum(values)}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ward:
    """One hospital with an engine of its own."""

    hospital: Hospitals
    engine: Victim


@pytest.fixture(scope="module")
def ward(python_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with contextlib.contextmanager(victim)() as engine:
        made = Hospitals(
            root=tmp_path_factory.mktemp("ward"),
            engine=engine.engine,
            base=python_layout,
            route=(STATION,),
            behind=STATION,
        )
        try:
            made.found()
            yield Ward(hospital=made, engine=engine)
        finally:
            made.close()


def everything(ward: Ward, init: int, container: str) -> None:
    """As when the power fails."""
    shims = ward.engine.parts(shims=True)
    ward.hospital.kill(STATION)
    ward.engine.kill_engine()
    ward.engine.kill(*shims, init)
    assert container


def all_but_the_run(ward: Ward, init: int, container: str) -> None:
    """As everything, and the run's process is overlooked."""
    shims = ward.engine.parts(shims=True)
    ward.hospital.kill(STATION)
    ward.engine.kill_engine()
    ward.engine.kill(*shims)
    assert init in living(container)


def all_but_the_run_and_the_notes(ward: Ward, init: int, container: str) -> None:
    """As before, and the engine comes back without its notes of the run, so that it does not end its process either."""
    all_but_the_run(ward, init, container)
    shutil.rmtree(ward.engine.notes(container))


def containerd(ward: Ward, init: int, container: str) -> None:
    """Everything but the engine itself and the daemon."""
    ward.engine.kill(*ward.engine.parts(shims=False), *ward.engine.parts(shims=True), init)
    assert container


Cut = Callable[[Ward, int, str], None]


@pytest.mark.parametrize("cut", [everything, all_but_the_run, all_but_the_run_and_the_notes, containerd])
def test_t25_a_train_whose_station_lost_power_comes_home_and_leaves_nothing(ward: Ward, cut: Cut) -> None:
    hospital, go = ward.hospital, ward.hospital.root / "data" / STATION / "go"
    go.unlink(missing_ok=True)
    train = submit(hospital, cut.__name__.replace("_", "-"))
    visit = hospital.wait_for(STATION, train, Phase.RUNNING)
    assert visit.started is not None
    name, room = visit.started.name, hospital.root / STATION
    hospital.wait(lambda: any(room.rglob("state/begun")), "the run to have written")
    assert any(holds(path, CANARY) for path in room.rglob("state/canary"))
    container = ward.engine.container(name)
    cut(ward, ward.engine.init(name), container)
    go.touch()
    if cut is not containerd:
        ward.engine.start_engine()
        hospital.start(STATION)
    visit = hospital.wait_for(STATION, train, Phase.GONE)
    assert (visit.fault, visit.refused, visit.attempt, visit.pushed is not None) == (None, None, 2, True)
    assert hospital.containers() == []
    assert living(container) == ()
    for place in (hospital.root / STATION, ward.engine.folder):
        assert [path for path in place.rglob("*") if path.is_file() and holds(path, CANARY)] == []


def submit(hospital: Hospitals, name: str) -> TrainId:
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
route: [{STATION}]
data: [{{name: patients, description: a value per patient, files: ["*.csv"]}}]
outputs:
  - {{path: sums.json, media_type: application/json, max_bytes: 1KB}}
limits: {{memory: 256MiB, cpu: 1, wall_time: 5min, processes: 16, output: 1MiB}}
valid: 1d
""")
    sent = hospital.answer(
        "train", "submit", folder, "--allow", "main.py", "--home", "alice", *hospital.secret("alice")
    )
    return TrainId(sent["train"])
