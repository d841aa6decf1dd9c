"""How does an auditor get a station's journal, and know that it is complete?"""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from console.answer import Answer
from console.prompts import card_at, clock, passphrase_option
from station.cli.options import PATH, by_option, person, station_option, unlocker
from station.cli.render_audit import render_audited, render_exported
from station.desk.audit import AuditKeys, audit_export, audit_station, keys_in_export, keys_of_card, keys_of_station
from station.desk.export import export_journal
from station.desk.opening import station_at
from station.house.config import FILE


@click.group()
def audit() -> None:
    """Export the journal for an auditor, and verify it, here or elsewhere."""


@audit.command("export")
@click.argument("into", type=PATH)
@station_option
@by_option
@passphrase_option
def audit_export_command(into: Path, folder: Path, by: str | None, passphrase_file: Path | None) -> Answer:
    """Write the journal as JSON lines, the heads signed so far, and the public keys, into the new folder INTO.

    With --passphrase-file, its end is signed first: the heads then vouch for all of it but the record of this signing.
    """
    config = station_at(folder)
    unlock = None if passphrase_file is None else unlocker(config, passphrase_file)
    return render_exported(into, export_journal(config, into, by=person(by), unlock=unlock, now=clock.now()))


@audit.command("verify")
@click.argument("exported", type=PATH, required=False)
@station_option
@click.option("--card", type=PATH, help="The station's party card: whose journal it should be.")
@click.option(
    "--fingerprint",
    "fingerprints",
    metavar="HEX",
    multiple=True,
    help="Of the station's keys, as it or the consortium read it out to you; repeat it for each of its earlier keys.",
)
@click.pass_context
def audit_verify(
    context: click.Context, exported: Path | None, folder: Path, card: Path | None, fingerprints: tuple[str, ...]
) -> Answer:
    """Verify this station's journal, or the copy in EXPORTED, against itself and the heads that were signed.

    Away from the station, the keys are those of --card, or those in the export. Anybody could have put others there:
    compare their fingerprints with what the station or the consortium reads out, or give them with --fingerprint. Then
    keys with other fingerprints count for nothing.
    """
    given = context.get_parameter_source("folder") is not ParameterSource.DEFAULT
    at_home = given or exported is None or (folder / FILE).exists()
    keys = _keys(exported or Path(), folder if at_home else None, card)
    if fingerprints:
        keys = keys.confirmed(fingerprints)
    return render_audited(audit_station(station_at(folder), keys) if exported is None else audit_export(exported, keys))


def _keys(exported: Path, station: Path | None, card: Path | None) -> AuditKeys:
    if card is not None:
        return keys_of_card(card_at(card))
    return keys_in_export(exported) if station is None else keys_of_station(station_at(station))
