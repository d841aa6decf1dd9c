"""How is a train forgotten, on the command line?"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from console.answer import Answer
from console.progress import working
from console.prompts import clock, sure
from security.encoding import Json
from security.errors import InvalidInput
from train_builder.cli.complete import complete_train
from train_builder.cli.options import home_option
from train_builder.desk.forget import chosen, forget, older_than
from train_builder.desk.reach import depot_of
from train_builder.home import open_home
from train_builder.spec.units import parse_duration, show_size

_LISTED: Final = 5


@click.command("forget")
@click.argument("names", metavar="[TRAIN]...", nargs=-1, shell_complete=complete_train)
@home_option
@click.option("--older-than", "age", metavar="TIME", help="All that have ended and were made longer ago, such as 90d.")
@click.option("--unopened", is_flag=True, help="Also those whose results came home and were never opened.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def train_forget(*, names: tuple[str, ...], home_path: Path, age: str | None, unopened: bool, yes: bool) -> Answer:
    """Remove what is left of trains that have ended: in your mailbox, and what is sealed at home.

    The record, the manifest and the signed journey stay: 'pht train verify' still proves where results came from.
    A train that may still run is not forgotten, and one whose results were not opened only with --unopened.

    \b
    pht train forget 4f2a
    pht train forget --older-than 90d --yes
    """
    if bool(names) == (age is not None):
        msg = "give the trains to forget, or --older-than"
        raise InvalidInput(msg)
    home, now = open_home(home_path), clock.now()
    trains = (
        chosen(names, home, unopened=unopened, now=now)
        if age is None
        else older_than(parse_duration(age), home, unopened=unopened, now=now)
    )
    if not trains:
        return Answer(text="no train to forget", data={"trains": [], "messages": 0, "freed": 0})
    listed = ", ".join(f"{one.manifest.name} ({one.train.short})" for one in trains[:_LISTED])
    more = f" and {len(trains) - _LISTED} more" if len(trains) > _LISTED else ""
    sure(f"Forget {listed}{more}?", yes=yes)
    with working("forgetting"):
        done = forget(trains, home, depot_of(home), now)
    data: dict[str, Json] = {"trains": list(map(str, done.trains)), "messages": done.messages, "freed": done.freed}
    what = "1 train" if len(done.trains) == 1 else f"{len(done.trains)} trains"
    text = f"forgot {what}: {done.messages} messages in the mailbox, {show_size(done.freed)} at home"
    return Answer(text=text, data=data)
