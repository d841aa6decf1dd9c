"""How much of this machine does a visit take up, and what is left of its disk for copies of data?

What a run may use was granted to it before its room was opened. How large the data are that it asked for is known only when they
have been copied: while that goes on, it is counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Final, TypeAlias

from security.errors import PhtError
from security.ids import PartyId
from station.data.port import UNBOUNDED
from station.errors import DataCrowded, DataTooLarge
from station.house.capacity import Capacity, Resources
from station.visit.events import ArrivalId
from station.visit.plan import Phase, phase_of
from station.visit.state import Visit

RUNS: Final = frozenset({Phase.OPENED, Phase.FURNISHED, Phase.RUNNING})
"""When a run goes on or is about to; while a person is asked meanwhile, nothing is left of it (`station.daemon.reconcile`)."""
_ROOM_ONLY: Final = frozenset({Phase.ENDED, Phase.CLEARED, Phase.SEALED, Phase.STOPPED})
_NEWS: Final = 64 << 20
"""Bytes that are copied before it is asked again what others take up."""

UnderWay: TypeAlias = Callable[[], Iterable[Visit]]


def needs_of(visit: Visit) -> Resources:
    """Return what the run of an admitted visit takes up while it goes on, with what was copied for it."""
    if visit.admitted is None:
        return Resources()
    granted, copied = visit.admitted, 0 if visit.furnished is None else visit.furnished.disk_bytes
    return Resources(
        runs=1,
        memory_bytes=granted.memory_bytes,
        cpu_millis=granted.cpu_millis,
        disk_bytes=granted.disk_bytes + copied,
    )


def used_by(visit: Visit) -> Resources:
    """Return what a visit takes up now."""
    phase, needs = phase_of(visit), needs_of(visit)
    if phase in RUNS:
        return Resources() if visit.held else needs
    return Resources(disk_bytes=needs.disk_bytes) if phase in _ROOM_ONLY else Resources()


@dataclass(slots=True)
class Copies:
    """What is being copied into rooms now, and may be, within a capacity; None is no bound."""

    capacity: Capacity | None = None
    _going_on: dict[ArrivalId, tuple[PartyId, int]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @contextmanager
    def copying(self, visit: Visit, owner: PartyId, under_way: UnderWay) -> Iterator[Copying]:
        """Count in the block what is copied for a visit, beside what the visits `under_way` take up, itself among them."""
        try:
            yield Copying(self, visit.arrival, owner, under_way)
        finally:
            with self._lock:
                self._going_on.pop(visit.arrival, None)

    def put(self, arrival: ArrivalId, owner: PartyId, count: int) -> tuple[int, int]:
        """Say how many bytes are copied for a visit; return how many are for all others, and for those of its owner."""
        with self._lock:
            self._going_on[arrival] = owner, count
            others = [taken for one, taken in self._going_on.items() if one != arrival]
        return sum(taken for _, taken in others), sum(taken for one, taken in others if one == owner)


class Copying:
    """What may be copied for one visit: a `station.data.port.Space`."""

    def __init__(self, copies: Copies, arrival: ArrivalId, owner: PartyId, under_way: UnderWay) -> None:
        self._copies, self._arrival, self._owner, self._under_way = copies, arrival, owner, under_way
        self._taken = self._granted = self._others = self._of_owner = 0
        self._look()

    @property
    def left(self) -> int:
        """See `Space`."""
        return max(self._free(), 0)

    def take(self, count: int) -> None:
        """See `Space`."""
        self._taken += count
        if self._taken - self._looked_at >= _NEWS:
            self._look()
        if self._free() < 0:
            raise self.full()

    def keep(self, count: int) -> None:
        """Say that of what was copied so many bytes are left: the rest was removed."""
        self._taken = count
        self._look()

    def full(self) -> PhtError:
        """See `Space`."""
        capacity = self._copies.capacity
        everybody, _ = self._copies.put(self._arrival, self._owner, self._taken)
        alone = capacity is not None and self._granted + self._taken > capacity.per_owner.disk_bytes
        if alone or self._others + everybody == 0:
            msg = "what a train asks for is more than the station has disk for"
            return DataTooLarge(msg)
        msg = "what a train asks for does not fit onto the disk beside what other trains may use"
        return DataCrowded(msg)

    def _free(self) -> int:
        capacity = self._copies.capacity
        if capacity is None:
            return UNBOUNDED.left
        everybody, of_owner = self._copies.put(self._arrival, self._owner, self._taken)
        all_free = capacity.total.disk_bytes - self._others - everybody
        of_owner_free = capacity.per_owner.disk_bytes - self._of_owner - of_owner
        return min(all_free, of_owner_free) - self._granted - self._taken

    def _look(self) -> None:
        """Ask what is granted to this visit, and what others take up."""
        self._looked_at, self._granted, self._others, self._of_owner = self._taken, 0, 0, 0
        for one in self._under_way():
            if one.arrival == self._arrival:
                self._granted = 0 if one.admitted is None else one.admitted.disk_bytes
                continue
            disk = used_by(one).disk_bytes
            self._others += disk
            if one.accepted is not None and one.accepted.owner == self._owner:
                self._of_owner += disk
