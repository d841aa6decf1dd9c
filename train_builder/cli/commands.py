"""What can a scientist do from the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import clock, confirmed_root
from console.root import Root
from registry.places import source_at
from train_builder.cli.departure import train_check, train_init, train_stations, train_submit
from train_builder.cli.forget import train_forget
from train_builder.cli.journey import train_follow, train_inspect, train_open, train_verify
from train_builder.cli.options import PATH, home_option
from train_builder.cli.recall import train_recall
from train_builder.cli.render import render_home, render_trains
from train_builder.desk.setup import settings_for
from train_builder.desk.trains import list_trains
from train_builder.desk.watch import look_at_all
from train_builder.home import make_home, open_home


@click.group()
def train() -> None:
    """Build a train, send it, follow it, and open what it brings home.

    \b
    pht train setup ~/.pht --party alice --registry https://registry.example.org --root root.json
    pht keys new ~/.pht/keys --party alice --role owner
    pht train stations                              where a train can go
    pht train init my-train --route hospital-a,hospital-b
    pht train check my-train
    pht train submit my-train
    pht train follow --watch
    pht train open latest results
    pht train verify latest --export journey        files and commands for a check without this software
    """


@train.command("setup")
@click.argument("home_path", metavar="HOME", type=PATH)
@click.option("--party", required=True, metavar="NAME", help="Your short name in the directory.")
@click.option("--registry", required=True, metavar="ADDRESS", help="https://host/prefix or layout:/folder.")
@click.option("--directory", metavar="PLACE", help="Where the directory is published, if not there.")
@click.option("--root", "root_file", type=PATH, help="The root.json the consortium handed you.")
@click.option("--root-fingerprint", help="Or its fingerprint, as the consortium reads it out; the file is fetched.")
@click.pass_obj
def train_setup(
    context: Root,
    *,
    home_path: Path,
    party: str,
    registry: str,
    directory: str | None,
    root_file: Path | None,
    root_fingerprint: str | None,
) -> Answer:
    """Set up HOME: who you are, where registry and directory are, and which root you trust.

    Options of 'pht' itself (--registry-user and so on) are remembered. Your keys belong in HOME/keys:

    \b
    pht keys new ~/.pht/keys --party alice --role owner
    """
    login = context.login()
    settings = settings_for(
        home_path, party=party, registry=registry, directory=directory, login=login, here=Path.cwd()
    )
    root = confirmed_root(
        root_file, lambda: source_at(settings.directory, login), root_fingerprint, option="--root-fingerprint"
    )
    return render_home(make_home(home_path, settings, root), root)


@train.command("ls")
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


for command in (
    *(train_stations, train_init, train_check, train_submit),
    *(train_follow, train_open, train_verify, train_inspect, train_recall, train_forget),
):
    train.add_command(command)
