"""What would a station's sweep remove, and remove it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from station.daemon.sweep import Keeper, sweep
from station.desk.opening import journal_of
from station.errors import StationBusy
from station.house.config import StationConfig
from station.house.lock import holding
from station.house.passes import PassKeys
from station.house.spool import Spool
from station.journal.journal import Journal
from station.visit.events import Blob


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep removes, or has `removed`, and what it leaves, in files and bytes."""

    removed: bool
    swept: tuple[Blob, ...]
    left: int
    left_bytes: int

    @property
    def swept_bytes(self) -> int:
        """The size of what is removed, in bytes."""
        return sum(blob.size for blob in self.swept)


def would_sweep(config: StationConfig, now: datetime) -> Swept:
    """Return what a sweep would remove now; also while a daemon works.

    Raises:
        VisitUnknown: the station has no journal yet.
    """
    with journal_of(config) as journal:
        spool, keeper = Spool(config.spool), _keeper(config, journal)
        return _told(spool, spool.unreferenced(keeper.references(now)), removed=False)


def sweep_station(config: StationConfig, now: datetime) -> Swept:
    """Remove what the station keeps no longer.

    Raises:
        StationBusy: a daemon works here; it sweeps by itself.
        VisitUnknown: the station has no journal yet.
    """
    try:
        with holding(config.folder), journal_of(config) as journal:
            spool = Spool(config.spool)
            return _told(spool, sweep(spool, _keeper(config, journal), now), removed=True)
    except StationBusy as error:
        msg = "a daemon works here, and sweeps by itself"
        raise StationBusy(msg, hint="--dry-run tells what it will remove", **error.fields) from error


def _keeper(config: StationConfig, journal: Journal) -> Keeper:
    return Keeper(journal, config.retention, PassKeys(config.passes))


def _told(spool: Spool, swept: tuple[Blob, ...], *, removed: bool) -> Swept:
    gone = {blob.digest for blob in swept}
    left = [blob for blob in spool.blobs() if blob.digest not in gone]
    return Swept(removed=removed, swept=swept, left=len(left), left_bytes=sum(blob.size for blob in left))
