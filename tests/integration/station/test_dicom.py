"""Which images of a folder is a run given, and what of them?"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRBigEndian

from security.tables.column import Column, ColumnType
from security.tables.parse import parse
from station.data.tables.dicom import DicomSource
from station.data.tables.dicom_image import Unfit, give, look
from station.data.tables.files import FilesSource
from station.data.tables.propose import propose
from station.data.tables.secret import number_of
from station.data.tables.select import Selection, needed
from station.data.tables.source import Described, Staged, TableSource, Wanted
from station.desk.data import staged as opened_on
from station.errors import CohortTooSmall, DataSourceUnavailable, DataTooLarge, DataUnfit
from tests.support.dicom import CANARIES, CAPTURE, COLUMNS, EVERY, SYNTAXES, fill, image, save
from tests.support.tables import SECRET, TRAIN, Narrow, selected_from, table_in

KEY = SECRET.for_train(TRAIN)


def selection(where: str | None = None, *names: str, least: int = 1) -> Selection:
    return Selection(
        data="scans",
        train=TRAIN,
        every=EVERY,
        delivered=names or tuple(one.name for one in COLUMNS),
        where=None if where is None else parse(where),
        patient="patient",
        withdrawn=None,
        least=least,
        parquet=False,
    )


def source(folder: Path) -> DicomSource:
    return DicomSource(name="scans", folder=folder)


def given(folder: Path) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in sorted((folder / "files").iterdir())]


def written(one: Dataset, tmp_path: Path) -> Path:
    return save(one, tmp_path / "one.dcm")


def given_of(one: Dataset, tmp_path: Path) -> tuple[Dataset, bytes]:
    out = tmp_path / "given.dcm"
    with written(one, tmp_path).open("rb") as file:
        give(file, out, KEY)
    return pydicom.dcmread(out), out.read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fill(tmp_path / "store", 12)


def test_only_images_that_are_wanted_come_with_the_table(store: Path, tmp_path: Path) -> None:
    found, into = selected_from(source(store), selection("part = 'CHEST' and age > 43"), tmp_path)
    rows = table_in(into)
    assert found.rows == len(rows) == 4
    assert {row["age"] for row in rows} == {"45", "47", "49", "51"}
    assert sorted(row["file"] for row in rows) == sorted(f"files/{one.name}" for one in (into / "files").iterdir())
    for row in rows:
        one = pydicom.dcmread(into / row["file"])
        assert (one.PatientID, one.Rows, one.Columns) == (row["patient"], 8, 10)
        original = next(
            every for every in map(pydicom.dcmread, store.rglob("IM1")) if every.PatientAge == f"{int(row['age']):03}Y"
        )
        assert one.PixelData == original.PixelData


def test_a_train_that_wants_no_images_gets_none(store: Path, tmp_path: Path) -> None:
    _, into = selected_from(source(store), selection(None, "age"), tmp_path)
    assert sorted(path.name for path in into.iterdir()) == ["table.csv"]


def test_nobody_is_named_in_what_is_given(store: Path, tmp_path: Path) -> None:
    _, into = selected_from(source(store), selection(None, "patient", "age", "taken", "file"), tmp_path)
    seen = [path for path in into.rglob("*") if path.is_file()]
    assert len(seen) == 13
    for path in seen:
        assert not [one for one in CANARIES if one in path.read_bytes() or one.decode() in path.name], path
    assert all(any(canary in path.read_bytes() for path in store.rglob("IM1")) for canary in CANARIES)


@pytest.mark.parametrize("syntax", list(SYNTAXES))
def test_an_image_keeps_its_pixels_and_what_describes_them(tmp_path: Path, syntax: str) -> None:
    one = image(3, syntax=SYNTAXES[syntax])
    found, raw = given_of(one, tmp_path)
    assert found.file_meta.TransferSyntaxUID == SYNTAXES[syntax]
    assert found.PixelData == one.PixelData
    kept = ("SOPClassUID", "Modality", "Rows", "Columns", "BitsStored", "PixelSpacing", "SliceThickness", "KVP")
    assert [found.get(name) for name in kept] == [one.get(name) for name in kept]
    assert not [canary for canary in CANARIES if canary in raw]
    assert not [element.tag for element in found.iterall() if element.tag.is_private]
    assert (found.PatientBirthDate, found.PatientSex, found.PatientIdentityRemoved) == ("", "", "YES")


def test_what_is_kept_is_kept_only_as_what_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    one = image(1)
    one.add_new(0x00280030, "LO", "Canarysecret")  # a name where a spacing is
    one.add_new(0x00185100, "CS", "Canaryname")  # small letters are no code
    one.add_new(0x00280106, "US", list(b"Canarysecret"))  # one number is no text
    one.add_new(0x00180050, "DS", "1.5")
    one.add_new(0x60000010, "US", 8)
    one.add_new(0x60003000, "OW", b"Canarysecret")
    found, raw = given_of(one, tmp_path)
    assert b"Canary" not in raw
    assert "PixelSpacing" not in found
    assert "PatientPosition" not in found
    assert "SmallestImagePixelValue" not in found
    assert found.SliceThickness == 1.5
    assert 0x60003000 not in found


def test_sequences_are_looked_into(tmp_path: Path) -> None:
    measures = Dataset()
    measures.PixelSpacing = ["0.25", "0.25"]
    measures.ImageComments = "Canaryname"
    shared = Dataset()
    shared.PixelMeasuresSequence = Items([measures])
    shared.ReferencedImageSequence = Items([Dataset()])
    shared.PatientName = "Canaryname"
    one = image(1, SharedFunctionalGroupsSequence=Items([shared]), RequestAttributesSequence=Items([measures]))
    found, raw = given_of(one, tmp_path)
    (group,) = found.SharedFunctionalGroupsSequence
    assert [element.keyword for element in group] == ["PixelMeasuresSequence"]
    assert [element.keyword for element in group.PixelMeasuresSequence[0]] == ["PixelSpacing"]
    assert b"Canary" not in raw


def test_uids_are_the_same_within_a_train_and_others_in_another(tmp_path: Path) -> None:
    path = written(image(1), tmp_path)
    uids = []
    for number, key in enumerate((KEY, KEY, "another")):
        with path.open("rb") as file:
            give(file, tmp_path / str(number), key)
        found = pydicom.dcmread(tmp_path / str(number))
        uids.append((found.StudyInstanceUID, found.SOPInstanceUID, found.file_meta.MediaStorageSOPInstanceUID))
    assert uids[0] == uids[1]
    assert not set(uids[0]) & set(uids[2])
    assert all(one.startswith("2.25.") for one in uids[0])


def test_dates_of_a_patient_move_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    first, _ = given_of(image(1, StudyDate="20200101", SeriesDate="20200103"), tmp_path)
    days = [pydicom.valuerep.DA(one) for one in (first.StudyDate, first.SeriesDate)]
    assert None not in days
    assert first.StudyDate < "20200101"
    assert (days[1] - days[0]).days == 2
    unreadable, raw = given_of(image(2, SeriesDate=None, StudyDate="20200199"), tmp_path)
    assert "StudyDate" not in unreadable
    assert b"20200199" not in raw


def make_us(one: Dataset) -> None:
    one.Modality = "US"


def make_said(one: Dataset) -> None:
    one.BurnedInAnnotation = "YES"


def make_capture(one: Dataset) -> None:
    one.SOPClassUID = CAPTURE


def make_screen(one: Dataset) -> None:
    one.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]


def make_overlay(one: Dataset) -> None:
    one.add_new(0x60020100, "US", 16)


def make_own_class(one: Dataset) -> None:
    one.SOPClassUID = "1.2.3.4"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (make_said, "has writing in its pixels"),
        (make_us, "may have writing in its pixels: it does not say that it has none"),
        (make_capture, "may have writing in its pixels: it does not say that it has none"),
        (make_screen, "may have writing in its pixels: it does not say that it has none"),
        (make_overlay, "has an overlay in its pixels"),
        (make_own_class, "is no image of the standard, with a UID of its own"),
    ],
)
def test_what_may_show_a_name_is_given_to_nobody_and_counted(
    store: Path, tmp_path: Path, change: Callable[[Dataset], None], says: str
) -> None:
    one = image(90)
    change(one)
    path = save(one, store / "other")
    with path.open("rb") as file, pytest.raises(Unfit):
        look(file)
    with path.open("rb") as file, pytest.raises(Unfit):
        give(file, tmp_path / "given", KEY)
    assert not (tmp_path / "given").exists()
    (told,) = source(store).check()
    assert told.ok
    assert f"12 images; left out: 1, each {says}" in told.detail
    assert selected_from(source(store), selection(), tmp_path)[0].rows == 12


def test_who_says_that_there_is_no_writing_is_believed(tmp_path: Path) -> None:
    found, _ = given_of(image(1, Modality="US", BurnedInAnnotation="NO"), tmp_path)
    assert found.Modality == "US"


def test_a_syntax_that_is_not_on_the_list_is_given_to_nobody(store: Path) -> None:
    one = image(90)
    one.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    save(one, store / "other")
    assert "left out: 1, each is written in a transfer syntax" in source(store).check()[0].detail


@pytest.mark.parametrize("syntax", list(SYNTAXES))
def test_a_file_that_is_cut_anywhere_is_left_out_and_counted(tmp_path: Path, syntax: str) -> None:
    whole = written(image(1, syntax=SYNTAXES[syntax]), tmp_path).read_bytes()
    cuts = [*range(0, len(whole) - 1, 37), len(whole) - 1]
    for at in cuts:
        with pytest.raises(Unfit):
            look(io.BytesIO(whole[:at]))
    assert look(io.BytesIO(whole)).attributes["PatientID"] == "canary-1"
    store = fill(tmp_path / "store", 2)
    (store / "cut").write_bytes(whole[:-9])
    (store / "notes.txt").write_text("no image")
    assert "2 images; left out: 2, each is no image that can be read, or is cut" in source(store).check()[0].detail


@pytest.mark.parametrize("seed", range(40))
def test_damaged_bytes_are_told_apart_or_leave_nothing_of_a_name(tmp_path: Path, seed: int) -> None:
    whole = bytearray(written(image(1), tmp_path).read_bytes())
    for step in range(4):
        whole[140 + (seed * 53 + step * 211) % (len(whole) - 350)] ^= 1 << (seed % 8)
    out = tmp_path / "given"
    try:
        give(io.BytesIO(bytes(whole)), out, KEY)
    except Unfit:
        assert not out.exists()
        return
    assert not [one for one in (b"Canaryname", b"Canarysecret", b"19470229") if one in out.read_bytes()]


def test_one_image_twice_is_one_row_and_two_of_one_uid_are_an_error(store: Path, tmp_path: Path) -> None:
    (store / "copy").write_bytes((store / "Canaryname-0003" / "IM1").read_bytes())
    assert selected_from(source(store), selection(), tmp_path)[0].rows == 12
    assert "left out: 1, each is a copy of another" in source(store).check()[0].detail
    save(image(3, KVP="99"), store / "copy")
    with pytest.raises(DataUnfit, match="the same SOP instance UID") as caught:
        selected_from(source(store), selection(), tmp_path)
    assert "anary" not in str(caught.value.fields)
    assert not source(store).check()[0].ok


def test_images_of_nobody_are_given_to_nobody(store: Path, tmp_path: Path) -> None:
    save(image(90, PatientID=None), store / "nobody")
    save(image(91, PatientID=""), store / "nobody2")
    save(image(92, PatientID="  "), store / "nobody3")
    found, into = selected_from(source(store), selection(), tmp_path)
    assert (found.rows, len(given(into))) == (12, 12)


def test_too_few_patients_are_nobodys_images(store: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortTooSmall):
        selected_from(source(store), selection("age < 45", least=10), tmp_path)
    assert not list(tmp_path.glob("room-*/into/*"))


def test_a_patient_has_one_number_in_the_table_and_in_the_images(store: Path, tmp_path: Path) -> None:
    save(image(90, PatientID="canary-ä ö"), store / "other")
    _, into = selected_from(source(store), selection(None, "patient", "file"), tmp_path)
    numbers = {row["file"]: row["patient"] for row in table_in(into)}
    assert str(number_of(KEY, "canary-ä ö")) in numbers.values()
    assert all(pydicom.dcmread(into / name).PatientID == number for name, number in numbers.items())


def staged_of(what: TableSource, tmp_path: Path) -> tuple[Staged, Path]:
    into = tmp_path / "stage"
    into.mkdir()
    return what.stage(Wanted(columns=needed(selection()), where=None), into), into


def test_a_folder_that_changes_while_it_is_read_is_noticed(store: Path, tmp_path: Path) -> None:
    staged, _ = staged_of(source(store), tmp_path)
    assert staged.unchanged()
    assert staged.version.startswith("12 images; 12 files, newest of ")
    save(image(40), store / "later")
    assert not staged.unchanged()
    (store / "later").unlink()
    assert staged.unchanged()
    assert staged.carry is not None
    (store / "Canaryname-0000" / "IM1").write_bytes(b"")
    with pytest.raises(DataSourceUnavailable) as caught:
        staged.carry("0", tmp_path / "given", KEY)
    assert "anary" not in str(caught.value)


def test_a_file_that_is_gone_or_no_file_is_told_without_its_path(store: Path, tmp_path: Path) -> None:
    staged, _ = staged_of(source(store), tmp_path)
    assert staged.carry is not None
    (store / "Canaryname-0000" / "IM1").unlink()
    with pytest.raises(DataSourceUnavailable) as caught:
        staged.carry("0", tmp_path / "given", KEY)
    assert "anary" not in str(caught.value)
    assert not staged.unchanged()


def test_a_folder_that_is_away_or_empty_makes_a_train_wait(tmp_path: Path) -> None:
    for folder in (tmp_path / "away", tmp_path):
        with pytest.raises(DataSourceUnavailable):
            source(folder).columns()
        assert not source(folder).check()[0].ok


def test_a_column_that_no_image_has_is_told(store: Path, tmp_path: Path) -> None:
    wanted = Described(column=Column(name="born", type=ColumnType.DATE), origin="PatientBirthDate")
    asked = Selection(
        data="scans",
        train=TRAIN,
        every=(*EVERY, wanted),
        delivered=("born",),
        where=None,
        patient="patient",
        withdrawn=None,
        least=1,
        parquet=False,
    )
    with pytest.raises(DataUnfit, match="is not there"):
        selected_from(source(store), asked, tmp_path)


def test_files_of_a_source_that_has_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("PatientID,file\np1,x\n")
    asked = selection(None, "file")
    with pytest.raises(DataUnfit, match="its source has none"):
        selected_from(FilesSource(name="scans", folder=tmp_path, pattern="*.csv"), asked, tmp_path)


def test_no_more_images_are_given_than_there_is_space_for(store: Path, tmp_path: Path) -> None:
    with pytest.raises(DataTooLarge):
        selected_from(source(store), selection(), tmp_path, space=Narrow(8000))
    assert 0 < len(list(tmp_path.rglob("*.dcm"))) < 12


def test_columns_are_proposed_and_name_nobody(store: Path) -> None:
    what = source(store)
    found = [one.name for one in what.columns()]
    assert not {"PatientName", "PatientBirthDate"} & set(found)
    every = tuple(
        Described(column=Column(name=f"c{n}", type=ColumnType.TEXT), origin=one) for n, one in enumerate(found)
    )
    with opened_on("scans", what, every) as (engine, rows):
        proposal = propose(engine, rows)
    assert proposal.patient == "PatientID"
    types = {one.column.name: one.column.type for one in proposal.columns}
    assert types["file"] is ColumnType.FILE
    assert types["StudyInstanceUID"] is ColumnType.IDENTIFIER
    assert types["StudyDate"] is ColumnType.DATE
    assert types["Rows"] is ColumnType.INTEGER


def test_without_the_library_it_is_told_how_to_get_it(store: Path) -> None:
    script = f"""
import sys
sys.modules["pydicom"] = None
from pathlib import Path
from station.data.tables.archive import Archive
from station.data.tables.dicom import DicomSource
from station.data.tables.dicomweb import DicomwebSource
for source in (DicomSource(name="d", folder=Path({str(store)!r})), DicomwebSource(name="d", archive=Archive(address="x"))):
    (told,) = source.check()
    print(told.ok, told.hint)
"""
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert told.splitlines() == ["False pip install 'pht[dicom]'"] * 2
