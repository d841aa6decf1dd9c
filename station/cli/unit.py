"""How does an operator run a station under systemd?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.systemd import owner_of, program, told_units
from station.cli.options import PATH
from station.desk.opening import station_at
from station.desk.unit import engine_group, station_unit, unit_name


@click.command("unit")
@click.argument("folder", type=PATH, default=Path(), envvar="PHT_STATION")
@click.option("--passphrase-file", type=PATH, help="Default: the one in station.yaml, or FOLDER/passphrase.")
@click.option("--user", help="Who it runs as. Default: the user FOLDER belongs to.")
@click.option("--group", help="Group that may open the engine's socket. Default: the socket's own, or docker.")
@click.option("--into", type=PATH, help="Write it into this folder, such as /etc/systemd/system.")
def station_unit_command(
    *, folder: Path, passphrase_file: Path | None, user: str | None, group: str | None, into: Path | None
) -> Answer:
    """Print a hardened systemd unit for the daemon of the station in FOLDER.

    systemd reads the passphrase, as root, and hands it to the service alone. The daemon may write to its state and its
    workrooms and nowhere else. Check it with 'systemd-analyze security'.

    \b
    pht station unit /srv/pht --into /etc/systemd/system
    """
    config = station_at(folder)
    unit = station_unit(
        config,
        passphrase_file=(passphrase_file or config.passphrase_file or config.file.parent / "passphrase").absolute(),
        user=owner_of(config.file.parent, user),
        group=group or engine_group(config.sandbox.engine),
        pht=program(),
    )
    return told_units([(unit_name(config), unit)], into, unit_name(config))
