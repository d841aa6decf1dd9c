"""Which options do several commands of a station share, and what do they stand for?"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from console.prompts import unlocked
from security.keys.keyset import Secrets
from station.desk.opening import Unlock
from station.house.config import StationConfig

F = TypeVar("F", bound=Callable[..., object])

PATH: Final = click.Path(path_type=Path)


def folder_argument(function: F) -> F:
    """Add the station's folder as the command's argument, handed on as `folder`."""
    return click.argument("folder", type=PATH, default=Path(), envvar="PHT_STATION")(function)


def station_option(function: F) -> F:
    """Add ``--station`` to a command that has another argument, handed on as `folder`."""
    return click.option(
        "-s",
        "--station",
        "folder",
        type=PATH,
        default=Path(),
        envvar="PHT_STATION",
        show_default="this folder",
        help="The station's folder.",
    )(function)


def by_option(function: F) -> F:
    """Add ``--by`` to a command that leaves a record of who gave it."""
    return click.option("--by", default=None, help="Who you are. Default: the user running this command.")(function)


def person(given: str | None) -> str:
    """Return who gives a command, for the journal; an account's name proves nothing, but there is nothing better."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return f"user {os.getuid()}"


def unlocker(config: StationConfig, passphrase_file: Path | None) -> Unlock:
    """Return what opens keys: with the file given, the one the configuration names, or by asking."""

    def unlock(folder: Path, whose: str) -> Secrets:
        return unlocked(folder, whose, passphrase_file or config.passphrase_file)

    return unlock
