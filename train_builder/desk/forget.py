"""How is a train forgotten that has ended: in the owner's mailbox, and what of it is kept at home?

What is sealed goes: the code, and the state that came home. The record, the manifest and the journey stay, so that it can
still be told, and proven, where results came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from registry.depot import Depot
from registry.taken import layers_of
from security.digest import Digest
from security.ids import TrainId
from train_builder.errors import TrainNotOver
from train_builder.home import Home, TrainRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was forgotten: which trains, how many messages in the mailbox, and how many bytes at home."""

    trains: tuple[TrainId, ...]
    messages: int
    freed: int


def chosen(names: Sequence[str], home: Home, *, unopened: bool, now: datetime) -> tuple[TrainRecord, ...]:
    """Return the trains of these names, if each can be forgotten.

    Raises:
        TrainNotOver: one may still run somewhere; or its results wait to be opened, and not `unopened` ones are meant.
        TrainNotHere, InvalidInput: see `Home.find`.
    """
    found = tuple({one.train: one for one in map(home.find, names)}.values())
    for one in found:
        reason = _hindrance(one, home, now)
        if reason is not None:
            raise TrainNotOver(reason, train=one.train.short, state=home.state_of(one))
        if _unopened(one, home) and not unopened:
            msg = "the results of this train were never opened"
            hint = "'pht train open' opens them; --unopened forgets them all the same"
            raise TrainNotOver(msg, train=one.train.short, hint=hint)
    return found


def older_than(age: timedelta, home: Home, *, unopened: bool, now: datetime) -> tuple[TrainRecord, ...]:
    """Return the trains made longer ago than `age` that can be forgotten, the oldest first."""
    return tuple(
        one
        for one in home.records()
        if now - one.recorded > age
        and not home.forgotten(one.train)
        and _hindrance(one, home, now) is None
        and (unopened or not _unopened(one, home))
    )


def forget(trains: Sequence[TrainRecord], home: Home, depot: Depot, now: datetime) -> Forgotten:
    """Take the trains out of the owner's mailbox, then remove what is sealed at home. May be repeated.

    Raises:
        RegistryDenied: this registry does not delete.
        RegistryUnavailable: nothing was removed at home yet.
    """
    ids = tuple(one.train for one in trains)
    messages = depot.forget(home.party, {one.train: one.manifest.route for one in trains}) if ids else 0
    freed = 0
    for one in trains:
        home.note_forgotten(one.train, now)
        for digest in _sealed(one, home):
            if home.blobs.has(digest):
                freed += home.blobs.size(digest)
                home.blobs.drop(digest)
    return Forgotten(trains=ids, messages=messages, freed=freed)


def _hindrance(train: TrainRecord, home: Home, now: datetime) -> str | None:
    """Say why a train cannot be forgotten, if it cannot: what it signed must be found for as long as it may run (T5)."""
    seen = home.seen(train.train)
    over = home.arrival(train.train) is not None or (seen is not None and seen.ended)
    if over or train.manifest.valid_until <= now:
        return None
    return "this train may still run at a station"


def _unopened(train: TrainRecord, home: Home) -> bool:
    seen = home.seen(train.train)
    came = home.arrival(train.train) is not None or (seen is not None and seen.passed)
    return came and not home.opened(train.train)


def _sealed(train: TrainRecord, home: Home) -> Iterator[Digest]:
    yield train.manifest.code.digest
    arrival = home.arrival(train.train)
    if arrival is not None and home.blobs.has(arrival):
        yield from (one.digest for one in layers_of(arrival, home.blobs).states)
