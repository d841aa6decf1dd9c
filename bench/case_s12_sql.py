"""What does a table of PostgreSQL cost, beside copying the same columns and rows with the database's own program?"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, alternating
from bench.usage import program
from security.tables.parse import parse
from station.data.tables.database import Database
from station.data.tables.source import Wanted
from station.data.tables.sql import SqlSource
from tests.support.postgres import PASSWORD, Postgres
from tests.support.tables import EVERY

ROWS, FEWER = 1_000_000, 50_000
_WHERE = "age >= 20 and smokes = true"
_FILL = """INSERT INTO visits SELECT 'p' || n, n % 100, 150 + (n % 500) / 10.0, 'f', n % 3 <> 0, 'note ' || n,
    date '2000-01-01' + n % 9000, date '2001-01-01' + n % 9000 FROM generate_series(1, {rows}) AS n"""


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield the seconds for some columns of most rows."""
    with contextlib.closing(Postgres()) as server:
        server.fill([])
        with server.admin() as database:
            database.execute(_FILL.format(rows=FEWER if bench.quick else ROWS).encode())
            database.execute("VACUUM ANALYZE visits")
        secret = bench.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        where = Database(address=server.address(), password_file=secret)
        source = SqlSource(name="visits", database=where, table="public.visits")
        columns = EVERY[:5]
        names = ", ".join(one.origin for one in columns)
        copied = bench.folder / "copied.csv"

        def by_station() -> None:
            into = bench.folder / "stage"
            into.mkdir()
            found = source.stage(Wanted(columns=columns, where=parse(_WHERE)), into)
            _need_same(found.paths[0], copied)
            shutil.rmtree(into)

        def by_psql() -> None:
            told = f"\\copy (SELECT {names} FROM visits WHERE age >= 20 AND smokes) TO '{copied}' (FORMAT csv, HEADER)"
            program(["psql", "-q", server.address(), "-c", told], environment={"PGPASSWORD": PASSWORD})

        by_psql()
        found = alternating({"station": by_station, "psql": by_psql}, rounds=3 if bench.quick else 7)
    yield Figure(what="psql \\copy", value=found["psql"], unit="s")
    yield Figure(
        what=f"the station, from {FEWER if bench.quick else ROWS} rows",
        value=found["station"],
        unit="s",
        to="psql \\copy of the same columns and rows",
        ratio=found["station"] / found["psql"],
        goal=Goal(most=1.3),
    )


def _need_same(one: Path, other: Path) -> None:
    if one.stat().st_size != other.stat().st_size:
        msg = "the station brought something else"
        raise RuntimeError(msg)


CASE = Case(id="S12", title="a table in PostgreSQL", measure=measure)
