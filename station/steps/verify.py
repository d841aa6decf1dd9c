"""Verify: is this the train it claims to be, and has this stop not been made before?"""

from __future__ import annotations

from datetime import datetime

from security.errors import Forked, Replayed
from security.ids import TrainId
from security.train.journey import read_entry
from security.train.manifest import read_manifest
from station.house.house import House
from station.steps.before import signed_before
from station.steps.evidence import accepted_event, parts_of, recalled_event, verified
from station.steps.gathered import stop_of
from station.visit.events import Accepted
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Accepted:
    """Verify from the spool; that no other visit was accepted for this stop is checked when the event is recorded.

    Raises:
        Forked: a part of it came alone, and its station has sent another for this stop before.
        Refused: one of its leaves, which says why.
        Replayed: the journal does not know, but the owner's mailbox does, that we have signed for this stop (T5).
    """
    trust = house.trust(now)
    if visit.fetched is not None and visit.fetched.recalled:
        return recalled_event(visit, house, trust, now)
    _need_no_other(visit, house)
    accepted = verified(visit, house, trust, now)
    known = house.journal.accepted(accepted.train, accepted.stop) is not None  # then it tells replay from fork
    if not known and signed_before(accepted.train, accepted.stop, accepted.manifest.value, house):
        msg = "this station has signed for this stop before"
        hint = "was the journal restored from a backup? the registry remembers more than it"
        raise Replayed(
            msg, train=accepted.train.short, place=accepted.manifest.value.route.told(accepted.stop), hint=hint
        )
    return accepted_event(accepted, trust, now)


def _need_no_other(visit: Visit, house: House) -> None:
    """Tell a part that FETCH kept alone (`fetch`); whatever else is missing is told by the verification."""
    came = parts_of(visit, house.spool)
    route, train = read_manifest(came.manifest.payload).route, TrainId(came.manifest.digest.hex)
    stop = stop_of(route, [read_entry(one.payload).stop for one in came.entries], house)
    if stop is None or len(came.states) >= len(route.before(stop)):
        return
    first = house.journal.accepted(train, stop)
    if first is not None:
        msg = "the train has been at this stop, with another statement of a stop before it"
        place = route.told(stop)
        raise Forked(msg, train=train.short, place=place, first=first.arrival.short, second=visit.arrival.short)
