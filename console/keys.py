"""What can be done with keys from the command line?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from console.answer import Answer
from console.progress import working
from console.prompts import (
    card_at,
    clock,
    new_passphrase_for,
    passphrase_for,
    passphrase_option,
    scheme_option,
    sure,
    unlocked,
)
from console.render_keys import render_keys
from security.directory.card import make_card
from security.files import expect_new, write_file
from security.ids import PartyId, Role
from security.keys.keyset import Scheme, generate
from security.keys.store import (
    create_folder,
    export_folder,
    import_folder,
    prove,
    read_folder,
)

F = TypeVar("F", bound=Callable[..., object])

_PATH: Final = click.Path(path_type=Path)
_ROLE: Final = click.Choice([role.value for role in Role])


# --- Keys ------------------------------------------------------------------------------------------------------------


@click.group()
def keys() -> None:
    """Make, show and check a party's keys.

    \b
    pht keys new ~/pht-keys --party hospital-a --role station --title "Hospital A"
    pht keys card ~/pht-keys -o hospital-a.card.json

    Send the card to the consortium, and read your fingerprint to them over the phone. The folder stays at home: back it
    up with its passphrase kept elsewhere.
    """


def _identity_options(function: F) -> F:
    for option in (
        click.option("--title", default=None, help="The party's full name, for people. Default: the short name."),
        click.option("--role", "roles", type=_ROLE, multiple=True, required=True, help="What you do; may be repeated."),
        click.option("--party", required=True, metavar="NAME", help="Short name: a-z, 0-9 and '-'."),
    ):
        function = option(function)
    return function


@keys.command("new")
@click.argument("folder", type=_PATH)
@_identity_options
@scheme_option
@passphrase_option
def keys_new(
    *,
    folder: Path,
    party: str,
    title: str | None,
    roles: tuple[str, ...],
    schemes: tuple[Scheme, ...],
    passphrase_file: Path | None,
) -> Answer:
    """Make new signing and sealing keys in FOLDER.

    The sealing key is always hybrid post-quantum. For signatures that outlast quantum computers add ML-DSA-65:

    \b
    pht keys new ~/pht-keys --party alice --role owner --scheme ed25519 --scheme ml-dsa-65
    """
    name = PartyId(party)
    expect_new(folder)
    phrase = new_passphrase_for("the new keys", passphrase_file)
    with working("making the keys"):
        made = create_folder(
            folder,
            generate(schemes),
            party=name,
            title=title or name,
            roles=frozenset(map(Role, roles)),
            passphrase=phrase,
            now=clock.now(),
        )
    after = f"made in {folder}\nnext: pht keys card {folder} -o {name}.card.json"
    return render_keys(made.party, made.title, made.roles, made.key_set, after=after)


@keys.command("show")
@click.argument("path", metavar="FOLDER|CARD", type=_PATH)
def keys_show(path: Path) -> Answer:
    """Show the fingerprint and the keys of a key folder, or of a card that was sent to you. Needs no passphrase."""
    if path.is_dir():
        folder = read_folder(path)
        return render_keys(folder.party, folder.title, folder.roles, folder.key_set)
    card = card_at(path)
    return render_keys(card.party, card.title, card.roles, card.key_set)


@keys.command("card")
@click.argument("folder", type=_PATH)
@click.option("-o", "--output", type=_PATH, required=True, help="Where to write the card.")
@passphrase_option
def keys_card(folder: Path, output: Path, passphrase_file: Path | None) -> Answer:
    """Make a party card: your public keys, signed with each of them. Send it to the consortium.

    \b
    pht keys card ~/pht-keys -o hospital-a.card.json
    """
    public = read_folder(folder)
    secrets = unlocked(folder, str(folder), passphrase_file)
    card = make_card(secrets, party=public.party, title=public.title, roles=public.roles, now=clock.now())
    write_file(output, card.to_bytes() + b"\n", mode=0o644)
    after = f"wrote {output}\nsend it to the consortium, and read the fingerprint to them over the phone"
    return render_keys(public.party, public.title, public.roles, public.key_set, after=after)


@keys.command("check")
@click.argument("folder", type=_PATH)
@passphrase_option
def keys_check(folder: Path, passphrase_file: Path | None) -> Answer:
    """Open FOLDER, sign and seal with every key, and check that the public keys match. Changes nothing."""
    public = read_folder(folder)
    prove(unlocked(folder, str(folder), passphrase_file))
    after = "the keys open, sign, verify, seal and unseal"
    return render_keys(public.party, public.title, public.roles, public.key_set, after=after)


@keys.command("export")
@click.argument("folder", type=_PATH)
@click.argument("into", type=_PATH)
@click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
@passphrase_option
def keys_export(folder: Path, into: Path, yes: bool, passphrase_file: Path | None) -> Answer:
    """Write the private keys of FOLDER UNENCRYPTED into the new folder INTO: PKCS#8 files and an age identity.

    Only for moving keys into another tool or a smart card. Destroy the files afterwards.
    """
    expect_new(into)
    sure("Write private keys unencrypted?", yes=yes)
    phrase = passphrase_for(str(folder), passphrase_file)
    with working("opening the keys"):
        files = export_folder(folder, phrase, into=into)
    lines = ["wrote, unencrypted:", *(f"  {path}" for path in files)]
    return Answer(text="\n".join(lines), data={"files": [str(path) for path in files]})


@keys.command("import")
@click.argument("folder", type=_PATH)
@_identity_options
@click.option(
    "--signing", type=_PATH, multiple=True, required=True, help="PKCS#8 private key, PEM, mode 600; repeatable."
)
@click.option("--sealing", type=_PATH, required=True, help="age identity file (age-keygen), mode 600.")
@passphrase_option
def keys_import(
    *,
    folder: Path,
    party: str,
    title: str | None,
    roles: tuple[str, ...],
    signing: tuple[Path, ...],
    sealing: Path,
    passphrase_file: Path | None,
) -> Answer:
    """Make the key folder FOLDER from existing keys.

    \b
    openssl genpkey -algorithm ed25519 -out signing.pem && age-keygen -o sealing.txt && chmod 600 signing.pem sealing.txt
    pht keys import ~/pht-keys --party alice --role owner --signing signing.pem --sealing sealing.txt
    """
    name = PartyId(party)
    expect_new(folder)
    phrase = new_passphrase_for("the key folder", passphrase_file)
    with working("locking the keys"):
        made = import_folder(
            folder,
            signing=signing,
            sealing=sealing,
            party=name,
            title=title or name,
            roles=frozenset(map(Role, roles)),
            passphrase=phrase,
            now=clock.now(),
        )
    return render_keys(made.party, made.title, made.roles, made.key_set, after=f"imported into {folder}")
