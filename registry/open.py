"""Which registry does an address mean, and how is it reached?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, assert_never

from registry.http.auth import Credentials
from registry.http.proxies import Proxies
from registry.http.terms import Timeouts, Trust
from registry.layout import LayoutRegistry
from registry.names import FolderLocation, HttpLocation, Location
from registry.port import Registry
from registry.retry import RetryingRegistry
from security.errors import InvalidInput

if TYPE_CHECKING:
    from registry.http.request import Http

_INSECURE: Final = (
    "use https; if the network is private: --registry-insecure before the command, or 'insecure: true' under 'registry' "
    "in station.yaml"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a registry is reached: account, trust, timeouts and proxies. ``insecure`` allows plain http to another machine."""

    credentials: Credentials | None = None
    trust: Trust = field(default_factory=Trust)
    timeouts: Timeouts = field(default_factory=Timeouts)
    proxies: Proxies = field(default_factory=Proxies)
    insecure: bool = False


def open_registry(place: Location, access: Access | None = None, *, sleep: Callable[[float], object]) -> Registry:
    """Return the registry at `place`. Requests over the network are retried for some seconds.

    Nothing is sent yet.

    Raises:
        InvalidInput: plain http to another machine, where anyone on the way could read the account.
        FileMissing: the certificate authority's file cannot be read.
    """
    match place:
        case FolderLocation():
            return LayoutRegistry(place.path)
        case HttpLocation():
            return RetryingRegistry(_remote(place, access or Access()), sleep=sleep)
        case _:
            assert_never(place)


def open_http(place: HttpLocation, access: Access) -> Http:
    """Return what sends requests to the server of a place. Nothing is sent yet.

    Raises:
        FileMissing: the certificate authority's file cannot be read.
    """
    from registry.http.request import Http  # noqa: PLC0415 - slow to import, and a folder needs none

    return Http(
        place.origin,
        credentials=access.credentials,
        trust=access.trust,
        timeouts=access.timeouts,
        proxies=access.proxies,
    )


def _remote(place: HttpLocation, access: Access) -> Registry:
    from registry.http.remote import HttpRegistry  # noqa: PLC0415 - see above

    if place.origin.scheme == "http" and not place.origin.loopback and not access.insecure:
        msg = "plain http to a registry on another machine"
        raise InvalidInput(msg, registry=place, hint=_INSECURE)
    return HttpRegistry(open_http(place, access), prefix=place.prefix)
