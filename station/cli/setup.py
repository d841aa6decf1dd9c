"""How is a station made, on the command line?"""

from __future__ import annotations

from pathlib import Path

import click

from console.answer import Answer
from console.progress import working
from console.prompts import clock, new_passphrase_for, passphrase_option, scheme_option
from console.root import Root
from registry.places import anchored
from security.ids import PartyId
from security.keys.keyset import Scheme
from station.cli.options import PATH
from station.cli.render_setup import render_made
from station.desk.setup import NewStation, make_station, pinned_root


def _data(_ctx: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        if not equals or not folder or name in found:
            msg = "give each data set once, as NAME=FOLDER"
            raise click.BadParameter(msg)
        found[name] = Path(folder)
    return found


@click.command("init")
@click.argument("folder", type=PATH)
@click.option("--party", required=True, metavar="NAME", help="The station's short name: a-z, 0-9 and '-'.")
@click.option("--title", help="Its full name, for people. Default: the short name.")
@click.option("--registry", required=True, metavar="ADDRESS", help="https://host/prefix, or layout:/folder.")
@click.option("--directory", metavar="ADDRESS", help="folder:/path or web:https://…; default: the registry.")
@click.option("--root", type=PATH, help="The directory's root.json, if you have it.")
@click.option("--root-fingerprint", metavar="HEX", help="Its fingerprint, as the consortium read it out to you.")
@click.option("--data", multiple=True, callback=_data, metavar="NAME=FOLDER", help="A data set; may be repeated.")
@click.option(
    "--admit-owner", "admit", multiple=True, metavar="PARTY", help="Whose trains may run here; may be repeated."
)
@click.option("--by-hand", is_flag=True, help="Have a person approve each train, and release its results.")
@click.option(
    "--release",
    multiple=True,
    metavar="TYPE",
    help="A media type, such as text/csv, whose files leave without a person whatever is in them; may be repeated.",
)
@click.option("--engine", metavar="URL", envvar="DOCKER_HOST", help="The container engine's socket, unix:///…")
@scheme_option
@passphrase_option
@click.pass_obj
def station_init(
    context: Root,
    *,
    folder: Path,
    party: str,
    title: str | None,
    registry: str,
    directory: str | None,
    root: Path | None,
    root_fingerprint: str | None,
    data: dict[str, Path],
    admit: tuple[str, ...],
    by_hand: bool,
    release: tuple[str, ...],
    engine: str | None,
    schemes: tuple[Scheme, ...],
    passphrase_file: Path | None,
) -> Answer:
    """Make a station in FOLDER: keys, a party card, and a commented configuration. Nothing is ever overwritten."""
    if release and (by_hand or not admit):
        msg = "--release goes with --admit-owner, and not with --by-hand"
        raise click.UsageError(msg)
    login = context.login()
    registry, directory = anchored(registry, Path.cwd()), directory and anchored(directory, Path.cwd())
    pinned = pinned_root(root, root_fingerprint, directory or registry, login)
    new = NewStation(
        folder=folder,
        party=PartyId(party),
        title=title or party,
        registry=registry,
        login=login,
        directory=directory,
        data=data,
        admit=tuple(map(PartyId, admit)),
        engine=engine,
        passphrase_file=passphrase_file,
        by_hand=by_hand,
        release=release,
    )
    passphrase = new_passphrase_for("the station's keys", passphrase_file)
    with working("making the keys"):
        made = make_station(new, passphrase=passphrase, root=pinned, schemes=schemes, now=clock.now())
    return render_made(folder, new, made, pinned=pinned is not None)
