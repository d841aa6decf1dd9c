"""How is a FHIR server asked, so that all of a result comes, or an error does?

The server is not trusted with more than its own data: it is asked at its own address only, and for no more than is
bounded. What it is too busy for is asked again, after as long as it says, within `Endpoint.seconds` for a reading.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from registry.errors import RegistryMisbehaved, RegistryUnavailable, RegistryUntrusted, RegistryWrongScheme
from registry.http.answers import REDIRECTS, Answer, content_length, refuse_encoded, resolved
from registry.http.proxies import Proxies
from registry.http.terms import Timeouts
from registry.http.wire import Incoming, Wire
from registry.names import Origin
from security.digest import BUFFER, digest_of
from security.encoding import Json, parse_json
from security.errors import InvalidInput, MalformedJson, Misconfigured
from station.data.tables.fhir_account import Account, Form
from station.data.tables.fhir_bundle import Page, outcome, overlooked, read_page
from station.data.tables.fhir_place import Endpoint, Search
from station.data.tables.fhir_wait import asked_to_wait, time_of
from station.errors import DataSourceUnavailable, DataUnfit

MOST_BYTES: Final = 16 << 20
"""Of a page, or of what the server says that it can: it is in memory, parsed."""
MOST_PAGES: Final = 100_000
_WAITS: Final = (0.5, 1.0, 2.0, 4.0)  # seconds before another attempt; longer if the server says so
_CONNECT_SECONDS: Final = 10
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
_DENIED: Final = frozenset({401, 403})
_GONE: Final = frozenset({404, 410})
_REFUSED: Final = frozenset({401, 403, 405, 501})
_UNAUTHORIZED: Final = 401
_OK: Final = 200
_SUCCESS: Final = range(200, 300)
_WRITES: Final = frozenset({"create", "update", "patch", "delete", "transaction", "batch"})
_NO_RESOURCE: Final = b"{}"
_JSON: Final = re.compile(r"application/(?:fhir\+json|json|json\+fhir)")
_ASKED: Final = {"Accept": "application/fhir+json", "Prefer": "handling=strict"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """What a server says that it can do with resources of a type."""

    version: str
    searches: bool
    writes: bool


class _LaterError(Exception):
    """It may be asked again, after so many seconds or more; `error` is for when that was done often enough."""

    def __init__(self, error: DataSourceUnavailable, after: float = 0.0) -> None:
        super().__init__()
        self.error, self.after = error, after


class FhirServer:
    """A FHIR server, for one reading of the data set `about`. `sleep` waits for some seconds."""

    def __init__(
        self, endpoint: Endpoint, *, about: str, sleep: Callable[[float], object], most_pages: int = MOST_PAGES
    ) -> None:
        self._endpoint, self._about, self._sleep, self._most_pages = endpoint, about, sleep, most_pages
        self._patience = float(endpoint.seconds)
        try:
            self._wire = Wire(
                timeouts=Timeouts(connect=_CONNECT_SECONDS, read=float(endpoint.seconds)),
                ca_file=endpoint.ca_file,
                proxies=Proxies(),
            )
            self._account = Account(endpoint, about=about, fetch=self._fetch_token)
        except Misconfigured as error:
            raise DataUnfit(error.message, data=about, hint=error.hint) from None

    def pages(self, search: Search) -> Iterator[Page]:
        """Yield every page of a search's result, one in memory at a time."""
        url, seen = f"{self._endpoint.base}/{search.address}", set[str]()
        for number in range(self._most_pages):
            self._need_new(url, seen)
            answer = self._answer("GET", url)
            self._demand(answer, first=not number)
            page = read_page(self._document(answer), type=search.type, about=self._about)
            if not number and overlooked(search.query, page.own):
                msg = "a FHIR server left out a part of the search"
                raise DataUnfit(
                    msg, data=self._about, hint="its link to itself says what it understood: correct 'search'"
                )
            if page.matches:
                self._need_new(f"{page.matches[0]['id']}", seen)
            yield replace(page, time=time_of(page.time, answer.headers))
            if page.next is None:
                return
            url = self._within(answer.url, page.next)
        msg = "a FHIR server has more pages than are read"
        raise DataUnfit(msg, data=self._about, limit=self._most_pages, hint="narrow 'search', or make page_size larger")

    def ability(self, kind: str) -> Ability:
        """Return what the server says about resources of a type."""
        answer = self._answer("GET", f"{self._endpoint.base}/metadata")
        self._demand(answer, first=True)
        document = self._document(answer)
        if not isinstance(document, dict) or document.get("resourceType") != "CapabilityStatement":
            msg = "this is not the base address of a FHIR server"
            raise DataUnfit(msg, data=self._about, hint="'server' with /metadata tells what a FHIR server can")
        rest = [one for one in _dicts(document.get("rest")) if one.get("mode") == "server"]
        every = [inner for one in rest for inner in _dicts(one.get("resource")) if inner.get("type") == kind]
        codes = {one.get("code") for inner in every for one in _dicts(inner.get("interaction"))}
        whole = {one.get("code") for inner in rest for one in _dicts(inner.get("interaction"))}
        version = document.get("fhirVersion")
        return Ability(
            version=version if isinstance(version, str) else "",
            searches="search-type" in codes,
            writes=bool(_WRITES & (codes | whole)),
        )

    def need_narrow(self, kind: str, ability: Ability) -> None:
        """Try to delete a resource that nobody has, and to create one that is none: neither changes anything.

        Raises:
            DataUnfit: the server does not refuse it.
        """
        nobody = f"{self._endpoint.base}/{kind}/pht-{secrets.token_hex(16)}"
        tries = (("DELETE", nobody, None), ("POST", f"{self._endpoint.base}/{kind}", _NO_RESOURCE))
        for method, url, body in tries:
            status = self._answer(method, url, body).status
            if status not in _REFUSED and (status in _SUCCESS or ability.writes):
                msg = "the station's account may write to the FHIR server"
                hint = (
                    "give the station an account that may read and search and nothing else: it must be refused with 403"
                )
                raise DataUnfit(msg, data=self._about, request=method, status=status, hint=hint)

    # --- One answer --------------------------------------------------------------------------------------------------

    def _answer(self, method: str, url: str, body: bytes | None = None) -> Answer:
        """Ask, and ask again what the server is too busy for."""
        form = None if body is None else Form(body)
        for wait in _WAITS:
            try:
                return self._once(method, url, form)
            except _LaterError as later:
                seconds = max(wait, later.after)
                if seconds > self._patience:
                    raise later.error from None
            self._patience -= seconds
            self._sleep(seconds)
        try:
            return self._once(method, url, form)
        except _LaterError as later:
            raise later.error from None

    def _once(self, method: str, url: str, form: Form | None) -> Answer:
        kind = {} if form is None else {"Content-Type": "application/fhir+json"}
        answer = self._sent(method, url, {**_ASKED, **kind}, self._account.header(), form)
        if answer.status == _UNAUTHORIZED and self._account.renew():
            answer = self._sent(method, url, {**_ASKED, **kind}, self._account.header(), form)
        return answer

    def _sent(self, method: str, url: str, headers: dict[str, str], who: str | None, form: Form | None) -> Answer:
        with self._explained():
            sent = None if form is None else Form(form.data)
            with self._wire.send(method, url, headers, who, sent) as response:
                answer = self._whole(response)
        if answer.status in _BUSY:
            msg = "a FHIR server is busy"
            error = DataSourceUnavailable(msg, data=self._about, status=answer.status, hint="the train waits")
            raise _LaterError(error, asked_to_wait(answer.headers))
        return answer

    def _whole(self, response: Incoming) -> Answer:
        refuse_encoded(response.headers, response.url)
        announced = content_length(response.headers, response.url)
        response.hurry()
        body = bytearray()
        while piece := response.body.read(min(BUFFER, MOST_BYTES + 1 - len(body))):
            body += piece
            if len(body) > MOST_BYTES:
                msg = "a page is longer than allowed"
                raise DataUnfit(
                    msg, data=self._about, limit=MOST_BYTES, hint="make page_size smaller, or use _elements"
                )
        if announced is not None and len(body) != announced:
            raise _LaterError(self._away())
        return Answer(status=response.status, url=response.url, headers=response.headers, body=bytes(body))

    def _demand(self, answer: Answer, *, first: bool) -> None:
        """Go on with a success only."""
        if answer.status == _OK:
            return
        told: dict[str, object] = {"data": self._about, "status": answer.status}
        if answer.status in _DENIED:
            msg = "a FHIR server does not let the station in, or not to these resources"
            raise DataUnfit(msg, hint="check username, password_file or token_file, and the account's rights", **told)
        if answer.status in REDIRECTS:
            msg = "a FHIR server sends the station elsewhere"
            raise DataUnfit(msg, hint="name its base address as 'server' as it calls itself", **told)
        if answer.status in _GONE and not first:
            msg = "a FHIR server has forgotten the result before all of it was read"
            raise DataSourceUnavailable(msg, hint="the train waits, and all of it is read again", **told)
        with contextlib.suppress(MalformedJson):
            document = parse_json(answer.body, limit=len(answer.body))
            if isinstance(document, dict) and document.get("resourceType") == "OperationOutcome":
                raise outcome(document, self._about)
        msg = "a FHIR server cannot answer the search"
        raise DataUnfit(msg, hint="correct 'server' or 'search'", **told)

    def _document(self, answer: Answer) -> Json:
        if _JSON.fullmatch(answer.media_type) is None:
            msg = "a FHIR server answered with something else than a resource"
            raise DataUnfit(
                msg, data=self._about, hint="is 'server' its base address? Is there a login page before it?"
            )
        try:
            return parse_json(answer.body, limit=len(answer.body))
        except MalformedJson as error:
            if "content-length" not in answer.headers and "transfer-encoding" not in answer.headers:
                raise self._away() from None  # a page that was cut looks like this
            msg = "a page of a FHIR server is no JSON document"
            raise DataUnfit(msg, data=self._about, why=error.message) from None

    def _need_new(self, what: str, seen: set[str]) -> None:
        mark = digest_of(what.encode("utf-8", "replace")).hex
        if mark in seen:
            msg = "a FHIR server goes round in a circle, or its data changed while they were read"
            raise DataSourceUnavailable(msg, data=self._about, hint="the train waits, and all of it is read again")
        seen.add(mark)

    def _within(self, asked: str, target: str) -> str:
        """Return the address of the next page: it is below the server's own, or credentials would go elsewhere."""
        url, base = resolved(asked, target), urlsplit(self._endpoint.base)
        path = urlsplit(url).path if url else ""
        inside = path in {base.path, f"{base.path}/"} or path.startswith(f"{base.path}/")
        if (
            not Origin.of_url(self._endpoint.base).holds(url)
            or not inside
            or re.search(r"/\.|%2e|\\", path, re.IGNORECASE)
        ):
            msg = "the next page of a FHIR server is not at its base address"
            hint = (
                "the server calls itself otherwise: name that as 'server', or correct its base address (behind a proxy)"
            )
            raise DataUnfit(msg, data=self._about, hint=hint)
        return url

    def _fetch_token(self, url: str, who: str, form: Form) -> Answer:
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        return self._sent("POST", url, headers, who, form)

    def _away(self) -> DataSourceUnavailable:
        msg = "a FHIR server cannot be reached, is too slow, or broke off"
        return DataSourceUnavailable(msg, data=self._about, hint="the train waits; see timeout_seconds")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what went wrong on the way, in the words of a data set."""
        try:
            yield
        except RegistryUnavailable:
            raise _LaterError(self._away()) from None
        except RegistryUntrusted as error:
            msg = "the certificate of a FHIR server is not one the station trusts"
            why = error.fields.get("reason", error.message)
            raise DataUnfit(
                msg, data=self._about, why=why, hint="name the authority that issued it as ca_file"
            ) from None
        except RegistryWrongScheme:
            msg = "a FHIR server speaks http where https was said, or the other way round"
            raise DataUnfit(msg, data=self._about, hint="correct 'server'") from None
        except (RegistryMisbehaved, InvalidInput) as error:
            msg = "a FHIR server does not speak HTTP as it should"
            raise DataUnfit(msg, data=self._about, why=error.message) from None


def _dicts(value: Json) -> list[dict[str, Json]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
