"""How is the house opened that a command works with?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from security.keys.keyset import Secrets
from station.daemon.pace import Terms
from station.house.assembly import capacity_of, open_house
from station.house.config import StationConfig
from station.house.house import House


@contextlib.contextmanager
def house_of(config: StationConfig, keyring: Sequence[Secrets]) -> Iterator[House]:
    """Open everything the station works with; `keyring` holds its present keys first, then those it had before."""
    house = open_house(config, keyring[0], keyring[1:])
    with house.journal:
        yield house


def terms_of(config: StationConfig) -> Terms:
    """Return what the operator allows a daemon."""
    return Terms(capacity=capacity_of(config), retention=config.retention)
