"""How does whoever audits a station get its journal, and know that it is all of it?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from security.answer import Answer
from security.envelope import MAX_ENVELOPE, parse_envelope
from security.files import expect_new, making_folder, read_file, told, write_file, writing
from security.keystore import read_folder
from station.audit import audit as audit_records
from station.audit import export, read_export, read_head
from station.config import FILE, StationConfig, load_config
from station.errors import VisitUnknown
from station.events import HeadSigned
from station.journal import Journal
from station.spool import Spool

F = TypeVar("F", bound=Callable[..., object])

_PATH: Final = click.Path(path_type=Path)


def station_option(function: F) -> F:
    """Add ``--station`` to a command whose argument is something else; handed on as `folder`."""
    return click.option(
        "-s",
        "--station",
        "folder",
        type=_PATH,
        default=Path(),
        envvar="PHT_STATION",
        show_default="this folder",
        help="The station's folder.",
    )(function)


def config_at(folder: Path) -> StationConfig:
    """Read the configuration of the station in a folder."""
    return load_config(folder / FILE)


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
@click.argument("into", type=_PATH)
@station_option
def audit_export(into: Path, folder: Path) -> Answer:
    """Write the journal as JSON lines, and the heads signed so far, into the new folder INTO."""
    config = config_at(folder)
    expect_new(into)
    with contextlib.ExitStack() as stack:
        journal = stack.enter_context(existing_journal(config))
        journal.check()
        new = stack.enter_context(making_folder(into))
        heads = [event for event in journal.station_events() if isinstance(event, HeadSigned)]
        for event in heads:
            raw = Spool(config.spool).document(event.envelope, limit=MAX_ENVELOPE)
            write_file(new / f"head-{event.sequence}.json", raw, replace=False)
        with writing(new / "journal.jsonl", replace=False) as out:
            export(journal.records(), out)
        records = journal.head().sequence
    text = f"{records} records and {len(heads)} signed heads in {into}; 'pht station audit verify {into}' checks them"
    return Answer(text=text, data={"folder": str(into), "records": records, "heads": len(heads)})


@audit.command("verify")
@click.argument("exported", type=_PATH, required=False)
@station_option
def audit_verify(exported: Path | None, folder: Path) -> Answer:
    """Verify this station's journal, or the copy in EXPORTED, against itself and the heads that were signed."""
    config = config_at(folder)
    key_set = read_folder(config.keys).key_set
    with contextlib.ExitStack() as stack:
        if exported is None:
            journal = stack.enter_context(existing_journal(config))
            records = journal.records()
            spool = Spool(config.spool)
            signed = [event for event in journal.station_events() if isinstance(event, HeadSigned)]
            raws = [spool.document(event.envelope, limit=MAX_ENVELOPE) for event in signed]
        else:
            raws = [read_file(path, limit=MAX_ENVELOPE) for path in sorted(exported.glob("head-*.json"))]
            path = exported / "journal.jsonl"
            with told(path):
                records = read_export(stack.enter_context(path.open("rb")))
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
