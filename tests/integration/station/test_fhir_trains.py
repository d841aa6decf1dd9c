"""A train asks for resources of a FHIR server: it gets all of them, or waits."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from security.tables.column import Column, ColumnType
from security.train.manifest import DataNeed
from station.admission.policy import AllOf, Selections
from station.data.port import DataSet
from station.data.tables.cohorts import Cohorts
from station.data.tables.dataset import TableData
from station.data.tables.fhir import FhirSource
from station.data.tables.fhir_place import Endpoint, FhirTable, Search
from station.data.tables.source import Described
from station.sandbox.order import DATA, RunOrder
from tests.support.fhir import FhirServer, Resource, outcome
from tests.support.tables import SECRET
from tests.support.trains import Train
from tests.support.world import World, world

EVERY = (
    Described(column=Column(name="patient", type=ColumnType.IDENTIFIER), origin="subject.reference"),
    Described(
        column=Column(name="systolic", type=ColumnType.NUMBER, measure="mm[Hg]"),
        origin="value.ofType(Quantity).value",
    ),
    Described(column=Column(name="gender", type=ColumnType.TEXT), origin="subject.resolve().gender"),
)
COLUMNS = tuple(one.column for one in EVERY)


def add_pressures(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del say
    with (order.source(f"{DATA}/pressure") / "table.csv").open() as text:
        found = [float(row["systolic"]) for row in csv.DictReader(text)]
    (order.state / "sums.json").write_text(json.dumps({"sum": int(sum(found)), "n": len(found)}))
    return 0


@pytest.fixture
def here(fhir: FhirServer, tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world", stations=("hospital-a",), program=add_pressures)
    search = Search.of("Observation?_include=Observation:subject", count=20)
    table = TableData(
        name="pressure",
        source=FhirSource(
            name="pressure",
            table=FhirTable(endpoint=Endpoint(base=fhir.base), search=search),
            sleep=lambda _: None,
        ),
        columns=EVERY,
        patient="patient",
        secret=lambda: SECRET,
        keep=Cohorts(made.folder("hospital-a") / "cohorts").keep,
        withdrawn=None,
        least=5,
    )
    made.change(
        "hospital-a",
        data={"pressure": DataSet(source=table, description="", columns=COLUMNS)},
        policy=AllOf(rules=(Selections(described={"pressure": COLUMNS}),)),
    )
    yield made
    made.close()


def sent(here: World, **asks: Any) -> Train:
    need = DataNeed(name="pressure", description="blood pressures", columns=("systolic",), **asks)
    made = here.train(route=("hospital-a",), data=(need,))
    here.submit(made)
    return made


def nothing_is_told(here: World) -> None:
    for path in here.folder("hospital-a").rglob("*"):
        if path.is_file():
            assert b"canary" not in path.read_bytes(), path
            assert b"Patient/" not in path.read_bytes(), path


def test_a_train_gets_what_a_search_finds(here: World, tmp_path: Path) -> None:
    made = sent(here, where="gender = 'male'")
    here.settle("hospital-a")
    expected = [100 + number % 80 for number in range(90) if number % 30 % 2]
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": sum(expected), "n": 45}
    furnished = here.visit("hospital-a").furnished
    assert furnished is not None
    (one,) = furnished.data
    assert one.source == "fhir"
    assert one.table is not None
    assert one.table.version == "2026-11-27T10:00:00.000+01:00, 90 resources"
    assert (one.table.rows, one.table.patients) == ("20-49", "10-19")
    assert here.plaintext("hospital-a") == []
    nothing_is_told(here)


def test_a_train_waits_for_all_of_it_and_then_goes_on(here: World, fhir: FhirServer, tmp_path: Path) -> None:
    def broken(number: int, page: Resource) -> Resource:
        return outcome("error", "timeout") if number == 2 else page

    fhir.twist = broken
    made = sent(here)
    for _ in range(12):
        here.step("hospital-a")
    stumbled = here.visit("hospital-a").stumbled
    assert stumbled is not None
    assert stumbled.code == "data.unavailable"
    assert here.sandboxes["hospital-a"].started == []
    nothing_is_told(here)
    fhir.again()
    fhir.twist = lambda _, page: page
    here.settle("hospital-a")
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"])["n"] == 90
    nothing_is_told(here)
