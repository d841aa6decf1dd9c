"""From a bucket to a run: what an operator types, as the handbook has it, and what of the data is left anywhere."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from security.train.manifest import DataNeed
from station.admission.policy import AllOf, Selections
from station.data.port import DataSet
from station.data.tables.bucket import Bucket
from station.data.tables.cohorts import Cohorts
from station.data.tables.dataset import TableData
from station.data.tables.s3 import S3Source
from station.sandbox.order import DATA, RunOrder
from tests.support.buckets import BUCKET, KEYS, SECRET, Buckets, Gateway, refusal
from tests.support.desk import Desk, desk, furnished
from tests.support.tables import COLUMNS, EVERY, Row, csv_of, parquet_of
from tests.support.tables import SECRET as STATION_SECRET
from tests.support.trains import Train
from tests.support.world import World, world

__all__ = ["desk", "furnished"]

HANDBOOK = Path(__file__).parents[3] / "docs" / "handbook.md"
EMPTY = ("smokes", "note", "admitted", "left")
PEOPLE: list[Row] = [
    {
        "patient": f"canary-{one}",
        "age": 20 + one,
        "height": 150.5,
        "sex": "fm"[one % 2],
        **dict.fromkeys(EMPTY),
    }
    for one in range(40)
]


# --- What an operator types ------------------------------------------------------------------------------------------


def typed_in_the_handbook() -> list[str]:
    """Return the commands about buckets, without their comments."""
    (block,) = re.findall(r"```sh\n([^`]*--source s3[^`]*)```", HANDBOOK.read_text())
    return [line.partition(" #")[0] for line in block.replace("\\\n", " ").splitlines()]


def test_the_paragraph_of_the_handbook_tried_as_written(desk: Desk, buckets: Buckets, tmp_path: Path) -> None:
    buckets.empty()
    for number, part in enumerate((PEOPLE[::2], PEOPLE[1::2])):
        buckets.put(f"lungs/2026/{number}.parquet", parquet_of(part, tmp_path))
    places = {
        "https://s3.example:9000": buckets.endpoint("tls"),
        "/srv/pht/station": str(desk.path / "hospital-a"),
        "/srv/pht/clinic-keys": str(tmp_path / "clinic-keys"),
    }
    assert f"--bucket {BUCKET} " in typed_in_the_handbook()[1]
    install, add, check = typed_in_the_handbook()
    for name, place in places.items():
        install, add, check = (line.replace(name, place) for line in (install, add, check))
    subprocess.run(install, shell=True, check=True, input=KEYS.encode())  # noqa: S602 # as it is written
    added = desk.answer(*shlex.split(add)[1:], "--ca-file", str(buckets.authority.file))
    assert added["patient"] == "patient"
    assert [one["name"] for one in added["columns"]] == [one.name for one in COLUMNS]
    checked = desk.answer(*shlex.split(check)[1:])
    assert checked["ok"], checked
    found = checked["data"][0]["found"]
    assert (found["rows"], found["patients"], found["without_patient"], found["flaws"]) == (40, 40, 0, [])
    described = desk.answer("station", "data", "describe", "lungs", "-s", "hospital-a")["columns"]
    assert [one["differs"] for one in described] == [
        ["no row has a value"] if one["from"] in EMPTY else [] for one in described
    ]
    text = (desk.path / "hospital-a" / "station.yaml").read_text()
    assert SECRET not in text
    assert "canary" not in text


def test_keys_that_may_write_are_told_at_the_command_line(desk: Desk, buckets: Buckets, tmp_path: Path) -> None:
    buckets.empty()
    buckets.put("lungs/a.csv", csv_of(PEOPLE).encode())
    keys = tmp_path / "keys"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    where = ("--endpoint", buckets.endpoint(), "--bucket", BUCKET, "--keys-file", str(keys), "-s", "hospital-a")
    desk.answer("station", "data", "add", "lungs", "--source", "s3", "--prefix", "lungs", *where)
    assert desk.fails("station", "data", "check", "lungs", "-s", "hospital-a") == "data.unfit"
    assert buckets.keys() == ["lungs/a.csv"]
    far = ("--endpoint", "http://s3.example", *where[2:])
    assert desk.fails("station", "data", "add", "more", "--source", "s3", *far) == "input.invalid"
    assert desk.fails("station", "data", "add", "more", "--source", "s3", *where[2:]) == "input.invalid"


# --- What a run is given ---------------------------------------------------------------------------------------------


def add_ages(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del say
    with (order.source(f"{DATA}/heart") / "table.csv").open() as text:
        ages = [int(row["age"]) for row in csv.DictReader(text)]
    (order.state / "sums.json").write_text(json.dumps({"sum": sum(ages), "n": len(ages)}))
    return 0


@pytest.fixture
def here(tmp_path: Path, buckets: Buckets, gateway: Gateway) -> Iterator[World]:
    buckets.empty()
    buckets.put("heart/canary.csv", csv_of(PEOPLE[:10]).encode())
    buckets.put("heart/canary-more.csv", csv_of(PEOPLE[10:]).encode())
    keys = tmp_path / "keys"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    made = world(tmp_path / "world", stations=("hospital-a",), program=add_ages)
    table = TableData(
        name="heart",
        source=S3Source(
            name="heart",
            bucket=Bucket(endpoint=gateway.endpoint, name=BUCKET, prefix="heart/", keys_file=keys),
            pattern="*.csv",
        ),
        columns=EVERY,
        patient="patient",
        secret=lambda: STATION_SECRET,
        keep=Cohorts(made.folder("hospital-a") / "cohorts").keep,
        withdrawn=None,
        least=5,
    )
    made.change(
        "hospital-a",
        data={"heart": DataSet(source=table, description="", columns=COLUMNS)},
        policy=AllOf(rules=(Selections(described={"heart": COLUMNS}),)),
    )
    yield made
    made.close()


def sent(here: World) -> Train:
    need = DataNeed(name="heart", description="ages", columns=("age",), where="age < 40")
    made = here.train(route=("hospital-a",), data=(need,))
    here.submit(made)
    return made


def test_a_run_gets_its_part_of_a_bucket_and_nothing_of_it_is_left(here: World, tmp_path: Path) -> None:
    made = sent(here)
    here.settle("hospital-a")
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": sum(range(20, 40)), "n": 20}
    furnished = here.visit("hospital-a").furnished
    assert furnished is not None
    assert furnished.data[0].source == "s3"
    record = furnished.data[0].table
    assert record is not None
    assert re.fullmatch(r"snapshot [0-9a-f]+ of 2 objects, newest of [0-9TZ:-]+", record.version)
    assert here.plaintext("hospital-a") == []
    need_no_canary(here)


def need_no_canary(here: World) -> None:
    for path in here.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"canary" not in content, path
            assert SECRET.encode() not in content, path


def test_a_train_waits_for_a_bucket_and_goes_on(here: World, gateway: Gateway, tmp_path: Path) -> None:
    gateway.rule = lambda asked: refusal(503, "SlowDown") if asked.path.endswith("canary.csv") else None
    made = sent(here)  # and the other object, which comes first, is copied
    for _ in range(8):
        here.step("hospital-a")
    stumbled = here.visit("hospital-a").stumbled
    assert stumbled is not None
    assert stumbled.code == "data.unavailable"
    assert any(one.path.endswith("canary-more.csv") for one in gateway.seen)
    assert here.sandboxes["hospital-a"].started == []
    need_no_canary(here)
    gateway.rule = lambda _: None
    here.settle("hospital-a")
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"])["n"] == 20
    need_no_canary(here)


def test_a_bucket_that_changes_while_it_is_read_is_read_again(
    here: World, gateway: Gateway, buckets: Buckets, tmp_path: Path
) -> None:
    left = [lambda: buckets.put("heart/canary.csv", csv_of(PEOPLE[5:10]).encode())]
    gateway.rule = lambda asked: left.pop()() if left and not asked.lists else None
    made = sent(here)
    here.settle("hospital-a")
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"])["n"] == 15
    need_no_canary(here)
