"""What does a station read of a database, and what does it say if it cannot, or could do more?"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from security.errors import DiskFull
from security.tables.parse import parse
from station.check import CheckResult
from station.data.tables.database import Database
from station.data.tables.source import Wanted
from station.data.tables.sql import SqlSource
from station.errors import DataSourceUnavailable, DataTooLarge, DataUnfit
from tests.support.certificates import Authority
from tests.support.postgres import PASSWORD, Postgres, fill_sqlite
from tests.support.tables import EVERY, Narrow, Row, selected_from, selection, table_in

ROOT = Path(__file__).parents[3]
ROWS: list[Row] = [
    {
        "patient": f"canary-{number}",
        "age": 40 + number,
        "height": 170.5,
        "sex": "f",
        "smokes": False,
        "note": None,
        "admitted": None,
        "left": None,
    }
    for number in range(30)
]


@pytest.fixture
def source(postgres: Postgres, tmp_path: Path) -> SqlSource:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    postgres.fill(ROWS)
    where = Database(address=postgres.address(), password_file=secret)
    return SqlSource(name="heart", database=where, table="public.visits")


def only(source: SqlSource) -> CheckResult:
    (found,) = source.check()
    assert PASSWORD not in found.detail + (found.hint or "")
    assert "canary" not in found.detail + (found.hint or "")
    return found


def test_a_database_that_can_only_be_read_is_in_order(source: SqlSource) -> None:
    assert only(source).ok, only(source)
    assert [one.name for one in source.columns()] == [one.origin for one in EVERY]


def test_rows_and_columns_that_are_not_wanted_stay_there(source: SqlSource, tmp_path: Path) -> None:
    wanted = Wanted(columns=EVERY[:2], where=parse("age >= 60"))
    staged = source.stage(wanted, tmp_path)
    lines = staged.paths[0].read_text().splitlines()
    assert lines[0] == "patient,age"
    assert len(lines) == 11
    assert staged.version.startswith("snapshot ")


def test_a_query_is_a_table(source: SqlSource, tmp_path: Path) -> None:
    query = tmp_path / "query.sql"
    query.write_text("SELECT *, '100%:x'::text AS more FROM visits WHERE age % 2 = 0 -- the even ones\n;")
    asked = replace(source, table=None, query_file=query)
    found, into = selected_from(asked, selection(parse("age < 50")), tmp_path)
    assert sorted(int(row["age"]) for row in table_in(into)) == [40, 42, 44, 46, 48]
    assert found.patients == 5
    query.write_text("DROP TABLE visits")
    with pytest.raises(DataUnfit, match="one SELECT"):
        asked.columns()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TABLE visits",
        "SELECT 1; DROP TABLE visits",
        "SELECT patient FROM visits) AS a; DROP TABLE visits; --",
        "WITH gone AS (DELETE FROM visits RETURNING *) SELECT * FROM gone",
        "SELECT * INTO more FROM visits",
        "SELECT * FROM visits WHERE",
    ],
)
def test_a_query_that_is_no_select_is_told_and_not_run(
    source: SqlSource, postgres: Postgres, tmp_path: Path, text: str
) -> None:
    query = tmp_path / "query.sql"
    query.write_text(text)
    asked = replace(source, table=None, query_file=query)
    assert "one SELECT" in only(asked).detail
    with pytest.raises(DataUnfit, match="one SELECT"):
        asked.stage(Wanted(columns=EVERY[:1]), tmp_path)
    with postgres.admin() as database:
        assert database.execute("SELECT count(*) FROM visits").fetchone() == (30,)


def test_a_query_names_each_column_once(source: SqlSource, tmp_path: Path) -> None:
    query = tmp_path / "query.sql"
    query.write_text("SELECT one.*, other.patient FROM visits one, visits other")
    assert "one name" in only(replace(source, table=None, query_file=query)).detail


def test_a_moment_is_on_one_day_and_padding_hides_nobody_who_withdrew(
    source: SqlSource, postgres: Postgres, tmp_path: Path
) -> None:
    with postgres.admin() as database:
        database.execute("ALTER ROLE reader SET timezone = 'Pacific/Kiritimati'")
    listed = tmp_path / "withdrawn.csv"
    listed.write_text("canary-1\n")
    query = tmp_path / "query.sql"
    query.write_text("SELECT patient::char(20), '2020-01-01 23:30:00+00'::timestamptz AS admitted FROM visits")
    asked = replace(source, table=None, query_file=query)
    every = tuple(one for one in EVERY if one.column.name in {"patient", "admitted"})
    try:
        wanted = selection(parse("admitted = 2020-01-01"), delivered=("admitted",), every=every, withdrawn=listed)
        found, _ = selected_from(asked, wanted, tmp_path)
    finally:
        with postgres.admin() as database:
            database.execute("ALTER ROLE reader RESET timezone")
    assert (found.patients, found.withdrawn) == (29, 1)


@pytest.mark.parametrize("right", ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "UPDATE (age)"])
def test_a_role_that_may_write_is_refused(source: SqlSource, postgres: Postgres, right: str) -> None:
    with postgres.admin() as database:
        database.execute(f"GRANT {right} ON visits TO reader".encode())
    assert not only(source).ok
    assert "REVOKE" in str(only(source).hint)


def test_a_role_that_may_do_everything_is_refused(source: SqlSource, postgres: Postgres) -> None:
    found = only(replace(source, database=replace(source.database, address=postgres.address("admin"))))
    assert not found.ok
    assert "everything" in found.detail


def test_a_role_that_may_not_read_is_told_what_to_grant(source: SqlSource, postgres: Postgres, tmp_path: Path) -> None:
    with postgres.admin() as database:
        database.execute("REVOKE SELECT ON visits FROM reader")
    assert "GRANT" in str(only(source).hint)
    with pytest.raises(DataUnfit):
        source.stage(Wanted(columns=EVERY), tmp_path)


def test_what_is_gone_is_named(source: SqlSource, postgres: Postgres, tmp_path: Path) -> None:
    with postgres.admin() as database:
        database.execute("ALTER TABLE visits DROP COLUMN age")
    with pytest.raises(DataUnfit) as caught:
        source.stage(Wanted(columns=EVERY), tmp_path)
    assert caught.value.fields["column"] == "age"
    assert "not there" in only(replace(source, table="public.gone")).detail


def test_a_wrong_password_and_an_unknown_certificate_are_the_operators(source: SqlSource, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("something else")
    wrong.chmod(0o600)
    assert "let the station in" in only(replace(source, database=replace(source.database, password_file=wrong))).detail
    wrong.chmod(0o644)
    assert not only(replace(source, database=replace(source.database, password_file=wrong))).ok
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    found = only(replace(source, database=replace(source.database, ca_file=other.file)))
    assert "certificate" in found.detail


def test_a_known_certificate_is_fine(source: SqlSource, postgres: Postgres) -> None:
    found = only(replace(source, database=replace(source.database, ca_file=postgres.authority.file)))
    assert found.ok, found


def test_a_query_that_takes_too_long_makes_the_train_wait(source: SqlSource, tmp_path: Path) -> None:
    query = tmp_path / "query.sql"
    query.write_text("SELECT *, pg_sleep(60) FROM visits")
    slow = replace(source, table=None, query_file=query, database=replace(source.database, seconds=1))
    with pytest.raises(DataSourceUnavailable):
        slow.stage(Wanted(columns=EVERY), tmp_path)


def test_a_server_that_is_away_makes_the_train_wait(source: SqlSource, postgres: Postgres, tmp_path: Path) -> None:
    postgres.stop()
    try:
        with pytest.raises(DataSourceUnavailable):
            source.stage(Wanted(columns=EVERY), tmp_path)
    finally:
        postgres.start()


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_a_full_disk_is_told_as_that(source: SqlSource, tmp_path: Path, kind: str) -> None:
    if kind == "sqlite":
        fill_sqlite(tmp_path / "clinic.sqlite", ROWS)
        source = replace(source, database=Database(address=f"sqlite:///{tmp_path / 'clinic.sqlite'}"), table="visits")
    into = tmp_path / "into"
    into.mkdir()
    (into / "table.csv").symlink_to("/dev/full")
    with pytest.raises(DiskFull):
        source.stage(Wanted(columns=EVERY), into)


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_no_more_is_brought_than_there_is_space_for(
    source: SqlSource, postgres: Postgres, tmp_path: Path, kind: str
) -> None:
    many: list[Row] = [ROWS[0] | {"age": number} for number in range(30_000)]
    if kind == "sqlite":
        fill_sqlite(tmp_path / "clinic.sqlite", many)
        source = replace(source, database=Database(address=f"sqlite:///{tmp_path / 'clinic.sqlite'}"), table="visits")
    else:
        with postgres.admin() as database:
            database.execute("INSERT INTO visits SELECT v.* FROM visits v, generate_series(1, 1000)")
    with pytest.raises(DataTooLarge):
        source.stage(Wanted(columns=EVERY, space=Narrow(100_000)), tmp_path)
    assert (tmp_path / "table.csv").stat().st_size < 1.2 * 2**20


@pytest.mark.parametrize("library", ["sqlalchemy", "psycopg"])
def test_a_missing_library_is_told_with_what_installs_it(library: str) -> None:
    script = (
        f"import sys; sys.modules['{library}'] = None\n"
        "from station.data.tables.database import Database\n"
        "from station.data.tables.sql import SqlSource\n"
        "where = Database(address='sqlite:///clinic.sqlite')\n"
        "print(SqlSource(name='heart', database=where, table='visits').check())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pip install 'pht[sql]'" in done.stdout


def test_a_file_of_sqlite(tmp_path: Path) -> None:
    file = tmp_path / "clinic.sqlite"
    here = SqlSource(name="heart", database=Database(address=f"sqlite:///{file}"), table="visits")
    with pytest.raises(DataSourceUnavailable):
        here.columns()
    fill_sqlite(file, ROWS)
    before = file.read_bytes()
    assert only(here).ok
    staged = here.stage(Wanted(columns=EVERY[:2], where=parse("age >= 60")), tmp_path)
    assert len(staged.paths[0].read_text().splitlines()) == 11
    assert file.read_bytes() == before
    assert not only(replace(here, table="gone")).ok


def test_a_row_that_cannot_be_computed_stops_everything(
    source: SqlSource, postgres: Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with postgres.admin() as database:
        database.execute("INSERT INTO visits SELECT 'p' || n, n FROM generate_series(1000, 60000) AS n")
    query = tmp_path / "query.sql"
    query.write_text("SELECT patient, 1 / (59999 - age) AS age FROM visits")
    with pytest.raises(DataUnfit):
        replace(source, table=None, query_file=query).stage(Wanted(columns=EVERY[:2]), tmp_path)
    assert (tmp_path / "table.csv").stat().st_size > 100_000  # it had been on its way
    assert not caplog.records


def test_a_copy_that_is_cut_makes_the_train_wait(source: SqlSource, postgres: Postgres, tmp_path: Path) -> None:
    query = tmp_path / "query.sql"
    query.write_text("SELECT patient, age FROM visits, pg_sleep(0.1 + 0 * age)")
    slow = replace(source, table=None, query_file=query)
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader' AND query LIKE 'COPY%'"

    def cut() -> None:
        with postgres.admin() as database:
            while not database.execute(ended).fetchall():
                pass

    cutter = Thread(target=cut)
    cutter.start()
    with pytest.raises(DataSourceUnavailable):
        slow.stage(Wanted(columns=EVERY[:2]), tmp_path)
    cutter.join()
