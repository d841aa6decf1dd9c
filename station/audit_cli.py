"""How does whoever audits a station get its journal, and know that it is all of it?"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from security.answer import Answer
from security.envelope import MAX_ENVELOPE, parse_envelope
from security.files import make_folder, read_file, write_file
from security.keystore import read_folder
from station.audit import audit as audit_records
from station.audit import export, read_export, read_head
from station.config import StationConfig, load_config
from station.errors import VisitUnknown
from station.events import HeadSigned
from station.journal import Journal
from station.spool import Spool

CONFIG_KEY: Final = "pht.station.config"
_PATH: Final = click.Path(path_type=Path)


def current_config() -> StationConfig:
    """Read the configuration that the group's ``--config`` names."""
    return load_config(click.get_current_context().meta[CONFIG_KEY])


@contextlib.contextmanager
def existing_journal(config: StationConfig) -> Iterator[Journal]:
    """Open the journal, if the station has one: only its daemon begins it."""
    if not config.journal.exists():
        msg = "this station has no journal yet"
        raise VisitUnknown(msg, folder=config.folder, hint="'pht station run' begins it")
    with Journal.open(config.journal) as journal:
        yield journal


@click.group()
def audit() -> None:
    """Export the journal for whoever audits this station, and verify it, here or there."""


@audit.command("export")
@click.argument("folder", type=_PATH)
def audit_export(folder: Path) -> Answer:
    """Write the journal as JSON lines, and the heads signed so far, into the new FOLDER."""
    config = current_config()
    with existing_journal(config) as journal:
        journal.check()
        make_folder(folder)
        heads = [event for event in journal.station_events() if isinstance(event, HeadSigned)]
        for event in heads:
            raw = Spool(config.spool).document(event.envelope, limit=MAX_ENVELOPE)
            write_file(folder / f"head-{event.sequence}.json", raw, replace=False)
        target = folder / "journal.jsonl"
        with target.open("xb") as out:
            export(journal.records(), out)
            out.flush()
            os.fsync(out.fileno())
        records = journal.head().sequence
    text = (
        f"{records} records and {len(heads)} signed heads in {folder}; 'pht station audit verify {folder}' checks them"
    )
    return Answer(text=text, data={"folder": str(folder), "records": records, "heads": len(heads)})


@audit.command("verify")
@click.argument("folder", type=_PATH, required=False)
def audit_verify(folder: Path | None) -> Answer:
    """Verify this station's journal, or an exported one in FOLDER, against itself and the heads that were signed."""
    config = current_config()
    key_set = read_folder(config.keys).key_set
    with contextlib.ExitStack() as stack:
        if folder is None:
            journal = stack.enter_context(existing_journal(config))
            records = journal.records()
            spool = Spool(config.spool)
            signed = [event for event in journal.station_events() if isinstance(event, HeadSigned)]
            raws = [spool.document(event.envelope, limit=MAX_ENVELOPE) for event in signed]
        else:
            raws = [read_file(path, limit=MAX_ENVELOPE) for path in sorted(folder.glob("head-*.json"))]
            read_file(folder / "journal.jsonl", limit=1 << 40)
            records = read_export(stack.enter_context((folder / "journal.jsonl").open("rb")))
        heads = [read_head(parse_envelope(raw), key_set, station=config.party) for raw in raws]
        checked = audit_records(records, heads)
    text = (
        f"in order: {checked.head.sequence} records, {len(checked.visits)} visits; "
        f"signed heads vouch for the first {checked.proven}"
    )
    data: dict[str, Any] = {
        "records": checked.head.sequence,
        "head": checked.head.hash,
        "visits": len(checked.visits),
        "proven": checked.proven,
    }
    return Answer(text=text, data=data)
