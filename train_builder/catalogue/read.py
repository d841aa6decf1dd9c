"""Which data does each station say it has?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from registry.catalogue import published_catalogue
from registry.errors import NotInRegistry, RegistryDenied
from registry.port import Registry
from security.catalogue import Catalogue, CatalogueEntry, read_catalogue
from security.directory.trust import TrustStore
from security.errors import PhtError, Refused
from security.ids import PartyId, Role
from security.statement.envelope import parse_envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one station says; `doubt` is why nothing of it is believed or known, if so."""

    station: PartyId
    catalogue: Catalogue | None
    doubt: PhtError | None = None

    def entry(self, name: str) -> CatalogueEntry | None:
        """Return a data set, if the station says it has it."""
        data = self.catalogue.data if self.catalogue else ()
        return next((one for one in data if one.name == name), None)


def offers(registry: Registry, trust: TrustStore, now: datetime) -> Iterator[Offer]:
    """Yield what every station of the directory says, by name; one that cannot be believed hides no other.

    Raises:
        RegistryUnavailable: the registry cannot be reached.
    """
    for party in sorted(one.party for one in trust.holding(Role.STATION)):
        try:
            raw = published_catalogue(registry, party)
            found = None if raw is None else read_catalogue(parse_envelope(raw), station=party, trust=trust, now=now)
        except (Refused, NotInRegistry, RegistryDenied) as error:
            yield Offer(station=party, catalogue=None, doubt=error)
        else:
            yield Offer(station=party, catalogue=None if found is None else found.value)
