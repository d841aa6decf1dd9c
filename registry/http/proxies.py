"""Which proxy does a request go through, if any?

The variables are those of curl and pip: ``http_proxy``, ``https_proxy``, ``all_proxy``, and ``no_proxy``, which lists
what is reached directly: hosts (with all their subdomains), ``host:port``, networks (``10.0.0.0/8``), ``*``. Lower-case
names win. Loopback is always reached directly: at the proxy, that name means another machine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from registry.names import Origin
from security.errors import InvalidInput

_ADDRESS: Final = re.compile(r"(?:(https?)://)?(?:[^@/\s]*@)?((?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?)/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy. Its address may hold an account and is never shown; ``shown`` is what may be."""

    address: str = field(repr=False)
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """The proxies an environment names; if it names none, every request goes directly."""

    addresses: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    exempt: tuple[str, ...] = ()

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the proxy variables of an environment."""
        said = {name: environment.get(name, environment.get(name.upper(), "")) for name in (*_BY_SCHEME.values(), _ALL)}
        exempt = environment.get("no_proxy", environment.get("NO_PROXY", ""))
        return cls(
            addresses={name: text for name, text in said.items() if text},
            exempt=tuple(word.lower() for word in re.split(r"[,\s]+", exempt) if word),
        )

    def on_the_way_to(self, origin: Origin) -> Proxy | None:
        """Return the proxy for requests to `origin`, or None if they go directly.

        Raises:
            InvalidInput: it is not an http proxy.
        """
        if origin.loopback or any(_covers(word, origin) for word in self.exempt):
            return None
        name = next((name for name in (_BY_SCHEME[origin.scheme], _ALL) if name in self.addresses), None)
        if name is None:
            return None
        found = _ADDRESS.fullmatch(self.addresses[name])
        if found is None:
            msg = "invalid proxy address in the environment"  # not which: it may hold a password
            raise InvalidInput(
                msg, variable=name, hint="http://host:port, with an account as http://name:password@host"
            )
        address = self.addresses[name] if found[1] else f"http://{self.addresses[name]}"
        return Proxy(address=address, shown=found[2])


_ALL: Final = "all_proxy"
_BY_SCHEME: Final = {"http": "http_proxy", "https": "https_proxy"}


def _covers(word: str, origin: Origin) -> bool:
    """Whether an entry of ``no_proxy`` covers `origin`."""
    host = origin.host.strip("[]")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(word.strip("[]"), strict=False)
    except ValueError:
        names = {host, f"{origin.host}:{origin.port}"}
        suffix = word.removeprefix("*").removeprefix(".")
        return word == "*" or any(name == suffix or name.endswith(f".{suffix}") for name in names)
