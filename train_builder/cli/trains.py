"""How does a scientist see the trains made here, on the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock
from train_builder.cli.options import home_option
from train_builder.cli.render_home import render_trains
from train_builder.desk.trains import list_trains
from train_builder.desk.watch import look_at_all
from train_builder.home import open_home


@click.command("ls")
@home_option
@click.option("--look", is_flag=True, help="First look in the mailbox where each train is that is under way.")
def train_ls(*, home_path: Path, look: bool) -> Answer:
    """List the trains made here, the oldest first, with what was learnt of each, and when that was looked for last.

    Without --look it asks no one.
    """
    home = open_home(home_path)
    if look:
        look_at_all(home, clock.now())
    return render_trains(list_trains(home))
