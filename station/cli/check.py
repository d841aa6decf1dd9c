"""How does an operator see whether a station is ready, on the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.progress import working
from console.prompts import clock, passphrase_option
from station.cli.options import folder_argument, unlocker
from station.cli.render_check import render_checkup
from station.desk.checkup import check
from station.desk.opening import keyring, station_at


@click.command("check")
@folder_argument
@passphrase_option
def station_check(folder: Path, passphrase_file: Path | None) -> Answer:
    """Check keys, directory, registry, engine, sandbox, data, disk and journal, and say what to do about each."""
    config = station_at(folder)
    unlock = unlocker(config, passphrase_file)
    return render_checkup(check(config, lambda: keyring(config, unlock), clock, working=working))
