"""How is one request sent, and how much of its answer is believed?

The server is not trusted (attack T15): no redirect is followed except for the bytes of a blob, to an origin that is
the registry's or named in the configuration, and without credentials; bodies are bounded; nothing is decompressed;
every wait ends; cookies and ``.netrc`` are not used. What goes into a message is redacted: no query (it holds upload
states and tokens), no text the server wrote.
"""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import ProxyManager

from registry.errors import ForeignRedirect, RegistryMisbehaved, RegistryUnavailable, RegistryUntrusted
from registry.http.answers import REDIRECTS, Answer, content_length, failure, redacted, refuse_encoded, resolved
from registry.http.auth import Authority, Credentials, Scopes, parse_challenges
from registry.http.head import hurry
from registry.http.proxies import Proxies, Proxy
from registry.names import PORTS, Origin
from security.digest import BUFFER
from security.errors import FileMissing, InvalidInput

MAX_DOCUMENT: Final = 4 << 20
_MAX_TROUBLE: Final = 64 << 10  # bytes of an error's body that are read for its code
_MAX_HOPS: Final = 3
_OK: Final = (200,)
_SLOWEST: Final = 1024  # bytes per second, on average: whoever trickles is treated like whoever is away


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds until a connection must stand, and until the next byte must come."""

    connect: float = 10.0
    read: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """To which places a registry may send us, and whose certificates count."""

    ca_file: Path | None = None
    token_origins: tuple[Origin, ...] = ()
    blob_origins: tuple[Origin, ...] = ()


class Payload(Protocol):
    """A request's body."""

    def __len__(self) -> int:
        """Its size in bytes."""

    def read(self, count: int = -1, /) -> bytes:
        """Return up to `count` bytes; none at its end."""


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
        self._timeouts = timeouts or Timeouts()
        self._verify = _authorities(self._trust.ca_file)
        self._proxies = proxies or Proxies()
        self._session = _Session()
        self._session.trust_env = False  # proxies are told, and .netrc is nobody's business
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount("https://", _Adapter())
        self._session.mount("http://", _Adapter())
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
        limit: int = MAX_DOCUMENT,
    ) -> Answer:
        """Send a request to the registry and read its answer of at most `limit` bytes.

        Raises:
            PhtError: the status is not in `expect`; which error tells who must act.
            RegistryMisbehaved: the answer is longer.
        """
        with self._authenticated(method, url, scopes, headers or {}, payload) as response:
            self._demand(method, response, expect)
            return self._whole(response, limit)

    def open(self, url: str, *, scopes: Scopes) -> tuple[BinaryIO, int | None]:
        """Get a blob: an unchecked reader of its bytes, and how many the server announces."""
        response = self._authenticated("GET", url, scopes, {}, None)
        try:
            for _ in range(_MAX_HOPS):
                if response.status_code not in REDIRECTS:
                    break
                target = self._redirected(response)
                response.close()
                response = self._request("GET", target, {}, None, None)
            self._demand("GET", response, _OK)
            headers = _lowered(response)
            refuse_encoded(headers, response.url)
            announced = content_length(headers, response.url)
        except BaseException:
            response.close()
            raise
        return cast("BinaryIO", io.BufferedReader(_Body(response, self._timeouts), BUFFER)), announced

    def _redirected(self, response: requests.Response) -> str:
        target = resolved(response.url, response.headers.get("location"))
        if not any(origin.holds(target) for origin in (self._origin, *self._trust.blob_origins)):
            msg = "redirected to a place that the configuration does not name"
            raise ForeignRedirect(msg, registry=self._origin, target=redacted(target))
        return target

    def _authenticated(
        self,
        method: str,
        url: str,
        scopes: Scopes,
        headers: Mapping[str, str],
        payload: Callable[[], Payload] | None,
    ) -> requests.Response:
        if not self._origin.holds(url):
            msg = "credentials would leave the registry's origin"
            raise RegistryMisbehaved(msg, registry=self._origin)
        used = self._authority.header(scopes)
        response = self._request(method, url, headers, used, payload)
        if response.status_code != requests.codes.unauthorized:
            return response
        with response:
            challenges = parse_challenges(response.headers.get("www-authenticate", ""))
        return self._request(method, url, headers, self._authority.answer(challenges, scopes, refused=used), payload)

    def _fetch_token(self, url: str, authorization: str | None) -> bytes:
        with self._request("GET", url, {"Accept": "application/json"}, authorization, None) as response:
            self._demand("GET", response, _OK)
            return self._whole(response, _MAX_TROUBLE).body

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        authorization: str | None,
        payload: Callable[[], Payload] | None,
    ) -> requests.Response:
        body = None if payload is None else payload()
        proxy = self._proxies.on_the_way_to(Origin.of_url(url))
        with _explained(url, proxy):
            return self._session.request(
                method,
                url,
                headers={"Accept-Encoding": "identity", **headers},
                data=cast("BinaryIO | None", body),
                auth=_Header(authorization),
                timeout=(self._timeouts.connect, self._timeouts.read),
                verify=self._verify,
                proxies={} if proxy is None else dict.fromkeys(PORTS, proxy.address),
                allow_redirects=False,
                stream=True,
            )

    def _whole(self, response: requests.Response, limit: int) -> Answer:
        headers = _lowered(response)
        refuse_encoded(headers, response.url)
        body = bytearray()
        source = _Body(response, self._timeouts)
        while piece := source.read(min(BUFFER, limit + 1 - len(body))):
            body += piece
            if len(body) > limit:
                msg = "answer is longer than allowed"  # which says nothing about what was asked for
                raise RegistryMisbehaved(msg, url=redacted(response.url), limit=limit)
        return Answer(status=response.status_code, url=response.url, headers=headers, body=bytes(body))

    def _demand(self, method: str, response: requests.Response, expect: Collection[int]) -> None:
        if response.status_code in expect:
            return
        try:
            answer = self._whole(response, _MAX_TROUBLE)
        except (RegistryMisbehaved, RegistryUnavailable):  # the status alone tells enough
            answer = Answer(status=response.status_code, url=response.url, headers=_lowered(response), body=b"")
        raise failure(method, answer)


def _lowered(response: requests.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


class _Body(io.RawIOBase):
    """The bytes of an answer as they come, uninterpreted."""

    def __init__(self, response: requests.Response, timeouts: Timeouts) -> None:
        super().__init__()
        self._response, self._patience = response, timeouts.read
        self._since, self._seen = time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with what is there.

        Raises:
            RegistryUnavailable: the connection broke, or brings next to nothing.
        """
        with _explained(self._response.url):
            data: bytes = self._response.raw.read1(len(buffer), decode_content=False) or b""
        buffer[: len(data)] = data
        self._seen += len(data)
        if time.monotonic() - self._since > self._patience + self._seen / _SLOWEST:
            msg = "answer comes too slowly"
            raise RegistryUnavailable(msg, url=redacted(self._response.url))
        return len(data)

    def close(self) -> None:
        self._response.close()
        super().close()


class _Header(AuthBase):
    """Sets our header or none, and so keeps requests from looking into ``.netrc``."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._value is not None:
            request.headers["Authorization"] = self._value
        return request


class _Session(requests.Session):
    """Keeps requests from looking after redirects.

    Even when told not to follow one it reads the whole body, unbounded and unpacked, and parses the address (T15, T17).
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """There is none."""


class _Adapter(HTTPAdapter):
    """Sends bodies in pieces of a mebibyte; the default is 16 KiB. Reads heads within bounds."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **others: object) -> None:
        super().init_poolmanager(connections, maxsize, block, blocksize=BUFFER, **others)
        hurry(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **others: object) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **others)
        hurry(manager)
        return manager


def _authorities(ca_file: Path | None) -> str | bool:
    if ca_file is None:
        return True
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except ssl.SSLError as error:
        msg = "not a file of PEM certificates"
        raise InvalidInput(msg, path=ca_file) from error
    except OSError as error:
        msg = "certificate authority's file cannot be read"
        hint = "--registry-ca-file, or ca_file under 'registry' in station.yaml, names a certificate (PEM)"
        raise FileMissing(msg, path=ca_file, hint=hint) from error
    return str(ca_file)


@contextmanager
def _explained(url: str, proxy: Proxy | None = None) -> Iterator[None]:
    shown = redacted(url)
    try:
        yield
    except requests.exceptions.SSLError as error:
        if _is_about_certificates(error):
            msg = "registry's certificate is not trusted"
            raise RegistryUntrusted(msg, url=shown) from error
        msg = "secure connection to the registry broke"
        raise RegistryUnavailable(msg, url=shown) from error
    except requests.exceptions.ProxyError as error:
        msg = "the proxy on the way to the registry does not let us through"
        hint = "check http_proxy, https_proxy and no_proxy in the environment"
        raise RegistryUnavailable(msg, hint=hint, url=shown, proxy=proxy and proxy.shown) from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader) as error:
        msg = "registry gave an address that cannot be used"
        raise RegistryMisbehaved(msg, url=shown) from error
    except (requests.RequestException, HTTPError) as error:
        msg = "registry cannot be reached, or broke off"
        raise RegistryUnavailable(msg, url=shown, reason=type(error).__name__) from error


def _is_about_certificates(error: BaseException) -> bool:
    seen: list[BaseException | None] = [error]
    while seen:
        cause = seen.pop()
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        if cause is not None:
            seen += [cause.__cause__, getattr(cause, "reason", None)]
            seen += [item for item in cause.args if isinstance(item, BaseException)]
    return False
