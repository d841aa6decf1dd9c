"""How does a scientist set up a home, on the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.prompts import confirmed_root
from console.root import Root
from registry.places import source_at
from train_builder.cli.options import PATH
from train_builder.cli.render_home import render_home
from train_builder.desk.setup import settings_for
from train_builder.home import make_home


@click.command("setup")
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
