"""A train asks for columns and rows of a table, and that is all its run is given."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.depot import ReceiptKind
from security.train.journey import Outcome, read_refusal
from security.train.manifest import DataNeed
from station.admission.policy import AllOf, Selections
from station.data.port import DataSet
from station.data.tables.cohorts import Cohorts
from station.data.tables.dataset import TableData
from station.data.tables.files import FilesSource
from station.data.tables.secret import DataSecret
from station.house.capacity import Capacity, Resources
from station.house.usage import Copies
from station.sandbox.order import DATA, RunOrder
from tests.support.tables import COLUMNS, EVERY, SECRET, Row, csv_of
from tests.support.trains import Train
from tests.support.world import World, world

LEAST = 5


def people(count: int) -> list[Row]:
    nothing: Row = dict.fromkeys(("sex", "smokes", "note", "admitted", "left"))
    return [{"patient": f"canary-{one}", "age": 20 + one, "height": 150.5, **nothing} for one in range(count)]


def add_ages(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del say
    folder = order.source(f"{DATA}/heart")
    with (folder / "table.csv").open() as text:
        ages = [int(row["age"]) for row in csv.DictReader(text)]
    described = json.loads((folder / "schema.json").read_text())["columns"]
    assert [one["name"] for one in described] == ["age"]
    assert described[0]["type"] == "integer"
    (order.state / "sums.json").write_text(json.dumps({"sum": sum(ages), "n": len(ages)}))
    return 0


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world", stations=("hospital-a",), program=add_ages)
    store = made.folder("hospital-a") / "store"
    store.mkdir(mode=0o700)
    (store / "a.csv").write_text(csv_of(people(30)))
    table = TableData(
        name="heart",
        source=FilesSource(name="heart", folder=store, pattern="*.csv"),
        columns=EVERY,
        patient="patient",
        secret=lambda: SECRET,
        keep=Cohorts(made.folder("hospital-a") / "cohorts").keep,
        withdrawn=None,
        least=LEAST,
    )
    made.change(
        "hospital-a",
        data={"heart": DataSet(source=table, description="", columns=COLUMNS)},
        policy=AllOf(rules=(Selections(described={"heart": COLUMNS}),)),
    )
    yield made
    made.close()


def travel(here: World, *columns: str, **asks: Any) -> Train:
    need = DataNeed(name="heart", description="ages", columns=columns or ("age",), **asks)
    made = here.train(route=("hospital-a",), data=(need,))
    here.submit(made)
    here.settle("hospital-a")
    return made


def refused(here: World, made: Train) -> tuple[Outcome, str | None]:
    (receipt,) = here.receipts(made, ReceiptKind.REFUSAL)
    told = read_refusal(here.read(made, receipt).payload)
    return told.outcome, told.reason


def test_a_table_comes_as_it_was_asked_for_and_goes_with_the_room(here: World, tmp_path: Path) -> None:
    made = travel(here, where="age >= 40 and height is not null")
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": sum(range(40, 50)), "n": 10}
    assert here.plaintext("hospital-a") == []
    furnished = here.visit("hospital-a").furnished
    assert furnished is not None
    (one,) = furnished.data
    assert one.source == "files"
    record = one.table
    assert record is not None
    assert (record.rows, record.patients, record.withdrawn) == ("10-19", "10-19", "0")
    assert record.version.startswith("1 file, newest of ")
    kept = here.folder("hospital-a") / "cohorts" / str(record.cohort).removeprefix("sha256:")
    assert len(kept.read_text().split()) == 10


def test_no_patient_is_named_in_what_the_station_keeps(here: World) -> None:
    travel(here)
    for path in here.folder("hospital-a").rglob("*"):
        if path.is_file() and "store" not in path.parts:
            assert b"canary" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("columns", "asks", "says"),
    [
        (("weight",), {}, "does not have a column"),
        (("age",), {"where": "weight > 1"}, "no column 'weight'"),
        (("age",), {"where": "age >"}, "expected a value"),
        (("age",), {"where": "sex = 'F'"}, "sex has no value 'F'"),
        (("age",), {"where": "age = 1; drop table patients"}, "not expected here"),
    ],
)
def test_what_cannot_be_asked_for_is_told_before_anything_is_read(
    here: World, columns: tuple[str, ...], asks: dict[str, str], says: str
) -> None:
    made = travel(here, *columns, **asks)
    outcome, reason = refused(here, made)
    assert outcome is Outcome.REFUSED
    assert reason is not None
    assert says in reason
    assert here.sandboxes["hospital-a"].started == []


def test_too_few_patients_are_a_refusal_that_says_no_number(here: World) -> None:
    made = travel(here, where=f"age < {20 + LEAST - 1}")
    assert refused(here, made) == (Outcome.REFUSED, None)
    visit = here.visit("hospital-a")
    assert visit.refused is not None
    assert visit.refused.code == "cohort.too-small"
    assert here.plaintext("hospital-a") == []
    assert here.sandboxes["hospital-a"].started == []


def test_a_folder_is_not_asked_for_by_columns_nor_a_table_by_files(here: World) -> None:
    here.change("hospital-a", policy=AllOf(rules=(Selections(described={"heart": None}),)))
    assert "is a folder" in str(refused(here, travel(here))[1])
    here.change("hospital-a", policy=AllOf(rules=(Selections(described={"heart": COLUMNS}),)))
    made = here.train(route=("hospital-a",), data=(DataNeed(name="heart", description="ages", files=()),))
    here.submit(made)
    here.settle("hospital-a")
    assert "is a table" in str(refused(here, made)[1])


def test_a_table_that_changes_while_it_is_read_is_read_again(here: World, tmp_path: Path) -> None:
    table = here.houses["hospital-a"].data["heart"]
    assert isinstance(table.source, TableData)
    store = here.folder("hospital-a") / "store" / "a.csv"
    changes: list[Callable[[], object]] = [lambda: store.write_text(csv_of(people(20)))]

    def secret() -> DataSecret:
        for change in changes:  # after the rows were staged, and before they are read
            change()
        changes.clear()
        return SECRET

    changing = replace(table, source=replace(table.source, secret=secret))
    here.change("hospital-a", data={"heart": changing})
    made = here.train(route=("hospital-a",), data=(DataNeed(name="heart", description="ages", columns=("age",)),))
    here.submit(made)
    for _ in range(8):
        here.step("hospital-a")
    stumbled = here.visit("hospital-a").stumbled
    assert stumbled is not None
    assert stumbled.code == "data.unavailable"
    assert [*here.root.rglob("table.csv")] == []
    here.settle("hospital-a")
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"])["n"] == 20


def test_a_table_for_which_there_is_no_disk_makes_the_train_wait_and_leaves_nothing(here: World) -> None:
    made = here.train(route=("hospital-a",), data=(DataNeed(name="heart", description="ages", columns=("age",)),))
    granted = 2 * made.manifest.limits.output_bytes + made.manifest.code.size
    every = Resources(runs=9, memory_bytes=1 << 40, cpu_millis=1 << 30, disk_bytes=granted)
    copies = Copies(Capacity.of(every))
    here.change("hospital-a", copies=copies)
    here.submit(made)
    for _ in range(8):
        here.step("hospital-a")
    assert here.sandboxes["hospital-a"].started == []
    stumbled = here.visit("hospital-a").stumbled
    assert stumbled is not None
    assert stumbled.code == "data.too-large"
    assert here.plaintext("hospital-a") != []  # its code is there
    assert [*here.root.rglob("table.csv"), *here.root.rglob("scratch")] == []
    copies.capacity = Capacity.of(replace(every, disk_bytes=1 << 40))
    here.settle("hospital-a")
    assert here.at_home(made.id)
    furnished = here.visit("hospital-a").furnished
    assert furnished is not None
    assert furnished.disk_bytes == 1 << 20


def test_a_cell_of_another_type_makes_the_train_wait_for_the_operator(here: World) -> None:
    store = here.folder("hospital-a") / "store" / "a.csv"
    whole = store.read_text()
    store.write_text(whole.replace("canary-7,27", "canary-7,old"))
    made = here.train(route=("hospital-a",), data=(DataNeed(name="heart", description="ages", columns=("age",)),))
    here.submit(made)
    for _ in range(8):
        here.step("hospital-a")
    assert here.sandboxes["hospital-a"].started == []
    assert not here.at_home(made.id)
    store.write_text(whole)
    here.settle("hospital-a")
    assert here.at_home(made.id)
