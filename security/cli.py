"""What can be done with keys from the command line, and how are people asked for what is secret or must be sure?

Each command parses, calls one function and returns an `Answer`. Passphrases come from a private file or a prompt; never
from an argument, where every user of the machine could read them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from security.answer import Answer
from security.card import MAX_CARD, PartyCard, make_card, parse_card
from security.digest import Digest, digest_of
from security.errors import InvalidInput, KeyNotTrusted, Malformed
from security.files import expect_new, read_file, write_file
from security.ids import PartyId
from security.keys import Scheme, Secrets, confirms, generate, spell
from security.keystore import (
    check_passphrase,
    create_folder,
    export_folder,
    import_folder,
    open_folder,
    prove,
    read_folder,
    read_passphrase,
)
from security.progress import working
from security.show import told_keys
from security.trust import Role

if TYPE_CHECKING:
    from security.directory import DirectorySource

F = TypeVar("F", bound=Callable[..., object])

_PATH: Final = click.Path(path_type=Path)
_ROLE: Final = click.Choice([role.value for role in Role])


def passphrase_option(function: F) -> F:
    """Add ``--passphrase-file`` to a command; it is handed on as `passphrase_file`."""
    return click.option(
        "--passphrase-file",
        type=_PATH,
        envvar="PHT_PASSPHRASE_FILE",
        help="Private file (mode 600) with the passphrase as its only line. Without it, you are asked.",
    )(function)


def passphrase_for(what: str, path: Path | None) -> bytes:
    """Read the passphrase of existing keys from `path`, or ask for it."""
    if path is not None:
        return read_passphrase(path)
    return _asked(f"Passphrase of {what}", again=False)


def unlocked(folder: Path, what: str, path: Path | None) -> Secrets:
    """Open the private keys of a folder; the passphrase is read or asked for first, as by `passphrase_for`."""
    phrase = passphrase_for(what, path)
    with working("opening the keys"):
        return open_folder(folder, phrase)


def new_passphrase_for(what: str, path: Path | None) -> bytes:
    """Read a passphrase for new keys from `path`, or ask for it twice.

    Raises:
        InvalidInput: it is too short.
    """
    return check_passphrase(
        read_passphrase(path) if path is not None else _asked(f"New passphrase for {what}", again=True)
    )


def _asked(question: str, *, again: bool) -> bytes:
    if not sys.stdin.isatty():
        msg = "a passphrase is needed, and nobody is there to be asked"
        raise InvalidInput(msg, hint="name a private file: --passphrase-file FILE, or PHT_PASSPHRASE_FILE")
    answer: str = click.prompt(question, hide_input=True, confirmation_prompt=again, err=True)
    return answer.encode()


def sure(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone, unless ``--yes`` was given."""
    if yes:
        return
    if not sys.stdin.isatty():
        msg = "this needs to be confirmed"
        raise InvalidInput(msg, hint="add --yes if you are sure")
    _agreed(question)


def _agreed(question: str) -> None:
    if not click.confirm(question, err=True):
        msg = "not confirmed; nothing was changed"
        raise click.Abort(msg)


def confirmed(fingerprint: Digest, given: str | None, *, who: str, option: str = "--fingerprint") -> None:
    """Make sure that a person has compared the fingerprint with what they were told by another way.

    `option` is the one the fingerprint may be given with.
    """
    if given is not None:
        if not confirms(given, fingerprint):
            msg = "the fingerprint is not the one that was read out"
            raise KeyNotTrusted(msg, found=spell(fingerprint), hint="do not go on: the file may have been exchanged")
        return
    if not sys.stdin.isatty():
        msg = "the fingerprint must be confirmed"
        raise InvalidInput(msg, hint=f"call {who}, let them read it out, and give it with {option}")
    click.echo(f"fingerprint  {spell(fingerprint)}", err=True)
    _agreed(f"Did {who}, by telephone or in person, read out exactly this?")


def confirmed_root(
    file: Path | None, source: Callable[[], DirectorySource], fingerprint: str | None, *, option: str = "--fingerprint"
) -> bytes:
    """Return the first root of a directory: the file the consortium handed over, or what is published and confirmed.

    Raises:
        NotPinned: it is no root, or not the one with this fingerprint.
        KeyNotTrusted: the file has another fingerprint.
    """
    from security.directory import first_root, pin_root, read_root  # noqa: PLC0415 - slow to import; keys need none of it

    if file is not None:
        root = read_root(file)
        if fingerprint is not None:
            confirmed(digest_of(root), fingerprint, who="the consortium")
        return root
    if fingerprint is not None:
        return pin_root(source(), fingerprint)
    root = first_root(source())
    confirmed(digest_of(root), None, who="the consortium", option=option)
    return root


def clock() -> datetime:
    """Read the clock: the command line is where `now` comes from."""
    return datetime.now(UTC)


def card_at(path: Path) -> PartyCard:
    """Read a party card from a file.

    Raises:
        Malformed: it is none; the error names the file.
    """
    raw = read_file(path, limit=MAX_CARD)
    try:
        return parse_card(raw)
    except Malformed as error:
        msg = "the file is not a party card"
        hint = "'pht keys card' makes one, of a key folder; ask its party for it"
        raise type(error)(msg, file=path, reason=error.message, hint=hint) from error


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
@click.option(
    "--scheme",
    "schemes",
    type=click.Choice([scheme.value for scheme in Scheme]),
    multiple=True,
    default=[Scheme.ED25519.value],
    show_default=True,
    help="Signing key to make. If repeated, every one of the keys signs everything.",
)
@passphrase_option
def keys_new(
    *,
    folder: Path,
    party: str,
    title: str | None,
    roles: tuple[str, ...],
    schemes: tuple[str, ...],
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
            generate([Scheme(scheme) for scheme in schemes]),
            party=name,
            title=title or name,
            roles=frozenset(map(Role, roles)),
            passphrase=phrase,
            now=clock(),
        )
    after = f"made in {folder}\nnext: pht keys card {folder} -o {name}.card.json"
    return told_keys(made.party, made.title, made.roles, made.key_set, after=after)


@keys.command("show")
@click.argument("path", metavar="FOLDER|CARD", type=_PATH)
def keys_show(path: Path) -> Answer:
    """Show the fingerprint and the keys of a key folder, or of a card somebody sent. Needs no passphrase."""
    if path.is_dir():
        folder = read_folder(path)
        return told_keys(folder.party, folder.title, folder.roles, folder.key_set)
    card = card_at(path)
    return told_keys(card.party, card.title, card.roles, card.key_set)


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
    card = make_card(secrets, party=public.party, title=public.title, roles=public.roles, now=clock())
    write_file(output, card.to_bytes() + b"\n", mode=0o644)
    after = f"wrote {output}\nsend it to the consortium, and read the fingerprint to them over the phone"
    return told_keys(public.party, public.title, public.roles, public.key_set, after=after)


@keys.command("check")
@click.argument("folder", type=_PATH)
@passphrase_option
def keys_check(folder: Path, passphrase_file: Path | None) -> Answer:
    """Open FOLDER, sign and seal with every key, and see that the public ones agree. Changes nothing."""
    public = read_folder(folder)
    prove(unlocked(folder, str(folder), passphrase_file))
    after = "the keys open, sign, verify, seal and unseal"
    return told_keys(public.party, public.title, public.roles, public.key_set, after=after)


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
            now=clock(),
        )
    return told_keys(made.party, made.title, made.roles, made.key_set, after=f"imported into {folder}")
