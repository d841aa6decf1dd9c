"""The example over a folder of CSV files, a PostgreSQL database and Parquet in a bucket: one answer, that of all rows together."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from security.encoding import parse_json
from security.files import write_file
from station.admission.policy import AllOf, Selections
from station.data.port import DataSet
from station.data.tables.bucket import Bucket
from station.data.tables.cohorts import Cohorts
from station.data.tables.database import Database
from station.data.tables.dataset import TableData
from station.data.tables.files import FilesSource
from station.data.tables.s3 import S3Source
from station.data.tables.source import TableSource
from station.data.tables.sql import SqlSource
from station.gate.schema import compile_schema
from station.sandbox.order import DATA, RunOrder
from tests.support.buckets import BUCKET, KEYS, Buckets
from tests.support.postgres import PASSWORD, Postgres
from tests.support.tables import COLUMNS, EVERY, SECRET, Row, csv_of, parquet_of
from tests.support.world import World, world
from train_builder.spec.spec import load_spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "three-places"
HOSPITALS = ("hospital-a", "hospital-b", "hospital-c")
SIZES = {"hospital-a": 240, "hospital-b": 31, "hospital-c": 1100}
KINDS = {"hospital-a": "files", "hospital-b": "sql", "hospital-c": "s3"}
CANARY = "canary"


def visits(hospital: str) -> list[Row]:
    """Make visits of which some are of children, some of nobody the train asks for, and some lack a height."""
    chance = random.Random(hospital)  # noqa: S311 - made-up visits
    rows: list[Row] = []
    for number in range(SIZES[hospital]):
        age, sex = chance.randint(2, 95), chance.choice(("f", "m", "m", "x"))
        height = round(170 - 0.1 * age + (8 if sex == "m" else 0) + chance.gauss(0, 7), 3)
        rows.append(
            {
                "patient": f"{CANARY}-{hospital}-{number // 2}",
                "age": age,
                "height": None if chance.random() < 0.1 else height,
                "sex": sex,
                "smokes": chance.random() < 0.3,
                "note": f"{CANARY} of a visit",
                "admitted": date(2026, 1, 1 + number % 28),
                "left": None,
            }
        )
    return rows


ROWS = {hospital: visits(hospital) for hospital in HOSPITALS}


def run(order: RunOrder, say: Callable[[bytes], None]) -> int:
    """Run the example's own code, as the sandbox would."""
    root = order.state.parent / "seen"
    root.mkdir()
    (root / "visits").symlink_to(order.source(f"{DATA}/visits"))
    environment = {"PHT_DATA": str(root), "PHT_STATE": str(order.state)}
    command = [sys.executable, str(EXAMPLE / "code" / "main.py")]
    found = subprocess.run(command, check=False, capture_output=True, env=environment)
    say(found.stdout + found.stderr)
    return found.returncode


def sources(tmp_path: Path, postgres: Postgres, buckets: Buckets) -> dict[str, TableSource]:
    folder = tmp_path / "visits"
    folder.mkdir()
    for number in range(2):  # two files are one table
        (folder / f"{number}.csv").write_text(csv_of(ROWS["hospital-a"][number::2]), encoding="utf-8")
    postgres.fill(ROWS["hospital-b"])
    password = tmp_path / "password"
    write_file(password, PASSWORD.encode())
    database = Database(address=postgres.address(), password_file=password, ca_file=postgres.authority.file)
    buckets.empty()
    for number in range(3):
        buckets.put(f"visits/{number}.parquet", parquet_of(ROWS["hospital-c"][number::3], tmp_path))
    keys = tmp_path / "keys"
    write_file(keys, KEYS.encode())
    bucket = Bucket(endpoint=buckets.endpoint(), name=BUCKET, keys_file=keys, prefix="visits/")
    return {
        "hospital-a": FilesSource(name="visits", folder=folder, pattern="*.csv"),
        "hospital-b": SqlSource(name="visits", database=database, table="visits"),
        "hospital-c": S3Source(name="visits", bucket=bucket, pattern="*.parquet"),
    }


@pytest.fixture
def here(tmp_path: Path, postgres: Postgres, buckets: Buckets) -> Iterator[World]:
    made = world(tmp_path / "world", stations=HOSPITALS, program=run)
    for hospital, source in sources(tmp_path, postgres, buckets).items():
        table = TableData(
            name="visits",
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
            data={"visits": DataSet(source=table, description="", columns=COLUMNS)},
            policy=AllOf(rules=(Selections(described={"visits": COLUMNS}),)),
        )
    yield made
    made.close()


def test_three_places_give_the_line_that_all_rows_together_give(here: World, tmp_path: Path) -> None:
    made = here.train(route=HOSPITALS, data=load_spec(EXAMPLE).data)
    here.submit(made)
    here.settle()
    found = json.loads(here.results(made, tmp_path / "results")["sums.json"])
    compile_schema(parse_json((EXAMPLE / "schemas" / "sums.json").read_bytes()), pattern="sums.json").check(found)
    pooled = [row for hospital in HOSPITALS for row in ROWS[hospital]]
    for sex in ("f", "m"):
        chosen = [
            (row["age"], row["height"])
            for row in pooled
            if row["sex"] == sex and isinstance(row["age"], int) and row["age"] >= 18 and row["height"] is not None
        ]
        x, y = np.array(chosen, np.float64).T
        n, sums = len(chosen), found[sex]
        assert sums["n"] == n
        slope = (n * sums["xy"] - sums["x"] * sums["y"]) / (n * sums["xx"] - sums["x"] ** 2)
        intercept = (sums["y"] - slope * sums["x"]) / n
        assert np.polyfit(x, y, 1) == pytest.approx([slope, intercept], rel=1e-9)
        assert sums["yy"] == pytest.approx(float(np.sum(y * y)), rel=1e-12)


def test_each_station_notes_where_its_rows_came_from_and_no_patient_is_named(here: World) -> None:
    made = here.train(route=HOSPITALS, data=load_spec(EXAMPLE).data)
    here.submit(made)
    here.settle()
    assert here.at_home(made.id)
    for hospital in HOSPITALS:
        furnished = here.visit(hospital).furnished
        assert furnished is not None
        assert [one.source for one in furnished.data] == [KINDS[hospital]]
        assert here.plaintext(hospital) == []
        for path in here.folder(hospital).rglob("*"):
            assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
