"""How are repositories, tags and registries named?

The forms are those of the OCI distribution specification 1.1 ("Pulling manifests"). There is no default registry and
no default tag: an incomplete name is refused.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeAlias
from urllib.parse import SplitResult, urlsplit

from security.digest import Digest
from security.errors import InvalidInput

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_REPOSITORY_CHARACTERS = 200
_RESERVED = frozenset({"blobs", "manifests", "tags", "uploads", "index.json", "oci-layout"})
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
ACCOUNT: Final = (
    "give the account with --registry-user and --registry-password-file, before the command ('pht train setup' keeps "
    "them), or as username and password_file under 'registry' in station.yaml"
)
PORTS = {"http": 80, "https": 443}
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,2048}")


class Repository(str):
    """A repository's name, such as ``mailbox/hospital-a``.

    A component may not be a word with a meaning of its own in the distribution API or an image layout (``blobs``, …):
    such a name would be ambiguous in a path.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Parse, or raise `InvalidInput`."""
        if (
            len(text) > _REPOSITORY_CHARACTERS
            or _REPOSITORY.fullmatch(text) is None
            or not _RESERVED.isdisjoint(text.split("/"))
        ):
            msg = "not a repository name (lower-case words with '/' between them)"
            raise InvalidInput(msg, value=repr(text)[:80])
        return super().__new__(cls, text)

    def below(self, prefix: Repository | None) -> Repository:
        """Return this name with `prefix` before it."""
        return self if prefix is None else Repository(f"{prefix}/{self}")

    def __repr__(self) -> str:
        return f"Repository({str(self)!r})"


class Tag(str):
    """A tag: a name that anyone who writes to the repository may move at any time (attack T13)."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Parse, or raise `InvalidInput`."""
        if _TAG.fullmatch(text) is None:
            msg = "not a tag (1 to 128 of letters, digits, '.', '_' and '-')"
            raise InvalidInput(msg, value=repr(text)[:80])
        return super().__new__(cls, text)

    def __repr__(self) -> str:
        return f"Tag({str(self)!r})"


Reference: TypeAlias = Tag | Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Scheme, host and port: the unit of trust on the web (RFC 6454). Credentials never leave theirs."""

    scheme: str
    host: str
    port: int

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse ``https://host[:port]``.

        Raises:
            InvalidInput: anything else, such as a path, an account or a query.
        """
        parts, origin = _split(text)
        if parts.path not in {"", "/"}:
            msg = "not an origin (https://host:port, without a path)"
            raise InvalidInput(msg, value=repr(text)[:80])
        return cls(scheme=origin.scheme, host=origin.host, port=origin.port)

    @classmethod
    def of_url(cls, url: str) -> Self:
        """Return the origin of a URL that may have a path and a query but no account and no fragment."""
        _, origin = _split(url, query=True)
        return cls(scheme=origin.scheme, host=origin.host, port=origin.port)

    def holds(self, url: str) -> bool:
        """Whether an untrusted URL has this origin."""
        try:
            return Origin.of_url(url) == self
        except InvalidInput:
            return False

    @property
    def loopback(self) -> bool:
        """Whether the host names this machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        """Return the origin as in a URL, without the scheme's default port."""
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLocation:
    """A registry with the distribution API; `prefix` precedes every repository's name."""

    origin: Origin
    prefix: Repository | None

    def __str__(self) -> str:
        return str(self.origin) if self.prefix is None else f"{self.origin}/{self.prefix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderLocation:
    """A registry in a folder, one OCI image layout per repository."""

    path: Path

    def __str__(self) -> str:
        return f"layout:{self.path}"


Location: TypeAlias = HttpLocation | FolderLocation


def location(text: str) -> Location:
    """Parse ``https://host[:port][/prefix]``, ``http://…`` or ``layout:/folder``.

    Raises:
        InvalidInput: anything else, including a URL with an account, which would end up in logs.
    """
    if text.startswith("layout:") and len(text) > len("layout:") and "\0" not in text:
        return FolderLocation(path=Path(text.removeprefix("layout:")))
    parts, origin = _split(text)
    path = parts.path.strip("/")
    return HttpLocation(origin=origin, prefix=Repository(path) if path else None)


def _split(text: str, *, query: bool = False) -> tuple[SplitResult, Origin]:
    msg = "not a registry address (https://host:port/prefix or layout:/folder)"
    if _PRINTABLE.fullmatch(text) is None or "\\" in text:
        raise InvalidInput(msg, value=repr(text)[:80])
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidInput(msg) from error
    if parts.username is not None or parts.password is not None:
        msg = "an address may not contain an account"
        raise InvalidInput(msg, hint=ACCOUNT)
    if parts.scheme not in PORTS or parts.fragment or (parts.query and not query) or not _is_host(host):
        raise InvalidInput(msg, value=repr(text.partition("?")[0])[:80], hint=_meant(text))
    shown = f"[{host}]" if ":" in host else host
    return parts, Origin(scheme=parts.scheme, host=shown, port=PORTS[parts.scheme] if port is None else port)


def _meant(text: str) -> str | None:
    """Return a hint for an address that lacks only its scheme."""
    if text.startswith(("/", "./", "../")):
        return f"did you mean layout:{text}?"
    if "://" in text or re.search(r"[.:]|^localhost\b", text) is None:
        return None
    for scheme in PORTS:
        try:
            _, origin = _split(f"{scheme}://{text}")
        except InvalidInput:
            return None
        if origin.loopback or scheme == "https":
            return f"did you mean {scheme}://{text}?"
    return None


def _is_host(host: str) -> bool:
    if _HOST.fullmatch(host) is not None:
        return True
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return "%" not in host
