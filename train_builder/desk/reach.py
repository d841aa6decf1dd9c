"""How are the registry and the directory reached that an owner's home names?"""

from __future__ import annotations

from datetime import datetime

from registry.depot import Depot
from registry.places import registry_at, source_at
from security.directory.client import load_trust
from security.directory.trust import TrustStore
from train_builder.home import Home


def depot_of(home: Home) -> Depot:
    """Open the registry that the home names."""
    return Depot(registry_at(home.settings.registry, home.settings.login))


def trust_of(home: Home, now: datetime) -> TrustStore:
    """Fetch and verify the directory that the home names.

    Raises:
        DirectoryRejected, DirectoryUnavailable: see `load_trust`.
    """
    source = source_at(home.settings.directory, home.settings.login)
    return load_trust(source, home.cache, home.root(), now)
