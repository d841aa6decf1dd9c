"""How is one request sent, and how much of its response is believed?

The server is not trusted (attack T15): redirects are followed only for the bytes of a blob, only to the registry's
origin or one named in the configuration, and without credentials; bodies are bounded; nothing is decompressed; every
wait ends; cookies and ``.netrc`` are not used. Messages are redacted: no query (it holds upload states and tokens), no
text the server wrote.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

from registry.errors import ForeignRedirect, RegistryMisbehaved, RegistryTooLong, RegistryUnavailable
from registry.http.answers import (
    REDIRECTS,
    Answer,
    asked_in_the_clear,
    content_length,
    failure,
    redacted,
    refuse_encoded,
    resolved,
)
from registry.http.auth import Authority, Credentials, Scopes, parse_challenges
from registry.http.proxies import Proxies
from registry.http.terms import Timeouts, Trust
from registry.http.wire import Incoming, Payload, Wire, speaks_tls
from registry.names import Origin
from security.digest import BUFFER

MAX_DOCUMENT: Final = 4 << 20
_MAX_TROUBLE: Final = 64 << 10  # bytes of an error's body that are read for its code
_MAX_HOPS: Final = 3
_OK: Final = (200,)
_PARTIAL: Final = 206
_NO_SUCH_RANGE: Final = 416
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is wanted of a blob of this size: all but the first `start` bytes."""

    start: int
    size: int

    @property
    def asked(self) -> Mapping[str, str]:
        """The header that asks for it (RFC 9110, section 14.2)."""
        return {"Range": f"bytes={self.start}-"}

    @property
    def told(self) -> str:
        """What the answer's header then says."""
        return f"bytes {self.start}-{self.size - 1}/{self.size}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The bytes of a blob, unchecked, from `start` on; and how many the server says will come, if it does."""

    source: BinaryIO
    start: int
    announced: int | None


class Http:
    """Requests to one registry. Safe to share between threads."""

    def __init__(
        self,
        origin: Origin,
        *,
        credentials: Credentials | None = None,
        trust: Trust | None = None,
        timeouts: Timeouts | None = None,
        proxies: Proxies | None = None,
    ) -> None:
        self._origin = origin
        self._trust = trust or Trust()
        self._wire = Wire(timeouts=timeouts or Timeouts(), ca_file=self._trust.ca_file, proxies=proxies or Proxies())
        self._authority = Authority(
            origin, credentials=credentials, token_origins=self._trust.token_origins, fetch=self._fetch_token
        )

    @property
    def origin(self) -> Origin:
        """The registry's origin, which credentials never leave."""
        return self._origin

    def url(self, path: str, query: str = "") -> str:
        """Return the URL of a path on the registry."""
        return f"{self._origin}{path}" + (f"?{query}" if query else "")

    def send(
        self,
        method: str,
        url: str,
        *,
        scopes: Scopes,
        expect: Collection[int],
        headers: Mapping[str, str] | None = None,
        payload: Callable[[], Payload] | None = None,
        accept: Collection[str] = (),
        limit: int = MAX_DOCUMENT,
    ) -> Answer:
        """Send a request to the registry and read its response of at most `limit` bytes.

        One that is longer by its own account is not read, nor is one of a type that is not in `accept`, if any are.

        Raises:
            PhtError: the status is not in `expect`; the kind of error says who must act.
            RegistryTooLong: the response is longer.
        """
        wanted = {"Accept": ", ".join(accept)} if accept else {}
        with self._authenticated(method, url, scopes, {**(headers or {}), **wanted}, payload) as response:
            self._demand(method, response, expect)
            unread = Answer(status=response.status, url=response.url, headers=response.headers, body=b"")
            if accept and unread.media_type not in accept:
                return unread
            if method != "HEAD" and (content_length(response.headers, response.url) or 0) > limit:
                raise _too_long(response, limit)
            return self._whole(response, limit)

    def open(self, url: str, *, scopes: Scopes, small: bool, part: Part | None = None) -> Opened:
        """Get a blob. A `small` one is a document. If the server does not send the `part`, just so, all of it is opened."""
        response = self._found(url, scopes, {} if part is None else part.asked)
        if part is not None and response.status in {_PARTIAL, _NO_SUCH_RANGE}:
            if response.status == _PARTIAL and response.headers.get("content-range") == part.told:
                return self._opened(response, small=small, start=part.start)
            response.body.close()
            response = self._found(url, scopes, {})
        return self._opened(response, small=small, start=0)

    def _found(self, url: str, scopes: Scopes, headers: Mapping[str, str]) -> Incoming:
        """Follow a blob to where its bytes are."""
        response = self._authenticated("GET", url, scopes, headers, None)
        for _ in range(_MAX_HOPS):
            if response.status not in REDIRECTS:
                break
            with response:
                target = self._redirected(response)
            response = self._wire.send("GET", target, headers, None, None)
        return response

    def _opened(self, response: Incoming, *, small: bool, start: int) -> Opened:
        try:
            self._demand("GET", response, (_PARTIAL,) if start else _OK)
            refuse_encoded(response.headers, response.url)
            announced = content_length(response.headers, response.url)
            if small:
                response.hurry()
        except BaseException:
            response.body.close()
            raise
        return Opened(
            source=cast("BinaryIO", io.BufferedReader(response.body, BUFFER)), start=start, announced=announced
        )

    def _redirected(self, response: Incoming) -> str:
        target = resolved(response.url, response.headers.get("location"))
        if not any(origin.holds(target) for origin in (self._origin, *self._trust.blob_origins)):
            msg = "redirected to an origin that the configuration does not name"
            raise ForeignRedirect(msg, registry=self._origin, target=redacted(target))
        return target

    def _authenticated(
        self,
        method: str,
        url: str,
        scopes: Scopes,
        headers: Mapping[str, str],
        payload: Callable[[], Payload] | None,
    ) -> Incoming:
        if not self._origin.holds(url):
            msg = "credentials would leave the registry's origin"
            raise RegistryMisbehaved(msg, registry=self._origin)
        body = payload or _nothing
        used = self._authority.header(scopes)
        response = self._wire.send(method, url, headers, used, body())
        if response.status != _UNAUTHORIZED:
            return response
        with response:
            challenges = parse_challenges(response.headers.get("www-authenticate", ""))
        header = self._authority.answer(challenges, scopes, refused=used)
        return self._wire.send(method, url, headers, header, body())

    def _fetch_token(self, url: str, authorization: str | None) -> bytes:
        with self._wire.send("GET", url, {"Accept": "application/json"}, authorization, None) as response:
            self._demand("GET", response, _OK)
            return self._whole(response, _MAX_TROUBLE).body

    def _whole(self, response: Incoming, limit: int) -> Answer:
        refuse_encoded(response.headers, response.url)
        response.hurry()
        body = bytearray()
        while piece := response.body.read(min(BUFFER, limit + 1 - len(body))):
            body += piece
            if len(body) > limit:
                raise _too_long(response, limit)
        return Answer(status=response.status, url=response.url, headers=response.headers, body=bytes(body))

    def _demand(self, method: str, response: Incoming, expect: Collection[int]) -> None:
        if response.status in expect:
            return
        try:
            answer = self._whole(response, _MAX_TROUBLE)
        except (RegistryMisbehaved, RegistryUnavailable):  # the status is enough
            answer = Answer(status=response.status, url=response.url, headers=response.headers, body=b"")
        if asked_in_the_clear(answer):
            raise speaks_tls(answer.url)
        raise failure(method, answer)


def _too_long(response: Incoming, limit: int) -> RegistryTooLong:
    msg = "response is longer than allowed"  # the redacted address says what was asked for
    return RegistryTooLong(msg, url=redacted(response.url), limit=limit)


def _nothing() -> None:
    """Return the body of a request without one."""
