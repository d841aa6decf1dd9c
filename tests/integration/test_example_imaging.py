"""The imaging example through an archive and a folder: right sums, and patients named nowhere but at the sources."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from security.encoding import parse_json
from security.train.manifest import DataNeed
from station.admission.policy import AllOf, Selections
from station.data.port import DataSet
from station.data.tables.archive import Archive
from station.data.tables.cohorts import Cohorts
from station.data.tables.dataset import TableData
from station.data.tables.dicom import DicomSource
from station.data.tables.dicomweb import DicomwebSource
from station.data.tables.source import TableSource
from station.gate.schema import compile_schema
from station.sandbox.order import DATA, RunOrder
from tests.support.dicom import CANARIES, COLUMNS, EVERY, SYNTAXES, image, save
from tests.support.orthanc import Orthanc
from tests.support.tables import SECRET
from tests.support.trains import Train
from tests.support.world import World, world
from train_builder.spec.spec import load_spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "imaging"
HOSPITALS = ("hospital-a", "hospital-b")


def run(order: RunOrder, say: Callable[[bytes], None]) -> int:
    data = order.source(f"{DATA}/scans")
    root = order.state.parent / "seen"
    root.mkdir()
    (root / "scans").symlink_to(data)
    environment = {"PHT_DATA": str(root), "PHT_STATE": str(order.state)}
    found = subprocess.run(
        [sys.executable, str(EXAMPLE / "code" / "main.py")], check=False, capture_output=True, env=environment
    )
    say(found.stdout + found.stderr)
    return found.returncode


class Names:
    """Looks for what names patients, everywhere but at the sources, while a run lasts too."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "world"
        self.seen = 0

    def look(self) -> None:
        for path in self.folder.rglob("*"):
            assert not [one for one in CANARIES if one.decode() in path.name], path
            if path.is_file():
                self.seen += path.suffix == ".dcm"
                content = path.read_bytes()
                assert not [one for one in CANARIES if one in content], path

    def while_running(self, order: RunOrder, say: Callable[[bytes], None]) -> int:
        self.look()
        return run(order, say)


def stored(folder: Path, hospital: int, **changes: Any) -> Path:
    for number in range(12):
        syntax = SYNTAXES["explicit" if number % 3 else "implicit"]
        one = image(100 * hospital + number, Rows=8 + number, Columns=10 + hospital, syntax=syntax, **changes)
        save(one, folder / f"Canaryname-{number}" / "IM1")
    return folder


@pytest.fixture
def names(tmp_path: Path) -> Names:
    return Names(tmp_path)


@pytest.fixture
def here(tmp_path: Path, names: Names, orthanc: Orthanc) -> Iterator[World]:
    made = world(names.folder, stations=HOSPITALS, program=names.while_running)
    orthanc.fill(stored(tmp_path / "archive", 1))
    archive = Archive(address=orthanc.address, username="reader", password_file=orthanc.password_file)
    sources: dict[str, TableSource] = {
        "hospital-a": DicomwebSource(name="scans", archive=archive),
        "hospital-b": DicomSource(name="scans", folder=stored(tmp_path / "folder", 2)),
    }
    for hospital, source in sources.items():
        table = TableData(
            name="scans",
            source=source,
            columns=EVERY,
            patient="patient",
            secret=lambda: SECRET,
            keep=Cohorts(made.folder(hospital) / "cohorts").keep,
            withdrawn=None,
            least=10,
        )
        made.change(
            hospital,
            data={"scans": DataSet(source=table, description="", columns=COLUMNS)},
            policy=AllOf(rules=(Selections(described={"scans": COLUMNS}),)),
        )
    yield made
    made.close()


def asked() -> DataNeed:
    (one,) = load_spec(EXAMPLE).data
    return one


def travel(here: World) -> Train:
    made = here.train(route=HOSPITALS, data=(asked(),))
    here.submit(made)
    for hospital in HOSPITALS:
        here.settle(hospital)
    return made


def test_the_sums_over_an_archive_and_a_folder_are_those_of_all_images(
    here: World, names: Names, tmp_path: Path
) -> None:
    made = travel(here)
    raw = here.results(made, tmp_path / "results")["sums.json"]
    found = json.loads(raw)
    compile_schema(parse_json((EXAMPLE / "schemas" / "sums.json").read_bytes()), pattern="sums.json").check(found)
    every = [pydicom.dcmread(path) for place in ("archive", "folder") for path in (tmp_path / place).rglob("IM1")]
    for part in ("CHEST", "HEAD"):
        images = [one for one in every if one.BodyPartExamined == part]
        greys = np.concatenate([np.frombuffer(one.PixelData, dtype="<u2") for one in images])
        assert found[part] == {
            "images": len(images),
            "rows": sum(one.Rows for one in images),
            "columns": sum(one.Columns for one in images),
            "histogram": np.histogram(greys, bins=16, range=(0, 4096))[0].tolist(),
        }
    assert names.seen == 24  # twelve at each hospital, while its run lasted
    names.look()
    for hospital in HOSPITALS:
        assert here.plaintext(hospital) == []
        furnished = here.visit(hospital).furnished
        assert furnished is not None
        (one,) = furnished.data
        assert one.table is not None
        assert (one.table.rows, one.table.patients) == ("10-19", "10-19")
        assert one.table.version.startswith("12 images")


def test_an_archive_that_is_away_makes_the_train_wait_with_nothing_left_behind(
    here: World, names: Names, orthanc: Orthanc
) -> None:
    orthanc.stop()
    try:
        made = here.train(route=HOSPITALS, data=(asked(),))
        here.submit(made)
        for _ in range(8):
            here.step("hospital-a")
        assert here.sandboxes["hospital-a"].started == []
        names.look()
        assert names.seen == 0
    finally:
        orthanc.start()
    here.settle("hospital-a")
    assert here.sandboxes["hospital-a"].started != []
