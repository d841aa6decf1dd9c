"""Whose train is opened next, and is there room for it?

A run takes up memory, processors and one of the runs at once from the time its room is opened until it has ended; its disk
until the room is wiped. The owner who uses least of the station comes first; among equals, the one who has waited longest
since the last turn; then the oldest train. A train that does not fit waits, and no train overtakes it, or large trains
would wait for ever; only one that its *owner's* share holds back lets others go ahead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from security.ids import PartyId
from station.house.capacity import Capacity, Resources
from station.visit.state import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A train that was admitted: who its owner is, and what its run takes up."""

    visit: Visit
    owner: PartyId
    needs: Resources


def next_to_open(
    waiting: Sequence[Waiting],
    in_use: Iterable[tuple[PartyId, Resources]],
    capacity: Capacity,
    last_turn: Mapping[PartyId, datetime],
) -> tuple[Visit, ...]:
    """Return the visits to open now, in order. `waiting` is in the order of the agenda, `last_turn` when each owner had one opened."""
    total, used = Resources(), defaultdict[PartyId, Resources](Resources)
    for owner, taken in in_use:
        total, used[owner] = total + taken, used[owner] + taken
    queues: dict[PartyId, list[Waiting]] = {}
    for one in waiting:
        queues.setdefault(one.owner, []).append(one)
    ages = {one.visit.arrival: age for age, one in enumerate(waiting)}
    opened: list[Visit] = []

    def rank(owner: PartyId) -> tuple[float, float, int]:
        since = last_turn.get(owner)
        share = used[owner].share_of(capacity.total)
        return share, since.timestamp() if since else 0.0, ages[queues[owner][0].visit.arrival]

    while queues:
        owner = min(queues, key=rank)
        one = queues[owner][0]
        if not (used[owner] + one.needs).within(capacity.per_owner):
            del queues[owner]  # held back by what this owner uses already: the others go ahead
            continue
        if not (total + one.needs).within(capacity.total):
            break
        opened.append(one.visit)
        total, used[owner] = total + one.needs, used[owner] + one.needs
        queues[owner].pop(0)
        if not queues[owner]:
            del queues[owner]
    return tuple(opened)
