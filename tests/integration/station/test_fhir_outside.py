"""What does a station read of a FHIR server that others have written: the same as of a CSV file with the same in it?

`tests.support.fhir_outside` tells whose the parts are. Where they depart from R4, the test says so.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from security.tables.column import Column, ColumnType
from security.tables.parse import parse
from station.data.tables.fhir import FhirSource
from station.data.tables.fhir_place import Endpoint, FhirTable, Search
from station.data.tables.fhir_server import FhirServer as Client
from station.data.tables.files import FilesSource
from station.data.tables.source import Described, TableSource, Wanted
from station.errors import CohortTooSmall, DataSourceUnavailable, DataUnfit
from station.house.config import load_config
from tests.support.desk import Desk, desk, furnished
from tests.support.fhir import LOINC, UCUM, FhirServer, Resource, patients, pressures
from tests.support.fhir_outside import MOST, READER, WRITER, OutsideFhir
from tests.support.tables import Narrow, selected_from, selection, table_in

__all__ = ["desk", "furnished"]

SEARCH = f"Observation?code={LOINC}|8480-6&_include=Observation:subject"
AT = ("-s", "hospital-a")
COLUMNS = {
    Column(name="patient", type=ColumnType.IDENTIFIER): "subject.reference",
    Column(name="systolic", type=ColumnType.NUMBER, measure="mm[Hg]"): "value.ofType(Quantity).value",
    Column(name="gender", type=ColumnType.CATEGORY, values=("female", "male")): "subject.resolve().gender",
    Column(name="born", type=ColumnType.DATE): "subject.resolve().ofType(Patient).birthDate",
    Column(name="taken", type=ColumnType.DATE): "effectiveDateTime",
    Column(name="code", type=ColumnType.TEXT, coding=LOINC): f"code.coding.where(system = '{LOINC}').code",
}
EVERY = tuple(Described(column=column, origin=path) for column, path in COLUMNS.items())
PATIENT, SYSTOLIC = EVERY[:2]
PLAIN = tuple(Described(column=column, origin=column.name) for column in COLUMNS)
QUANTITY = {"value": 1, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}
PEOPLE, READINGS = 30, 90


def cohort() -> list[Resource]:
    """Patients and their blood pressures; some of them lack something."""
    people, readings = patients(PEOPLE), pressures(READINGS, patients=PEOPLE)
    for one in people[::7]:
        del one["birthDate"]
    for one in people[::11]:
        del one["gender"]
    for number, one in enumerate(readings):
        if number % 8 == 0:
            del one["valueQuantity"]
            one["dataAbsentReason"] = {"text": "not measured"}
        elif number % 3 == 0:
            one["valueQuantity"]["value"] += 0.5
        if number % 9 == 0:
            del one["effectiveDateTime"]
        one["code"]["coding"].append({"system": "urn:pht:local", "code": "rr"})
    return [*people, *readings]


def reading(**says: Any) -> Resource:
    """Return an observation of another kind, which the search for blood pressures does not find."""
    code = {"coding": [{"system": LOINC, "code": "8867-4"}]}
    return {"resourceType": "Observation", "status": "final", "code": code, **says}


def table_of(resources: Iterable[Resource], file: Path) -> None:
    """Write what the columns are, by hand."""
    people = {f"Patient/{one['id']}": one for one in resources if one["resourceType"] == "Patient"}
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow([one.column.name for one in PLAIN])
        for one in resources:
            if one["resourceType"] == "Observation":
                who = one["subject"]["reference"]
                value, taken = one.get("valueQuantity", {}).get("value", ""), one.get("effectiveDateTime", "")[:10]
                born, gender = people[who].get("birthDate", ""), people[who].get("gender", "")
                writer.writerow([who, value, gender, born, taken, "8480-6"])


@pytest.fixture(scope="module")
def server(fhir_outside: OutsideFhir) -> OutsideFhir:
    fhir_outside.fill(cohort())
    return fhir_outside


@pytest.fixture
def token(tmp_path: Path) -> Path:
    return secret(tmp_path / "token", READER)


@pytest.fixture
def source(server: OutsideFhir, token: Path) -> FhirSource:
    return at(server, token)


def at(server: OutsideFhir, token: Path, search: str = SEARCH, count: int = 20) -> FhirSource:
    table = FhirTable(endpoint=Endpoint(base=server.base, token_file=token), search=Search.of(search, count=count))
    return FhirSource(name="pressure", table=table, sleep=lambda _: None)


def secret(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def read(source: FhirSource, into: Path, *columns: Described) -> list[list[str]]:
    into.mkdir()
    staged = source.stage(Wanted(columns=columns), into)
    with staged.paths[0].open(newline="") as text:
        return list(csv.reader(text))[1:]


def refused(source: FhirSource, into: Path) -> DataUnfit:
    with pytest.raises(DataUnfit) as caught:
        read(source, into, PATIENT)
    told = f"{caught.value} {caught.value.hint}"
    assert "subjekt" not in told
    assert "Invalid" not in told
    return caught.value


# --- As an operator does ---------------------------------------------------------------------------------------------


def test_an_operator_registers_it_and_its_table_is_found_whole(desk: Desk, server: OutsideFhir) -> None:
    secret(desk.path / "fhir-token", READER)
    where = ("--server", server.base, "--token-file", "fhir-token", "--search", SEARCH)
    desk.answer("station", "data", "add", "pressure", "--source", "fhir", *where, *AT)
    file = desk.path / "hospital-a" / "station.yaml"
    assert "{type: category, from: 'subject.resolve().gender', values: ['female', 'male']}" in file.read_text()
    assert "canary" not in file.read_text()
    (found,) = desk.answer("station", "data", "check", "pressure", *AT)["data"]
    assert (found["found"]["rows"], found["found"]["patients"]) == (READINGS, PEOPLE)
    assert found["found"]["flaws"] == []
    entry = load_config(file).data["pressure"].source
    assert isinstance(entry, FhirSource)
    (checked,) = entry.check()
    assert checked.ok, checked


def test_an_account_that_may_write_is_refused_and_has_written_nothing(
    source: FhirSource, server: OutsideFhir, tmp_path: Path
) -> None:
    def count(kind: str) -> Any:
        return server.ask("GET", f"/{kind}?_count=1", token=READER)[2]["total"]

    before = count("Observation")
    (checked,) = at(server, secret(tmp_path / "writer", WRITER)).check()
    assert not checked.ok
    assert "may write" in checked.detail
    (checked,) = at(server, secret(tmp_path / "nobody", "nobody")).check()
    assert "let the station in" in checked.detail
    assert source.check()[0].ok
    assert count("Observation") == before


# --- The same table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "gender = 'male' and systolic between 120 and 150.5",
        "systolic is null or not gender in ('female', 'male')",
        "taken - born > 30000 days and taken >= 2026-03-01 or taken is null",
        "code = '8480-6' and not systolic < 177.5 or born + 90 years < taken",
        "code != '8480-6'",
    ],
)
def test_it_gives_the_rows_that_a_csv_file_gives(source: FhirSource, tmp_path: Path, where: str) -> None:
    (tmp_path / "csv").mkdir()
    table_of(cohort(), tmp_path / "csv" / "a.csv")
    file = FilesSource(name="csv", folder=tmp_path / "csv", pattern="*.csv")
    ours, theirs = chosen(source, EVERY, where, tmp_path), chosen(file, PLAIN, where, tmp_path)
    assert ours == theirs
    assert bool(ours) is (where != "code != '8480-6'")


def chosen(source: TableSource, every: tuple[Described, ...], where: str | None, folder: Path) -> list[dict[str, Any]]:
    """Return the rows, in an order of their own; patients have the numbers that the train gives them."""
    asked = selection(
        None if where is None else parse(where), delivered=tuple(one.column.name for one in every), every=every
    )
    try:
        _, into = selected_from(source, asked, folder)
    except CohortTooSmall:
        return []
    return sorted(table_in(into), key=lambda row: sorted(row.items()))


def test_a_server_sends_pages_as_large_as_it_likes_each_with_what_it_includes(server: OutsideFhir, token: Path) -> None:
    for count, pages in ((500, [MOST, READINGS - MOST]), (40, [40, 40, 10])):
        source = at(server, token, count=count)
        found = list(Client(source.table.endpoint, about="pressure", sleep=lambda _: None).pages(source.table.search))
        assert [len(page.matches) for page in found] == pages
        assert {page.total for page in found} == {READINGS}
        for page in found:
            named = {one["subject"]["reference"] for one in page.matches}  # type: ignore[index, call-overload]
            assert {name for name in page.linked if name.startswith("Patient/")} == named


CRITERIA: list[tuple[str, Callable[[Resource, Resource], bool]]] = [
    ("date=ge2026-06-01&date=lt2026-09-01", lambda one, _: "2026-06" <= one.get("effectiveDateTime", "") < "2026-09"),
    ("subject:Patient.gender=male&_total=accurate", lambda _, who: who.get("gender") == "male"),
    ("subject=Patient/p1,Patient/p2&_sort=-date", lambda _, who: who["id"] in {"p1", "p2"}),
    ("status:not=final", lambda *_: False),
    ("code=rr&date:missing=true", lambda one, _: "effectiveDateTime" not in one),
]


@pytest.mark.parametrize(("criteria", "fits"), CRITERIA)
def test_the_server_says_that_it_has_understood_the_search(
    server: OutsideFhir,
    token: Path,
    tmp_path: Path,
    criteria: str,
    fits: Callable[[Resource, Resource], bool],
) -> None:
    people = {f"Patient/{one['id']}": one for one in cohort()[:PEOPLE]}
    expected = [one for one in cohort()[PEOPLE:] if fits(one, people[one["subject"]["reference"]])]
    found = read(at(server, token, f"Observation?code=8480-6&{criteria}"), tmp_path / "into", PATIENT)
    assert sorted(found) == sorted([one["subject"]["reference"]] for one in expected)


def test_what_is_included_is_no_row_though_it_is_of_the_same_type(
    server: OutsideFhir, token: Path, tmp_path: Path
) -> None:
    parts = [{**reading(valueQuantity={**QUANTITY, "value": 60 + one}), "id": f"part-{one}"} for one in range(3)]
    server.fill(parts)
    tag = server.add(reading(hasMember=[{"reference": f"Observation/{one['id']}"}]) for one in parts)
    source = at(server, token, f"Observation?_tag={tag}&_include=Observation:has-member", count=2)
    member = replace(SYSTOLIC, origin="hasMember.resolve().valueQuantity.value")
    assert read(source, tmp_path / "into", member) == [["60"], ["61"], ["62"]]


def test_a_patient_has_one_name_however_references_are_written(
    server: OutsideFhir, token: Path, tmp_path: Path
) -> None:
    """References are kept as they came, which R4 allows ("References"). An absolute one is not included, though it leads to this server."""
    names = ("Patient/p7", f"{server.base}/Patient/p7", "Patient/p7/_history/1")
    tag = server.add(reading(subject={"reference": name}) for name in names)
    source = at(server, token, f"Observation?_tag={tag}&_include=Observation:subject")
    assert read(source, tmp_path / "into", PATIENT) == [["Patient/p7"]] * 3
    included = server.ask(
        "GET", f"/Observation?_tag={tag}&subject={server.base}/Patient/p7&_include=Observation:subject"
    )
    assert [one["search"]["mode"] for one in included[2]["entry"]] == ["match"]


def test_a_patient_has_one_number_in_a_table_of_patients_and_of_observations(
    server: OutsideFhir, token: Path, tmp_path: Path
) -> None:
    ids = ",".join(f"p{one}" for one in range(PEOPLE))
    table = at(server, token, f"Patient?_id={ids}&_revinclude=Observation:subject")
    people = chosen(table, (replace(PATIENT, origin="id"), replace(EVERY[2], origin="gender")), None, tmp_path)
    readings = chosen(at(server, token), (replace(PATIENT, origin="subject.resolve().id"), SYSTOLIC), None, tmp_path)
    assert len(people) == PEOPLE
    assert {one["patient"] for one in people} == {one["patient"] for one in readings}


def test_what_others_store_of_a_number_is_its_value(server: OutsideFhir, token: Path, tmp_path: Path) -> None:
    """Of a decimal, R4 wants the precision kept too ("Data types"): JavaScript keeps the value only."""
    values = (100, 100.0, 0.1, 12345678.9012, 1e-7, -0.0)
    tag = server.add(reading(valueQuantity={**QUANTITY, "value": value}) for value in values)
    cells = [cell for (cell,) in read(at(server, token, f"Observation?_tag={tag}"), tmp_path / "into", SYSTOLIC)]
    assert [float(cell) for cell in cells] == list(values)
    assert cells[:2] == ["100", "100"]


def test_nothing_found_is_no_error_of_the_source(server: OutsideFhir, token: Path, tmp_path: Path) -> None:
    """The list of entries is then there and empty, which R4 forbids ("JSON Representation"): it says the same."""
    assert read(at(server, token, "Observation?code=nothing"), tmp_path / "into", PATIENT) == []
    assert server.ask("GET", "/Observation?code=nothing")[2]["entry"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/Observation?code=http://loinc.org|8480-6&_include=Observation:subject&_count=20",
        "/Observation?_id=bp-1,bp-2,bp-none",
        "/Observation?_id=bp-1&_id=bp-2",
        "/Observation?code=8480-6&_count=0",
        "/Observation?code=8480-6,none&subject=Patient/p1,Patient/p2",
        "/Observation?code=http://loinc.org|&_id=bp-1",
        "/Observation?code=|8480-6",
        "/Observation?status=amended",
        "/Observation?subject=Patient/none&_include=Observation:subject",
        "/Observation?subjekt=Patient/p1",
        "/Observation?_include=Observation:nobody",
        "/Patient/p1",
        "/Patient/none",
        "/metadata",
    ],
)
def test_our_stand_in_answers_as_the_others_do(server: OutsideFhir, fhir: FhirServer, path: str) -> None:
    fhir.resources["Patient"], fhir.resources["Observation"] = cohort()[:PEOPLE], cohort()[PEOPLE:]
    assert told(fhir.base, path) == told(server.base, path)


def told(base: str, path: str) -> list[Any]:
    """Return what an answer means, without how it is written."""
    asked = {"Authorization": f"Bearer {READER}", "Prefer": "handling=strict"}
    answer = requests.get(base + path, headers=asked, timeout=60)
    document, kind = answer.json(), answer.headers["Content-Type"].partition(";")[0]
    says: list[Any] = [answer.status_code, kind, document["resourceType"]]
    match document["resourceType"]:
        case "Bundle":
            links = {one["relation"]: one["url"].removeprefix(base) for one in document["link"]}
            found = [(one["search"]["mode"], one["fullUrl"].removeprefix(base)) for one in document.get("entry", [])]
            meta = all(
                {"versionId", "lastUpdated"} <= one["resource"]["meta"].keys() for one in document.get("entry", [])
            )
            return [
                *says,
                document["type"],
                document["total"],
                sorted(links),
                parse_qsl(urlsplit(links["self"]).query),
                sorted(found),
                meta,
            ]
        case "OperationOutcome":
            return [*says, [(one["severity"], one["code"]) for one in document["issue"]]]
        case "CapabilityStatement":
            (rest,) = document["rest"]
            able = [(one["type"], [act["code"] for act in one["interaction"]]) for one in rest["resource"]]
            return [*says, document["fhirVersion"], document["status"], document["kind"], rest["mode"], able]
        case _:
            return [*says, {name: value for name, value in document.items() if name != "meta"}]


# --- What goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "search",
    [
        "Observation?subjekt=Patient/p1",
        "Observation?date=yesterday",
        "Observation?_include=Observation:nobody",
        "Observation?_include=*",
    ],
)
def test_a_search_that_the_server_does_not_understand_is_the_operators(
    server: OutsideFhir, token: Path, tmp_path: Path, search: str
) -> None:
    error = refused(at(server, token, search), tmp_path / "into")
    assert error.fields["issue"] == "invalid"


def test_a_type_that_the_server_does_not_have(server: OutsideFhir, token: Path, tmp_path: Path) -> None:
    """It says so with a page for people, where R4 has an OperationOutcome ("RESTful API": HTTP status codes)."""
    source = at(server, token, "Encounter?status=planned")
    assert refused(source, tmp_path / "into").fields["status"] == 404
    assert server.ask("GET", "/Encounter")[:2] == (404, "text/html; charset=utf-8")
    assert "searched" in source.check()[0].detail


def test_a_token_that_is_not_let_in(server: OutsideFhir, tmp_path: Path) -> None:
    source = at(server, secret(tmp_path / "token", "nobody"))
    assert refused(source, tmp_path / "into").fields["status"] == 401


def test_a_resource_that_is_not_there_is_no_missing_value(server: OutsideFhir, token: Path, tmp_path: Path) -> None:
    tag = server.add([reading(subject={"reference": "Patient/gone"})])
    source = at(server, token, f"Observation?_tag={tag}&_include=Observation:subject")
    with pytest.raises(DataUnfit) as caught:
        read(source, tmp_path / "into", EVERY[2])
    assert caught.value.fields["row"] == 1


@dataclass
class Then(Narrow):
    """Space for all of it; but when a page is there, something happens."""

    happens: Callable[[], object]

    def take(self, count: int) -> None:
        self.happens()
        super().take(count)


def test_what_changes_between_two_pages_makes_the_train_wait(server: OutsideFhir, token: Path, tmp_path: Path) -> None:
    """A page is a slice of what is there when it is asked for, which R4 leaves to servers: what moves up is in none of them."""
    server.fill({**reading(), "id": f"moving-{one}"} for one in range(9))
    ids = ",".join(f"moving-{one}" for one in range(9))
    source, gone = at(server, token, f"Observation?_id={ids}", count=3), iter(range(9))

    def one_less() -> None:
        assert server.ask("DELETE", f"/Observation/moving-{next(gone)}")[0] == 200

    with pytest.raises(DataSourceUnavailable, match="one whole"):
        source.stage(Wanted(columns=(PATIENT,), space=Then(1 << 20, one_less)), tmp_path)
    assert len(read(source, tmp_path / "again", PATIENT)) == 8


def test_a_server_that_goes_away_in_the_middle_makes_the_train_wait(token: Path, tmp_path: Path) -> None:
    with OutsideFhir() as server:
        tag = server.add(reading(valueQuantity=QUANTITY) for _ in range(4))
        source = at(server, token, f"Observation?_tag={tag}", count=2)
        with pytest.raises(DataSourceUnavailable):
            source.stage(Wanted(columns=(SYSTOLIC,), space=Then(1 << 20, server.stop)), tmp_path)
        assert not source.check()[0].ok
