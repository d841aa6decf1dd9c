"""Who are we to this registry, and to whom may that be told?

Challenges follow RFC 9110, section 11.6.1; tokens the distribution project's "Token Authentication Specification".
This module decides and sends nothing: the function that fetches a token is an argument.

A registry is not trusted (attack T15). It may name any token service in its challenge, so our credentials go only to
the registry's own origin or to one named in the configuration: another port of its host is another service, which
anybody on that machine may run. The scope is what the request needs, not what the challenge says.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import urlencode

from registry.errors import ForeignRealm, RegistryDenied, RegistryMisbehaved
from registry.names import Origin
from security.encoding import parse_json
from security.errors import InvalidInput, MalformedJson

_LONGEST: Final = 8192  # characters of a challenge header
_MOST: Final = 8  # challenges in it
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110, 5.6.2: a "token" of the grammar, not a secret
_SCHEME = re.compile(rf"({_TOKEN})(?: +|(?=,)|\Z)")
_PARAMETER = re.compile(
    rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*)"|({_TOKEN}))[ \t]*(?=,|\Z)'
)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|\Z)")
_BETWEEN = re.compile(r"[ \t,]*")
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]{1,32768}=*")  # RFC 6750, 2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An account at a registry. The password has no repr, and leaves this module only in a header."""

    username: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse characters that basic authentication cannot carry (RFC 7617, section 2)."""
        text = self.username + self.password
        if not self.username or ":" in self.username or not text.isprintable():
            msg = "account name or password contains characters that cannot be sent"
            raise InvalidInput(msg)

    def header(self) -> str:
        """Return the value of the ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to authenticate, as a server offers it. Scheme and parameter names are in lower case."""

    scheme: str
    parameters: dict[str, str] = field(hash=False)


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """Parse a ``WWW-Authenticate`` header, or several joined by commas.

    Raises:
        RegistryMisbehaved: it cannot be parsed, has a parameter twice, or is too long.
    """
    if len(header) > _LONGEST:
        raise _unreadable()
    found: list[Challenge] = []
    at = _after_commas(header, 0)
    while at < len(header):
        start = _SCHEME.match(header, at)
        if start is None or len(found) == _MOST:
            raise _unreadable()
        parameters, at = _parameters(header, start.end())
        found.append(Challenge(scheme=start[1].lower(), parameters=parameters))
        at = _after_commas(header, at)
    return tuple(found)


def _parameters(header: str, at: int) -> tuple[dict[str, str], int]:
    parameters: dict[str, str] = {}
    first = _PARAMETER.match(header, at)
    if first is None:
        opaque = _TOKEN68.match(header, at)
        return parameters, at if opaque is None else opaque.end()
    found: re.Match[str] | None = first
    while found is not None:
        name = found[1].lower()
        if name in parameters:
            raise _unreadable()
        parameters[name] = found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
        at = found.end()
        found = _PARAMETER.match(header, _after_commas(header, at))
    return parameters, at


def _after_commas(header: str, at: int) -> int:
    blank = _BETWEEN.match(header, at)
    return at if blank is None else blank.end()


def _unreadable() -> RegistryMisbehaved:
    return RegistryMisbehaved("invalid authentication challenge")


Scopes: TypeAlias = tuple[str, ...]
FetchToken: TypeAlias = Callable[[str, str | None], bytes]
"""Gets a URL with an ``Authorization`` header or none, and returns the bounded body of a successful response."""


class Authority:
    """Answers one registry's challenges and remembers what worked, per scope."""

    def __init__(
        self, registry: Origin, *, credentials: Credentials | None, token_origins: Sequence[Origin], fetch: FetchToken
    ) -> None:
        self._registry, self._credentials = registry, credentials
        self._token_origins, self._fetch = frozenset(token_origins), fetch
        self._basic: str | None = None
        self._tokens: dict[Scopes, str] = {}

    def header(self, scopes: Scopes) -> str | None:
        """Return the ``Authorization`` header that worked last, if any."""
        return self._tokens.get(scopes, self._basic)

    def answer(self, challenges: Sequence[Challenge], scopes: Scopes, *, refused: str | None) -> str:
        """Return a new ``Authorization`` header after a request with the header `refused` got a 401.

        Raises:
            RegistryDenied: no account is configured, or the registry rejected it.
            ForeignRealm: the token service is neither the registry itself nor in the configuration.
            RegistryMisbehaved: the challenge is invalid.
        """
        bearer = [challenge for challenge in challenges if challenge.scheme == "bearer"]
        if len(bearer) > 1:
            raise _unreadable()
        if bearer:
            self._tokens.pop(scopes, None)
            self._tokens[scopes] = self._token(bearer[0], scopes)
            return self._tokens[scopes]
        if not any(challenge.scheme == "basic" for challenge in challenges):
            msg = "registry requires an unsupported authentication scheme"
            raise RegistryDenied(msg, registry=self._registry, schemes=[item.scheme[:20] for item in challenges])
        if self._credentials is None:
            msg = "registry requires an account, and none is configured"
            raise RegistryDenied(msg, registry=self._registry)
        basic = self._credentials.header()
        if refused == basic:
            msg = "registry rejected our credentials"
            raise RegistryDenied(msg, registry=self._registry, account=self._credentials.username)
        self._basic = basic
        return basic

    def _token(self, challenge: Challenge, scopes: Scopes) -> str:
        realm = challenge.parameters.get("realm", "")
        try:
            origin = Origin.of_url(realm)
        except InvalidInput as error:
            msg = "address of the token service is invalid"
            raise ForeignRealm(msg, registry=self._registry) from error
        if origin != self._registry and origin not in self._token_origins:
            msg = "registry names a token service that is neither itself nor in the configuration"
            raise ForeignRealm(msg, registry=self._registry, realm=origin)
        query = [("service", challenge.parameters["service"])] if "service" in challenge.parameters else []
        query += [("scope", scope) for scope in scopes]
        url = realm + ("&" if "?" in realm else "?") + urlencode(query) if query else realm
        credentials = None if self._credentials is None else self._credentials.header()
        return "Bearer " + _read_token(self._fetch(url, credentials))


def _read_token(body: bytes) -> str:
    msg = "token service did not return a token"
    try:
        document = parse_json(body, limit=len(body))
    except MalformedJson as error:
        raise RegistryMisbehaved(msg) from error
    token = (document.get("token") or document.get("access_token")) if isinstance(document, dict) else None
    if not isinstance(token, str) or _BEARER.fullmatch(token) is None:
        raise RegistryMisbehaved(msg)
    return token
