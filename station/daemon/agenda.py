"""Which step of which visit is next, now that several go on at once?

A visit is looked at again only when something was recorded for it, or when a time has come: what waits costs nothing. In a
lane a train that is under way here comes before those that only begin, or a round would wait for everybody who boards; then
the oldest visit comes first. So trains are brought to their end rather than all begun.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from security.ids import PartyId
from station.daemon.lanes import LANES, Lane
from station.daemon.turns import Waiting, next_to_open
from station.house.capacity import Capacity, Resources
from station.house.usage import needs_of, used_by
from station.visit.events import ArrivalId
from station.visit.plan import Do, Phase, Step, Wait, next_step, phase_of
from station.visit.state import Visit


@dataclass(slots=True)
class _Place:
    """A visit on the agenda. `turn` counts how often it was planned: what was planned before is void."""

    visit: Visit
    age: int
    used: Resources
    begins: bool = True
    turn: int = 0
    busy: bool = False
    let_in: bool = False
    """Whether its room may be opened, and is not recorded as open yet."""


@dataclass(slots=True)
class Agenda:
    """What is to be done for the visits of a station, within its capacity."""

    capacity: Capacity
    under_way: Callable[[Visit], bool] = lambda _: False
    """Whether the train of a visit has been here before, and goes on."""
    _places: dict[ArrivalId, _Place] = field(default_factory=dict)
    _ready: dict[Lane, list[tuple[bool, int, int, ArrivalId]]] = field(
        default_factory=lambda: {lane: [] for lane in Lane}
    )
    _later: list[tuple[datetime, int, ArrivalId]] = field(default_factory=list)
    _to_open: dict[ArrivalId, None] = field(default_factory=dict)
    _running: dict[ArrivalId, None] = field(default_factory=dict)
    _last_turn: dict[PartyId, datetime] = field(default_factory=dict)
    _ages: int = 0
    _changed: bool = True
    _now: datetime | None = None

    def put(self, visit: Visit, now: datetime) -> None:
        """Plan a visit anew, after something was recorded for it; a visit that is over is forgotten."""
        place = self._places.get(visit.arrival)
        if visit.departed is not None:
            self._forget(visit.arrival)
            return
        if place is None:
            self._ages += 1
            place = self._places[visit.arrival] = _Place(visit=visit, age=self._ages, used=Resources())
        place.visit, place.used, place.busy = visit, used_by(visit), False
        place.begins = not self.under_way(visit)
        self._plan(place, now)

    def put_off(self, arrival: ArrivalId, until: datetime) -> None:
        """Try a step that brought nothing again at that time: the run goes on, or nothing could be recorded."""
        place = self._places.get(arrival)
        if place is not None:
            place.busy, place.turn = False, place.turn + 1
            heapq.heappush(self._later, (until, place.turn, arrival))

    def take(self, lane: Lane, now: datetime) -> Visit | None:
        """Return the next visit of a lane that a step can be taken of now. It is busy until it is put back."""
        self.wake(now)
        if lane is LANES[Step.OPEN]:
            self._let_in(now)
        ready = self._ready[lane]
        while ready:
            _, _, turn, arrival = heapq.heappop(ready)
            if self._is_ready(arrival, turn):
                place = self._places[arrival]
                place.busy = True
                return place.visit
        return None

    def waits(self) -> bool:
        """Whether a step can be taken that was not: as when no worker was free for it."""
        return any(self._is_ready(arrival, turn) for ready in self._ready.values() for _, _, turn, arrival in ready)

    def next_time(self) -> datetime | None:
        """Return when something will be due that is not due now."""
        while self._later:
            until, turn, arrival = self._later[0]
            place = self._places.get(arrival)
            if place is not None and place.turn == turn:
                return until
            heapq.heappop(self._later)
        return None

    def visits(self) -> Iterator[Visit]:
        """Yield every visit under way, as it was last seen."""
        return (place.visit for place in self._places.values())

    def running(self) -> Iterator[Visit]:
        """Yield the visits whose runs go on, and that no person is asked about."""
        return (self._places[arrival].visit for arrival in self._running)

    def busy(self, arrival: ArrivalId) -> bool:
        """Whether a step of this visit is being taken."""
        place = self._places.get(arrival)
        return place is not None and place.busy

    def _is_ready(self, arrival: ArrivalId, turn: int) -> bool:
        place = self._places.get(arrival)
        return place is not None and place.turn == turn and not place.busy

    def _plan(self, place: _Place, now: datetime) -> None:
        place.turn, place.let_in, self._changed = place.turn + 1, False, True
        arrival = place.visit.arrival
        self._to_open.pop(arrival, None)
        self._running.pop(arrival, None)
        if phase_of(place.visit) is Phase.RUNNING and place.visit.held is None:
            self._running[arrival] = None
        match next_step(place.visit, now):
            case Do(step=Step.OPEN):
                self._to_open[arrival] = None
            case Do(step=step):
                heapq.heappush(self._ready[LANES[step]], (place.begins, place.age, place.turn, arrival))
            case Wait(until=until):
                heapq.heappush(self._later, (until, place.turn, arrival))
            case _:
                pass

    def wake(self, now: datetime) -> None:
        """Plan what has become due; everything, if the clock was turned back."""
        if self._now is not None and now < self._now - timedelta(seconds=1):
            self._later.clear()
            for place in self._places.values():
                if not place.busy:
                    self._plan(place, now)
        self._now = now
        while self._later and self._later[0][0] <= now:
            _, turn, arrival = heapq.heappop(self._later)
            due = self._places.get(arrival)
            if due is not None and due.turn == turn and not due.busy:
                self._plan(due, now)

    def _let_in(self, now: datetime) -> None:
        """Let those open their rooms for whom there is room."""
        if not (self._to_open and self._changed):
            return
        self._changed = False
        waiting = [
            Waiting(visit=place.visit, owner=place.visit.accepted.owner, needs=needs_of(place.visit))
            for place in sorted(
                (self._places[one] for one in self._to_open), key=lambda place: (place.begins, place.age)
            )
            if place.visit.accepted is not None
        ]
        in_use = [
            (place.visit.accepted.owner, needs_of(place.visit) if place.let_in else place.used)
            for place in self._places.values()
            if place.visit.accepted is not None and place.visit.arrival not in self._to_open
        ]
        for visit in next_to_open(waiting, in_use, self.capacity, self._last_turn):
            place = self._places[visit.arrival]
            place.let_in = True
            del self._to_open[visit.arrival]
            if visit.accepted is not None:
                self._last_turn[visit.accepted.owner] = now
            heapq.heappush(self._ready[LANES[Step.OPEN]], (place.begins, place.age, place.turn, visit.arrival))

    def _forget(self, arrival: ArrivalId) -> None:
        self._places.pop(arrival, None)
        self._to_open.pop(arrival, None)
        self._running.pop(arrival, None)
        self._changed = True
