"""How does an operator tell an owner more about why a train ended here, on the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock, passphrase_option
from station.cli.complete import complete_train
from station.cli.options import by_option, person, station_option, unlocker
from station.cli.render import visit_in_short
from station.desk.answer import answer
from station.desk.opening import station_at


@click.command("answer")
@click.argument("train", shell_complete=complete_train)
@station_option
@click.option(
    "--text", required=True, help="What the owner is told, on one line. It leaves this house as you write it."
)
@by_option
@passphrase_option
def station_answer(*, train: str, folder: Path, text: str, by: str | None, passphrase_file: Path | None) -> Answer:
    """Tell the owner of TRAIN, which was refused or failed here, more than the signed refusal says.

    'pht train follow' shows it. A second answer replaces the first; the journal keeps both.
    """
    config = station_at(folder)
    visit = answer(config, train, text=text, by=person(by), unlock=unlocker(config, passphrase_file), now=clock.now())
    return Answer(text=f"told: {visit_in_short(visit)}", data={"visit": visit.arrival, "told": text})
