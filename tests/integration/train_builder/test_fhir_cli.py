"""What the handbook tells operators to type for a FHIR server, typed as it stands there."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from station.house.config import load_config
from tests.support.desk import ROOT, Desk, desk, edit, furnished
from tests.support.fhir import ACCOUNT, PASSWORD, FhirServer, outcome

__all__ = ["desk", "furnished"]

AT = ("-s", "hospital-a")
BLOCK = re.compile(r"```(sh|yaml)\n(.*?)```", re.DOTALL)


def told(kind: str, about: str, places: dict[str, str]) -> str:
    """What the handbook shows that holds `about`, with the test's own addresses."""
    text = (ROOT / "docs" / "handbook.md").read_text()
    (found,) = (block for name, block in BLOCK.findall(text) if name == kind and about in block)
    for place, ours in places.items():
        assert place in found or kind == "yaml"
        found = found.replace(place, ours)
    return str(found)


@pytest.fixture
def guarded(fhir: FhirServer) -> FhirServer:
    fhir.guard = fhir.basic
    return fhir


@pytest.fixture
def places(desk: Desk, guarded: FhirServer) -> dict[str, str]:
    return {
        "https://fhir.example/r4": guarded.base,
        "/srv/pht/fhir-password": str(desk.path / "fhir-password"),
        "/srv/pht/station": str(desk.path / "hospital-a"),
    }


def typed(desk: Desk, lines: str) -> None:
    for line in lines.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "pht":
            assert desk.answer(*words[1:])
        else:
            subprocess.run(words, input=f"{PASSWORD}\n".encode(), check=True)


def test_the_handbooks_commands_offer_a_search(desk: Desk, places: dict[str, str], guarded: FhirServer) -> None:
    typed(desk, told("sh", "--source fhir", places))
    file = desk.path / "hospital-a" / "station.yaml"
    text = file.read_text()
    assert "canary" not in text
    assert "patient: subject_reference " in text
    assert (
        "subject_resolve_gender: {type: category, from: 'subject.resolve().gender', values: ['female', 'male']}" in text
    )
    entry = load_config(file).data["pressure"]
    assert entry.table is not None
    assert entry.table.patient == "subject_reference"
    assert guarded.resources["Observation"][0]["id"] == "bp-0"


def test_the_handbooks_columns_are_read(desk: Desk, places: dict[str, str]) -> None:
    file = desk.path / "hospital-a" / "station.yaml"
    typed(desk, told("sh", "--source fhir", places))
    text = file.read_text()
    begin = text.index("    patient: subject_reference")
    end = text.index("\n", text.rindex("from: ")) + 1
    file.write_text(text[:begin] + told("yaml", "value.ofType", {}) + text[end:])
    (found,) = desk.answer("station", "data", "check", "pressure", *AT)["data"]
    assert found["found"] == {
        "rows": 90,
        "patients": 30,
        "without_patient": 0,
        "empty": [],
        "flaws": [],
        "listed": None,
        "withdrawn": 0,
    }
    edit(file, "from: effectiveDateTime", "from: effectiveDatetime")
    (found,) = desk.answer("station", "data", "check", "pressure", *AT)["data"]
    assert found["found"]["empty"] == ["taken"]
    assert "pressure.taken: no row has a value" in desk.pht("station", "data", "check", "pressure", *AT).out


def test_what_is_wrong_with_a_server_is_told_without_its_words(
    desk: Desk, places: dict[str, str], guarded: FhirServer
) -> None:
    typed(desk, told("sh", "--source fhir", places))
    guarded.twist = lambda _, page: {**page, "entry": [{"resource": outcome("error", "processing")}]}
    found = desk.pht("--json", "station", "data", "check", "pressure", *AT)
    assert found.exit == 40
    assert "processing" in found.out
    assert "canary" not in found.out
    guarded.twist = lambda _, page: page
    guarded.writes = frozenset({"POST", "PUT", "DELETE"})
    found = desk.pht("station", "data", "check", "pressure", *AT)
    assert "may write" in found.out
    assert "canary" not in found.out + found.err
    assert PASSWORD not in found.out + found.err


WRONG = (
    ("server: 'http://127.0.0.1", "server: 'http://fhir.example"),
    ("server: 'http://", "server: 'ftp://"),
    ("server: 'http://", "server: 'http://reader:secret@"),
    ("search: 'Observation?", "search: 'Observation?_count=3&"),
    ("search: 'Observation?", "search: '../Observation?"),
    ("username: 'reader'", "description: nobody"),
    ("from: 'subject.reference'", "from: 'subject..reference'"),
    ("from: 'subject.reference'", "from: 'Patient.id'"),
    ("username: 'reader'", "username: 'reader'\n    token_file: token"),
    ("username: 'reader'", "username: 'reader'\n    token_url: 'http://login.example/token'"),
)


def test_an_entry_that_cannot_be_is_told_before_anything_is_asked(
    desk: Desk, places: dict[str, str], guarded: FhirServer
) -> None:
    typed(desk, told("sh", "--source fhir", places))
    file = desk.path / "hospital-a" / "station.yaml"
    right = file.read_text()
    guarded.again()
    for before, after in WRONG:
        edit(file, before, after)
        assert desk.fails("station", "data", "check", "pressure", *AT) == "config.invalid", after
        assert guarded.asked == [], after
        file.write_text(right)


def test_a_server_and_a_search_are_needed(desk: Desk) -> None:
    words = ("station", "data", "add", "pressure", "--source", "fhir")
    assert desk.fails(*words, "--server", "http://127.0.0.1:1/r4", *AT) == "input.invalid"
    assert desk.fails(*words, "--search", "Patient", *AT) == "input.invalid"


def test_the_password_is_apart_from_what_runs_see(desk: Desk, places: dict[str, str]) -> None:
    typed(desk, told("sh", "--source fhir", places))
    file = desk.path / "hospital-a" / "station.yaml"
    (desk.path / "shown").mkdir()
    edit(file, "data:\n", f"data:\n  shown: {{folder: {desk.path / 'shown'}}}\n")
    edit(file, str(desk.path / "fhir-password"), str(desk.path / "shown" / "fhir-password"))
    assert desk.fails("station", "data", "ls", *AT) == "config.invalid"
    assert ACCOUNT in file.read_text()


def test_the_files_of_a_desk_hold_no_patient(desk: Desk, places: dict[str, str]) -> None:
    typed(desk, told("sh", "--source fhir", places))
    for path in Path(desk.path).rglob("*"):
        if path.is_file() and path.name != "fhir-password":
            assert b"canary" not in path.read_bytes(), path
