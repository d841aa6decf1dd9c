"""What of a table is a run given, and what never?"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from security.errors import DiskFull, SelectionInvalid
from security.ids import TrainId
from security.tables.parse import parse
from station.data.tables.dataset import band
from station.data.tables.engine import opened
from station.data.tables.examine import examine
from station.data.tables.files import FilesSource
from station.data.tables.secret import secret_at
from station.data.tables.source import Described, Spelling, Wanted
from station.errors import CohortTooSmall, DataSourceUnavailable, DataTooLarge, DataUnfit
from tests.support.tables import EVERY, NAMES, Cell, Narrow, Row, csv_of, parquet_of, selected_from, selection, table_in

OTHER_TRAIN = TrainId("1" * 64)


def person(number: int, **changes: Cell) -> Row:
    found: Row = {
        "patient": f"canary-{number}",
        "age": 40 + number,
        "height": 170.5,
        "sex": "f",
        "smokes": False,
        "note": None,
        "admitted": None,
        "left": None,
    }
    return found | changes


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "a.csv").write_text(csv_of([person(number) for number in range(30)]))
    return folder


def source(folder: Path, pattern: str = "*.csv", **spelling: Any) -> FilesSource:
    return FilesSource(name="heart", folder=folder, pattern=pattern, spelling=Spelling(**spelling))


def test_a_run_gets_the_columns_and_rows_that_were_asked_for(store: Path, tmp_path: Path) -> None:
    _, into = selected_from(source(store), selection(parse("age >= 60"), delivered=("age", "sex")), tmp_path)
    assert sorted(path.name for path in into.iterdir()) == ["table.csv"]
    assert sorted(int(row["age"]) for row in table_in(into)) == list(range(60, 70))
    assert set(table_in(into)[0]) == {"age", "sex"}


def test_identifiers_are_numbers_of_a_train(store: Path, tmp_path: Path) -> None:
    first, again, other = (
        {
            row["age"]: row["patient"]
            for row in table_in(selected_from(source(store), selection(train=train), tmp_path)[1])
        }
        for train in (TrainId("0" * 64), TrainId("0" * 64), OTHER_TRAIN)
    )
    assert first == again
    assert len(set(first.values())) == 30
    assert all(number.isdigit() for number in first.values())
    assert not set(first.values()) & set(other.values())


def test_the_order_says_nothing_and_is_another_in_another_train(store: Path, tmp_path: Path) -> None:
    ages = [
        [row["age"] for row in table_in(selected_from(source(store), selection(train=train), tmp_path)[1])]
        for train in (TrainId("0" * 64), TrainId("0" * 64), OTHER_TRAIN)
    ]
    assert ages[0] == ages[1]
    assert ages[0] != sorted(ages[0])
    assert ages[0] != ages[2]


def test_who_withdrew_is_in_no_cohort(store: Path, tmp_path: Path) -> None:
    listed = tmp_path / "withdrawn.csv"
    listed.write_text("canary-3\n canary-7 \nsomebody else\n")
    found, into = selected_from(source(store), selection(parse("age < 60"), withdrawn=listed), tmp_path)
    assert {int(row["age"]) for row in table_in(into)} == set(range(40, 60)) - {43, 47}
    assert (found.rows, found.patients, found.withdrawn) == (18, 18, 2)


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        (b"", 0),
        (b"\n\n", 0),
        (b"canary-3", 1),
        (b"canary-3\n\ncanary-3\n", 1),
        (b"\xef\xbb\xbfcanary-3\r\ncanary-4\ncanary-5\r", 3),
        (b"\t canary-3\t\n", 1),
        (b'"canary-3"\n"canary-4" \n', 2),
    ],
)
def test_a_list_is_understood_however_it_was_saved(store: Path, tmp_path: Path, text: bytes, left_out: int) -> None:
    listed = tmp_path / "withdrawn.csv"
    listed.write_bytes(text)
    found, _ = selected_from(source(store), selection(withdrawn=listed), tmp_path)
    assert (found.patients, found.withdrawn) == (30 - left_out, left_out)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"canary-3;2020-01-01\n", 1),
        (b"canary-1\ncanary-3,yes\n", 2),
        (b"canary-3\tyes\n", 1),
        (b'"canary-3\n', 1),
        (b"canary-1\n\nM\xfcller\n", 3),
        ("canary-3\n".encode("utf-16"), 1),
        (b"canary-3\0\n", 1),
    ],
)
def test_a_list_that_is_not_understood_stops_everything(store: Path, tmp_path: Path, text: bytes, line: int) -> None:
    listed = tmp_path / "withdrawn.csv"
    listed.write_bytes(text)
    with pytest.raises(DataUnfit, match="who withdrew") as caught:
        selected_from(source(store), selection(withdrawn=listed), tmp_path)
    assert caught.value.fields["line"] == line
    assert "canary" not in str(caught.value)
    listed.unlink()
    with pytest.raises(DataSourceUnavailable, match="who withdrew"):
        selected_from(source(store), selection(withdrawn=listed), tmp_path)


def test_blanks_around_an_identifier_hide_nobody_from_the_list(store: Path, tmp_path: Path) -> None:
    (store / "a.csv").write_text(csv_of([person(number) | {"patient": f"canary-{number}  "} for number in range(30)]))
    listed = tmp_path / "withdrawn.csv"
    listed.write_text('canary-3\n"one, with a comma"\n')
    found, _ = selected_from(source(store), selection(withdrawn=listed), tmp_path)
    assert (found.patients, found.withdrawn) == (29, 1)


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        ("7", "007"),
        ("007", "7"),
        ("7.0", "7"),
        ("7", "7.0"),
        ('"7\t"', "7"),
        ('"\n7\r\n"', "7"),
        ("\xa07\xa0", "7"),
        ("0", "000"),
        ("3F2A-b", "3f2a-B"),
        ("Müller-1", "Mu\u0308ller-1"),
        ("Patient/7", "7"),
        ("7", "Patient/7"),
        ("Patient/ab-1", "https://fhir.example/r4/Patient/ab-1"),
    ],
)
def test_no_spelling_hides_who_withdrew(store: Path, tmp_path: Path, cell: str, line: str) -> None:
    others = [person(0, patient=name) for name in ("70", "17", "7.5", "3F2A", "Patient/77", "1")]
    (store / "a.csv").write_text(csv_of(others) + f"{cell},99,,,,,,\n", newline="")
    listed = tmp_path / "withdrawn.csv"
    listed.write_text(line)
    found, into = selected_from(source(store), selection(withdrawn=listed), tmp_path)
    assert (found.patients, found.withdrawn) == (6, 1)
    assert "99" not in {row["age"] for row in table_in(into)}


@pytest.mark.parametrize("stored", ["DOUBLE", "FLOAT", "DECIMAL(20,3)", "DECIMAL(9,0)", "HUGEINT", "BIGINT", "VARCHAR"])
def test_a_patient_has_one_identifier_whatever_type_a_source_has_for_it(
    store: Path, tmp_path: Path, stored: str
) -> None:
    numbers = range(10, 40)
    listed = tmp_path / "withdrawn.csv"
    listed.write_text("20\n30\n")
    wanted = selection(delivered=("patient", "age"), withdrawn=listed)
    (store / "a.csv").write_text(csv_of([person(number, patient=number) for number in numbers]))
    told, into = selected_from(source(store), wanted, tmp_path)
    with duckdb.connect() as database:
        database.execute(f"CREATE TABLE visits (patient {stored}, age BIGINT)")
        database.executemany("INSERT INTO visits VALUES (?, ?)", [[number, 40 + number] for number in numbers])
        database.execute(f"COPY visits TO '{store / 'a.parquet'}' (FORMAT parquet)")
    found, again = selected_from(source(store, "*.parquet"), wanted, tmp_path)
    assert (found.patients, found.withdrawn, found.cohort) == (28, 2, told.cohort)
    assert table_in(again) == table_in(into)


def test_nobody_is_called_not_a_number_and_two_are_not_made_one(store: Path, tmp_path: Path) -> None:
    with duckdb.connect() as database:
        database.execute("CREATE TABLE visits (patient DOUBLE, age BIGINT)")
        database.execute("INSERT INTO visits VALUES (1, 1), ('nan', 2), (NULL, 3)")
        database.execute(f"COPY visits TO '{store / 'a.parquet'}' (FORMAT parquet)")
        found, _ = selected_from(source(store, "*.parquet"), selection(delivered=("age",)), tmp_path)
        assert (found.rows, found.patients) == (1, 1)
        # A file where a patient is missing may have doubles; beside one with integers, those become doubles too.
        database.execute("CREATE TABLE more (patient BIGINT, age BIGINT)")
        database.execute("INSERT INTO more VALUES (9007199254740992, 1), (9007199254740993, 2)")
        database.execute(f"COPY more TO '{store / 'b.parquet'}' (FORMAT parquet)")
    with pytest.raises(DataUnfit) as caught:
        selected_from(source(store, "*.parquet"), selection(delivered=("age",)), tmp_path)
    assert caught.value.fields["column"] == "patient"


def test_blanks_make_no_two_of_one_patient_and_nobody_of_nothing(store: Path, tmp_path: Path) -> None:
    cells = ["p1", "p1 ", " p1", '"p1\n"', "p2", " ", '" "', ""]
    (store / "a.csv").write_text("patient,age\n" + "".join(f"{cell},1\n" for cell in cells))
    wanted = selection(delivered=("patient", "age"))
    found, into = selected_from(source(store), wanted, tmp_path)
    assert (found.rows, found.patients) == (5, 2)
    assert len({row["patient"] for row in table_in(into)}) == 2
    with opened([store], scratch=None, about="heart") as engine:
        told = examine(engine, source(store).stage(Wanted(columns=EVERY[:2]), tmp_path), EVERY[:2], "patient", ["P1"])
    assert (told.rows, told.patients, told.without_patient, told.withdrawn) == (8, 2, 3, 1)


def test_too_few_patients_are_nobodys(store: Path, tmp_path: Path) -> None:
    found, _ = selected_from(source(store), selection(parse("age < 50"), least=10), tmp_path)
    assert found.patients == 10
    with pytest.raises(CohortTooSmall):
        selected_from(source(store), selection(parse("age < 49"), least=10), tmp_path)
    (store / "a.csv").write_text(csv_of([person(1) for _ in range(30)]))  # rows are not patients
    with pytest.raises(CohortTooSmall):
        selected_from(source(store), selection(least=10), tmp_path)


@pytest.mark.parametrize("move", [f"{sign} 100000 {span}" for sign in "+-" for span in ("days", "months", "years")])
@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_no_date_is_moved_so_far_that_a_row_is_an_error(store: Path, tmp_path: Path, day: str, move: str) -> None:
    """An error where a patient is, and none where not, would tell an owner who is there, however few may be seen."""
    (store / "a.csv").write_text(csv_of([person(number, admitted=day) for number in range(10)]))
    with pytest.raises(SelectionInvalid, match="selection"):
        parse(f"age = 43 and admitted {move} {move} {move} > 2020-01-01")
    with pytest.raises(CohortTooSmall):
        selected_from(source(store), selection(parse(f"age = 43 and admitted {move} < {day}"), least=2), tmp_path)
    found, _ = selected_from(source(store), selection(parse(f"admitted {move} != {day}")), tmp_path)
    assert found.patients == 10


def test_the_same_patients_are_the_same_cohort_and_the_same_table_too(store: Path, tmp_path: Path) -> None:
    one, same, wider = (
        selected_from(source(store), selection(parse(where)), tmp_path)[0]
        for where in ("age < 60", "not age >= 60", "age < 61")
    )
    assert (one.cohort, one.table) == (same.cohort, same.table)
    assert wider.cohort != one.cohort
    (store / "a.csv").write_text(csv_of([person(number) for number in range(30)][::-1]))
    turned, _ = selected_from(source(store), selection(parse("age < 60")), tmp_path)
    assert (turned.cohort, turned.table) == (one.cohort, one.table)


def test_a_cohort_names_nobody(store: Path, tmp_path: Path) -> None:
    found, into = selected_from(source(store), selection(), tmp_path)
    kept = found.cohort_file.read_text()
    assert len(kept.split()) == 30
    assert "canary" not in kept
    assert "canary" not in (into / "table.csv").read_text()


def test_parquet_where_it_is_asked_for(store: Path, tmp_path: Path) -> None:
    _, into = selected_from(source(store), selection(parquet=True), tmp_path)
    (tmp_path / "again").mkdir()
    (into / "table.parquet").rename(tmp_path / "again" / "t.parquet")
    found, again = selected_from(source(tmp_path / "again", "*.parquet"), selection(), tmp_path)
    assert found.patients == 30
    assert sorted(row["age"] for row in table_in(again)) == sorted(row["age"] for row in table_in(into))


def test_a_hospitals_own_spelling(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    text = "patient;age;height;sex;smokes;note;admitted;left\n1;40;170,5;f;ja;Grüße;31.01.2020;\n2;NA;-0,25;m;0;NA;29.02.2020;NA\n"
    (store / "a.csv").write_bytes(text.replace("ja", "yes").encode("latin-1"))
    found, into = selected_from(
        source(store, delimiter=";", encoding="latin-1", decimal=",", dates="%d.%m.%Y", missing=("NA",)),
        selection(),
        tmp_path,
    )
    assert found.rows == 2
    rows = {row["admitted"]: row for row in table_in(into)}
    assert rows["2020-01-31"] | {"patient": ""} == {
        "patient": "",
        "age": "40",
        "height": "170.5",
        "sex": "f",
        "smokes": "true",
        "note": "Grüße",
        "admitted": "2020-01-31",
        "left": "",
    }
    assert (rows["2020-02-29"]["age"], rows["2020-02-29"]["height"], rows["2020-02-29"]["note"]) == ("", "-0.25", "")


@pytest.mark.parametrize(("column", "cell"), [("age", "1.000"), ("height", "1.234"), ("height", "1.234,5")])
def test_beside_a_decimal_comma_a_point_is_no_decimal_sign(tmp_path: Path, column: str, cell: str) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "a.csv").write_text(f"patient;{column}\np1;2,0\np2;{cell}\n")
    with pytest.raises(DataUnfit) as caught:
        selected_from(source(store, delimiter=";", decimal=","), selection(delivered=(column,)), tmp_path)
    assert (caught.value.fields["column"], caught.value.fields["row"]) == (column, 2)


@pytest.mark.parametrize(
    ("pattern", "cell", "day"),
    [
        (None, "27-11-26", None),
        (None, "7-1-1", None),
        (None, "0027-11-26", "0027-11-26"),
        ("%d.%m.%Y", "27.11.26", None),
        ("%d.%m.%Y", "27.11.0026", "0026-11-27"),
        ("%d.%m.%y", "27.11.26", "2026-11-27"),
    ],
)
def test_a_year_of_two_digits_is_not_one_of_the_first_century(
    store: Path, tmp_path: Path, pattern: str | None, cell: str, day: str | None
) -> None:
    (store / "a.csv").write_text(csv_of([person(1, admitted=cell)]))
    here = source(store, dates=pattern)
    if day is None:
        with pytest.raises(DataUnfit) as caught:
            selected_from(here, selection(), tmp_path)
        assert (caught.value.fields["column"], caught.value.fields["row"]) == ("admitted", 1)
    else:
        assert table_in(selected_from(here, selection(), tmp_path)[1])[0]["admitted"] == day


@pytest.mark.parametrize("order", ["le", "be"])
def test_in_either_order_of_bytes_utf_16_is_read_or_told(store: Path, tmp_path: Path, order: str) -> None:
    raw = ("\ufeff" + csv_of([person(number) for number in range(30)])).encode(f"utf-16-{order}")
    (store / "a.csv").write_bytes(raw)
    here = source(store, encoding="utf-16")
    if order == "le":
        assert selected_from(here, selection(), tmp_path)[0].patients == 30
    else:
        with pytest.raises(DataUnfit, match="big-endian"):
            selected_from(here, selection(), tmp_path)
        assert not here.check()[0].ok


@pytest.mark.parametrize("quote", ['"', "'"])
def test_an_empty_cell_is_a_missing_value_in_every_column_also_between_quotes(tmp_path: Path, quote: str) -> None:
    store = tmp_path / "store"
    store.mkdir()
    empty, lines = quote * 2, [",".join(NAMES)]
    lines += [f"p{number},40" + f",{empty if number % 2 else ''}" * 6 for number in range(4)]
    (store / "a.csv").write_text("\n".join([*lines, empty + ",50,,,,,,", ",60,1,f,true,a,,"]) + "\n")
    found, into = selected_from(source(store, quote=quote), selection(), tmp_path)
    assert (found.rows, found.patients) == (4, 4)  # nobody's rows are nobody's
    for row in table_in(into):
        assert {name: row[name] for name in NAMES[2:]} == dict.fromkeys(NAMES[2:], "")
    found, _ = selected_from(source(store, quote=quote), selection(parse("note is null and left is null")), tmp_path)
    assert found.rows == 4


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("age", "old"),
        ("age", "1.5"),
        ("age", "9223372036854775808"),
        ("height", "1,5"),
        ("sex", "F"),
        ("smokes", "perhaps"),
        ("admitted", "30.02.2020"),
        ("admitted", "2020-02-30"),
        ("admitted", "infinity"),
        ("admitted", "12020-01-01"),
        ("admitted", "2020-01-01 (BC)"),
        ("height", "inf"),
        ("height", "1e400"),
    ],
)
def test_a_cell_of_another_type_stops_everything_and_is_told_by_its_row(
    store: Path, tmp_path: Path, column: str, cell: str
) -> None:
    rows = [person(number) for number in range(30)]
    text = (
        csv_of(rows[:20])
        + csv_of([person(99, **{column: cell})]).split("\n", 1)[1]
        + csv_of(rows[20:]).split("\n", 1)[1]
    )
    (store / "a.csv").write_text(text)
    with pytest.raises(DataUnfit) as caught:
        selected_from(source(store), selection(), tmp_path)
    assert (caught.value.fields["column"], caught.value.fields["row"]) == (column, 21)
    assert cell not in str(caught.value)
    assert not [path for path in tmp_path.rglob("table.*") if "room" in str(path)]


@pytest.mark.parametrize(("name", "form"), [("a.csv", "csv"), ("a.parquet", "parquet")])
def test_a_cell_stops_a_train_that_it_is_delivered_to_or_decides_about_and_no_other(
    store: Path, tmp_path: Path, name: str, form: str
) -> None:
    rows = [person(number) | {"height": "tall" if number == 25 else "1"} for number in range(30)]
    (store / "a.csv").unlink()
    with duckdb.connect() as database:
        database.execute("CREATE TABLE visits (patient TEXT, age TEXT, height TEXT)")
        database.executemany(
            "INSERT INTO visits VALUES (?, ?, ?)", [[r["patient"], r["age"], r["height"]] for r in rows]
        )
        database.execute(f"COPY visits TO '{store / name}' (FORMAT {form})")
    here, shown = source(store, f"*.{form}"), ("age", "height")
    assert selected_from(here, selection(parse("age < 65"), delivered=shown), tmp_path)[0].rows == 25
    assert selected_from(here, selection(delivered=("age",)), tmp_path)[0].rows == 30
    for where, delivered in (("age < 66", shown), ("height > 0", ("age",))):
        with pytest.raises(DataUnfit) as caught:
            selected_from(here, selection(parse(where), delivered=delivered), tmp_path)
        assert (caught.value.fields["column"], caught.value.fields["row"]) == ("height", 26)


def test_columns_that_are_called_as_each_other_are_not_confused(store: Path, tmp_path: Path) -> None:
    (store / "a.csv").write_text("patient,age,height\np1,1.5,7\np2,,8\n")
    origins = {"age": "height", "height": "age"}
    every = tuple(
        Described(column=one.column, origin=origins.get(one.column.name, one.column.name)) for one in EVERY[:3]
    )
    wanted = selection(parse("height < 2"), delivered=("age", "height"), every=every)
    assert table_in(selected_from(source(store), wanted, tmp_path)[1]) == [{"age": "7", "height": "1.5"}]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "patient,age,age\n",
        "patient,age,AGE\n",
        "patient,,age\n",
        "patient;age\n1;2\n",
    ],
)
def test_what_is_no_table_is_told(store: Path, tmp_path: Path, text: str) -> None:
    (store / "a.csv").write_text(text)
    with pytest.raises(DataUnfit):
        selected_from(source(store), selection(), tmp_path)
    assert not source(store).check()[0].ok or text.startswith("patient;")


def test_a_row_that_is_cut_stops_everything(store: Path, tmp_path: Path) -> None:
    text = (store / "a.csv").read_text()
    (store / "a.csv").write_text(text[: text.rindex("f")])
    with pytest.raises(DataUnfit):
        selected_from(source(store), selection(), tmp_path)


@pytest.mark.parametrize("name", ["a[1]", "a?", "[a-c]*"])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_whose_name_looks_like_a_pattern_is_not_taken_for_others(
    store: Path, tmp_path: Path, name: str, form: str
) -> None:
    (store / "a.csv").unlink()
    for called, number in (("a1", 1), (name, 2)):
        rows = [person(number)]
        raw = csv_of(rows).encode() if form == "csv" else parquet_of(rows, tmp_path)
        (store / f"{called}.{form}").write_bytes(raw)
    with pytest.raises(DataUnfit, match="in it") as caught:
        selected_from(source(store, f"*.{form}"), selection(), tmp_path)
    assert caught.value.fields["file"] == store / f"{name}.{form}"
    assert not source(store, f"*.{form}").check()[0].ok


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_a_folder_is_called_is_no_value(tmp_path: Path, form: str) -> None:
    store = tmp_path / "store" / "age=77" / "sex=m" / "year=2020"
    store.mkdir(parents=True)
    rows = [person(1)]
    (store / f"a.{form}").write_bytes(csv_of(rows).encode() if form == "csv" else parquet_of(rows, tmp_path))
    here = source(tmp_path / "store", f"**/*.{form}")
    (row,) = table_in(selected_from(here, selection(), tmp_path)[1])
    assert (row["age"], row["sex"]) == ("41", "f")
    assert "year" not in {one.name for one in here.columns()}


def test_bytes_that_are_no_text_stop_everything(store: Path, tmp_path: Path) -> None:
    raw = (store / "a.csv").read_bytes()
    (store / "a.csv").write_bytes(raw + b"canary-99,1,1,f,true,\xff\xfe,,\n")
    with pytest.raises(DataUnfit) as caught:
        selected_from(source(store), selection(), tmp_path)
    assert "canary" not in str(caught.value)


@cache
def many_rows(count: int) -> bytes:
    return b"".join(b"canary-%d,1,,,,,,\n" % number for number in range(count))


@pytest.mark.parametrize("cells", [b"1,\xff,1,f,true,,,", b"1,1,1,f", b'1,1,1,f,true,"a,,', b"1,1,1,f,true,a,,,more"])
def test_a_damaged_row_far_down_is_told_by_its_line(store: Path, tmp_path: Path, cells: bytes) -> None:
    before = many_rows(512_344)
    header = (store / "a.csv").read_bytes().splitlines()[0]
    (store / "a.csv").write_bytes(header + b"\n" + before + cells + b"\n" + before[:100_000].rpartition(b"\n")[0])
    with pytest.raises(DataUnfit) as caught:
        selected_from(source(store), selection(delivered=("age",)), tmp_path)
    assert caught.value.fields["where"] == "in line 512346"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "found"),
    [('"a\nb"', "a\nb"), ('"say ""so"""', 'say "so"'), ("a\0b", "a\0b"), ("x" * 10**6, "x" * 10**6), ('"a,b"', "a,b")],
)
def test_a_cell_may_hold_anything(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str, found: str
) -> None:
    monkeypatch.setattr(csv, "field_size_limit", csv.field_size_limit(2**24))
    (store / "a.csv").write_text("\ufeff" + csv_of([person(1)]).replace("false,", f"false,{cell}"), encoding="utf-8")
    (row,) = table_in(selected_from(source(store), selection(), tmp_path)[1])
    assert row["note"] == found


def test_a_cell_of_many_megabytes_is_an_error(store: Path, tmp_path: Path) -> None:
    (store / "a.csv").write_text(csv_of([person(1)]).replace("false,", f"false,{'x' * 2**22}"))
    with pytest.raises(DataUnfit):
        selected_from(source(store), selection(), tmp_path)


@pytest.mark.parametrize("length", [0, 3, 100, -5])
def test_a_parquet_file_that_is_cut_is_named(store: Path, tmp_path: Path, length: int) -> None:
    whole = parquet_of([person(number) for number in range(30)], tmp_path)
    (store / "a.parquet").write_bytes(whole)
    (store / "b.parquet").write_bytes(whole[:length])
    here = source(store, "*.parquet")
    assert not here.check()[0].ok
    with pytest.raises(DataUnfit, match="not all of it") as caught:
        selected_from(here, selection(), tmp_path)
    assert caught.value.fields["file"] == store / "b.parquet"


def test_a_parquet_file_without_a_column_that_the_others_have_is_named(store: Path, tmp_path: Path) -> None:
    with duckdb.connect() as database:
        for name, columns in (
            ("a", "'p' AS patient, 1 AS age"),
            ("b", "2 AS age, 'q' AS patient"),
            ("c", "'r' AS patient"),
        ):
            database.execute(f"COPY (SELECT {columns}) TO '{store / name}.parquet'")
    every = tuple(one for one in EVERY if one.column.name in {"patient", "age"})
    wanted = selection(delivered=("patient", "age"), every=every)
    with pytest.raises(DataUnfit, match="same columns") as caught:
        selected_from(source(store, "*.parquet"), wanted, tmp_path)
    assert caught.value.fields["file"] == store / "c.parquet"
    (store / "c.parquet").unlink()
    assert selected_from(source(store, "*.parquet"), wanted, tmp_path)[0].patients == 2


def test_a_moment_is_on_one_day_wherever_the_station_stands(store: Path, tmp_path: Path) -> None:
    with duckdb.connect() as database:
        moment = "TIMESTAMPTZ '2020-01-01 23:30:00+00'"
        database.execute(f"COPY (SELECT 'p' AS patient, {moment} AS admitted) TO '{store / 'a.parquet'}'")
    script = (
        "import sys; from pathlib import Path; from tests.integration.station.test_tables import *\n"
        "every = tuple(one for one in EVERY if one.column.name in {'patient', 'admitted'})\n"
        "where = parse('admitted = 2020-01-01')\n"
        "here = source(Path(sys.argv[1]), '*.parquet')\n"
        "print(selected_from(here, selection(where, delivered=('admitted',), every=every), Path(sys.argv[2]))[0].rows)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, store, tmp_path],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "TZ": "Pacific/Kiritimati"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"


@pytest.mark.parametrize("space", [0, 10, 100_000])
def test_no_more_is_delivered_or_put_aside_than_there_is_space_for(store: Path, tmp_path: Path, space: int) -> None:
    notes = [person(number, note="canary " * 200) for number in range(2000)]
    (store / "a.csv").write_text(csv_of(notes))
    with pytest.raises(DataTooLarge):
        selected_from(source(store), selection(), tmp_path, space=Narrow(space))


def test_what_an_engine_puts_aside_is_bounded(tmp_path: Path) -> None:
    with (
        pytest.raises(DataTooLarge),
        opened([tmp_path], scratch=tmp_path, about="heart", space=Narrow(20 << 20)) as engine,
    ):
        engine.run("CREATE TEMP TABLE many AS SELECT sha256(CAST(range AS VARCHAR)) FROM range(4000000)")


def test_a_full_disk_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(DiskFull), opened([Path("/dev")], scratch=tmp_path, about="heart") as engine:
        engine.copy("SELECT 'canary' FROM range(9)", Path("/dev/full"), "FORMAT csv")


def test_several_files_are_one_table_if_they_have_the_same_columns(store: Path, tmp_path: Path) -> None:
    (store / "b.csv").write_text(csv_of([person(number) for number in range(30, 40)]))
    assert selected_from(source(store), selection(), tmp_path)[0].patients == 40
    (store / "c.csv").write_text("patient,age\n1,2\n")
    with pytest.raises(DataUnfit, match="same columns"):
        selected_from(source(store), selection(), tmp_path)


def test_a_store_that_is_away_makes_the_train_wait(store: Path, tmp_path: Path) -> None:
    (store / "a.csv").unlink()
    with pytest.raises(DataSourceUnavailable, match="no file"):
        selected_from(source(store), selection(), tmp_path)
    store.rmdir()
    with pytest.raises(DataSourceUnavailable, match="folder"):
        selected_from(source(store), selection(), tmp_path)


def test_one_secret_a_station(tmp_path: Path) -> None:
    first, again = (secret_at(tmp_path / "state" / "data.key") for _ in range(2))
    assert first == again
    assert (tmp_path / "state" / "data.key").stat().st_mode & 0o777 == 0o600
    assert secret_at(tmp_path / "elsewhere" / "data.key") != first
    assert first.key.hex() not in repr(first)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0"),
        (1, "1"),
        (2, "2-4"),
        (4, "2-4"),
        (5, "5-9"),
        (10, "10-19"),
        (999, "500-999"),
        (10**6, "1000000-1999999"),
    ],
)
def test_counts_are_kept_in_bands(count: int, said: str) -> None:
    assert band(count) == said


def long_table(path: Path, cell: str, rows: int) -> None:
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, person(0), lineterminator="\n")
        writer.writeheader()
        one = person(0, note=cell)
        for number in range(rows):
            writer.writerow(one | {"patient": f"p{number}"})


def test_lines_in_the_cells_of_a_large_file_are_no_rows(store: Path, tmp_path: Path) -> None:
    """Threads that read it together take them for some, and fail; one alone would pass over a row that is cut."""
    long_table(store / "a.csv", "\n".join(["1,2,f,3,true,a,,b"] * 12), 150_000)
    wanted = selection(parse("age = 40"), delivered=("patient", "age"))
    assert selected_from(source(store), wanted, tmp_path)[0].patients == 150_000
    (result,) = source(store).check()
    assert result.ok
    with (store / "a.csv").open("a") as out:
        out.write('p,40,1,f,true,"a row that is cut\n1,2,f,3,true,a,,b')
    with pytest.raises(DataUnfit):
        selected_from(source(store), wanted, tmp_path)


def test_texts_that_are_too_long_to_be_put_in_another_order_are_told_as_that(store: Path, tmp_path: Path) -> None:
    long_table(store / "a.csv", "a line of a report " * 40, 130_000)
    with pytest.raises(DataUnfit, match="too long to be put into another order") as caught:
        selected_from(source(store), selection(delivered=("patient", "note")), tmp_path)
    assert caught.value.hint == "offer it without its long texts"
