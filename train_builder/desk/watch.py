"""Where is a train, and how is it waited for?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from security.clock import Clock
from security.errors import Unavailable
from train_builder.desk.reach import depot_of, trust_of
from train_builder.follow.follow import Follower, Whereabouts, follow
from train_builder.home import Home


def where_is(name: str, home: Home, now: datetime) -> Whereabouts:
    """Return where a train is, and keep how far it was seen.

    Raises:
        TrainNotHere, InvalidInput: see `Home.find`.
        TrainForgotten: see `Home.expect_kept`.
        Unavailable: the registry or the directory cannot be reached.
    """
    return _look(_follower(name, home), home, now)


def look_at_all(home: Home, now: datetime) -> None:
    """Look where every train is that may still be under way, and keep how far each was seen.

    Raises:
        Unavailable: the registry or the directory cannot be reached.
    """
    depot, trust = depot_of(home), trust_of(home, now)
    for one in home.records():
        seen = home.seen(one.train)
        over = home.arrival(one.train) is not None or home.forgotten(one.train) or (seen is not None and seen.ended)
        if one.sent is not None and not over:
            _learn(follow(one, depot, trust, now=now), home, now)


def watch(name: str, home: Home, *, clock: Clock, every: float) -> Iterator[Whereabouts | Unavailable]:
    """Yield where a train is, `every` so many seconds, until its journey is over; or why that cannot be said now.

    Raises:
        TrainNotHere, InvalidInput: see `Home.find`.
        TrainForgotten: see `Home.expect_kept`.
    """
    train = _follower(name, home)
    while True:
        now = clock.now()
        try:
            found = _look(train, home, now)
        except Unavailable as error:
            yield error
        else:
            yield found
            if found.over(now):
                return
        clock.wait(every)


def _follower(name: str, home: Home) -> Follower:
    record = home.find(name)
    home.expect_kept(record.train)  # its receipts were removed from the mailbox: it would seem to wait where it began
    return Follower(record, depot_of(home))


def _look(train: Follower, home: Home, now: datetime) -> Whereabouts:
    found = train.look(trust_of(home, now), now=now)
    _learn(found, home, now)
    return found


def _learn(found: Whereabouts, home: Home, now: datetime) -> None:
    home.note_seen(found.train, found.learnt)
    home.note_looked(found.train, now)
