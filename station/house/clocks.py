"""Is this machine's clock right, as far as others can tell?

Nobody is believed: a registry can lie about the time, and a directory's dates are its administrator's. So a difference is
told to a person, and decides nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from registry.port import Registry
from security.clock import Clock
from security.directory.trust import TrustStore
from security.encoding import print_time
from security.errors import PhtError
from security.train.journey import CLOCK_SKEW
from station.errors import ClockWrong
from station.house.house import House

TOLERATED: Final = timedelta(minutes=2)
"""How far the registry's clock may differ. Other stations wait with what is dated ten minutes ahead of theirs."""


def compare(now: datetime, *, registry: datetime | None, past: Mapping[str, datetime]) -> None:
    """Compare the clock with the registry's, and with times that must be past, by what happened then.

    Raises:
        ClockWrong: a time that must be past lies in the future, or the registry's clock shows another time.
    """
    for what, when in past.items():
        if now < when - CLOCK_SKEW:
            msg = "the clock is behind"
            raise ClockWrong(msg, now=print_time(now), since=f"{print_time(when)}, when {what}")
    if registry is not None and abs(now - registry) > TOLERATED:
        msg = "the clock is ahead of the registry's" if now > registry else "the clock is behind the registry's"
        hint = "find out which of the two is wrong, set it, and let a time server keep it"
        raise ClockWrong(msg, hint=hint, now=print_time(now), registry=print_time(registry))


def clock_trouble(house: House, clock: Clock) -> ClockWrong | None:
    """Return what is wrong with a station's clock, compared with its registry's and with the directory; see `compare`."""
    past: Mapping[str, datetime] = {}
    with contextlib.suppress(PhtError):  # whether there is a directory is told elsewhere
        past = past_by(house.trust(clock.now()))
    registry = told_by(house.depot.registry)  # which may take a while
    try:
        compare(clock.now(), registry=registry, past=past)
    except ClockWrong as error:
        return error
    return None


def told_by(registry: Registry) -> datetime | None:
    """Return the registry's time, if it can be asked and says one."""
    with contextlib.suppress(PhtError):
        return registry.date()
    return None


def past_by(trust: TrustStore) -> Mapping[str, datetime]:
    """Return the newest time in the directory that must be past: nothing in it is made for the future."""
    dates = [one.since for party in trust.parties.values() for one in party.key_sets]
    return {"the newest key set in the directory began": max(dates)} if dates else {}
