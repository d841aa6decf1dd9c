"""What does an operator see of a train: what it is, its code, what it printed, what waits for release?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock, passphrase_option
from registry.depot import Depot
from registry.memory import MemoryRegistry
from security.encoding import Json
from security.errors import FileMissing
from security.keys.keyset import Secrets
from security.train.manifest import read_manifest
from station.cli.folder import (
    by_option,
    called,
    config_at,
    existing_journal,
    keyring_of,
    opened_house,
    person,
    station_option,
    visit_named,
)
from station.desk.inside import Inside, look_inside, waiting_results, what_it_printed
from station.desk.show import printable, told_train
from station.house.config import StationConfig
from station.house.spool import Spool
from station.house.workroom import Workrooms
from station.journal.journal import Journal
from station.visit.events import KeyUsed
from station.visit.parts import plain


@click.command("show")
@click.argument("train")
@station_option
@click.option(
    "--code", is_flag=False, flag_value="", default=None, metavar="[FILE]", help="List the code, or print FILE."
)
@click.option(
    "--output", is_flag=True, help="Print what the run printed: while it runs, or if it did not pass. It may hold data."
)
@click.option(
    "--results",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[FILE]",
    help="List what waits for release, or print FILE.",
)
@by_option
@passphrase_option
def station_show(
    *,
    train: str,
    folder: Path,
    code: str | None,
    output: bool,
    results: str | None,
    by: str | None,
    passphrase_file: Path | None,
) -> Answer:
    """Show what TRAIN (the first digits of its id, or of its visit's) is, wants and will leave behind.

    --code and --output open what is sealed for this station; the journal keeps that they did, and for whom.
    """
    config = config_at(folder)
    spool = Spool(config.spool)
    with existing_journal(config) as journal:
        visit = visit_named(journal, train)
        parts = Depot(MemoryRegistry()).load(visit.arrival, spool)
        if results is not None:
            return _shown(waiting_results(visit, Workrooms(config.workrooms), wanted=results or None), results)
        if output:
            keyring = _used(journal, config, passphrase_file, f"show {person(by)} what {called(visit)} printed")
            with opened_house(config, keyring) as house:
                text = printable(what_it_printed(visit, house))
            return Answer(text=text.removesuffix("\n"), data={"output": text})
        if code is None:
            return told_train(visit, parts, None, clock.now())
        if visit.departed and visit.pushed:
            msg = "the code of a train that was sent on is not kept"
            raise FileMissing(msg, train=train[:20])
        keyring = _used(journal, config, passphrase_file, f"show {person(by)} the code of {called(visit)}")
    inside = look_inside(read_manifest(parts.manifest.payload), spool, keyring, wanted=code or None)
    if inside.text is not None:
        return _shown(inside, code)
    files: list[Json] = [{"path": path, "size": size} for path, size in inside.files]
    return told_train(visit, parts, {"content": inside.content, "files": files}, clock.now())


def _shown(inside: Inside, name: str | None) -> Answer:
    """Show one file, or the list of them."""
    if inside.text is not None:
        text = printable(inside.text)
        return Answer(text=text.removesuffix("\n"), data={"path": name, "text": text})
    files: list[Json] = [{"path": path, "size": size} for path, size in inside.files]
    lines = [f"{size:>12}  {plain(path)}" for path, size in inside.files]
    return Answer(text="\n".join(lines) or "no files", data={"files": files})


def _used(journal: Journal, config: StationConfig, passphrase_file: Path | None, purpose: str) -> tuple[Secrets, ...]:
    """Open the station's keys for an operator, and record it before they are used."""
    keyring = keyring_of(config, passphrase_file)
    for one in keyring:
        journal.note(KeyUsed(at=clock.now(), key_set=one.key_set.fingerprint, purpose=purpose))
    return keyring
