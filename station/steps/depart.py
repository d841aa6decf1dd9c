"""Depart: has the train left our mailbox?"""

from __future__ import annotations

import logging
from datetime import datetime

from registry.depot import train_tag
from security.errors import PhtError
from security.train.route import Route
from station.house.house import House
from station.steps.evidence import accepted_manifest, arrival_of
from station.visit.events import Departed, SignedKind
from station.visit.state import Visit

log = logging.getLogger(__name__)


def perform(visit: Visit, house: House, now: datetime) -> Departed:
    """Take the arrival, in all its parts, out of the mailbox; who is next has confirmed its own, or there is nobody.

    The parts go first: what is left of them after a crash is asked for again as long as the visit goes on. Our keys for the train
    are destroyed with its last visit here (attack T26).
    """
    if visit.accepted is not None:
        train, stop = visit.accepted.train, visit.accepted.stop
        route = accepted_manifest(visit, house).route
        if _ends_here(visit, route, house):
            house.passes.destroy(train)
        else:
            _expect_after(visit, route, house, now)
        for sender in route.before(stop)[1:]:
            part = house.depot.part(house.party, train, stop, sender)
            if part is not None:
                house.depot.remove(part)
    house.depot.remove(arrival_of(visit, house))
    return Departed(at=now)


def _ends_here(visit: Visit, route: Route, house: House) -> bool:
    """Whether no other visit of this train can follow here: it was not let go on, it has finished, or this was our last stop."""
    if visit.signed is None or visit.signed.what is not SignedKind.ENTRY or visit.accepted is None:
        return True
    finished = visit.cleared is not None and visit.cleared.finished
    return finished or visit.accepted.stop == route.of(house.party)[-1]


def expect(house: House, now: datetime) -> None:
    """Expect, after a restart, the trains that have been here and that we have keys for: they come again."""
    for train in house.passes.trains():
        visits = [
            one for one in house.journal.beginning(train) if one.accepted is not None and one.departed is not None
        ]
        last = max(visits, key=lambda one: one.accepted.stop if one.accepted else 0, default=None)
        if last is None:
            continue
        try:
            route = accepted_manifest(last, house).route
            if not _ends_here(last, route, house):
                _expect_after(last, route, house, now)
        except PhtError as error:  # it is found without being expected
            log.warning("cannot tell what comes next", extra={"train": train.short, "code": error.code})


def _expect_after(visit: Visit, route: Route, house: House, now: datetime) -> None:
    if visit.accepted is not None:
        following = next(one for one in route.of(house.party) if one > visit.accepted.stop)
        house.expected.add(train_tag(visit.accepted.train, house.party, following), now)
