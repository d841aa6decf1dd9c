"""What can those who begin to trust a directory do with it from the command line?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from console.answer import Answer
from console.prompts import clock, confirmed_root
from console.render_directory import render_pin, render_trust
from console.root import Root
from registry.places import source_at
from security.digest import digest_of
from security.directory.client import load_trust
from security.files import read_file, write_file

F = TypeVar("F", bound=Callable[..., object])

_PATH: Final = click.Path(path_type=Path)


def fingerprint_option(function: F) -> F:
    """Add ``--fingerprint``, handed on as `fingerprint`."""
    return click.option("--fingerprint", help="What was read out to you. Without it, you are asked to compare.")(
        function
    )


@click.command("verify")
@click.argument("place")
@click.option("--root", type=_PATH, required=True, help="The pinned root.json.")
@click.pass_obj
def directory_verify(context: Root, place: str, root: Path) -> Answer:
    """Verify a directory as a new participant would.

    Fetches what is published at PLACE, and shows what it says.
    """
    with tempfile.TemporaryDirectory(prefix="pht-") as cache:
        return render_trust(
            load_trust(source_at(place, context.login()), Path(cache), read_file(root), clock.now()), place
        )


@click.command("pin")
@click.argument("place")
@click.option(
    "-o", "--output", type=_PATH, default=Path("root.json"), show_default=True, help="Where to keep the root."
)
@fingerprint_option
@click.pass_obj
def directory_pin(context: Root, place: str, output: Path, fingerprint: str | None) -> Answer:
    """Keep the consortium's first root.

    From then on, everything the directory says is checked against it.

    PLACE is where the directory is published; the root found there counts only after its fingerprint was compared with
    what the consortium reads out. If the consortium handed you the file itself, PLACE is that file.
    """
    file = Path(place) if Path(place).is_file() else None
    raw = confirmed_root(file, lambda: source_at(place, context.login()), fingerprint)
    write_file(output, raw, mode=0o644, replace=False)
    return render_pin(digest_of(raw), str(output))
