"""How is `requests` kept from doing anything that was not asked for?

It would follow redirects, read a redirect's body whole and unpacked, keep cookies, look into ``.netrc`` and the
environment. Here it sends one request, with the headers it is given, and returns the head of the response and its body
as it comes (attacks T15, T17). Its exceptions end here, as errors that say who must act. No other module imports it.
"""

from __future__ import annotations

import io
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import BadStatusLine
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self, cast

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError
from urllib3.poolmanager import ProxyManager

from registry.errors import RegistryMisbehaved, RegistryUnavailable, RegistryUntrusted, RegistryWrongScheme
from registry.http.answers import redacted
from registry.http.head import limit_heads
from registry.http.proxies import Proxies, Proxy
from registry.http.terms import Timeouts
from registry.names import PORTS, Origin
from security.digest import BUFFER
from security.errors import FileMissing, InvalidInput

_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})
"""What OpenSSL calls it when the first bytes from a server are not TLS."""
_TLS_ALERT: Final = "\x15\x03"
"""How a TLS server's answer to plain http begins (RFC 8446, section 5.1), if it is not an answer in plain http."""
_SLOWEST: Final = 4 << 10
"""Bytes per second, on average: a server that trickles is treated as one that is away."""
_SLOWEST_DOCUMENT: Final = 32 << 10
"""The same for what is read whole: 4 MiB take two minutes at most, and do not hold a request for an hour."""


class Payload(Protocol):
    """A request's body."""

    def __len__(self) -> int:
        """Its size in bytes."""

    def read(self, count: int = -1, /) -> bytes:
        """Return up to `count` bytes; none at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A response whose body has not been read. Header names are in lower case."""

    status: int
    url: str
    headers: Mapping[str, str] = field(hash=False)
    body: Body

    def hurry(self) -> None:
        """Expect a document, which has to arrive faster than a blob."""
        self.body.slowest = _SLOWEST_DOCUMENT

    def __enter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.body.close()


class Wire:
    """Sends requests, one at a time and nothing else. Safe to share between threads."""

    def __init__(self, *, timeouts: Timeouts, ca_file: Path | None, proxies: Proxies) -> None:
        self._timeouts, self._verify, self._proxies = timeouts, _authorities(ca_file), proxies
        self._session = _Session()
        self._session.trust_env = False  # neither .netrc nor the proxies of the environment
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.mount("https://", _Adapter())
        self._session.mount("http://", _Adapter())

    def send(
        self, method: str, url: str, headers: Mapping[str, str], authorization: str | None, payload: Payload | None
    ) -> Incoming:
        """Send a request and return what comes back.

        Raises:
            RegistryUnavailable: there is no connection, or it broke.
            RegistryUntrusted: the certificate is not trusted.
        """
        proxy = self._proxies.on_the_way_to(Origin.of_url(url))
        with _explained(url, proxy):
            response = self._session.request(
                method,
                url,
                headers={"Accept-Encoding": "identity", **headers},
                data=cast("BinaryIO | None", payload),
                auth=_Header(authorization),
                timeout=(self._timeouts.connect, self._timeouts.read),
                verify=self._verify,
                proxies={} if proxy is None else dict.fromkeys(PORTS, proxy.address),
                allow_redirects=False,
                stream=True,
            )
        return Incoming(
            status=response.status_code,
            url=response.url,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=Body(response, self._timeouts.read),
        )


class Body(io.RawIOBase):
    """The bytes of a response as they arrive, uninterpreted, at `slowest` bytes per second or more."""

    def __init__(self, response: requests.Response, patience: float) -> None:
        super().__init__()
        self._response, self._patience = response, patience
        self._since, self._seen, self.slowest = time.monotonic(), 0, _SLOWEST

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with what has arrived.

        Raises:
            RegistryUnavailable: the connection broke, or is too slow.
        """
        with _explained(self._response.url):
            data: bytes = self._response.raw.read1(len(buffer), decode_content=False) or b""
        buffer[: len(data)] = data
        self._seen += len(data)
        if time.monotonic() - self._since > self._patience + self._seen / self.slowest:
            msg = "response arrives too slowly"
            raise RegistryUnavailable(msg, url=redacted(self._response.url))
        return len(data)

    def close(self) -> None:
        """Give the connection back, or close it if there is more to come."""
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
    """Keeps requests from looking for redirects.

    Even when told not to follow one it reads the whole body, unbounded and unpacked, and parses the address (T15, T17).
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """There is none."""


class _Adapter(HTTPAdapter):
    """Sends bodies in pieces of a mebibyte; the default is 16 KiB. Reads heads within bounds."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **others: object) -> None:
        super().init_poolmanager(connections, maxsize, block, blocksize=BUFFER, **others)
        limit_heads(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **others: object) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **others)
        limit_heads(manager)
        return manager


def _authorities(ca_file: Path | None) -> str | bool:
    if ca_file is None:
        return True
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except ssl.SSLError as error:
        msg = "not a PEM file with certificates"
        raise InvalidInput(msg, path=ca_file) from error
    except OSError as error:
        msg = "cannot read the file of the certificate authority"
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
            raise untrusted(error, url) from error
        if _met_no_tls(error):
            msg = "the address says https, and the server does not speak it"
            hint = "write http:// if this registry is meant to be reached without TLS, or check the port"
            raise RegistryWrongScheme(msg, hint=hint, url=shown) from error
        msg = "TLS connection to the registry failed"
        raise RegistryUnavailable(msg, url=shown) from error
    except requests.exceptions.ProxyError as error:
        msg = "the proxy to the registry refused the connection"
        hint = "check http_proxy, https_proxy and no_proxy in the environment"
        raise RegistryUnavailable(msg, hint=hint, url=shown, proxy=proxy and proxy.shown) from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader) as error:
        msg = "invalid address from the registry"
        raise RegistryMisbehaved(msg, url=shown) from error
    except (requests.RequestException, HTTPError) as error:
        if any(
            isinstance(cause, BadStatusLine) and str(cause.args[0]).startswith(_TLS_ALERT) for cause in _causes(error)
        ):
            raise speaks_tls(url) from error
        msg = "registry cannot be reached, or closed the connection"
        raise RegistryUnavailable(msg, url=shown, reason=type(error).__name__) from error


def speaks_tls(url: str) -> RegistryWrongScheme:
    """Return the error for plain http to a server that speaks https."""
    msg = "the address says http, and the server speaks https"
    return RegistryWrongScheme(msg, hint="write https:// in the registry's address", url=redacted(url))


_OF_ANOTHER_NAME: Final = frozenset({62, 64})
_NOT_NOW: Final = {9: "not valid yet", 10: "no longer valid"}
_WITHOUT_AUTHORITY: Final = frozenset({2, 18, 19, 20, 21})
"""What OpenSSL calls reasons not to trust a certificate (``X509_V_ERR_…``)."""


def untrusted(error: BaseException, url: str) -> RegistryUntrusted:
    """Return the error that says what is wrong with a server's certificate, and so what to do about it."""
    told, host = _refusal(error), Origin.of_url(url).host
    code, reason, shown = getattr(told, "verify_code", 0), getattr(told, "verify_message", None), redacted(url)
    if code in _OF_ANOTHER_NAME:
        msg = "the registry's certificate is for another host name"
        hint = f"use the name that is in it, or have its operator get one for {host}"
        return RegistryUntrusted(msg, hint=hint, url=shown, reason=reason)
    if code in _NOT_NOW:
        msg = f"the registry's certificate is {_NOT_NOW[code]}"
        hint = "is this machine's clock right? If it is, tell the registry's operator"
        return RegistryUntrusted(msg, hint=hint, url=shown)
    if code in _WITHOUT_AUTHORITY:
        msg = "the registry's certificate is from an authority that is not trusted here"
        return RegistryUntrusted(msg, url=shown, reason=reason)
    msg = "the registry's certificate is not trusted"
    return RegistryUntrusted(msg, url=shown, reason=reason)


def _refusal(error: BaseException) -> ssl.SSLCertVerificationError | None:
    left, seen = [error], set[int]()
    while left:
        cause = left.pop()
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        if id(cause) not in seen:
            seen.add(id(cause))
            told = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
            left += [one for one in told if isinstance(one, BaseException)]
    return None


def _is_about_certificates(error: BaseException) -> bool:
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def _met_no_tls(error: BaseException) -> bool:
    return any(isinstance(cause, ssl.SSLError) and cause.reason in _NO_TLS for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and whatever it says it comes from. The ``reason`` of urllib3's is an error, that of ssl's a text."""
    left, seen = [error], set[int]()
    while left:
        cause = left.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        told = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
        left += [one for one in told if isinstance(one, BaseException)]
