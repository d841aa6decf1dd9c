"""What a child process of the bench does at a FHIR server: read a search as a station does, or its pages and nothing more."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

from security.tables.column import Column, ColumnType
from station.data.tables.fhir import FhirSource
from station.data.tables.fhir_place import Endpoint, FhirTable, Search
from station.data.tables.source import Described, Wanted

SEARCH = "Observation?status=final&_include=Observation:subject"
PAGE = 500
_COLUMNS = (
    (Column(name="patient", type=ColumnType.IDENTIFIER), "subject.reference"),
    (Column(name="systolic", type=ColumnType.NUMBER, measure="mm[Hg]"), "value.ofType(Quantity).value"),
    (Column(name="code", type=ColumnType.TEXT), "code.coding.where(system = 'http://loinc.org').code"),
    (Column(name="taken", type=ColumnType.DATE), "effectiveDateTime"),
    (Column(name="gender", type=ColumnType.CATEGORY), "subject.resolve().gender"),
)


def ours(base: str, into: str) -> float:
    """Bring the columns of all resources into a folder; return the seconds."""
    folder = Path(into) / f"{time.monotonic_ns()}"
    folder.mkdir()
    source = FhirSource(
        name="pressure", table=FhirTable(endpoint=Endpoint(base=base), search=Search.of(SEARCH, count=PAGE))
    )
    begun = time.perf_counter()
    source.stage(Wanted(columns=tuple(Described(column=one, origin=path) for one, path in _COLUMNS)), folder)
    return time.perf_counter() - begun


def bare(base: str, into: str) -> float:
    """Get and parse the same pages; return the seconds."""
    del into
    begun = time.perf_counter()
    connection = http.client.HTTPConnection(urlsplit(base).netloc)
    url = f"{base}/{SEARCH}&_count={PAGE}"
    while url:
        connection.request("GET", url)
        page = json.loads(connection.getresponse().read())
        url = next((one["url"] for one in page["link"] if one["relation"] == "next"), "")
    connection.close()
    return time.perf_counter() - begun
