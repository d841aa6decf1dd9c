"""What lies in our mailbox that we have not seen?"""

from __future__ import annotations

from datetime import datetime

from registry.depot import Arrival, mailbox
from registry.errors import NotInRegistry
from security.errors import DiskFull, PhtError
from station.errors import JournalDamaged
from station.house.house import House
from station.visit.events import ArrivalId, Noticed
from station.visit.station_events import Redelivered


def notice(house: House, now: datetime) -> tuple[ArrivalId, ...]:
    """Begin a visit for every new arrival; return the new visits.

    What a finished visit was about is taken out of the mailbox when it lies there again (attack T6): a visit happens
    once, and the journal records the attempt.

    An arrival that cannot be read, or cannot be removed, does not keep others from being noticed. A registry that brings
    the same arrival back again and again causes one record.

    Raises:
        RegistryUnavailable, RegistryDenied, RegistryMisbehaved: the mailbox cannot be read, or one arrival in it not.
    """
    unfinished = set(house.journal.unfinished())
    begun: list[ArrivalId] = []
    trouble: PhtError | None = None
    for arrival in house.depot.arrivals(house.party):
        if arrival.digest in unfinished:
            continue
        try:
            if house.journal.find(arrival.digest) is None:
                _begin(arrival, house, now)
                begun.append(arrival.digest)
            else:
                _take_out(arrival, house, now)
        except (JournalDamaged, DiskFull):
            raise
        except NotInRegistry:
            continue  # taken away since the list was made
        except PhtError as error:
            trouble = trouble or error
        unfinished.add(arrival.digest)
    if trouble is not None and not begun:
        raise trouble
    return tuple(begun)


def _begin(arrival: Arrival, house: House, now: datetime) -> None:
    size = len(house.depot.registry.get_manifest(mailbox(house.party), arrival.digest).raw)
    noticed = Noticed(at=now, arrival=arrival.digest, tag=arrival.tag, size=size)
    house.journal.append(arrival.digest, noticed, expect=0)


def _take_out(arrival: Arrival, house: House, now: datetime) -> None:
    if not house.journal.was_redelivered(arrival.digest):
        house.journal.note(Redelivered(at=now, arrival=arrival.digest, tag=arrival.tag))
    house.depot.remove(arrival)
