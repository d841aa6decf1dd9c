"""Which station is meant, which visit of it, and how are its journal and its keys opened?"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from security.digest import Digest
from security.errors import FileMissing, InvalidInput
from security.keys.keyset import Secrets
from security.keys.store import read_folder
from station.errors import VisitUnknown
from station.house.config import FILE, StationConfig, load_config
from station.journal.journal import Journal
from station.visit.plan import Phase, phase_of
from station.visit.state import Visit
from station.visit.station_events import KeyUsed

Unlock: TypeAlias = Callable[[Path, str], Secrets]
"""Opens the private keys in a folder, for which it may ask a person; the text says whose keys they are."""

_LEAST_DIGITS: Final = 4
_DIGITS: Final = re.compile(r"[0-9a-f]+")


def station_at(folder: Path) -> StationConfig:
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


@contextlib.contextmanager
def journal_of(config: StationConfig) -> Iterator[Journal]:
    """Open the station's journal.

    Raises:
        VisitUnknown: there is none yet: only the daemon begins it.
    """
    if not config.journal.exists():
        msg = "this station has no journal yet"
        raise VisitUnknown(msg, folder=config.folder, hint="'pht station run' begins it")
    with Journal.open(config.journal) as journal:
        yield journal


def find_visit(journal: Journal, name: str) -> Visit:
    """Return the visit that `name` begins, or whose train it begins; of several of one train, the one under way, or else the newest.

    Raises:
        InvalidInput: too few digits: an empty variable in a script must not decide about anything.
        VisitUnknown: there is none, or more than one.
    """
    if len(name) < _LEAST_DIGITS:
        msg = "not a train: give four or more digits of its id, or of its visit's"
        raise InvalidInput(msg, value=repr(name)[:80], hint="'pht station ls' lists them")
    meant = journal.beginning(name) if _DIGITS.fullmatch(name) else ()
    going = [one for one in meant if phase_of(one) is not Phase.GONE]
    trains = {one.accepted and one.accepted.train for one in meant}
    found = going if len(meant) > 1 and going else list(meant[-1:] if len(trains) == 1 else meant)
    if len(found) != 1:
        if not found:
            msg = "no such train here"
            raise VisitUnknown(msg, train=name[:20], hint="'pht station ls' lists them")
        msg = "more than one visit begins like this"
        raise VisitUnknown(msg, train=name[:20], hint=f"give the digits of one: {', '.join(map(_visit_line, found))}")
    return found[0]


def _visit_line(visit: Visit) -> str:
    stop = "" if visit.accepted is None else f"{visit.accepted.place}, "
    return f"{visit.arrival.short} ({stop}{phase_of(visit).value})"


def name_of(visit: Visit) -> str:
    """Return the train's id, or, before it was verified, the visit's."""
    return f"visit {visit.arrival.short}" if visit.accepted is None else visit.accepted.train


# --- Keys ------------------------------------------------------------------------------------------------------------


def present_keys(config: StationConfig, unlock: Unlock) -> Secrets:
    """Open the station's private keys.

    Raises:
        InvalidInput: they are another party's.
    """
    return _unlocked(config.keys, config, unlock)


def keyring(config: StationConfig, unlock: Unlock) -> tuple[Secrets, ...]:
    """Open the station's private keys and those it had before; see `present_keys`."""
    return tuple(_unlocked(folder, config, unlock) for folder in (config.keys, *config.earlier_keys))


def keyring_for(
    config: StationConfig, journal: Journal, unlock: Unlock, *, named: Collection[Digest], purpose: str, now: datetime
) -> tuple[Secrets, ...]:
    """Open those of the station's keys that a train names, for an operator, and record what for before they are used.

    All of them where it names none that are here: whoever uses them says what is wrong then.
    """
    folders = (config.keys, *config.earlier_keys)
    needed = [one for one in folders if read_folder(one).key_set.fingerprint in named] or folders
    found = tuple(_unlocked(folder, config, unlock) for folder in needed)
    for one in found:
        journal.note(KeyUsed(at=now, key_set=one.key_set.fingerprint, purpose=purpose))
    return found


def _unlocked(folder: Path, config: StationConfig, unlock: Unlock) -> Secrets:
    public = read_folder(folder)
    if public.party != config.party:
        msg = "the keys are another party's"
        raise InvalidInput(msg, keys=public.party, station=config.party, folder=folder)
    return unlock(folder, f"{config.party}'s keys" if folder == config.keys else f"the earlier keys in {folder}")
