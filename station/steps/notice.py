"""What lies in our mailbox that we have not seen?"""

from __future__ import annotations

from datetime import datetime

from registry.depot import mailbox
from station.events import ArrivalId, Noticed, Redelivered
from station.house import House


def notice(house: House, now: datetime) -> tuple[ArrivalId, ...]:
    """Begin a visit for every new arrival; return the new visits.

    What a finished visit was about is taken out of the mailbox when it lies there again (attack T6): a visit happens
    once, and the journal keeps that somebody tried.

    Raises:
        RegistryUnavailable, RegistryDenied, RegistryMisbehaved: the mailbox cannot be read.
    """
    unfinished = set(house.journal.unfinished())
    begun = []
    for arrival in house.depot.arrivals(house.party):
        if arrival.digest in unfinished:
            continue
        if house.journal.find(arrival.digest) is None:
            size = len(house.depot.registry.get_manifest(mailbox(house.party), arrival.digest).raw)
            noticed = Noticed(at=now, arrival=arrival.digest, tag=arrival.tag, size=size)
            house.journal.append(arrival.digest, noticed, expect=0)
            unfinished.add(arrival.digest)
            begun.append(arrival.digest)
        else:
            house.depot.remove(arrival)
            house.journal.note(Redelivered(at=now, arrival=arrival.digest, tag=arrival.tag))
    return tuple(begun)
