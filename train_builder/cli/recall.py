"""How is a train called back, on the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock, passphrase_option, sure, unlocked
from security.encoding import Json
from train_builder.cli.complete import complete_train
from train_builder.cli.options import home_option
from train_builder.desk.reach import depot_of, trust_of
from train_builder.desk.recall import recall
from train_builder.home import open_home


@click.command("recall")
@click.argument("name", metavar="TRAIN", shell_complete=complete_train)
@home_option
@click.option("--reason", metavar="TEXT", help="For the people at the stations, on one line.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@passphrase_option
def train_recall(*, name: str, home_path: Path, reason: str | None, yes: bool, passphrase_file: Path | None) -> Answer:
    """Call a train back, wherever it is: every station that has not signed its stop yet ends it there.

    What stations have signed and sent on before stays in your mailbox. 'pht train follow' shows where it ended.

    \b
    pht train recall 4f2a --reason "wrong base image"
    """
    home, now = open_home(home_path), clock.now()
    record = home.find(name)
    sure(f"Recall {record.manifest.name} ({record.train.short})?", yes=yes)
    secrets = unlocked(home.keys, str(home.keys), passphrase_file)
    done = recall(name, home, depot=depot_of(home), trust=trust_of(home, now), secrets=secrets, reason=reason, now=now)
    told = ", ".join(done.told)
    data: dict[str, Json] = {
        "train": str(record.train),
        "told": list(map(str, done.told)),
        "notTold": list(map(str, done.not_told)),
    }
    text = f"recalled {record.manifest.name} ({record.train.short}); told {told}: follow it to see where it ends"
    if done.not_told:
        text += f"\nnot told, as their keys do not count any more: {', '.join(done.not_told)}"
    return Answer(text=text, data=data)
