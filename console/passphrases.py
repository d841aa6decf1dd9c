"""Which passphrase does each key of the directory get?

The online key's lies on the machine that renews the directory every day. Whoever gets at that must not be able to open a
root key or the targets key, so it has one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import click

from console.prompts import new_passphrase_for
from security.errors import InvalidInput
from security.keys.store import read_passphrase

F = TypeVar("F", bound=Callable[..., object])

_PATH: Final = click.Path(path_type=Path)


def online_option(function: F) -> F:
    """Add ``--online-passphrase-file``, handed on as `online_passphrase_file`."""
    return click.option("--online-passphrase-file", type=_PATH, help="For the online key, which has its own.")(function)


def one_option(function: F) -> F:
    """Add ``--one-passphrase``, handed on as `one_passphrase`."""
    told = "Let the online key have a passphrase that opens other keys too. For trials."
    return click.option("--one-passphrase", is_flag=True, help=told)(function)


def online_phrase(path: Path | None, others: Sequence[bytes], *, one: bool) -> bytes:
    """Return the passphrase of a new online key: another than those of the keys that are for people.

    It lies on the machine that renews the directory every day: whoever gets at that must not be able to open a root key.

    Raises:
        InvalidInput: it is one of the `others`, and not `one` is meant; or it is too short.
    """
    if one and path is None:
        return others[0]
    option = "--online-passphrase-file FILE, or --one-passphrase for a trial"
    phrase = new_passphrase_for("the online key, which a timer will use", path, option=option)
    if phrase in others and not one:
        msg = "the online key would have a passphrase that opens root or targets keys too"
        hint = "it will lie on the machine that renews the directory: choose another one (--one-passphrase for a trial)"
        raise InvalidInput(msg, hint=hint)
    return phrase


def per_key(files: tuple[Path, ...], count: int) -> list[bytes]:
    """Return one passphrase for each of `count` root keys; none if no file was named."""
    if len(files) not in {0, 1, count}:
        msg = "give one passphrase file for all root keys, or one for each"
        raise InvalidInput(msg, given=len(files), keys=count)
    phrases = [read_passphrase(path) for path in files]
    return phrases * count if len(phrases) == 1 else phrases
