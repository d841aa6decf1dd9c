"""How does an operator see which trains are here, on the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock
from station.cli.options import folder_argument
from station.cli.render import render_visits
from station.desk.opening import station_at
from station.desk.visits import list_visits, silence


@click.command("ls")
@folder_argument
@click.option("--waiting", is_flag=True, help="Only those that wait for a person.")
@click.option("--all", "every", is_flag=True, help="Also those that were here long ago.")
def station_ls(folder: Path, waiting: bool, every: bool) -> Answer:
    """List the trains that are here, and the newest that were."""
    none = "no train waits for a person" if waiting else "no train has been here"
    config, now = station_at(folder), clock.now()
    listed = list_visits(config, now, waiting=waiting, every=every)
    return render_visits(listed.visits, none=none, more=listed.more, silence=silence(config, now))
