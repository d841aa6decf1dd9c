"""What data are where, how do they differ, and what could they look like?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from registry.port import Registry
from security.catalogue import CatalogueEntry
from security.directory.trust import TrustStore
from security.errors import InvalidInput
from security.files import expect_new
from security.ids import PartyId
from train_builder.catalogue.compare import Compared, compare
from train_builder.catalogue.read import Offer, offers
from train_builder.catalogue.sample import write_twin


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetShown:
    """A data set over all stations that have it."""

    name: str
    entries: dict[PartyId, CatalogueEntry]
    columns: tuple[Compared, ...]


def all_data(registry: Registry, trust: TrustStore, now: datetime) -> tuple[Offer, ...]:
    """Return what every station says it has."""
    return tuple(offers(registry, trust, now))


def data_shown(found: Sequence[Offer], name: str) -> DataSetShown:
    """Put a data set of all stations beside each other.

    Raises:
        InvalidInput: no station says it has it.
    """
    entries = {one.station: entry for one in found if (entry := one.entry(name)) is not None}
    if not entries:
        known = sorted({entry.name for one in found if one.catalogue for entry in one.catalogue.data})
        msg = "no station has published such a data set"
        raise InvalidInput(msg, data=name, known=", ".join(known) or "none", hint="'pht data ls' lists them")
    return DataSetShown(name=name, entries=entries, columns=compare(entries))


def sample_data(shown: DataSetShown, into: Path, *, rows: int, seed: int) -> tuple[Path, ...]:
    """Write a synthetic twin of a data set for each station that has it; return the folders.

    Raises:
        InvalidInput: it is a folder somewhere, whose files nothing is said about.
        FileExists: a twin is there already.
    """
    made = []
    for party in shown.entries:
        expect_new(into / party / shown.name)
    for party, entry in shown.entries.items():
        folder = into / party / shown.name
        write_twin(entry, folder, rows=rows, seed=f"{seed} {party} {shown.name}")
        made.append(folder)
    return tuple(made)
