"""Which trains has an owner made, and what is any train?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from security.files import read_file
from security.ids import TrainId
from security.statement.envelope import MAX_ENVELOPE, parse_envelope
from train_builder.desk.reach import trust_of
from train_builder.follow.inspect import Inspection, inspect_envelope
from train_builder.home import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSummary:
    """A train as it is listed: `state` is what was heard of it when somebody `looked` last, if ever."""

    train: TrainId
    name: str
    recorded: datetime
    state: str
    looked: datetime | None


def list_trains(home: Home) -> tuple[TrainSummary, ...]:
    """Return the trains made here, the oldest first. Asks no one."""
    return tuple(
        TrainSummary(
            train=one.train,
            name=one.manifest.name,
            recorded=one.recorded,
            state=home.state_of(one),
            looked=home.looked(one.train),
        )
        for one in home.records()
    )


def inspect(name: str, home: Home, now: datetime) -> Inspection:
    """Tell what a train is: the one in the file `name`, or one of the owner's.

    Raises:
        MalformedJson, MalformedStatement: the file is no manifest.
        TrainNotHere, InvalidInput: see `Home.find`.
    """
    path = Path(name)
    given = path.is_file()
    envelope = parse_envelope(read_file(path, limit=MAX_ENVELOPE)) if given else home.find(name).envelope
    return inspect_envelope(envelope, trust_of(home, now))
