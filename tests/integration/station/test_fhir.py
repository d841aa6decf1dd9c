"""What does a station read of a FHIR server, and what does it say if it cannot read all of it, or could do more?"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from security.errors import DiskFull
from security.tables.column import Column, ColumnType
from security.tables.parse import parse
from station.check import CheckResult
from station.data.tables.fhir import FhirSource
from station.data.tables.fhir_place import Endpoint, FhirTable, Search
from station.data.tables.fhir_server import MOST_BYTES
from station.data.tables.fhir_server import FhirServer as Client
from station.data.tables.select import Selection
from station.data.tables.source import Described, Wanted
from station.errors import DataSourceUnavailable, DataTooLarge, DataUnfit
from tests.support.certificates import Authority
from tests.support.fhir import ACCOUNT, LOINC, PASSWORD, TOKEN, UCUM, FhirServer, Reply, Resource, outcome, pressures
from tests.support.tables import Narrow, selected_from, selection, table_in

SEARCH = f"Observation?code={LOINC}|8480-6&_include=Observation:subject"
PATIENT = Described(column=Column(name="patient", type=ColumnType.IDENTIFIER), origin="subject.reference")
SYSTOLIC = Described(
    column=Column(name="systolic", type=ColumnType.NUMBER, measure="mm[Hg]"), origin="value.ofType(Quantity).value"
)
GENDER = Described(
    column=Column(name="gender", type=ColumnType.CATEGORY, values=("female", "male")),
    origin="subject.resolve().gender",
)
BORN = Described(column=Column(name="born", type=ColumnType.DATE), origin="subject.resolve().birthDate")
TAKEN = Described(column=Column(name="taken", type=ColumnType.DATE), origin="effectiveDateTime")
CODE = Described(column=Column(name="code", type=ColumnType.TEXT, coding=LOINC), origin="code.coding.code")
EVERY = (PATIENT, SYSTOLIC, GENDER, BORN, TAKEN, CODE)
SECRETS = (PASSWORD, TOKEN, "canary", "Erika", "Mustermann", "bp-", "Patient/p")


def wanted(*columns: Described) -> Wanted:
    return Wanted(columns=columns or EVERY)


def asks(where: str | None = None, *delivered: str) -> Selection:
    names = delivered or tuple(one.column.name for one in EVERY)
    return selection(None if where is None else parse(where), delivered=names, every=EVERY)


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def source(fhir: FhirServer, slept: list[float]) -> FhirSource:
    return at(fhir, slept)


def at(server: FhirServer, slept: list[float], search: str = SEARCH, **endpoint: Any) -> FhirSource:
    table = FhirTable(endpoint=Endpoint(base=server.base, **endpoint), search=Search.of(search, count=20))
    return FhirSource(name="heart", table=table, sleep=slept.append)


def only(source: FhirSource) -> CheckResult:
    (found,) = source.check()
    told(found.detail + (found.hint or ""))
    return found


def told(text: str) -> str:
    """What people are told holds nothing of patients, and no secret."""
    assert not [secret for secret in SECRETS if secret in text]
    return text


def stopped(source: FhirSource, into: Path, *columns: Described) -> DataUnfit | DataSourceUnavailable:
    with pytest.raises((DataUnfit, DataSourceUnavailable)) as caught:
        source.stage(wanted(*columns), into)
    told(f"{caught.value} {caught.value.hint}")
    assert isinstance(caught.value, DataUnfit | DataSourceUnavailable)
    return caught.value


def secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


# --- All of it -------------------------------------------------------------------------------------------------------


def test_all_pages_are_read_and_only_what_is_wanted_is_written(
    source: FhirSource, fhir: FhirServer, tmp_path: Path
) -> None:
    staged = source.stage(wanted(PATIENT, SYSTOLIC, GENDER), tmp_path)
    lines = staged.paths[0].read_text().splitlines()
    assert lines[0] == "subject.reference,value.ofType(Quantity).value,subject.resolve().gender"
    assert lines[1] == "Patient/p0,100,female"
    assert len(lines) == 91
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    assert "canary" not in staged.paths[0].read_text()
    assert staged.version == "2026-11-27T10:00:00.000+01:00, 90 resources"
    assert [method for method, _ in fhir.asked] == ["GET"] * 5
    assert "_count=20" in fhir.asked[0][1]
    assert all("handling=strict" in one["Prefer"] for one in fhir.sent)


def test_a_train_gets_rows_of_resources_and_of_those_they_name(source: FhirSource, tmp_path: Path) -> None:
    where = "gender = 'male' and systolic between 120 and 150 and born < 1940-01-01"
    found, into = selected_from(source, asks(where), tmp_path)
    rows = table_in(into)
    assert (found.rows, found.patients) == (5, 5)
    assert sorted(row["systolic"] for row in rows) == [f"{one}.0" for one in (131, 133, 135, 137, 139)]
    assert {(row["gender"], row["code"]) for row in rows} == {("male", "8480-6")}
    assert all(row["born"] < "1940" and row["taken"].startswith("2026-") for row in rows)
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"canary" not in path.read_bytes()


def test_a_server_that_tells_no_total_and_no_time(source: FhirSource, fhir: FhirServer, tmp_path: Path) -> None:
    fhir.totals = False

    def timeless(_: int, page: Resource) -> Resource:
        return {**page, "meta": {"lastUpdated": "canary, not a time"}}

    fhir.twist = timeless
    version = source.stage(wanted(), tmp_path).version
    assert version.endswith("Z, 90 resources")  # the time of the answer
    told(version)


@pytest.mark.parametrize("asked", ["none", "estimate"])
def test_a_total_may_be_an_estimate_if_the_search_says_so(
    fhir: FhirServer, slept: list[float], tmp_path: Path, asked: str
) -> None:
    """Some servers know it on the last page only; taken for exact, the train would wait for ever."""
    fhir.twist = lambda number, page: page if number % 5 == 4 else {**page, "total": (7, 1000)[number % 2]}
    for folder in ("exact", "told"):
        (tmp_path / folder).mkdir()
    assert "_total=" in str(stopped(at(fhir, slept), tmp_path / "exact").hint)
    fhir.again()
    staged = at(fhir, slept, f"{SEARCH}&_total={asked}").stage(wanted(), tmp_path / "told")
    assert staged.version.endswith(" 90 resources")


def test_nothing_found_is_no_error_of_the_source(source: FhirSource, fhir: FhirServer, tmp_path: Path) -> None:
    fhir.resources["Observation"] = []
    assert source.stage(wanted(), tmp_path).version.endswith(" 0 resources")
    with pytest.raises(DataUnfit):
        source.columns()


def test_columns_are_proposed_that_have_one_value_and_name_nobody(source: FhirSource, fhir: FhirServer) -> None:
    fhir.resources["Observation"][77]["code"]["coding"].append({"system": "urn:local", "code": "rr"})
    found = {one.name: one.type for one in source.columns()}
    assert found["valueQuantity.value"] == "decimal"
    assert found["subject.resolve().gender"] == "string"
    assert "code.coding.code" not in found  # two, in row 78
    assert not [name for name in found if "name" in name or "meta" in name]


# --- Read, and not more ----------------------------------------------------------------------------------------------


def test_a_server_that_can_only_be_read_is_in_order(source: FhirSource, fhir: FhirServer) -> None:
    before = deepcopy(fhir.resources)
    found = only(source)
    assert found.ok, found
    assert "not be changed" in found.detail
    assert {method for method, _ in fhir.asked} == {"GET", "DELETE", "POST"}
    assert fhir.resources == before


def test_an_account_that_may_write_is_refused_and_nothing_is_written(source: FhirSource, fhir: FhirServer) -> None:
    fhir.writes = frozenset({"POST", "PUT", "DELETE"})
    before = deepcopy(fhir.resources)
    found = only(source)
    assert not found.ok
    assert "may write" in found.detail
    assert fhir.resources == before


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_one_way_to_write_is_too_many(source: FhirSource, fhir: FhirServer, method: str) -> None:
    fhir.writes = frozenset({method})
    found = only(source)
    assert "may write" in found.detail
    assert method in found.detail


def test_a_server_that_cannot_write_answers_as_it_likes(source: FhirSource, fhir: FhirServer) -> None:
    fhir.writes, fhir.says_it_writes = (
        frozenset({"POST", "DELETE"}),
        False,
    )  # 404 and 400, instead of 403: there is nothing that it could do
    assert only(source).ok


@pytest.mark.parametrize("search", ["Nothing?x=1", "Patient"])
def test_what_the_server_does_not_have_is_told(fhir: FhirServer, slept: list[float], search: str) -> None:
    fhir.resources.pop("Patient")
    assert "searched" in only(at(fhir, slept, search)).detail


def test_another_version_of_fhir_is_refused(source: FhirSource, fhir: FhirServer) -> None:
    fhir.version = "5.0.0"
    assert "R4" in only(source).detail


def test_what_is_no_fhir_server_is_told(source: FhirSource, fhir: FhirServer) -> None:
    elsewhere = replace(source.table, endpoint=Endpoint(base=fhir.origin + "/elsewhere"))
    assert not only(replace(source, table=elsewhere)).ok


# --- Who we are ------------------------------------------------------------------------------------------------------


def test_an_account_lets_in_and_a_wrong_one_is_the_operators(
    fhir: FhirServer, slept: list[float], tmp_path: Path
) -> None:
    fhir.guard = fhir.basic
    right = secret(tmp_path / "right", PASSWORD + "\n")
    assert only(at(fhir, slept, username=ACCOUNT, password_file=right)).ok
    assert "let the station in" in only(at(fhir, slept)).detail
    wrong = secret(tmp_path / "wrong", "something else")
    assert "let the station in" in only(at(fhir, slept, username=ACCOUNT, password_file=wrong)).detail
    assert not only(at(fhir, slept, username=ACCOUNT, password_file=tmp_path / "nowhere")).ok


def test_a_token_that_others_can_read_is_not_sent(fhir: FhirServer, slept: list[float], tmp_path: Path) -> None:
    fhir.guard = f"Bearer {TOKEN}"
    token = secret(tmp_path / "token", TOKEN + "\n")
    assert only(at(fhir, slept, token_file=token)).ok
    fhir.again()
    token.chmod(0o644)
    found = only(at(fhir, slept, token_file=token))
    assert "accessible to others" in found.detail
    assert "chmod 600" in str(found.hint)
    assert fhir.asked == []
    secret(token, "two\nlines of it")
    assert "cannot be sent" in only(at(fhir, slept, token_file=token)).detail


def test_a_token_service_gives_a_token_and_another_one_if_that_is_over(
    fhir: FhirServer, slept: list[float], tmp_path: Path
) -> None:
    fhir.guard = f"Bearer {TOKEN}"
    client: dict[str, Any] = {
        "username": ACCOUNT,
        "password_file": secret(tmp_path / "secret", PASSWORD),
        "token_url": f"{fhir.origin}/token",
    }
    (tmp_path / "one").mkdir()
    at(fhir, slept, **client).stage(wanted(), tmp_path / "one")
    assert fhir.tokens_given == 1

    def over(number: int, page: Resource) -> Resource | Reply:
        return Reply(body=b"", status=401) if number == 2 else page

    fhir.again()
    fhir.twist = over
    (tmp_path / "two").mkdir()
    at(fhir, slept, **client).stage(wanted(), tmp_path / "two")
    assert fhir.tokens_given == 3
    secret(tmp_path / "secret", "wrong")
    assert "no token" in only(at(fhir, slept, **client)).detail


def test_a_certificate_is_one_the_operator_named(slept: list[float], tmp_path: Path) -> None:
    known, other = Authority(tmp_path / "known"), Authority(tmp_path / "other", "other")
    with FhirServer(certificate=known.issue("127.0.0.1")) as server:
        server.resources["Observation"] = pressures(5, patients=5)
        search = "Observation"
        assert only(at(server, slept, search, ca_file=known.file)).ok
        assert "certificate" in only(at(server, slept, search, ca_file=other.file)).detail
        assert "certificate" in only(at(server, slept, search)).detail
        assert not only(at(server, slept, search, ca_file=tmp_path / "nowhere")).ok
        plain = FhirTable(endpoint=Endpoint(base=server.base.replace("https", "http")), search=Search.of(search))
        assert not only(FhirSource(name="heart", table=plain, sleep=slept.append)).ok


def test_https_to_a_server_without_it_is_told(fhir: FhirServer, slept: list[float]) -> None:
    table = FhirTable(endpoint=Endpoint(base=fhir.base.replace("http", "https")), search=Search.of(SEARCH))
    assert "http" in only(FhirSource(name="heart", table=table, sleep=slept.append)).detail


# --- Broken off, busy, away ------------------------------------------------------------------------------------------


def on(number: int, change: Callable[[Resource], Resource | Reply], times: int = 1) -> Any:
    """Change what is sent for a page, and for `times` in all."""
    return lambda seen, page: change(page) if number <= seen < number + times else page


def cut(page: Resource) -> Reply:
    body = json.dumps(page).encode()
    return Reply(body=body, cut=len(body) // 2)


def cut_without_length(page: Resource) -> Reply:
    body = json.dumps(page).encode()
    return Reply(body=body[: len(body) // 2], closed=True)


@pytest.mark.parametrize("broken", [cut, lambda _: Reply(body=b"", status=503), lambda _: Reply(body=b"", status=429)])
def test_a_page_that_broke_off_is_asked_for_again(
    source: FhirSource,
    fhir: FhirServer,
    slept: list[float],
    tmp_path: Path,
    broken: Callable[[Resource], Reply],
) -> None:
    fhir.twist = on(2, broken, times=2)
    assert len(source.stage(wanted(), tmp_path).paths[0].read_text().splitlines()) == 91
    assert len(fhir.asked) == 7
    assert slept == [0.5, 1.0]


@pytest.mark.parametrize("broken", [cut, cut_without_length, lambda _: Reply(body=b"", status=502)])
def test_a_page_that_always_breaks_off_makes_the_train_wait(
    source: FhirSource, fhir: FhirServer, tmp_path: Path, broken: Callable[[Resource], Reply]
) -> None:
    fhir.twist = on(2, broken, times=1000)
    assert isinstance(stopped(source, tmp_path), DataSourceUnavailable)
    assert len(fhir.asked) <= 7


@pytest.mark.parametrize(
    ("after", "waited"),
    [
        ("7", [7.0]),
        ("0", [0.5]),
        ("Fri, 27 Nov 2026 10:00:30 GMT", [30.0]),
        ("Fri, 27 Nov 2026 09:00:00 GMT", [0.5]),
        ("whenever", [0.5]),
    ],
)
def test_a_busy_server_says_how_long_to_wait(
    source: FhirSource, fhir: FhirServer, slept: list[float], tmp_path: Path, after: str, waited: list[float]
) -> None:
    headers = {"Retry-After": after, "Date": "Fri, 27 Nov 2026 10:00:00 GMT"}
    fhir.twist = on(3, lambda _: Reply(body=b"", status=429, headers=headers))
    assert source.stage(wanted(), tmp_path).version.endswith(" 90 resources")
    assert slept == waited


def test_nobody_waits_for_longer_than_was_said(
    source: FhirSource, fhir: FhirServer, slept: list[float], tmp_path: Path
) -> None:
    fhir.twist = on(1, lambda _: Reply(body=b"", status=429, headers={"Retry-After": "601"}))
    assert isinstance(stopped(source, tmp_path), DataSourceUnavailable)
    assert slept == []


def test_all_waiting_for_a_reading_together_is_bounded(
    source: FhirSource, fhir: FhirServer, slept: list[float], tmp_path: Path
) -> None:
    turns = iter(range(1000))

    def busy(_: int, page: Resource) -> Resource | Reply:
        return page if next(turns) % 2 else Reply(body=b"", status=429, headers={"Retry-After": "250"})

    fhir.twist = busy
    assert isinstance(stopped(source, tmp_path), DataSourceUnavailable)
    assert slept == [250.0, 250.0]


def test_a_server_that_is_slow_or_away_makes_the_train_wait(
    fhir: FhirServer, slept: list[float], tmp_path: Path
) -> None:
    over = Event()

    def hang(_: Resource) -> Reply:
        over.wait(30)
        return Reply(body=b"")

    slow = at(fhir, slept, seconds=1)
    fhir.twist = on(1, hang, times=1000)
    assert isinstance(stopped(slow, tmp_path), DataSourceUnavailable)
    assert sum(slept) <= 1
    over.set()
    fhir.stop()
    away = tmp_path / "away"
    away.mkdir()
    assert isinstance(stopped(slow, away), DataSourceUnavailable)
    assert not only(slow).ok


def test_a_result_that_the_server_forgot_is_read_again_later(
    source: FhirSource, fhir: FhirServer, tmp_path: Path
) -> None:
    fhir.twist = on(2, lambda _: Reply(body=b"", status=410))
    assert isinstance(stopped(source, tmp_path), DataSourceUnavailable)


# --- Something else than was asked for -------------------------------------------------------------------------------


def entered(resource: Resource, mode: str) -> Callable[[Resource], Resource]:
    entry = {"resource": resource, "search": {"mode": mode}}
    return lambda page: {**page, "entry": [*page["entry"], entry]}


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        (lambda _: outcome("error", "processing"), False),
        (lambda _: outcome("fatal", "exception"), True),
        (lambda _: outcome("warning", "informational"), False),  # it stands where a page should
        (lambda _: outcome("error", "canary code"), False),
        (lambda _: Reply(body=json.dumps(outcome("error", "too-costly")).encode(), status=400), False),
        (entered(outcome("error", "timeout"), "outcome"), True),
        (entered(outcome("fatal", "security"), "outcome"), False),
        (entered({"resourceType": "OperationOutcome"}, "outcome"), False),
        (entered({"resourceType": "Patient", "id": "p1"}, "match"), False),
        (entered({"resourceType": "Patient", "id": "p1"}, "canary"), False),
        (entered({"resourceType": "Observation"}, "match"), False),
        (entered({"resourceType": "Observation", "id": "canary\nname"}, "match"), False),
        (lambda page: {**page, "type": "history"}, False),
        (lambda page: {**page, "entry": {}}, False),
        (lambda page: {**page, "entry": [{}]}, False),
        (lambda page: {**page, "link": [*page["link"], *page["link"]]}, False),
        (lambda page: {**page, "total": "canary"}, False),
        (lambda _: {"resourceType": "Patient", "id": "p1", "name": "canary"}, False),
        (lambda _: Reply(body=b"<html>canary</html>", media_type="text/html"), False),
        (lambda _: Reply(body=b'{"a": 1, "a": "canary"}'), False),
        (lambda _: Reply(body=b"[" * 100 + b"]" * 100), False),
        (lambda _: Reply(body=b" " * (MOST_BYTES + 1)), False),
        (lambda _: Reply(body=b"", status=302, headers={"Location": "http://127.0.0.1:1/canary"}), False),
        (lambda _: Reply(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}), False),
    ],
)
def test_one_page_that_is_none_stops_all_of_it(
    source: FhirSource,
    fhir: FhirServer,
    tmp_path: Path,
    change: Callable[[Resource], Resource | Reply],
    waits: bool,
) -> None:
    fhir.twist = on(2, change)
    assert isinstance(stopped(source, tmp_path), DataSourceUnavailable if waits else DataUnfit)
    assert len(fhir.asked) == 3


@pytest.mark.parametrize("severity", ["information", "warning"])
def test_remarks_of_the_server_do_not_stop_anything(
    source: FhirSource, fhir: FhirServer, tmp_path: Path, severity: str
) -> None:
    remarks = [outcome(severity, code) for code in ("informational", "duplicate")]
    twice = [entered(one, "outcome") for one in remarks]
    fhir.twist = on(2, lambda page: twice[1](twice[0](page)))
    assert source.stage(wanted(), tmp_path).version.endswith(" 90 resources")


def test_a_server_that_leaves_out_a_criterion_is_noticed(fhir: FhirServer, slept: list[float], tmp_path: Path) -> None:
    source = at(fhir, slept, SEARCH + "&date=ge2026-06-01")
    assert isinstance(stopped(source, tmp_path), DataUnfit)  # 400: it keeps to `Prefer: handling=strict`
    fhir.strict = False
    (tmp_path / "again").mkdir()
    assert "left out a part" in str(stopped(source, tmp_path / "again"))


@pytest.mark.parametrize(
    "url",
    [
        lambda here, _: here.base.replace("127.0.0.1", "localhost") + "?page=2",
        lambda here, _: here.base.replace("http://", "https://") + "?page=2",
        lambda _, other: other.base + "?page=2",
        lambda _, other: f"//127.0.0.1:{other.origin.rpartition(':')[2]}/r4?page=2",
        lambda here, _: here.base.replace("http://", "http://reader:x@") + "?page=2",
        lambda here, _: here.origin + "/other/r4?page=2",
        lambda here, _: here.base + "/../other?page=2",
        lambda here, _: here.base + "/%2e%2e/other?page=2",
        lambda here, _: here.base + "4?page=2",
        lambda _, __: "ftp://127.0.0.1/r4",
        lambda _, __: "file:///etc/passwd",
        lambda _, __: "http://[",
    ],
)
def test_a_next_page_elsewhere_is_not_asked_for(
    fhir: FhirServer, slept: list[float], tmp_path: Path, url: Callable[[FhirServer, FhirServer], str]
) -> None:
    fhir.guard = f"Bearer {TOKEN}"
    source = at(fhir, slept, token_file=secret(tmp_path / "token", TOKEN))
    with FhirServer() as other:
        fhir.twist = lambda _, page: {
            **page,
            "link": [page["link"][0], {"relation": "next", "url": url(fhir, other)}],
        }
        into = tmp_path / "into"
        into.mkdir()
        assert "next page" in str(stopped(source, into))
        assert other.asked == []
    assert len(fhir.asked) == 1


def test_pages_in_a_circle_come_to_an_end(source: FhirSource, fhir: FhirServer, tmp_path: Path) -> None:
    first: list[Resource] = []

    def circle(_: int, page: Resource) -> Resource:
        first.append(page)
        return {**page, "link": first[0]["link"]}

    fhir.twist, fhir.totals = circle, False
    assert isinstance(stopped(source, tmp_path), DataSourceUnavailable)
    assert len(fhir.asked) == 2


def test_the_same_page_under_ever_new_addresses_comes_to_an_end(
    source: FhirSource, fhir: FhirServer, tmp_path: Path
) -> None:
    kept: list[Resource] = []

    def endless(number: int, page: Resource) -> Resource:
        kept.append(page)
        link = [*page["link"][:1], {"relation": "next", "url": f"{page['link'][1]['url']}&turn={number}"}]
        return {**page, "entry": kept[0]["entry"], "link": link}

    fhir.twist, fhir.totals = endless, False
    assert isinstance(stopped(source, tmp_path), DataSourceUnavailable)
    assert len(fhir.asked) == 2


def empty_for_ever(number: int, page: Resource) -> Resource:
    link = [*page["link"][:1], {"relation": "next", "url": f"?_getpages=r0&_offset=0&_count=1&turn={number}"}]
    return {**page, "entry": [], "link": link}


def test_empty_pages_without_end_come_to_an_end(source: FhirSource, fhir: FhirServer, slept: list[float]) -> None:
    fhir.twist, fhir.totals = empty_for_ever, False
    client = Client(source.table.endpoint, about="heart", sleep=slept.append, most_pages=30)
    with pytest.raises(DataUnfit, match="more pages"):
        list(client.pages(source.table.search))
    assert len(fhir.asked) == 30


def shifted(page: Resource) -> Resource:
    """A resource was added before the third page was asked for: the last of the second comes again."""
    return {**page, "entry": [page["entry"][1], *page["entry"][1:]]}


@pytest.mark.parametrize(
    "change",
    [
        shifted,
        lambda page: {**page, "entry": page["entry"][1:]},
        lambda page: {**page, "total": 91},
        lambda page: {**page, "link": page["link"][:1]},
    ],
)
def test_pages_that_make_no_whole_make_the_train_wait(
    source: FhirSource, fhir: FhirServer, tmp_path: Path, change: Callable[[Resource], Resource]
) -> None:
    fhir.twist = on(2, change)
    assert "one whole" in str(stopped(source, tmp_path))


def test_a_resource_that_is_there_twice_is_noticed_without_a_total(
    source: FhirSource, fhir: FhirServer, tmp_path: Path
) -> None:
    fhir.totals = False
    fhir.twist = on(2, shifted)
    assert "one whole" in str(stopped(source, tmp_path))


# --- Cells -----------------------------------------------------------------------------------------------------------


QUANTITY = {"value": 1, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}


@pytest.mark.parametrize(
    ("column", "changed", "why"),
    [
        (SYSTOLIC, {"valueQuantity": {**QUANTITY, "code": "kPa"}}, "another unit"),
        (SYSTOLIC, {"valueQuantity": {**QUANTITY, "system": "urn:local"}}, "another unit"),
        (SYSTOLIC, {"valueQuantity": {"value": 1, "unit": "kPa"}}, "another unit"),
        (SYSTOLIC, {"valueQuantity": {"value": 1}}, "another unit"),
        (SYSTOLIC, {"valueQuantity": {**QUANTITY, "comparator": "<"}}, "bound"),
        (SYSTOLIC, {"valueQuantity": {**QUANTITY, "value": {"canary": 1}}}, "not a plain value"),
        (SYSTOLIC, {"valueQuantity": [QUANTITY, QUANTITY]}, "several values"),
        (CODE, {"code": {"coding": [{"code": "canary-1", "system": "urn:local"}]}}, "code system"),
        (CODE, {"code": {"coding": [{"code": "1"}, {"code": "2"}]}}, "several values"),
    ],
)
def test_a_cell_that_says_something_else_stops_all_of_it(
    source: FhirSource, fhir: FhirServer, tmp_path: Path, column: Described, changed: Resource, why: str
) -> None:
    search = replace(source.table, search=Search.of("Observation?_include=Observation:subject", count=20))
    fhir.resources["Observation"][44] |= changed
    error = stopped(replace(source, table=search), tmp_path, column)
    assert isinstance(error, DataUnfit)
    assert (error.fields["column"], error.fields["row"]) == (column.column.name, 45)
    assert why in str(error)


def test_a_unit_that_is_only_a_word_counts_where_there_is_no_code(
    source: FhirSource, fhir: FhirServer, tmp_path: Path
) -> None:
    for one in fhir.resources["Observation"]:
        one["valueQuantity"] = {"value": 7, "unit": "mm[Hg]"}
    staged = source.stage(wanted(SYSTOLIC), tmp_path)
    assert staged.paths[0].read_text().splitlines()[1:] == ["7"] * 90


def test_a_bound_can_be_left_out(source: FhirSource, fhir: FhirServer, tmp_path: Path) -> None:
    fhir.resources["Observation"][0]["valueQuantity"]["comparator"] = ">"
    exact = replace(SYSTOLIC, origin="valueQuantity.where(comparator.empty()).value")
    staged = source.stage(wanted(exact), tmp_path)
    assert staged.paths[0].read_text().splitlines()[1:3] == ['""', "101"]


@pytest.mark.parametrize(
    ("changed", "column"),
    [
        ({"valueQuantity": {**QUANTITY, "value": "canary"}}, "systolic"),
        ({"effectiveDateTime": "2026-05"}, "taken"),
        ({"effectiveDateTime": "2026-02-30T10:00:00Z"}, "taken"),
    ],
)
def test_a_value_of_another_type_is_told_by_its_row(
    source: FhirSource, fhir: FhirServer, tmp_path: Path, changed: Resource, column: str
) -> None:
    fhir.resources["Observation"][44] |= changed
    with pytest.raises(DataUnfit) as caught:
        selected_from(source, asks(), tmp_path)
    assert (caught.value.fields["column"], caught.value.fields["row"]) == (column, 45)
    told(str(caught.value))


def test_a_resource_that_did_not_come_along_is_no_missing_value(
    fhir: FhirServer, slept: list[float], tmp_path: Path
) -> None:
    error = stopped(at(fhir, slept, "Observation"), tmp_path, GENDER)
    assert error.fields["row"] == 1
    assert "_include" in str(error.hint)


@pytest.mark.parametrize("name", ["Patient/p7/_history/3", "{base}/Patient/p7", "#inside"])
def test_a_resource_is_named_in_several_ways(source: FhirSource, fhir: FhirServer, tmp_path: Path, name: str) -> None:
    born = {"resourceType": "Patient", "id": "inside", "birthDate": "1937-05-06"}
    fhir.resources["Observation"] = [
        *pressures(8, patients=8),
        {**pressures(9, patients=8)[8], "subject": {"reference": name.format(base=fhir.base)}, "contained": [born]},
    ]
    search = replace(source.table, search=Search.of("Observation?_include=Observation:subject"))
    staged = replace(source, table=search).stage(wanted(BORN), tmp_path)
    assert staged.paths[0].read_text().splitlines()[9] == "1937-05-06"


def test_a_patient_has_one_name_however_references_are_written(
    source: FhirSource, fhir: FhirServer, tmp_path: Path
) -> None:
    """Else one who withdrew is still there, and a cohort is larger than it is."""
    names = ("Patient/p7", f"{fhir.base}/Patient/p7", "Patient/p7/_history/3", f"{fhir.base}/Patient/p7/_history/1")
    for one, name in zip(fhir.resources["Observation"], (*names, "http://other.example/r4/Patient/p7"), strict=False):
        one["subject"] = {"reference": name}
    staged = source.stage(wanted(PATIENT), tmp_path)
    lines = staged.paths[0].read_text().splitlines()[1:6]
    assert lines == ["Patient/p7"] * 4 + ["http://other.example/r4/Patient/p7"]


def test_two_resources_of_one_name_are_not_taken_for_each_other(
    source: FhirSource, fhir: FhirServer, tmp_path: Path
) -> None:
    other = {"resourceType": "Patient", "id": "p41", "gender": "other"}
    entries = [{"fullUrl": f"http://{host}.example/r4/Patient/p41", "resource": other} for host in ("a", "b")]
    for one in entries:
        one["search"] = {"mode": "include"}
    entries[1]["resource"] = {**other, "gender": "male"}
    fhir.twist = on(2, lambda page: {**page, "entry": [*page["entry"], *entries]})
    assert "two resources" in str(stopped(source, tmp_path))


def test_what_no_resource_says_is_missing(source: FhirSource, fhir: FhirServer, tmp_path: Path) -> None:
    for one in fhir.resources["Observation"]:
        del one["effectiveDateTime"]
    fhir.resources["Observation"][3].pop("valueQuantity")
    staged = source.stage(wanted(SYSTOLIC, TAKEN), tmp_path)
    assert staged.paths[0].read_text().splitlines()[4] == ","


def test_a_path_that_is_none_is_the_operators(source: FhirSource, tmp_path: Path) -> None:
    error = stopped(source, tmp_path, replace(SYSTOLIC, origin="valueQuantity.value ; drop"))
    assert isinstance(error, DataUnfit)
    assert error.fields["character"] == 20


def test_a_path_may_stand_twice_in_different_case(source: FhirSource, tmp_path: Path) -> None:
    upper = Described(column=Column(name="upper", type=ColumnType.TEXT), origin="code.coding.where(system = 'A').code")
    lower = Described(column=Column(name="lower", type=ColumnType.TEXT), origin="code.coding.where(system = 'a').code")
    staged = source.stage(wanted(upper, lower), tmp_path)
    assert len({staged.names[name].lower() for name in ("upper", "lower")}) == 2


def test_no_more_is_brought_than_there_is_space_for(source: FhirSource, fhir: FhirServer, tmp_path: Path) -> None:
    with pytest.raises(DataTooLarge):
        source.stage(replace(wanted(PATIENT), space=Narrow(300)), tmp_path)
    assert fhir.pages == 2  # the first fits


@pytest.mark.parametrize("file", ["table.csv", "ids"])
def test_a_full_disk_is_told_as_that(source: FhirSource, tmp_path: Path, file: str) -> None:
    (tmp_path / file).symlink_to("/dev/full")
    with pytest.raises(DiskFull):
        source.stage(wanted(PATIENT), tmp_path)
