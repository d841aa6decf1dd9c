"""On which station does a command work, with whose passphrase, and who says so?"""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import click

from console.prompts import unlocked
from security.errors import FileMissing, InvalidInput
from security.keys.keyset import Secrets
from security.keys.store import read_folder
from station.errors import VisitUnknown
from station.house.assembly import open_house
from station.house.config import FILE, StationConfig, load_config
from station.house.house import House
from station.journal.journal import Journal
from station.visit.parts import plain
from station.visit.plan import Phase, phase_of
from station.visit.state import Visit

F = TypeVar("F", bound=Callable[..., object])

_LEAST_DIGITS: Final = 4
PATH: Final = click.Path(path_type=Path)


def station_option(function: F) -> F:
    """Add ``--station`` to a command whose argument is something else; handed on as `folder`."""
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
    """Return who gives a command, for the journal; an account's name is a claim, and the best there is."""
    if given:
        return given
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return f"user {os.getuid()}"


def config_at(folder: Path) -> StationConfig:
    """Read the configuration of the station in a folder.

    Raises:
        FileMissing: there is no station.
        ConfigInvalid: its configuration is not right.
    """
    if folder.is_dir() and not (folder / FILE).exists():
        msg = "there is no station in this folder"
        hint = "name its folder (-s FOLDER, or PHT_STATION), or make one: pht station init --help"
        raise FileMissing(msg, folder=folder.absolute(), hint=hint)
    return load_config(folder / FILE)


def secrets_of(config: StationConfig, passphrase_file: Path | None) -> Secrets:
    """Open the station's private keys: with the file given, the one its configuration names, or by asking.

    Raises:
        InvalidInput: they are another party's.
    """
    return _opened(config.keys, config, passphrase_file)


def keyring_of(config: StationConfig, passphrase_file: Path | None) -> tuple[Secrets, ...]:
    """Open the station's private keys and those it had before, in the same way; see `secrets_of`."""
    return tuple(_opened(folder, config, passphrase_file) for folder in (config.keys, *config.earlier_keys))


def _opened(folder: Path, config: StationConfig, passphrase_file: Path | None) -> Secrets:
    public = read_folder(folder)
    if public.party != config.party:
        msg = "the keys are another party's"
        raise InvalidInput(msg, keys=public.party, station=config.party, folder=folder)
    what = f"{config.party}'s keys" if folder == config.keys else f"the earlier keys in {folder}"
    return unlocked(folder, what, passphrase_file or config.passphrase_file)


@contextlib.contextmanager
def existing_journal(config: StationConfig) -> Iterator[Journal]:
    """Open the journal, if the station has one: only its daemon begins it."""
    if not config.journal.exists():
        msg = "this station has no journal yet"
        raise VisitUnknown(msg, folder=config.folder, hint="'pht station run' begins it")
    with Journal.open(config.journal) as journal:
        yield journal


def visit_named(journal: Journal, name: str) -> Visit:
    """Return the visit somebody means; of several of one train, the one that is not over.

    Raises:
        InvalidInput: too few digits: an empty variable in a script must not decide about anything.
        VisitUnknown: there is none, or more than one.
    """
    if len(name) < _LEAST_DIGITS:
        msg = "not a train: give four or more digits of its id, or of its visit's"
        raise InvalidInput(msg, value=repr(name)[:80], hint="'pht station ls' lists them")
    known = [journal.visit(arrival) for arrival in journal.arrivals()]
    meant = [
        one
        for one in known
        if one.arrival.hex.startswith(name) or (one.accepted and one.accepted.train.startswith(name))
    ]
    going = [one for one in meant if phase_of(one) is not Phase.GONE]
    found = going if len(meant) > 1 and going else meant
    if len(found) != 1:
        msg = "no such train here" if not found else "more than one visit is meant; use the visit's own digits"
        raise VisitUnknown(msg, train=name[:20], hint="'pht station ls' lists them")
    return found[0]


def told_shortly(visit: Visit) -> str:
    """Say which train is meant, for a person who has just decided about it."""
    told = visit.accepted
    return (
        called(visit)
        if told is None
        else f"{told.train.short} ({plain(told.name)}) of {told.owner}, stop {told.stop + 1}"
    )


def called(visit: Visit) -> str:
    """Return the train's id, or, before it was verified, the visit's."""
    return f"visit {visit.arrival.short}" if visit.accepted is None else visit.accepted.train


@contextlib.contextmanager
def opened_house(config: StationConfig, keyring: Sequence[Secrets]) -> Iterator[House]:
    """Open everything the station works with, with its present keys and those it had before."""
    house = open_house(config, keyring[0], keyring[1:])
    with house.journal:
        yield house
