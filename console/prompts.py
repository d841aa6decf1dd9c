"""How is a person asked for a secret, or for a confirmation?

Passphrases come from a private file or a prompt; never from an argument, where every user of the machine could read them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from console.progress import working
from security.clock import Clock, SystemClock
from security.digest import Digest, digest_of
from security.directory.card import MAX_CARD, PartyCard, parse_card
from security.errors import InvalidInput, Malformed
from security.files import read_file
from security.keys.keyset import Scheme, Secrets, check_fingerprint, spell
from security.keys.store import check_passphrase, open_folder, read_passphrase

if TYPE_CHECKING:
    from security.directory.client import DirectorySource

F = TypeVar("F", bound=Callable[..., object])

clock: Final[Clock] = SystemClock()
"""Where the command line gets `now` from."""

_PATH: Final = click.Path(path_type=Path)
_OPTION: Final = "--passphrase-file FILE, or PHT_PASSPHRASE_FILE"


def passphrase_option(function: F) -> F:
    """Add ``--passphrase-file`` to a command; it is handed on as `passphrase_file`."""
    return click.option(
        "--passphrase-file",
        type=_PATH,
        envvar="PHT_PASSPHRASE_FILE",
        help="Private file (mode 600) with the passphrase as its only line. Without it, you are asked.",
    )(function)


def scheme_option(function: F) -> F:
    """Add ``--scheme`` to a command that makes keys; its values are handed on as `schemes`."""
    return click.option(
        "--scheme",
        "schemes",
        type=click.Choice([scheme.value for scheme in Scheme]),
        callback=lambda _ctx, _option, given: tuple(map(Scheme, given)),
        multiple=True,
        default=[Scheme.ED25519.value],
        show_default=True,
        help="Signing key to make. If repeated, every one of the keys signs everything.",
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


def new_passphrase_for(what: str, path: Path | None, *, option: str = _OPTION) -> bytes:
    """Read a passphrase for new keys from `path`, or ask for it twice. `option` is how `path` may be named.

    Raises:
        InvalidInput: it is too short.
    """
    return check_passphrase(
        read_passphrase(path) if path is not None else _asked(f"New passphrase for {what}", again=True, option=option)
    )


def _asked(question: str, *, again: bool, option: str = _OPTION) -> bytes:
    if not sys.stdin.isatty():
        msg = "a passphrase is needed, and there is no terminal to ask for it"
        raise InvalidInput(msg, asked=question, hint=f"name a private file: {option}")
    answer: str = click.prompt(question, hide_input=True, confirmation_prompt=again, err=True)
    return answer.encode()


def sure(question: str, *, yes: bool) -> None:
    """Ask before doing something that cannot be undone, unless ``--yes`` was given."""
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
    """Make sure that a person has compared the fingerprint with what they were told through another channel.

    `option` is the one the fingerprint may be given with.
    """
    if given is not None:
        check_fingerprint(given, fingerprint)
        return
    if not sys.stdin.isatty():
        msg = "the fingerprint must be confirmed"
        raise InvalidInput(msg, hint=f"call {who}, have them read it out, and pass it with {option}")
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
    from security.directory.client import first_root, pin_root, read_root  # noqa: PLC0415 - slow to import; keys need none of it

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
        hint = "'pht keys card' makes one from a key folder; ask the party for theirs"
        raise type(error)(msg, file=path, reason=error.message, hint=hint) from error
