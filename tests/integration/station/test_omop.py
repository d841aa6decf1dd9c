"""Ready-made data sets over a small OMOP database: what they select is what plain Python says, descendants included."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

import pht
from security.errors import FileExists, InvalidInput
from security.files import write_file
from security.tables.column import Column, ColumnType
from station.data.tables.database import Database
from station.data.tables.omop import OmopKind, omop_query
from station.data.tables.source import Described, Wanted
from station.data.tables.sql import SqlSource
from tests.support.postgres import PASSWORD, Postgres

DIABETES, TYPE_2, NEUROPATHY, ASTHMA = 201820, 201826, 443730, 317009
DESCENDANTS = {DIABETES: {DIABETES, TYPE_2, NEUROPATHY}, TYPE_2: {TYPE_2, NEUROPATHY}, ASTHMA: {ASTHMA}}
PERSONS = [(1, 8532, 1950), (2, 8507, 1961), (3, 8507, 1972), (4, 0, 1983)]
CONDITIONS = [
    (1, DIABETES, date(2020, 5, 1), date(2020, 6, 1)),
    (1, NEUROPATHY, date(2021, 5, 1), None),
    (2, TYPE_2, date(2019, 1, 31), None),
    (3, ASTHMA, date(2022, 2, 28), date(2022, 3, 1)),
    (4, NEUROPATHY, date(2023, 12, 31), None),
]
MEASURED = [(1, 3004410, date(2020, 5, 1), 7.5, 8554), (2, 3004410, date(2020, 5, 2), None, 8554)]
SCHEMA = """
CREATE SCHEMA cdm;
CREATE TABLE cdm.person (person_id integer, gender_concept_id integer, year_of_birth integer);
CREATE TABLE cdm.condition_occurrence (person_id integer, condition_concept_id integer, condition_start_date date, condition_end_date date);
CREATE TABLE cdm.drug_exposure (person_id integer, drug_concept_id integer, drug_exposure_start_date date,
    drug_exposure_end_date date, quantity numeric, days_supply integer);
CREATE TABLE cdm.measurement (person_id integer, measurement_concept_id integer, measurement_date date, value_as_number numeric,
    unit_concept_id integer);
CREATE TABLE cdm.visit_occurrence (person_id integer, visit_concept_id integer, visit_start_date date, visit_end_date date);
CREATE TABLE cdm.concept_ancestor (ancestor_concept_id integer, descendant_concept_id integer);
GRANT USAGE ON SCHEMA cdm TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA cdm TO reader;
"""


@pytest.fixture(scope="module")
def omop(postgres: Postgres) -> Iterator[Postgres]:
    with postgres.admin() as database:
        database.execute("DROP SCHEMA IF EXISTS cdm CASCADE")
        database.execute(SCHEMA.encode())
        insert(database, "person", PERSONS)
        insert(database, "condition_occurrence", CONDITIONS)
        insert(database, "drug_exposure", [(2, 1503297, date(2020, 1, 1), date(2020, 1, 30), 60, 30)])
        insert(database, "measurement", MEASURED)
        insert(database, "visit_occurrence", [(3, 9201, date(2022, 2, 28), date(2022, 3, 1))])
        insert(
            database, "concept_ancestor", [(above, below) for above, all_of in DESCENDANTS.items() for below in all_of]
        )
    yield postgres
    with postgres.admin() as database:
        database.execute("DROP SCHEMA cdm CASCADE")


def insert(database: psycopg.Connection, table: str, rows: list[Any]) -> None:
    marks = ", ".join(["%s"] * len(rows[0]))
    with database.cursor() as cursor:
        cursor.executemany(f"INSERT INTO cdm.{table} VALUES ({marks})".encode(), rows)  # noqa: S608 - of the test


def rows_of(omop: Postgres, tmp_path: Path, query: str, *names: str) -> list[tuple[str, ...]]:
    """Return what the station brings of a query, as text, in no order of the database's."""
    write_file(tmp_path / "query.sql", query.encode())
    write_file(tmp_path / "password", PASSWORD.encode())
    where = Database(address=omop.address(), password_file=tmp_path / "password", ca_file=omop.authority.file)
    source = SqlSource(name="omop", database=where, query_file=tmp_path / "query.sql")
    assert all(one.ok for one in source.check()), source.check()
    assert {one.name for one in source.columns()} >= set(names)
    into = tmp_path / "into"
    into.mkdir()
    columns = tuple(Described(column=Column(name=name, type=ColumnType.TEXT), origin=name) for name in names)
    staged = source.stage(Wanted(columns=columns), into)
    texts = [path.read_text(encoding="utf-8") for path in staged.paths]
    found = [row for text in texts for row in csv.DictReader(text.splitlines())]
    return sorted(tuple(row[name] for name in names) for row in found)


@pytest.mark.parametrize("concepts", [(DIABETES,), (TYPE_2,), (ASTHMA, TYPE_2), ()])
def test_conditions_of_a_concept_are_those_of_all_below_it(
    omop: Postgres, tmp_path: Path, concepts: tuple[int, ...]
) -> None:
    query = omop_query(OmopKind.CONDITION, concepts, "cdm")
    found = rows_of(omop, tmp_path, query, "patient", "sex", "age", "concept", "began")
    wanted = set().union(*(DESCENDANTS[one] for one in concepts)) if concepts else {one for _, one, *_ in CONDITIONS}
    people = {number: (gender, born) for number, gender, born in PERSONS}
    sexes = {8532: "f", 8507: "m", 0: ""}
    expected = sorted(
        (str(number), sexes[people[number][0]], str(began.year - people[number][1]), str(concept), str(began))
        for number, concept, began, _ in CONDITIONS
        if concept in wanted
    )
    assert found == expected


@pytest.mark.parametrize(
    ("kind", "names", "expected"),
    [
        (
            OmopKind.PERSON,
            ("patient", "sex", "born"),
            [("1", "f", "1950"), ("2", "m", "1961"), ("3", "m", "1972"), ("4", "", "1983")],
        ),
        (OmopKind.DRUG, ("patient", "concept", "quantity", "days"), [("2", "1503297", "60", "30")]),
        (OmopKind.MEASUREMENT, ("patient", "value", "unit"), [("1", "7.5", "8554"), ("2", "", "8554")]),
        (OmopKind.VISIT, ("patient", "began", "ended"), [("3", "2022-02-28", "2022-03-01")]),
    ],
)
def test_each_kind_has_its_columns(
    omop: Postgres, tmp_path: Path, kind: OmopKind, names: tuple[str, ...], expected: list[tuple[str, ...]]
) -> None:
    assert rows_of(omop, tmp_path, omop_query(kind, (), "cdm"), *names) == expected


@pytest.mark.parametrize(
    ("kind", "concepts", "schema"),
    [
        (OmopKind.CONDITION, (0,), None),
        (OmopKind.CONDITION, (2**31,), None),
        (OmopKind.PERSON, (TYPE_2,), None),
        (OmopKind.VISIT, (), "cdm; DROP TABLE person"),
        (OmopKind.VISIT, (), '"cdm"'),
    ],
)
def test_nothing_but_concepts_and_a_plain_name_becomes_part_of_a_query(
    kind: OmopKind, concepts: tuple[int, ...], schema: str | None
) -> None:
    with pytest.raises(InvalidInput):
        omop_query(kind, concepts, schema)


def test_the_command_writes_the_query_once(tmp_path: Path) -> None:
    into = tmp_path / "diabetes.sql"
    words = ["station", "data", "omop", "condition", "--concept", str(TYPE_2), "--schema", "cdm", "-o", str(into)]
    told = cast("Any", pht.root.main(words, standalone_mode=False))
    assert into.read_text() == told.data["query"] == omop_query(OmopKind.CONDITION, [TYPE_2], "cdm")
    with pytest.raises(FileExists):
        pht.root.main(words, standalone_mode=False)
