"""What does a station read of a workbook of Excel, and what does it say if that is not beyond doubt?"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from openpyxl import Workbook

from security.tables.parse import parse
from station.data.tables.excel import ExcelSource
from station.data.tables.source import Wanted
from station.errors import DataSourceUnavailable, DataTooLarge, DataUnfit
from tests.support.tables import EVERY, NAMES, Narrow, selected_from, selection, table_in

ROOT = Path(__file__).parents[3]


def person(number: int, **changes: Any) -> list[Any]:
    row = dict.fromkeys(NAMES) | {"patient": f"canary-{number}", "age": 40 + number, "height": 170.5, "sex": "f"}
    return list((row | changes).values())


def write(path: Path, rows: Sequence[Sequence[Any]], change: Callable[[Workbook], object] = lambda _: None) -> Path:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    change(book)
    book.save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "books"
    made.mkdir()
    write(made / "a.xlsx", [NAMES, *(person(number) for number in range(30))])
    return made


def source(folder: Path, sheet: str | None = None) -> ExcelSource:
    return ExcelSource(name="heart", folder=folder, sheet=sheet)


def wrong(folder: Path, tmp_path: Path, sheet: str | None = None) -> DataUnfit:
    with pytest.raises(DataUnfit) as caught:
        selected_from(source(folder, sheet), selection(), tmp_path)
    assert "canary" not in f"{caught.value} {caught.value.hint}"
    return caught.value


def test_cells_are_what_they_are_in_excel(folder: Path, tmp_path: Path) -> None:
    cells = {
        "patient": 1e15,
        "age": 7.0,
        "height": -0.25,
        "sex": "m",
        "smokes": True,
        "note": 'Grüße, "so"\nund so',
        "admitted": datetime(2020, 2, 29),  # noqa: DTZ001 # as Excel has it
        "left": datetime(2020, 3, 1, 23, 59),  # noqa: DTZ001
    }
    write(folder / "a.xlsx", [NAMES, list(cells.values()), [None] * 8, person(2, left=date(2020, 1, 31))])
    write(folder / "~$a.xlsx", [["somebody has it open"]])
    assert source(folder).check()[0].ok
    assert [one.name for one in source(folder).columns()] == list(NAMES)
    found, into = selected_from(source(folder), selection(), tmp_path)
    assert (found.rows, found.patients) == (2, 2)
    (row,) = (one for one in table_in(into) if one["sex"] == "m")
    assert row | {"patient": ""} == {
        "patient": "",
        "age": "7",
        "height": "-0.25",
        "sex": "m",
        "smokes": "true",
        "note": 'Grüße, "so"\nund so',
        "admitted": "2020-02-29",
        "left": "2020-03-01",
    }
    found, _ = selected_from(source(folder), selection(parse("left = 2020-01-31")), tmp_path)
    assert found.rows == 1


def test_several_workbooks_are_one_table_if_they_have_the_same_columns(folder: Path, tmp_path: Path) -> None:
    write(folder / "b.xlsx", [NAMES, *(person(number) for number in range(30, 40))])
    assert selected_from(source(folder), selection(), tmp_path)[0].patients == 40
    write(folder / "c.xlsx", [NAMES[:2], ["canary-1", 1]])
    assert "same columns" in str(wrong(folder, tmp_path))
    assert not source(folder).check()[0].ok


def test_one_sheet_is_the_table(folder: Path, tmp_path: Path) -> None:
    def add(book: Workbook) -> None:
        for row in (NAMES, person(1), person(2)):
            (book["More"] if "More" in book.sheetnames else book.create_sheet("More")).append(row)

    write(folder / "a.xlsx", [["a title", "and more"]], add)
    assert "several sheets" in str(wrong(folder, tmp_path))
    assert selected_from(source(folder, "More"), selection(), tmp_path)[0].rows == 2
    assert "does not have the sheet" in str(wrong(folder, tmp_path, "Less"))


def merge(book: Workbook) -> None:
    book.active.merge_cells("A3:A4")


@pytest.mark.parametrize(
    ("rows", "change", "says", "row"),
    [
        ([NAMES, person(1), person(1)], merge, "merged cells", None),
        ([NAMES, person(1), person(2, age="=1+1")], None, "value of a formula", 2),
        ([NAMES, person(1, age="#N/A")], None, "an error of Excel", 1),
        ([NAMES, person(1), person(1, note=timedelta(hours=30))], None, "a time or a duration", 2),
        ([NAMES, person(1, note=time(8, 30))], None, "a time or a duration", 1),
        ([NAMES, [*person(1), "a remark"]], None, "beyond the columns", 1),
        ([["a title"], NAMES, person(1)], None, "beyond the columns", 1),
        ([[*NAMES, "AGE"], person(1)], None, "different names", None),
        ([[*NAMES[:3], None, "x"], person(1)], None, "different names", None),
        ([], None, "different names", None),
        ([NAMES, person(1), person(2, age="old")], None, "not of the type", 2),
        ([NAMES, person(1, age=1.5)], None, "not of the type", 1),
    ],
)
def test_what_is_not_beyond_doubt_stops_everything(
    folder: Path,
    tmp_path: Path,
    rows: Sequence[Sequence[Any]],
    change: Callable[[Workbook], object] | None,
    says: str,
    row: int | None,
) -> None:
    write(folder / "a.xlsx", rows, change or (lambda _: None))
    error = wrong(folder, tmp_path)
    assert says in str(error)
    assert error.fields.get("row") == row


def rewritten(path: Path, before: bytes, after: bytes) -> None:
    with ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert before in parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = parts["xl/worksheets/sheet1.xml"].replace(before, after)
    with ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def test_a_formula_is_the_value_that_the_workbook_keeps(folder: Path, tmp_path: Path) -> None:
    path = write(folder / "a.xlsx", [NAMES, person(1, age="=40+2")])
    rewritten(path, b"<f>40+2</f><v />", b"<f>40+2</f><v>42</v>")
    (row,) = table_in(selected_from(source(folder), selection(), tmp_path)[1])
    assert row["age"] == "42"


def test_a_workbook_that_is_larger_than_it_says_is_read_whole(folder: Path, tmp_path: Path) -> None:
    rewritten(folder / "a.xlsx", b'<dimension ref="A1:H31"', b'<dimension ref="A1:C2"')
    assert selected_from(source(folder), selection(), tmp_path)[0].rows == 30


@pytest.mark.parametrize("length", [0, 100, -30])
def test_what_is_no_workbook_is_named(folder: Path, tmp_path: Path, length: int) -> None:
    whole = (folder / "a.xlsx").read_bytes()
    (folder / "b.xlsx").write_bytes(whole[:length])
    assert wrong(folder, tmp_path).fields["file"] == folder / "b.xlsx"


def test_a_folder_that_is_away_makes_the_train_wait(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(DataSourceUnavailable):
            source(tmp_path / "books").stage(Wanted(columns=EVERY), tmp_path)
        (tmp_path / "books").mkdir(exist_ok=True)


def test_no_more_is_written_than_there_is_space_for_and_a_change_is_noticed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataTooLarge):
        selected_from(source(folder), selection(), tmp_path, space=Narrow(10))
    staged = source(folder).stage(Wanted(columns=EVERY), tmp_path)
    assert staged.unchanged()
    write(folder / "a.xlsx", [NAMES, person(1)])
    assert not staged.unchanged()


def test_a_missing_library_is_told_with_what_installs_it(folder: Path) -> None:
    script = (
        "import sys; sys.modules['openpyxl'] = None\n"
        "from pathlib import Path\n"
        "from station.data.tables.excel import ExcelSource\n"
        f"print(ExcelSource(name='heart', folder=Path({str(folder)!r})).check())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pip install 'pht[excel]'" in done.stdout
