"""Tables of patients for tests: columns of every type, rows, conditions, and what plain Python says they select."""

from __future__ import annotations

import calendar
import csv
import io
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TypeAlias

import duckdb
from hypothesis import strategies as st

from security.errors import PhtError
from security.ids import TrainId
from security.tables.column import Column, ColumnType
from security.tables.expression import (
    All,
    Between,
    Compared,
    Condition,
    Constant,
    Days,
    Missing,
    Moved,
    Name,
    Not,
    OneOf,
    Operator,
    Some,
    Span,
    Value,
)
from station.data.port import UNBOUNDED, Space
from station.data.tables.secret import DataSecret
from station.data.tables.select import Selected, Selection, needed, select
from station.data.tables.source import Described, TableSource, Wanted
from station.errors import DataTooLarge

Cell: TypeAlias = bool | int | float | str | date | None
Row: TypeAlias = dict[str, Cell]

COLUMNS = (
    Column(name="patient", type=ColumnType.IDENTIFIER),
    Column(name="age", type=ColumnType.INTEGER, measure="a", least="0", most="120"),
    Column(name="height", type=ColumnType.NUMBER, measure="cm"),
    Column(name="sex", type=ColumnType.CATEGORY, values=("f", "m", "x")),
    Column(name="smokes", type=ColumnType.BOOLEAN),
    Column(name="note", type=ColumnType.TEXT),
    Column(name="admitted", type=ColumnType.DATE),
    Column(name="left", type=ColumnType.DATE),
)
NAMES = tuple(one.name for one in COLUMNS)
EVERY = tuple(Described(column=one, origin=one.name) for one in COLUMNS)
TRAIN = TrainId("0" * 64)
SECRET = DataSecret(b"s" * 32)

WORDS = (
    "",
    "a",
    "A",
    "é",
    "e\u0301",
    "ß",
    "ss",
    "İ",
    "患者",
    "\U0001f9ec",
    "\u200b",
    "\xa0",
    "it's",
    'say "so"',
    "two\nlines",
    "a;b,c",
    " ",
    "NULL",
    "1",
    "%",
    "_",
)
DAYS = st.dates(min_value=date(1900, 1, 31), max_value=date(2100, 12, 31)) | st.sampled_from(
    [date(2020, 2, 29), date(2019, 12, 31), date(2020, 1, 31)]
)
NUMBERS = st.integers(min_value=-(2**53), max_value=2**53) | st.integers(min_value=-3, max_value=130)
REALS = st.floats(min_value=-1e12, max_value=1e12, allow_subnormal=False) | st.sampled_from([0.0, -0.0, 0.1, 0.3, 1.0])


def rows_of(most: int = 12) -> st.SearchStrategy[list[Row]]:
    """Rows with everything missing now and then; the patient never is, and a number may be NaN."""
    one = st.fixed_dictionaries(
        {
            "patient": st.integers(min_value=1, max_value=6).map(lambda number: f"p{number}"),
            "age": st.none() | NUMBERS,
            "height": st.none() | REALS | st.just(math.nan),
            "sex": st.none() | st.sampled_from(("f", "m", "x")),
            "smokes": st.none() | st.booleans(),
            "note": st.none() | st.sampled_from([word for word in WORDS if word]),
            "admitted": st.none() | DAYS,
            "left": st.none() | DAYS,
        }
    )
    return st.lists(one, min_size=1, max_size=most)


# --- Conditions ------------------------------------------------------------------------------------------------------


def conditions(deep: int = 3) -> st.SearchStrategy[Condition]:
    """Conditions that fit the columns."""
    tests = st.one_of(
        _compared(("age", "height"), NUMBERS | REALS.map(abs), tuple(Operator)),
        _compared(("sex",), st.sampled_from(("f", "m", "x")), (Operator.EQUAL, Operator.UNEQUAL)),
        _compared(("smokes",), st.booleans(), (Operator.EQUAL, Operator.UNEQUAL)),
        _compared(("note",), st.sampled_from(WORDS), (Operator.EQUAL, Operator.UNEQUAL)),
        st.builds(
            lambda left, operator, right: Compared(left=left, operator=operator, right=right),
            _days(),
            st.sampled_from(tuple(Operator)),
            _days(),
        ),
        st.builds(
            lambda later, earlier, operator, count: Compared(
                left=Between(later=later, earlier=earlier), operator=operator, right=Days(count=count)
            ),
            _days(),
            _day(),
            st.sampled_from(tuple(Operator)),
            st.integers(min_value=-1000, max_value=1000),
        ),
        st.builds(lambda name: Missing(value=Name(name=name)), st.sampled_from(NAMES[1:])),
        st.builds(_within, _days(), _days(), _days()),
        st.builds(lambda least, most: _within(Name(name="age"), *map(_fixed, (least, most))), NUMBERS, NUMBERS),
        st.builds(lambda least, most: _within(Name(name="height"), *map(_fixed, (least, most))), REALS, REALS),
        st.builds(
            lambda days: OneOf(value=Name(name="left"), among=tuple(map(_fixed, days))),
            st.lists(DAYS, min_size=1, max_size=3),
        ),
        st.builds(
            lambda words: OneOf(value=Name(name="note"), among=tuple(Constant(value=word) for word in words)),
            st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
        ),
        st.builds(
            lambda numbers: OneOf(value=Name(name="age"), among=tuple(Constant(value=one) for one in numbers)),
            st.lists(NUMBERS, min_size=1, max_size=4),
        ),
    )
    return st.recursive(
        tests,
        lambda inner: st.one_of(
            inner.map(lambda of: Not(of=of)),
            st.lists(inner, min_size=2, max_size=3).map(lambda of: All(of=tuple(of))),
            st.lists(inner, min_size=2, max_size=3).map(lambda of: Some(of=tuple(of))),
        ),
        max_leaves=2**deep,
    )


def _fixed(value: float | date) -> Constant:
    return Constant(value=value)


def _within(value: Value, least: Value, most: Value) -> Condition:
    return All(
        of=(
            Compared(left=value, operator=Operator.AT_LEAST, right=least),
            Compared(left=value, operator=Operator.AT_MOST, right=most),
        )
    )


def _compared(
    names: Sequence[str],
    values: st.SearchStrategy[bool] | st.SearchStrategy[float] | st.SearchStrategy[str],
    operators: Sequence[Operator],
) -> st.SearchStrategy[Condition]:
    return st.builds(
        lambda name, operator, value: Compared(left=Name(name=name), operator=operator, right=Constant(value=value)),
        st.sampled_from(list(names)),
        st.sampled_from(list(operators)),
        values,
    )


def _day() -> st.SearchStrategy[Value]:
    named = st.sampled_from(("admitted", "left")).map(lambda name: Name(name=name))
    return named | DAYS.map(lambda one: Constant(value=one))


def _days() -> st.SearchStrategy[Value]:
    moved = st.builds(
        lambda of, count, span: Moved(day=of, count=count, span=span),
        _day(),
        st.integers(min_value=-60, max_value=60),
        st.sampled_from(tuple(Span)),
    )
    return _day() | moved


def text_of(condition: Condition) -> str:  # noqa: PLR0911 # one for each kind of condition
    """Write a condition as people do, with every bracket."""
    match condition:
        case Not(of=inner):
            return f"not ({text_of(inner)})"
        case All(of=(Compared() as one, Compared() as other)) if condition == _within(one.left, one.right, other.right):
            return f"{_written(one.left)} between {_written(one.right)} and {_written(other.right)}"
        case All(of=parts):
            return " and ".join(f"({text_of(part)})" for part in parts)
        case Some(of=parts):
            return " or ".join(f"({text_of(part)})" for part in parts)
        case Missing(value=value):
            return f"{_written(value)} is null"
        case OneOf(value=value, among=among):
            return f"{_written(value)} in ({', '.join(map(_written, among))})"
        case Compared(left=left, operator=operator, right=right):
            return f"{_written(left)} {operator} {_written(right)}"


def _written(value: Value) -> str:
    match value:
        case Name(name=name):
            return name
        case Constant(value=constant):
            return _constant(constant)
        case Days(count=count):
            return f"{count} days"
        case Moved(day=day, count=count, span=span):
            return f"{_written(day)} {'-' if count < 0 else '+'} {abs(count)} {span}"
        case Between(later=later, earlier=earlier):
            return f"{_written(later)} - {_written(earlier)}"


def _constant(value: Cell) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return "'" + value.replace("'", "''") + "'"
        case float():
            return repr(value)
        case _:
            return str(value)


# --- What plain Python says ------------------------------------------------------------------------------------------


def holds(condition: Condition, row: Row) -> bool | None:
    """Whether a condition holds for a row; None where that is unknown."""
    match condition:
        case Not(of=inner):
            found = holds(inner, row)
            return None if found is None else not found
        case All(of=parts):
            every = [holds(part, row) for part in parts]
            return False if False in every else None if None in every else True
        case Some(of=parts):
            every = [holds(part, row) for part in parts]
            return True if True in every else None if None in every else False
        case Missing(value=value):
            return valued(value, row) is None
        case OneOf(value=value, among=among):
            one = valued(value, row)
            return None if one is None else any(one == constant.value for constant in among)
        case Compared(left=left, operator=operator, right=right):
            return compared(valued(left, row), operator, valued(right, row))


def compared(left: Cell, operator: Operator, right: Cell) -> bool | None:
    if left is None or right is None:
        return None
    less = left < right if type(left) is not str else False  # type: ignore[operator]
    return {
        Operator.EQUAL: left == right,
        Operator.UNEQUAL: left != right,
        Operator.LESS: less,
        Operator.AT_MOST: less or left == right,
        Operator.MORE: not less and left != right,
        Operator.AT_LEAST: not less,
    }[operator]


def valued(value: Value, row: Row) -> Cell:
    match value:
        case Name(name=name):
            return known(row[name])
        case Constant(value=constant):
            return constant
        case Days(count=count):
            return count
        case Moved(day=day, count=count, span=span):
            found = valued(day, row)
            return moved(found, count, span) if isinstance(found, date) else None
        case Between(later=later, earlier=earlier):
            one, other = valued(later, row), valued(earlier, row)
            return (one - other).days if isinstance(one, date) and isinstance(other, date) else None


def known(cell: Cell) -> Cell:
    """Return a cell, where NaN is a missing number."""
    return None if isinstance(cell, float) and math.isnan(cell) else cell


def moved(day: date, count: int, span: Span) -> date:
    if span is Span.DAYS:
        return day + timedelta(days=count)
    months = day.year * 12 + day.month - 1 + count * (12 if span is Span.YEARS else 1)
    year, month = divmod(months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


# --- At a source -----------------------------------------------------------------------------------------------------


def csv_of(rows: Sequence[Row], names: Sequence[str] = NAMES) -> str:
    """Write rows as a CSV file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[spelled(row[name]) for name in names] for row in rows])
    return out.getvalue()


_STORED = (
    'patient VARCHAR, age BIGINT, height DOUBLE, sex VARCHAR, smokes BOOLEAN, note VARCHAR, admitted DATE, "left" DATE'
)
MOMENTS = (
    "patient text, age bigint, height double precision, sex varchar(9), smokes boolean, note text, admitted date, "
    '"left" timestamptz'
)
"""Columns of a table in SQL, where `left` is a moment."""


def zoned(rows: Sequence[Row], spelling: str) -> list[Row]:
    """Return rows where `left` is a moment of its day, as a text."""
    return [{**row, "left": None if row["left"] is None else spelling.format(row["left"])} for row in rows]


def parquet_of(rows: Sequence[Row], scratch: Path, stored: str = _STORED) -> bytes:
    """Write rows as a Parquet file, by way of a file in a folder."""
    file = scratch / "written.parquet"
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE visits ({stored})")
        if rows:
            columns = [[row[name] for row in rows] for name in NAMES]
            database.execute(f"INSERT INTO visits SELECT {', '.join(['unnest(?)'] * len(NAMES))}", columns)
        database.execute("COPY visits TO '" + str(file) + "' (FORMAT parquet)")
    return file.read_bytes()


def spelled(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case bool():
            return str(cell).lower()
        case float():
            return repr(cell)
        case _:
            return str(cell)


def selection(
    where: Condition | None = None,
    *,
    delivered: Sequence[str] = NAMES,
    least: int = 1,
    withdrawn: Path | None = None,
    train: TrainId = TRAIN,
    parquet: bool = False,
    every: tuple[Described, ...] = EVERY,
) -> Selection:
    """Return a selection of the table of this module."""
    return Selection(
        data="heart",
        train=train,
        every=every,
        delivered=tuple(delivered),
        where=where,
        patient="patient",
        withdrawn=withdrawn,
        least=least,
        parquet=parquet,
    )


@dataclass
class Narrow:
    """Space for so many bytes."""

    left: int

    def take(self, count: int) -> None:
        if count > self.left:
            raise self.full()
        self.left -= count

    def full(self) -> PhtError:
        msg = "no space"
        return DataTooLarge(msg)


_counter = itertools.count()


def selected_from(
    source: TableSource, wanted: Selection, folder: Path, space: Space = UNBOUNDED
) -> tuple[Selected, Path]:
    """Select as a station does; return what is written down, and the folder that a run is given."""
    room = folder / f"room-{next(_counter)}"
    into, stage, work = room / "into", room / "stage", room / "work"
    for one in (into, stage, work):
        one.mkdir(parents=True)
    staged = source.stage(Wanted(columns=needed(wanted), where=wanted.where, space=space), stage)
    return select(staged, wanted, into=into, scratch=work, secret=SECRET, space=space), into


def table_in(folder: Path) -> list[dict[str, str]]:
    """Read the table that a run is given."""
    with (folder / "table.csv").open(newline="") as text:
        return list(csv.DictReader(text))
