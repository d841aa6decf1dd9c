"""How does somebody check an exported journey who has neither keys nor an account, on the command line?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from console.answer import Answer
from console.progress import working
from console.prompts import clock
from console.root import Root
from registry.places import source_at
from security.directory.client import load_trust, read_root
from train_builder.cli.options import PATH
from train_builder.cli.render_journey import render_checked
from train_builder.proof.check import carried_trust, check_export


@click.command("verify")
@click.argument("folder", type=PATH)
@click.option("--root", "root_file", type=PATH, required=True, help="The root.json you have pinned: pht directory pin.")
@click.option(
    "--directory", "place", help="Where the directory is published, to ask what was revoked since the export."
)
@click.pass_obj
def verify(context: Root, /, *, folder: Path, root_file: Path, place: str | None) -> Answer:
    """Verify the journey that its owner has exported into FOLDER.

    Nothing in FOLDER is believed but what the keys in the consortium's directory have signed. The directory goes along in
    the export, and is verified from the root you have pinned: no network is needed. What was revoked after the export is
    known only with --directory.
    """
    root, now = read_root(root_file), clock.now()
    with working("verifying"), tempfile.TemporaryDirectory(prefix="pht-") as cache:
        if place is None:
            trust = carried_trust(folder, root)
        else:
            trust = load_trust(source_at(place, context.login()), Path(cache), root, now)
        return render_checked(check_export(folder, trust, now), offline=place is None)
