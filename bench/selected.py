"""What a child process of the bench does about tables: make one, select from it by the engine alone, select as a station does."""

from __future__ import annotations

import time
from pathlib import Path

import duckdb

from security.ids import TrainId
from security.tables.column import Column, ColumnType
from security.tables.parse import parse
from station.data.tables.secret import DataSecret
from station.data.tables.select import Selection, select
from station.data.tables.source import Described, Form, Staged

WHERE = "age >= 81 and sex in ('f', 'm')"
_TYPES = {
    "pid": ColumnType.IDENTIFIER,
    "age": ColumnType.INTEGER,
    "sex": ColumnType.CATEGORY,
    "f0": ColumnType.NUMBER,
    "d0": ColumnType.DATE,
}


def make(folder: str, rows: str) -> None:
    """Write a table of so many rows and 20 columns, as CSV and as Parquet."""
    others = [f"(random() * 100)::int AS c{number}" for number in range(7)]
    others += [f"random() * 100 AS f{number}" for number in range(7)]
    others += ["'text ' || (random() * 1000)::int AS t0", "random() < .5 AS b0"]
    told = ["i AS pid", "(random() * 90)::int AS age", "CASE WHEN random() < .5 THEN 'f' ELSE 'm' END AS sex"]
    told += ["date '2000-01-01' + (random() * 8000)::int AS d0"]
    database = duckdb.connect(config={"threads": "2", "memory_limit": "512MiB", "temp_directory": f"{folder}/spill"})
    database.execute("SET preserve_insertion_order = false")
    database.execute("SET enable_progress_bar = false")
    query = f"SELECT {', '.join(told + others)} FROM range({int(rows)}) AS r(i)"
    database.execute(f"COPY ({query}) TO '{folder}/t.parquet' (FORMAT parquet)")
    database.execute(f"COPY (SELECT * FROM '{folder}/t.parquet') TO '{folder}/t.csv' (HEADER)")


def alone(form: str, folder: str) -> float:
    """Select five columns and a tenth of the rows with the engine alone, for the same memory; return the seconds."""
    return _copied(form, folder, f"SELECT {', '.join(_TYPES)} FROM {{}} WHERE {WHERE}")


def ordered(form: str, folder: str) -> float:
    """Select the same with the engine alone, in an order that follows from the rows, and as long numbers as ours are."""
    others = ", ".join(list(_TYPES)[1:])
    return _copied(
        form,
        folder,
        f"SELECT hash(pid) >> 4 AS pid, {others} FROM {{}} WHERE {WHERE} ORDER BY hash(pid, {others})",
    )


def _copied(form: str, folder: str, query: str) -> float:
    into = Path(folder) / "alone"
    into.mkdir(exist_ok=True)
    begun = time.perf_counter()
    database = duckdb.connect(config={"threads": "2", "memory_limit": "128MiB", "temp_directory": f"{folder}/spill"})
    database.execute("SET enable_progress_bar = false")
    read = f"read_{form}('{folder}/t.{form}')"
    database.execute(f"COPY ({query.format(read)}) TO '{into}/table.csv' (HEADER)")
    return time.perf_counter() - begun


def hashed(folder: str) -> float:
    """Hash the patients of the same rows twice, as their numbers and their cohort need it; return the seconds."""
    database = duckdb.connect(config={"threads": "2", "memory_limit": "128MiB", "temp_directory": f"{folder}/spill"})
    database.execute("SET enable_progress_bar = false")
    database.execute(
        f"CREATE TEMP TABLE patients AS SELECT CAST(pid AS VARCHAR) AS p FROM '{folder}/t.parquet' WHERE {WHERE}"
    )
    begun = time.perf_counter()
    one, other = (f"max(sha256('{key * 32}' || p))" for key in "ab")
    database.execute(f"SELECT {one}, {other} FROM patients").fetchall()
    return time.perf_counter() - begun


def ours(form: str, folder: str) -> float:
    """Select the same as a station does: typed, counted, patients numbered, in another order; return the seconds."""
    room = Path(folder) / f"ours-{form}-{time.monotonic_ns()}"
    into, scratch = room / "into", room / "scratch"
    for one in (into, scratch):
        one.mkdir(parents=True)
    every = tuple(Described(column=Column(name=name, type=kind), origin=name) for name, kind in _TYPES.items())
    staged = Staged(form=Form(form), paths=(Path(folder) / f"t.{form}",), names={}, version="")
    wanted = Selection(
        data="heart",
        train=TrainId("0" * 64),
        every=every,
        delivered=tuple(_TYPES),
        where=parse(WHERE),
        patient="pid",
        withdrawn=None,
        least=10,
        parquet=False,
    )
    begun = time.perf_counter()
    select(staged, wanted, into=into, scratch=scratch, secret=DataSecret(b"s" * 32))
    return time.perf_counter() - begun
