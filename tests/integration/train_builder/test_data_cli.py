"""From an operator's table to a scientist's rehearsal, as both type it."""

from __future__ import annotations

import csv
import json
import resource
import signal
from pathlib import Path

import pytest
from openpyxl import Workbook

from registry.catalogue import publish_catalogue
from registry.layout import LayoutRegistry
from security.catalogue import Catalogue, CatalogueEntry, sign_catalogue
from security.digest import digest_of
from security.ids import PartyId
from security.keys.keyset import Scheme, generate
from security.tables.column import Column, ColumnType
from tests.support.desk import HOME, WITH, Desk, desk, edit, furnished, in_a_process
from tests.support.dicom import fill
from tests.support.directories import clock, key_folder
from tests.support.fhir import FhirServer, fhir
from tests.support.postgres import fill_sqlite
from tests.support.tables import NAMES, Row, csv_of

__all__ = ["desk", "fhir", "furnished"]

AT = ("-s", "hospital-a")


@pytest.fixture
def offered(desk: Desk) -> Desk:
    """A hospital with a table of its patients in its station.yaml, as the operator corrected it."""
    nothing: Row = dict.fromkeys(("smokes", "note", "admitted", "left"))
    rows: list[Row] = [
        {"patient": f"canary-{one}", "age": 20 + one, "height": 150.5 + one, "sex": "fm"[one % 2], **nothing}
        for one in range(60)
    ]
    (desk.path / "heart").mkdir()
    (desk.path / "heart" / "a.csv").write_text(csv_of(rows, ("patient", "age", "height", "sex")))
    desk.answer("station", "data", "add", "heart", "--folder", "heart", *AT)
    file = desk.path / "hospital-a" / "station.yaml"
    edit(file, "    # catalogue: true", "    catalogue: true #")
    edit(file, "height: {type: number}", "height: {type: number, measure: cm, range: [50, 250]}")
    edit(file, "age: {type: integer}", "age: {type: integer, measure: a, range: [0, 120]}")
    return desk


def test_columns_are_proposed_from_the_data(desk: Desk) -> None:
    (desk.path / "heart").mkdir()
    text = "pat_id,Größe (cm),rare,day,yes\n" + "".join(
        f"{i},{i}.5,{'x' if i else 'y'},2020-01-0{i % 9 + 1},true\n" for i in range(30)
    )
    (desk.path / "heart" / "a.csv").write_text(text)
    before = desk.files()
    shown = desk.answer("station", "data", "add", "heart", "--folder", "heart", "--print", *AT)
    assert desk.files() == before
    assert shown["patient"] == "pat_id"
    assert [(one["name"], one["type"], one["values"]) for one in shown["columns"]] == [
        ("pat_id", "identifier", []),
        ("Gr_e_cm", "number", []),
        ("rare", "text", []),  # a word in one row is nothing to publish
        ("day", "date", []),
        ("yes", "boolean", []),
    ]


def test_a_data_set_is_added_once_and_only_to_a_file_that_is_right(offered: Desk) -> None:
    assert offered.fails("station", "data", "add", "heart", "--folder", "heart", *AT) == "input.invalid"
    assert offered.fails("station", "data", "add", "other", "--folder", "nowhere", *AT) == "data.unavailable"
    assert offered.fails("station", "data", "add", "No Name", "--folder", "heart", *AT) == "config.invalid"
    assert offered.fails("station", "data", "check", "lungs", *AT) == "input.invalid"


@pytest.mark.parametrize("begins", ["data:  # ours", "data: {}   # ours", "data: {}"])
def test_a_data_set_is_added_where_they_begin_and_a_comment_stays(desk: Desk, begins: str) -> None:
    file = desk.path / "hospital-a" / "station.yaml"
    before, folder = file.read_text().split("\ndata:\n")
    after = folder.partition("\n\n")[2] if "{}" in begins else folder
    file.write_text(f"{before}\n{begins}\n{after}")
    (desk.path / "heart").mkdir()
    (desk.path / "heart" / "a.csv").write_text("patient,age\n" + "".join(f"{i},{i}\n" for i in range(30)))
    desk.answer("station", "data", "add", "more", "--folder", "heart", *AT)
    assert "more" in desk.answer("station", "data", "ls", *AT)["data"][0]["name"]
    assert file.read_text().count("# ours") == begins.count("# ours")


def test_where_a_data_set_cannot_be_added_it_is_told_how_it_can(desk: Desk) -> None:
    file = desk.path / "hospital-a" / "station.yaml"
    before, folder = file.read_text().split("\ndata:\n")
    file.write_text(f"{before}\ndata: {{patients: {{folder: {desk.path / 'data'}}}}}\n\n" + folder.partition("\n\n")[2])
    assert desk.fails("station", "data", "add", "more", "--folder", "data", *AT) == "config.invalid"
    typed = desk.pht("station", "data", "add", "more", "--folder", "data", *AT)
    assert typed.err.splitlines()[-1].endswith("or add what --print shows by hand")  # on one line it would be no YAML


def test_a_table_whose_patients_have_no_usual_name_can_be_added_by_hand(desk: Desk) -> None:
    (desk.path / "heart").mkdir()
    (desk.path / "heart" / "a.csv").write_text("fall,age\n" + "".join(f"f{i},{i}\n" for i in range(30)))
    add = ("station", "data", "add", "heart", "--folder", "heart", *AT)
    assert desk.fails(*add) == "config.invalid"
    assert "--print" in desk.pht(*add).err.splitlines()[-1]
    corrected = (
        desk.pht(*add, "--print")
        .out.replace("CHANGE_ME", "fall")
        .replace("fall: {type: text}", "fall: {type: identifier}")
    )
    edit(desk.path / "hospital-a" / "station.yaml", "\ndata:\n", f"\ndata:\n{corrected}")
    assert desk.answer("station", "data", "check", "heart", *AT)["ok"]


def test_every_cell_is_checked_and_told_by_its_row(offered: Desk) -> None:
    assert offered.answer("station", "data", "check", "heart", *AT)["ok"]
    with (offered.path / "heart" / "a.csv").open("a") as out:
        out.write("canary-99,old,300,q\n")
    typed = offered.pht("--json", "station", "data", "check", "heart", *AT)
    assert typed.exit == 40
    (found,) = typed.document["data"]
    assert {one["column"]: (one["bad"], one["row"], one["outside"]) for one in found["found"]["flaws"]} == {
        "age": (1, 61, 0),
        "height": (0, None, 1),
        "sex": (1, 61, 0),
    }
    assert "canary" not in typed.out
    assert offered.fails("station", "data", "publish", "--yes", *AT, *WITH) == "input.invalid"


def test_it_is_told_how_many_of_those_who_withdrew_are_found(offered: Desk) -> None:
    edit(offered.path / "hospital-a" / "station.yaml", "    # withdrawn: withdrawn.csv ", "    withdrawn: gone.csv #")
    assert offered.fails("station", "data", "check", "heart", *AT) == "data.unfit"
    (offered.path / "hospital-a" / "gone.csv").write_text("canary-7\n7\n")
    (found,) = offered.answer("station", "data", "check", "heart", *AT)["data"]
    assert (found["found"]["withdrawn"], found["found"]["listed"]) == (1, 2)
    assert "1 of 2 who" in offered.pht("station", "data", "check", "heart", *AT).out


def test_what_a_table_has_now_is_held_against_what_is_said_of_it(offered: Desk) -> None:
    before = offered.files()
    same = offered.answer("station", "data", "describe", "heart", *AT)
    assert same["same"]
    assert [one["found"]["type"] for one in same["columns"]] == ["identifier", "integer", "number", "category"]
    assert offered.files() == before
    text = "patient,age,sex,weight\n" + "".join(
        f"canary-{i},{'old' if i == 7 else 20 + i},{'mx'[i % 2]},{i}.5\n" for i in range(60)
    )
    (offered.path / "heart" / "a.csv").write_text(text)
    found = offered.answer("station", "data", "describe", "heart", *AT)
    assert not found["same"]
    differs = {(one["described"] or one["found"])["name"]: one["differs"] for one in found["columns"]}
    assert differs == {
        "patient": [],
        "age": ["1 cells are no integer, the first in row 8"],
        "height": ["not in the data any more"],
        "sex": [
            "30 cells are no category, the first in row 2",
            "not in station.yaml: x",
            "in no row any more: f",
        ],
        "weight": ["not in station.yaml"],
    }
    shown = offered.pht("station", "data", "describe", "heart", *AT)
    assert "weight: {type: number}" in shown.out
    assert "canary" not in shown.out
    assert offered.fails("station", "data", "describe", "lungs", *AT) == "input.invalid"


def test_what_a_person_wrote_into_a_column_is_not_shown_and_no_row_without_its_header(offered: Desk) -> None:
    """Ten rows of one patient are no group, and a table that lost its header has a patient for one."""
    names = [f"canary name {i // 15}" for i in range(60)]
    text = "patient,age,height,sex,name\n" + "".join(
        f"canary-{i // 15},{20 + i},150.5,f,{names[i]}\n" for i in range(60)
    )
    file = offered.path / "heart" / "a.csv"
    file.write_text(text)
    typed = offered.pht("--json", "station", "data", "describe", "heart", *AT)
    (name,) = (one for one in typed.document["columns"] if one["described"] is None)
    assert name["found"] == {"name": "name", "type": "text", "values": []}
    assert "canary" not in typed.out
    file.write_text(text.partition("\n")[2])
    assert offered.fails("station", "data", "describe", "heart", *AT) == "data.unfit"
    typed = offered.pht("station", "data", "describe", "heart", *AT)
    assert "canary" not in typed.out + typed.err


def test_every_kind_of_source_is_held_against_its_description(desk: Desk, fhir: FhirServer) -> None:
    rows: list[Row] = [dict.fromkeys(NAMES) | {"patient": f"canary-{one}", "age": one} for one in range(40)]
    fill_sqlite(desk.path / "clinic.sqlite", rows)
    fill(desk.path / "images", 12)
    (desk.path / "books").mkdir()
    book = Workbook()
    for row in (NAMES[:2], *((row["patient"], row["age"]) for row in rows)):
        book.active.append(row)
    book.save(desk.path / "books" / "visits.xlsx")
    where = {
        "visits": ("sql", "--database", f"sqlite:///{desk.path / 'clinic.sqlite'}", "--table", "visits"),
        "pressure": ("fhir", "--server", fhir.base, "--search", "Observation?status=final"),
        "scans": ("dicom", "--folder", "images"),
        "sheets": ("excel", "--folder", "books"),
    }
    for name, (source, *options) in where.items():
        desk.answer("station", "data", "add", name, "--source", source, *options, *AT)
        typed = desk.pht("--json", "station", "data", "describe", name, *AT)
        differing = {one["from"]: one["differs"] for one in typed.document["columns"] if one["differs"]}
        empty = {*NAMES} - {"patient", "age"} if source == "sql" else ()
        assert differing == {column: ["no row has a value"] for column in empty}
        assert "canary" not in typed.out + typed.err
    file = desk.path / "hospital-a" / "station.yaml"
    more = "much: {type: integer, from: value.ofType(Quantity).value}\n      none: {type: text, from: bodySite.text}"
    edit(file, "subject_reference: {", f"{more}\n      subject_reference: {{")
    found = desk.answer("station", "data", "describe", "pressure", *AT)["columns"]
    told = {one["described"]["name"]: (one["found"]["type"], one["differs"]) for one in found if one["described"]}
    assert told["much"] == ("integer", [])  # a path that a server does not list is looked for
    assert told["none"] == ("text", ["no row has a value"])


def test_a_scientist_sees_what_a_hospital_made_known_and_nothing_of_its_patients(offered: Desk) -> None:
    assert offered.answer("data", "ls", *HOME)["stations"][0]["data"] == []
    assert offered.fails("data", "show", "heart", *HOME) == "input.invalid"
    offered.answer("station", "data", "publish", "--yes", *AT, *WITH)
    assert offered.answer("data", "ls", *HOME)["stations"][0]["data"] == ["heart"]
    shown = offered.answer("data", "show", "heart", *HOME)
    assert shown["stations"]["hospital-a"]["patients"] == "50-99"
    assert [one["name"] for one in shown["columns"]] == ["patient", "age", "height", "sex"]
    assert shown["columns"][2]["at"]["hospital-a"] == {
        "name": "height",
        "type": "number",
        "measure": "cm",
        "least": "50",
        "most": "250",
    }
    for path in (offered.path / "registry").rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes()


def test_a_wrong_unit_at_one_of_three_hospitals_is_seen_before_anything_is_sent(offered: Desk) -> None:
    """Of the others, one measures in metres, and one has no such column and other words."""
    offered.answer("station", "data", "publish", "--yes", *AT, *WITH)
    pid = Column(name="patient", type=ColumnType.IDENTIFIER)
    metres = Column(name="height", type=ColumnType.NUMBER, measure="m", least="0", most="3")
    age = Column(name="age", type=ColumnType.INTEGER, measure="a")
    sex = Column(name="sex", type=ColumnType.CATEGORY, values=("female", "male"))
    registry = LayoutRegistry(offered.path / "registry")
    for party, columns in (("hospital-b", (pid, age, metres)), ("hospital-c", (pid, age, sex))):
        secrets = generate([Scheme.ED25519])
        key_folder(offered.path / party, secrets, party)
        offered.answer("keys", "card", party, "-o", f"{party}.card.json", *WITH)
        fingerprint = secrets.key_set.fingerprint.hex
        offered.answer("directory", "add", "consortium", f"{party}.card.json", "--fingerprint", fingerprint)
        entry = CatalogueEntry(name="heart", columns=columns, patient="patient", patients="100-199")
        said = Catalogue(station=PartyId(party), made_at=clock(), data=(entry,))
        publish_catalogue(registry, PartyId(party), sign_catalogue(said, secrets.signers).to_bytes())
    offered.answer("directory", "publish", "consortium", "--to", "layout:registry", *WITH)
    shown = offered.answer("data", "show", "heart", *HOME)
    assert {one["name"]: (one["differ"], one["missing"]) for one in shown["columns"]} == {
        "patient": ([], []),
        "age": ([], []),
        "height": (["measure"], ["hospital-c"]),
        "sex": (["values"], ["hospital-b"]),
    }
    printed = offered.pht("data", "show", "heart", *HOME).out
    assert "height  <- differs in measure; not at hospital-c" in printed
    assert "    hospital-b: number in m" in printed
    assert "    hospital-a: number in cm" in printed


def test_a_catalogue_that_another_party_signed_is_not_believed(offered: Desk) -> None:
    mine = generate([Scheme.ED25519])
    forged = Catalogue(station=PartyId("hospital-a"), made_at=clock(), data=(CatalogueEntry(name="lungs"),))
    registry = LayoutRegistry(offered.path / "registry")
    publish_catalogue(registry, PartyId("hospital-a"), sign_catalogue(forged, mine.signers).to_bytes())
    (station,) = offered.answer("data", "ls", *HOME)["stations"]
    assert station["data"] == []
    assert station["code"] == "signature.missing"
    publish_catalogue(registry, PartyId("hospital-a"), b"no envelope")
    (station,) = offered.answer("data", "ls", *HOME)["stations"]
    assert station["code"].startswith("malformed")
    offered.answer("station", "data", "publish", "--yes", *AT, *WITH)
    assert offered.answer("data", "ls", *HOME)["stations"][0]["data"] == ["heart"]


def test_a_catalogue_of_which_the_registry_has_lost_a_part_hides_no_other(offered: Desk) -> None:
    offered.answer("station", "data", "publish", "--yes", *AT, *WITH)
    secrets = generate([Scheme.ED25519])
    key_folder(offered.path / "hospital-b", secrets, "hospital-b")
    offered.answer("keys", "card", "hospital-b", "-o", "hospital-b.card.json", *WITH)
    fingerprint = secrets.key_set.fingerprint.hex
    offered.answer("directory", "add", "consortium", "hospital-b.card.json", "--fingerprint", fingerprint)
    offered.answer("directory", "publish", "consortium", "--to", "layout:registry", *WITH)
    said = sign_catalogue(
        Catalogue(station=PartyId("hospital-b"), made_at=clock(), data=()), secrets.signers
    ).to_bytes()
    publish_catalogue(LayoutRegistry(offered.path / "registry"), PartyId("hospital-b"), said)
    (offered.path / "registry/catalogue/hospital-b/blobs/sha256" / digest_of(said).hex).unlink()
    offers = {one["station"]: (one["code"], one["data"]) for one in offered.answer("data", "ls", *HOME)["stations"]}
    assert offers == {"hospital-a": (None, ["heart"]), "hospital-b": ("registry.not-found", [])}


def test_rows_that_find_no_room_leave_no_half_of_a_table(offered: Desk) -> None:
    offered.answer("station", "data", "publish", "--yes", *AT, *WITH)
    words = ("data", "sample", "heart", "-o", "samples", "--rows", "5000", *HOME)
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, room[1]))
    try:
        typed = offered.pht("--json", *words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
        signal.signal(signal.SIGXFSZ, before)
    assert typed.exit == 40, str(typed)
    assert [path for path in (offered.path / "samples").rglob("*") if path.is_file()] == []
    assert offered.pht("--json", *words).exit == 0


def test_synthetic_rows_let_a_train_be_rehearsed_with_the_columns_it_asks_for(offered: Desk) -> None:
    offered.answer("station", "data", "publish", "--yes", *AT, *WITH)
    wants(offered, "columns: [age, sex], where: \"age >= 18 and sex in ('f')\"")
    made = offered.answer("data", "sample", "heart", "-o", "my-train/samples", "--rows", "50", *HOME)
    (folder,) = made["folders"]
    with Path(offered.path, folder, "table.csv").open() as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == 50
    assert {row["sex"] for row in rows} <= {"f", "m", ""}
    assert all(0 <= int(row["age"]) <= 120 for row in rows if row["age"])
    assert offered.fails("data", "sample", "heart", "-o", "my-train/samples", *HOME) == "file.exists"
    again = offered.answer("data", "sample", "heart", "-o", "elsewhere", "--rows", "50", *HOME)["folders"][0]
    assert Path(offered.path, again, "table.csv").read_text() == Path(offered.path, folder, "table.csv").read_text()


@pytest.mark.parametrize(
    ("asks", "place"),
    [
        ("columns: [age], where: age >", "data[0].where"),
        ("columns: [age], where: 'age = 1; drop table x'", "data[0].where"),
        ("files: ['*.csv'], where: age > 1", "data[0]"),
        ("columns: []", "data[0].columns"),
        ("columns: [a b]", "data[0].columns[0]"),
        ("columns: [age], files: ['*.csv']", "data[0]"),
    ],
)
def test_what_cannot_be_asked_for_is_told_with_the_line_before_departure(desk: Desk, asks: str, place: str) -> None:
    wants(desk, asks)
    typed = desk.pht("train", "check", "my-train", "--offline")
    assert typed.exit == 40
    assert place in typed.out + typed.err, str(typed)


def wants(desk: Desk, asks: str) -> None:
    need = f"data:\n  - {{name: heart, description: ages, {asks}}}\noutputs:"
    edit(desk.path / "my-train" / "train.yaml", "outputs:", need)


def test_a_rehearsal_gives_what_a_station_would_give(offered: Desk) -> None:
    offered.answer("station", "data", "publish", "--yes", *AT, *WITH)
    wants(offered, "columns: [age, sex], where: \"age >= 60 and sex = 'f'\"")
    offered.answer("data", "sample", "heart", "-o", "my-train/samples", "--rows", "300", *HOME)
    (offered.path / "my-train" / "code" / "main.py").write_text(
        "import csv, json, os, pathlib\n"
        "rows = list(csv.DictReader((pathlib.Path(os.environ['PHT_DATA']) / 'heart' / 'table.csv').open()))\n"
        "told = {'columns': sorted(rows[0]), 'sexes': sorted({row['sex'] for row in rows}), 'young': 0}\n"
        "told['young'] = sum(int(row['age']) < 60 for row in rows)\n"
        "(pathlib.Path(os.environ['PHT_STATE']) / 'sums.json').write_text(json.dumps(told))\n"
    )
    done = in_a_process(offered.path, {}, "train", "rehearse", "my-train", "--into", "out")
    assert done.exit == 0, str(done)
    told = json.loads((offered.path / "out" / "sums.json").read_text())
    assert told == {"columns": ["age", "sex"], "sexes": ["f"], "young": 0}
