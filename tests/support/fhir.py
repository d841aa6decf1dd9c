"""A FHIR R4 server on loopback: what the specification says that servers do, and what a bad one does.

It searches (`_id`, `code`, `status`, `subject`, `_include`, `_count`), pages through a result that it keeps, refuses what it
does not understand if the client is strict, and lets clients in by an account or a token. It can be told to answer otherwise.
That it answers as a server of others does is tried in `tests/integration/station/test_fhir_outside.py`.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest

from station.data.tables.source import Described
from tests.support.tables import COLUMNS, Row, known

ACCOUNT, PASSWORD, TOKEN = "reader", "pass:word/canary", "canary.token~1"
UCUM = "http://unitsofmeasure.org"
OURS = "http://pht.example/codes"
LOINC = "http://loinc.org"
_CRITERIA = {"_id", "code", "status", "subject"}
_FORM = {"_count", "_include", "_total", "_sort"}
_INCLUDES = {"Observation:subject"}
_META = {"versionId": "1", "lastUpdated": "2026-11-26T09:00:00.000+01:00"}

Resource = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is sent: of the body the first `cut` bytes, if that is given; `closed` sends no length."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/fhir+json;charset=utf-8"
    cut: int | None = None
    closed: bool = False


Twist = Callable[[int, Resource], "Resource | Reply"]
"""Makes another answer from a page: how many pages were asked for before, and what would be sent."""


class FhirServer:
    """A server with these `resources`, by type. What was asked for is in `asked`."""

    def __init__(self, *, certificate: tuple[Path, Path] | None = None) -> None:
        self.resources: dict[str, list[Resource]] = {"Patient": [], "Observation": []}
        self.asked: list[tuple[str, str]] = []
        self.sent: list[dict[str, str]] = []
        self.twist: Twist = lambda _, page: page
        self.pages = 0
        self.writes = frozenset[str]()  # the methods that may write
        self.says_it_writes = True
        self.strict = True
        self.guard: str | None = None  # the Authorization header that lets in
        self.tokens_given = 0
        self.version = "4.0.1"
        self.totals = True
        self._kept: dict[str, list[Resource]] = {}
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
            scheme = "https"
        self.origin = f"{scheme}://127.0.0.1:{self._http.server_address[1]}"
        self.base = f"{self.origin}/r4"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def again(self) -> None:
        """Forget what was asked for, and every result."""
        self.asked.clear()
        self.sent.clear()
        self._kept.clear()
        self.pages = 0

    @property
    def basic(self) -> str:
        """The header of the account."""
        return "Basic " + base64.b64encode(f"{ACCOUNT}:{PASSWORD}".encode()).decode()

    # --- Answers -----------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:  # noqa: PLR0911 # one for each interaction
        """Answer a request."""
        parts = urlsplit(target)
        path, query = parts.path.removeprefix("/r4"), parse_qsl(parts.query, keep_blank_values=True)
        if parts.path == "/token" and method == "POST":
            return self._token(headers, body)
        if path == "/metadata":
            return _json(self._capability())
        if self.guard is not None and headers.get("Authorization") != self.guard:
            return _json(outcome("error", "login"), 401, {"WWW-Authenticate": "Bearer"})
        if method != "GET":
            return self._write(method, path, body)
        kept = dict(query).get("_getpages")
        if kept is not None:
            if kept not in self._kept:
                return _json(outcome("error", "not-found"), 410)
            return self._page(kept, int(dict(query)["_offset"]), int(dict(query)["_count"]), None)
        kind, _, name = path.strip("/").partition("/")
        if kind not in self.resources:
            return _json(outcome("error", "not-supported"), 404)
        return self._read(kind, name) if name else self._search(kind, query, headers)

    def _read(self, kind: str, name: str) -> Reply:
        found = [one for one in self.resources[kind] if one["id"] == name]
        return _json({**found[0], "meta": _META}) if found else _json(outcome("error", "not-found"), 404)

    def _search(self, kind: str, query: list[tuple[str, str]], headers: Mapping[str, str]) -> Reply:
        unknown = [
            name
            for name, value in query
            if name not in _CRITERIA | _FORM or (name == "_include" and value not in _INCLUDES)
        ]
        if unknown and self.strict and "handling=strict" in headers.get("Prefer", ""):
            return _json(outcome("error", "invalid"), 400)
        known = [(name, value) for name, value in query if name not in unknown]
        found = [
            one for one in self.resources[kind] if all(_fits(one, *test) for test in known if test[0] in _CRITERIA)
        ]
        name = f"r{len(self._kept)}"
        includes = [value for name, value in known if name == "_include"]
        named = {f"{one['resourceType']}/{one['id']}": one for every in self.resources.values() for one in every}
        self._kept[name] = [self._entry(one, includes, named) for one in found]
        own = f"{self.base}/{kind}?{urlencode(known)}".removesuffix("?")
        return self._page(name, 0, int(dict(query).get("_count", "20")), own, warned=bool(unknown))

    def _entry(self, one: Resource, includes: Sequence[str], named: Mapping[str, Resource]) -> Resource:
        names = [one.get(include.partition(":")[2], {}).get("reference") for include in includes]
        also = [named[name] for name in names if name in named]
        return {"match": self._wrapped(one, "match"), "also": [self._wrapped(other, "include") for other in also]}

    def _wrapped(self, one: Resource, mode: str) -> Resource:
        resource = {**one, "meta": _META}
        return {
            "fullUrl": f"{self.base}/{one['resourceType']}/{one['id']}",
            "resource": resource,
            "search": {"mode": mode},
        }

    def _page(self, name: str, offset: int, count: int, own: str | None, *, warned: bool = False) -> Reply:
        found = self._kept[name]
        here = found[offset : offset + count]
        also = {one["fullUrl"]: one for entry in here for one in entry["also"]}
        link = [{"relation": "self", "url": own or f"{self.base}?_getpages={name}&_offset={offset}&_count={count}"}]
        if 0 < count < len(found) - offset:
            where = f"{self.base}?_getpages={quote(name)}&_offset={offset + count}&_count={count}"
            link.append({"relation": "next", "url": where})
        entries = [*(entry["match"] for entry in here), *also.values()]
        if warned:
            entries.append({"resource": outcome("warning", "not-supported"), "search": {"mode": "outcome"}})
        page: Resource = {
            "resourceType": "Bundle",
            "id": name,
            "meta": {"lastUpdated": "2026-11-27T10:00:00.000+01:00"},
            "type": "searchset",
            "link": link,
            **({"entry": entries} if entries else {}),  # no list is empty ("JSON Representation")
        }
        if self.totals:
            page["total"] = len(found)
        twisted = self.twist(self.pages, page)
        self.pages += 1
        return twisted if isinstance(twisted, Reply) else _json(twisted)

    def _write(self, method: str, path: str, body: bytes) -> Reply:
        if method not in self.writes:
            return _json(outcome("error", "forbidden"), 403)
        kind, _, name = path.strip("/").partition("/")
        if method == "DELETE":
            left = [one for one in self.resources[kind] if one["id"] != name]
            found, self.resources[kind] = len(left) < len(self.resources[kind]), left
            return Reply(body=b"", status=204) if found else _json(outcome("error", "not-found"), 404)
        created = json.loads(body)
        if created.get("resourceType") != kind:
            return _json(outcome("error", "invalid"), 400)
        self.resources[kind].append({**created, "id": name or f"new-{len(self.resources[kind])}"})
        return _json(created, 201)

    def _token(self, headers: Mapping[str, str], body: bytes) -> Reply:
        asked = dict(parse_qsl(body.decode()))
        who = base64.b64encode(f"{quote(ACCOUNT, safe='')}:{quote(PASSWORD, safe='')}".encode()).decode()
        if headers.get("Authorization") != f"Basic {who}" or asked.get("grant_type") != "client_credentials":
            return _json({"error": "invalid_client"}, 401)
        self.tokens_given += 1
        return _json({"access_token": TOKEN, "token_type": "Bearer", "expires_in": 300, "scope": asked.get("scope")})

    def _capability(self) -> Resource:
        codes = ["read", "search-type", *(["create", "update", "delete"] if self.says_it_writes else [])]
        listed = [{"type": kind, "interaction": [{"code": code} for code in codes]} for kind in self.resources]
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "kind": "instance",
            "fhirVersion": self.version,
            "format": ["json"],
            "rest": [{"mode": "server", "resource": listed}],
        }


def _handler(server: FhirServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one piece: else each answer waits for an acknowledgement
        timeout = 60

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (OSError, ValueError):  # the client went away; or the stream was closed for it
                self.close_connection = True

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.asked.append((self.command, self.path))
            server.sent.append(dict(self.headers.items()))
            reply = server.answer(self.command, self.path, dict(self.headers.items()), body)
            self.send_response_only(reply.status)
            if "Date" not in reply.headers:
                self.send_header("Date", self.date_time_string())
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", reply.media_type)
            if reply.closed or reply.cut is not None:
                self.close_connection = True
            if not reply.closed:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: reply.cut])

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _any  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return Handler


def _json(document: Resource, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(body=json.dumps(document).encode(), status=status, headers=headers or {})


def outcome(severity: str, code: str) -> Resource:
    """An OperationOutcome; what it says beyond its code is a canary."""
    issue = {"severity": severity, "code": code, "diagnostics": "canary diagnostics of Erika Mustermann"}
    return {"resourceType": "OperationOutcome", "id": "o", "issue": [issue]}


def _fits(one: Resource, name: str, values: str) -> bool:
    return any(_has(one, name, value) for value in values.split(","))


def _has(one: Resource, name: str, value: str) -> bool:
    match name:
        case "_id":
            return bool(one["id"] == value)
        case "status":
            return bool(one.get("status") == value)
        case "subject":
            return bool(one.get("subject", {}).get("reference") == value)
        case _:
            system, bar, code = value.rpartition("|")
            codings = one.get("code", {}).get("coding", [])
            return any(code in {"", c["code"]} and (not bar or c.get("system", "") == system) for c in codings)


# --- Resources -------------------------------------------------------------------------------------------------------

_FIELDS = {
    "age": "valueQuantity.value",
    "height": "valueQuantity.value",
    "sex": "valueCodeableConcept.coding.code",
    "smokes": "valueBoolean",
    "note": "valueString",
    "admitted": "valueDateTime",
    "left": "valueDateTime",
}
EVERY = tuple(
    Described(
        column=one,
        origin="subject.reference"
        if one.name == "patient"
        else f"component.where(code.coding.code = '{one.name}').{_FIELDS[one.name]}",
    )
    for one in COLUMNS
)
"""The columns of `tests.support.tables`, as paths into `observed`."""


def carried(rows: Sequence[Row]) -> list[Row]:
    """Return rows as resources can hold them: NaN is no decimal, and a string has more than white space ("Data types")."""
    return [
        {**row, "height": known(row["height"]), "note": row["note"] if str(row["note"] or "").strip() else None}
        for row in rows
    ]


def observed(rows: Sequence[Row]) -> list[Resource]:
    """One observation for each row, with a component for each cell that is there."""
    return [
        {
            "resourceType": "Observation",
            "id": f"o-{number}",
            "status": "final",
            "code": {"coding": [{"system": OURS, "code": "visit"}]},
            "subject": {"reference": f"Patient/{row['patient']}"},
            "component": [
                {"code": {"coding": [{"system": OURS, "code": name}]}, **_value(name, row[name])}
                for name in _FIELDS
                if row[name] is not None
            ],
        }
        for number, row in enumerate(rows)
    ]


def _value(name: str, cell: Any) -> Resource:
    match name:
        case "age":
            return {"valueQuantity": {"value": cell, "unit": "a", "system": UCUM, "code": "a"}}
        case "height":
            return {"valueQuantity": {"value": cell, "unit": "cm", "system": UCUM, "code": "cm"}}
        case "sex":
            return {"valueCodeableConcept": {"coding": [{"system": OURS, "code": cell}]}}
        case "admitted" if isinstance(cell, date):
            return {"valueDateTime": f"{cell}T23:30:00+01:00"}
        case "left" if isinstance(cell, date):
            return {"valueDateTime": str(cell)}
        case _:
            return {_FIELDS[name]: cell}


def patients(count: int) -> list[Resource]:
    """Patients, whose names are canaries."""
    return [
        {
            "resourceType": "Patient",
            "id": f"p{number}",
            "name": [{"family": f"canary-{number}", "given": ["Erika"]}],
            "gender": ("female", "male")[number % 2],
            "birthDate": f"{1930 + number % 70}-05-06",
        }
        for number in range(count)
    ]


def pressures(count: int, *, patients: int) -> list[Resource]:
    """Systolic blood pressures."""
    return [
        {
            "resourceType": "Observation",
            "id": f"bp-{number}",
            "status": "final",
            "code": {"coding": [{"system": LOINC, "code": "8480-6", "display": "Systolic blood pressure"}]},
            "subject": {"reference": f"Patient/p{number % patients}"},
            "effectiveDateTime": f"2026-{1 + number % 12:02}-{1 + number % 28:02}T08:00:00+01:00",
            "valueQuantity": {"value": 100 + number % 80, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"},
        }
        for number in range(count)
    ]


@pytest.fixture
def fhir() -> Iterator[FhirServer]:
    """A server with 30 patients and 90 blood pressures."""
    with FhirServer() as server:
        server.resources["Patient"] = patients(30)
        server.resources["Observation"] = pressures(90, patients=30)
        yield server
