"""Does a selection mean the same wherever the rows are, and what plain Python says?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security.errors import SelectionInvalid
from security.tables.expression import Condition
from security.tables.fit import fit
from security.tables.parse import LONGEST, parse
from station.data.tables.bucket import Bucket
from station.data.tables.database import Database
from station.data.tables.fhir import FhirSource
from station.data.tables.fhir_place import Endpoint, FhirTable, Search
from station.data.tables.files import FilesSource
from station.data.tables.s3 import S3Source
from station.data.tables.source import Described, TableSource
from station.data.tables.sql import SqlSource
from station.errors import CohortTooSmall
from tests.support import fhir
from tests.support.buckets import BUCKET, KEYS, Buckets
from tests.support.postgres import PASSWORD, Postgres, fill_sqlite
from tests.support.tables import (
    COLUMNS,
    EVERY,
    NAMES,
    Row,
    conditions,
    csv_of,
    holds,
    parquet_of,
    rows_of,
    selected_from,
    selection,
    spelled,
    table_in,
    text_of,
)


@given(conditions())
def test_what_is_written_is_read_back(condition: Condition) -> None:
    text = text_of(condition)
    if len(text) <= LONGEST:
        assert parse(text) == condition
        fit(parse(text), COLUMNS)


@given(st.text(max_size=80) | st.text(alphabet="age()'\"<>=,.-+0123456789 \nandortis", max_size=60))
def test_any_other_text_is_an_error_with_a_place(text: str) -> None:
    place = _place(text)
    assert place is None or 1 <= place <= len(text) + 1


def _place(text: str) -> int | None:
    try:
        parse(text)
    except SelectionInvalid as error:
        return int(str(error.fields["character"]))
    return None


@settings(max_examples=150, deadline=None)
@given(rows_of(), conditions())
def test_files_give_the_rows_that_plain_python_gives(rows: list[Row], condition: Condition) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.csv").write_text(csv_of(rows))
        source = FilesSource(name="heart", folder=folder, pattern="*.csv")
        _same(source, rows, condition, folder)


@settings(max_examples=80, deadline=None)
@given(rows_of(), conditions())
def test_sqlite_gives_the_rows_that_plain_python_gives(rows: list[Row], condition: Condition) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "clinic.sqlite"
        for row in rows:  # SQLite stores -0.0 as 0
            row["height"] = row["height"] or (None if row["height"] is None else 0.0)
        fill_sqlite(file, rows)
        source = SqlSource(name="heart", database=Database(address=f"sqlite:///{file}"), table="visits")
        _same(source, rows, condition, Path(name))


@settings(max_examples=80, deadline=None)
@given(rows_of(), conditions())
def test_postgresql_gives_the_rows_that_plain_python_gives(
    postgres: Postgres, rows: list[Row], condition: Condition
) -> None:
    with tempfile.TemporaryDirectory() as name:
        secret = Path(name) / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        postgres.fill(rows)
        where = Database(address=postgres.address(), password_file=secret)
        _same(SqlSource(name="heart", database=where, table="public.visits"), rows, condition, Path(name))


@settings(max_examples=80, deadline=None)
@given(rows_of(), conditions(), st.booleans())
def test_a_bucket_gives_the_rows_that_plain_python_gives(
    buckets: Buckets, rows: list[Row], condition: Condition, parquet: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        keys = Path(name) / "keys"
        keys.write_text(KEYS)
        keys.chmod(0o600)
        buckets.empty()
        for number, part in enumerate((rows[::2], rows[1::2])):
            content = parquet_of(part, Path(name)) if parquet else csv_of(part).encode()
            buckets.put(f"heart/{number}.{'parquet' if parquet else 'csv'}", content)
        where = Bucket(endpoint=buckets.endpoint(), name=BUCKET, prefix="heart/", keys_file=keys)
        source = S3Source(name="heart", bucket=where, pattern="*.parquet" if parquet else "*.csv")
        _same(source, rows, condition, Path(name))


@settings(max_examples=80, deadline=None)
@given(rows_of(), conditions())
def test_a_fhir_server_gives_the_rows_that_plain_python_gives(
    fhir_kept: fhir.FhirServer, rows: list[Row], condition: Condition
) -> None:
    with tempfile.TemporaryDirectory() as name:
        fhir_kept.again()
        fhir_kept.resources["Observation"] = fhir.observed(rows)
        where = FhirTable(endpoint=Endpoint(base=fhir_kept.base), search=Search.of("Observation?status=final", count=5))
        _same(FhirSource(name="heart", table=where), rows, condition, Path(name), every=fhir.EVERY)


def _same(
    source: TableSource,
    rows: list[Row],
    condition: Condition,
    folder: Path,
    every: tuple[Described, ...] = EVERY,
) -> None:
    expected = [row for row in rows if holds(condition, row)]
    if not expected:
        with pytest.raises(CohortTooSmall):
            selected_from(source, selection(condition, every=every), folder)
        return
    found, into = selected_from(source, selection(condition, every=every), folder)
    assert (found.rows, found.patients) == (len(expected), len({row["patient"] for row in expected}))
    assert sorted(_plain(one) for one in table_in(into)) == sorted(_wanted(row) for row in expected)


def _plain(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(_number(row[name]) if name == "height" else row[name] for name in NAMES[1:])


def _wanted(row: Row) -> tuple[str, ...]:
    return tuple(_number(spelled(row[name])) if name == "height" else spelled(row[name]) for name in NAMES[1:])


def _number(text: str) -> str:
    return repr(float(text)) if text else ""
