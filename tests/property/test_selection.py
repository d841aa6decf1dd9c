"""Does a selection mean the same wherever the rows are, and what plain Python says?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TypeAlias

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
from tests.support.fhir_outside import READER, OutsideFhir
from tests.support.postgres import PASSWORD, Postgres, fill_sqlite
from tests.support.search import examples
from tests.support.tables import (
    COLUMNS,
    EVERY,
    MOMENTS,
    NAMES,
    Row,
    conditions,
    csv_of,
    holds,
    known,
    parquet_of,
    rows_of,
    selected_from,
    selection,
    spelled,
    table_in,
    text_of,
    zoned,
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


@settings(max_examples=examples(24), deadline=None)
@given(rows_of(), conditions())
def test_every_source_gives_the_rows_that_plain_python_gives(
    postgres: Postgres,
    buckets: Buckets,
    fhir_outside: OutsideFhir,
    rows: list[Row],
    condition: Condition,
) -> None:
    """`left` is a date there, or a moment of that day: as it was written down, or in UTC where a source keeps only that."""
    written, instant = zoned(rows, "{}T23:30:00-11:00"), zoned(rows, "{} 23:30:00+00")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        secret = _private(folder / "password", PASSWORD)
        (folder / "csv").mkdir()
        (folder / "csv" / "a.csv").write_text(csv_of(rows[::2]))
        (folder / "csv" / "b.csv").write_text(csv_of(written[1::2]))
        parquet = parquet_of(instant, folder, MOMENTS)
        fill_sqlite(folder / "clinic.sqlite", written)
        postgres.fill(instant, MOMENTS)
        buckets.empty()
        buckets.put("heart/0.csv", csv_of(written).encode())
        buckets.put("heart/0.parquet", parquet)
        carried = fhir.carried(rows)
        tag = fhir_outside.add(fhir.observed(carried))
        where = Bucket(
            endpoint=buckets.endpoint(), name=BUCKET, prefix="heart/", keys_file=_private(folder / "keys", KEYS)
        )
        search = FhirTable(
            endpoint=Endpoint(base=fhir_outside.base, token_file=_private(folder / "token", READER)),
            search=Search.of(f"Observation?status=final&_tag={tag}", count=5),
        )
        for source in (
            FilesSource(name="csv", folder=folder / "csv", pattern="*.csv"),
            FilesSource(name="parquet", folder=folder, pattern="*.parquet"),
            SqlSource(name="sqlite", database=Database(address=f"sqlite:///{folder}/clinic.sqlite"), table="visits"),
            SqlSource(
                name="postgresql",
                database=Database(address=postgres.address(), password_file=secret),
                table="public.visits",
            ),
            S3Source(name="csv in a bucket", bucket=where, pattern="*.csv"),
            S3Source(name="parquet in a bucket", bucket=where, pattern="*.parquet"),
            FhirSource(name="fhir", table=search),
        ):
            kept, every = (carried, fhir.EVERY) if isinstance(source, FhirSource) else (rows, EVERY)
            assert _selected(source, condition, folder, every) == _expected(kept, condition), source.name


def _private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


Found: TypeAlias = tuple[int, int, list[tuple[str, ...]]] | None
"""How many rows and patients, and which; None for none."""


def _expected(rows: list[Row], condition: Condition) -> Found:
    expected = [row for row in rows if holds(condition, row)]
    told = sorted(_plain({name: spelled(known(row[name])) for name in NAMES}) for row in expected)
    return (len(expected), len({row["patient"] for row in expected}), told) if expected else None


def _selected(source: TableSource, condition: Condition, folder: Path, every: tuple[Described, ...]) -> Found:
    try:
        found, into = selected_from(source, selection(condition, every=every), folder)
    except CohortTooSmall:
        return None
    return found.rows, found.patients, sorted(map(_plain, table_in(into)))


def _plain(row: dict[str, str]) -> tuple[str, ...]:
    return tuple(_number(row[name]) if name == "height" else row[name] for name in NAMES[1:])


def _number(text: str) -> str:
    return repr(float(text) + 0.0) if text else ""  # SQLite stores -0.0 as 0
