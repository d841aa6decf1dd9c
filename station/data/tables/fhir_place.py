"""Where is a FHIR server, as whom is it asked, and for what?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

from registry.names import Origin
from security.errors import InvalidInput
from station.data.tables.database import TIMEOUT
from station.data.tables.fhir_path import OfType, parse_path

PAGE: Final = 500
_OURS: Final = frozenset({"_count", "_format", "_pretty", "_summary"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A FHIR server at `base`, and who we are to it: an account, a token in a file, or a client of the token service `token_url`.

    `seconds` is the longest wait for an answer, and for everything that a server asks us to wait while a table is read.
    """

    base: str
    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    token_url: str | None = None
    scope: str | None = None
    ca_file: Path | None = None
    seconds: int = TIMEOUT

    def __post_init__(self) -> None:
        """Refuse what would send credentials or patients in the clear, or says twice who we are."""
        for address in (self.base, *([self.token_url] if self.token_url else [])):
            origin = Origin.of_url(address)
            if origin.scheme != "https" and not origin.loopback:
                msg = "a FHIR server, and its token service, are reached with https, unless they are on this machine"
                raise InvalidInput(msg, origin=origin, hint="write https://")
        if "?" in self.base or self.base.endswith("/"):
            msg = "the base address of a FHIR server ends without '/' and without a search"
            raise InvalidInput(msg, hint="such as https://fhir.example/r4")
        if (self.username is None) != (self.password_file is None) or (self.token_file and self.username):
            msg = "a FHIR server wants username and password_file, or token_file, or neither"
            raise InvalidInput(msg)
        if self.username is None and (self.token_url or self.scope):
            msg = "a token service wants a client's username and password_file"
            raise InvalidInput(msg)

    def local(self, reference: str) -> str:
        """Return what a reference calls a resource, however it is written: without this server's address, or a version ("References")."""
        return reference.removeprefix(f"{self.base}/").partition("/_history/")[0]

    @property
    def reads(self) -> tuple[Path, ...]:
        """See `TableSource.reads`."""
        return (*([self.ca_file] if self.ca_file else []), *self.secrets)

    @property
    def secrets(self) -> tuple[Path, ...]:
        """See `TableSource.secrets`."""
        return tuple(one for one in (self.password_file, self.token_file) if one)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is asked for: resources of a `type`, for which `query` holds, so many a page."""

    type: str
    query: str
    count: int = PAGE

    @classmethod
    def of(cls, text: str, *, count: int = PAGE) -> Search:
        """Read ``Observation?code=http://loinc.org|8480-6``.

        Raises:
            InvalidInput: it sets what is ours to set.
        """
        kind, _, query = text.partition("?")
        ours = sorted(_OURS & {name for name, _ in parse_qsl(query, keep_blank_values=True)})
        if ours:
            msg = "a search leaves out what the station says itself"
            raise InvalidInput(msg, parameter=", ".join(ours), hint="page_size says how many resources a page has")
        return cls(type=kind, query=query, count=count)

    @property
    def exact(self) -> bool:
        """Whether totals must be exact: not if the search says that they are estimates, or that nobody will look ("Search", `_total`)."""
        return not {("_total", "none"), ("_total", "estimate")} & set(parse_qsl(self.query))

    @property
    def address(self) -> str:
        """It as an address below the server's."""
        return f"{self.type}?{self.query}&_count={self.count}" if self.query else f"{self.type}?_count={self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirTable:
    """A table: a row for each resource that a search finds."""

    endpoint: Endpoint
    search: Search


def need_paths(columns: dict[str, str], kind: str) -> None:
    """Refuse a column whose origin is no path into resources of this type.

    Raises:
        InvalidInput: which one, and why.
    """
    for name, origin in columns.items():
        try:
            first = parse_path(origin)[0]
        except InvalidInput as error:
            raise InvalidInput(error.message, column=name, hint=error.hint, **error.fields) from None
        if isinstance(first, OfType) and first.type != kind:
            msg = "a path begins with another type of resource than is searched for"
            raise InvalidInput(msg, column=name, type=kind)
