"""How does an auditor get a station's journal, with the heads that were signed and the public keys?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from security.digest import Digest
from security.files import expect_new, make_folder, making_folder, read_file, write_file, writing
from security.keys.store import PUBLIC, read_folder
from station.daemon.heads import sign_end, signed_heads
from station.desk.opening import Unlock, journal_of, present_keys
from station.house.config import StationConfig
from station.house.spool import Spool
from station.journal.audit import export

JOURNAL: Final = "journal.jsonl"
HEADS: Final = "head-*.json"
EARLIER: Final = "earlier-*"
_MOST_PUBLIC: Final = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """How much was written; signed heads vouch for the first `proven` records. `fingerprint` is that of the keys."""

    records: int
    heads: int
    proven: int
    fingerprint: Digest


def export_journal(config: StationConfig, into: Path, *, by: str, unlock: Unlock | None, now: datetime) -> Exported:
    """Write the journal as JSON lines, the heads signed so far, and the public keys, into the new folder `into`.

    With `unlock`, its end is signed first: the heads then vouch for all of it but the record of this signing.

    Raises:
        FileExists: `into` exists already.
        JournalDamaged: the chain is broken.
        NotAKeyFile: the public file of our keys, or of earlier ones, is damaged.
    """
    expect_new(into)
    spool, folders = Spool(config.spool), {".": config.keys, **_earlier(config)}
    fingerprint, *_ = [read_folder(keys).key_set.fingerprint for keys in folders.values()]
    with journal_of(config) as journal:
        journal.check()
        if unlock is not None:
            secrets, purpose = present_keys(config, unlock), f"sign the journal's head for {by}"
            sign_end(journal, spool, secrets, station=config.party, now=now, purpose=purpose)
        with making_folder(into) as new:
            heads = signed_heads(journal, spool)
            for sequence, raw in heads:
                write_file(new / HEADS.replace("*", str(sequence)), raw, replace=False)
            for name, keys in folders.items():
                public = read_file(keys / PUBLIC, limit=_MOST_PUBLIC)
                write_file(make_folder(new / name) / PUBLIC, public, mode=0o644, replace=False)
            with writing(new / JOURNAL, replace=False) as out:
                export(journal.records(), out)
            records = journal.head().sequence
    return Exported(
        records=records,
        heads=len(heads),
        proven=max((sequence for sequence, _ in heads), default=0),
        fingerprint=fingerprint,
    )


def _earlier(config: StationConfig) -> dict[str, Path]:
    """Name the folders of earlier keys in an export."""
    return {EARLIER.replace("*", str(number)): keys for number, keys in enumerate(config.earlier_keys, start=1)}
