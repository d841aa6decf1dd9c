"""Where can a train go, and on which base images?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from security.directory.documents import parse_party
from security.directory.trust import Base, Party, TrustStore
from security.errors import Malformed, Refused
from security.files import read_file
from security.ids import PartyId, Role
from train_builder.home import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A station; `doubt` says why no train can be sealed to it now, if so."""

    party: PartyId
    title: str
    doubt: Refused | None


def destinations(trust: TrustStore, now: datetime) -> tuple[Destination, ...]:
    """Return all stations of the directory, by name."""
    found = []
    for party in sorted(trust.holding(Role.STATION), key=lambda known: known.party):
        doubt = None
        try:
            trust.current(party.party, Role.STATION, now)
        except Refused as error:
            doubt = error
        found.append(Destination(party=party.party, title=party.title, doubt=doubt))
    return tuple(found)


def bases(trust: TrustStore) -> tuple[Base, ...]:
    """Return the approved base images, by name."""
    return tuple(sorted(trust.approved_bases(), key=lambda base: base.name))


def seen_stations(home: Home) -> tuple[Party, ...]:
    """Return the stations that the directory had when it was fetched last. For suggestions only: nothing is verified."""
    found = []
    for path in sorted((home.cache / "targets").glob("party.*.json")):
        try:
            party = parse_party(read_file(path))
        except Malformed:
            continue
        if Role.STATION in party.roles and not party.revoked:
            found.append(party)
    return tuple(found)
