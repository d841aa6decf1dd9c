"""Verify: is this the train it claims to be, and has this stop not been made before?"""

from __future__ import annotations

from datetime import datetime

from security.errors import Replayed
from station.house.house import House
from station.steps.before import signed_before
from station.steps.evidence import accepted_event, recalled_event, verified
from station.visit.events import Accepted
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Accepted:
    """Verify from the spool; that no other visit was accepted for this stop is checked when the event is recorded.

    Raises:
        Refused: one of its leaves, which says why.
        Replayed: the journal does not know, but the owner's mailbox does, that we have signed for this stop (T5).
    """
    trust = house.trust(now)
    if visit.fetched is not None and visit.fetched.recalled:
        return recalled_event(visit, house, trust, now)
    accepted = verified(visit, house, trust, now)
    known = house.journal.accepted(accepted.train, accepted.stop) is not None  # then it tells replay from fork
    if not known and signed_before(accepted.train, accepted.stop, accepted.manifest.value.owner.party, house):
        msg = "this station has signed for this stop before"
        hint = "was the journal restored from a backup? the registry remembers more than it"
        raise Replayed(
            msg, train=accepted.train.short, place=accepted.manifest.value.route.told(accepted.stop), hint=hint
        )
    return accepted_event(accepted, trust, now)
