"""How is a train begun, on the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from security.ids import PartyId
from train_builder.cli.complete import complete_route
from train_builder.cli.options import PATH
from train_builder.cli.render_home import render_begun
from train_builder.templates import TEMPLATES, start_train


@click.command("init")
@click.argument("folder", type=PATH)
@click.option("--template", type=click.Choice(TEMPLATES), default=TEMPLATES[0], show_default=True, help="Which one.")
@click.option("--name", help="What the train is called. Default: like the folder.")
@click.option("--route", metavar="A,B,C", shell_complete=complete_route, help="The stations, in order.")
@click.option("--approval", metavar="TEXT", help="Reference of the ethics vote that covers it, for the hospitals.")
def train_init(*, folder: Path, template: str, name: str | None, route: str | None, approval: str | None) -> Answer:
    """Begin a new train in FOLDER: a small analysis that runs as it is, for you to change.

    It has sample data for each station of the route, so that it can be rehearsed.
    """
    stations = tuple(map(PartyId, route.split(","))) if route else ()
    files = start_train(template, folder, name=name, route=stations, approval=approval)
    return render_begun(folder, files, approved=approval is not None)
