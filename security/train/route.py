"""Which stops does a train make, what must have happened before each, and who receives what it sends?

A route is a graph of stops. Each is named by its index, from 0, in an order in which every stop comes after the stops
it depends on; `home`, the index after the last, is the owner. People count stops from one: what they read goes through
`Route.told`, and a run is told `Route.leg`, which leaves out that the train was boarded. What kinds of route there are besides a sequence is in `security.train.route_kinds`.

Whoever needs a neighbour of a stop asks for `before` and `after` it, and computes nothing from the index. A kind of
route says who is expected where and what comes before and after; everything else here follows from that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from security.digest import Digest
from security.forms.many import Many
from security.ids import PartyId

MAX_STOPS: Final = 200
"""Stops in a sequence."""
MOST_ROUNDS: Final = 100
MOST_STATIONS: Final = 50
"""Stations that take part in rounds."""
MOST_ABOARD: Final = MOST_STATIONS + 1
"""Parties that a boarded train has: a pass holds a seed for each after its own. In rounds, the junction may be one more than the stations."""
LONGEST: Final = MOST_ROUNDS * (MOST_STATIONS + 1) + MOST_STATIONS + 2
"""Stops that any route can have in all."""


class Task(StrEnum):
    """What a stop is for."""

    BOARD = "board"  # a station says that it takes part, before anything has departed
    DEPART = "depart"  # everybody is on board
    RUN = "run"  # the analysis, on what came before and on the data of this station
    CONTRIBUTE = "contribute"  # one station's part of a round
    COMBINE = "combine"  # the parts of a round become what the next begins with, or the result

    @property
    def in_rounds(self) -> bool:
        """Whether such a stop belongs to a round."""
        return self in {Task.CONTRIBUTE, Task.COMBINE}


def counted(stop: int) -> int:
    """Return the number of a stop as people count: from one."""
    return stop + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A party, and the fingerprint of the key set it is expected to have."""

    party: PartyId
    key_set: Digest


class Route(ABC):
    """The stops of a train and how they hang together. Immutable: it is part of the signed manifest."""

    __slots__ = ()

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of stops."""

    @abstractmethod
    def stop(self, index: int) -> Stop:
        """Return who is expected at a stop.

        Raises:
            IndexError: the route has no such stop.
        """

    @abstractmethod
    def before(self, index: int) -> tuple[int, ...]:
        """Return the stops whose states a stop, or home, receives. None where a train begins."""

    @abstractmethod
    def after(self, index: int) -> tuple[int, ...]:
        """Return the stops, or home, that receive the state of a stop, if the train goes all its way."""

    @abstractmethod
    def task(self, index: int) -> Task:
        """Return what a stop is for."""

    @property
    @abstractmethod
    def conductor(self) -> Stop:
        """Who waits until everybody is on board, and lets the train depart."""

    @property
    @abstractmethod
    def ends(self) -> tuple[int, ...]:
        """The stops after which a train can come home: the last one, and such as may say that it has finished."""

    def round(self, index: int) -> int:
        """Return which round a stop belongs to, from 0, if its task is one of rounds; all others are of one."""
        del index
        return 0

    @property
    def legs(self) -> Route:
        """The route after the departure; a train that is not boarded is there at once."""
        return self

    def leg(self, index: int) -> int | None:
        """Return which stop of the `legs` a stop is: the same whether or not a train is boarded. None for boarding and departure."""
        return index

    def boarding(self, party: PartyId) -> int | None:
        """Return the stop at which a party comes on board; None if the train is not boarded, or the party not on its route."""
        return next((one for one in self.of(party) if self.task(one) is Task.BOARD), None)

    def onward(self, index: int, *, finished: bool) -> tuple[int, ...]:
        """Return the stops, or home, that receive the state of a stop which said whether the train has `finished`."""
        return (self.home,) if finished else self.after(index)

    @property
    def indices(self) -> range:
        """The stops, in order."""
        return range(len(self))

    @property
    def home(self) -> int:
        """The index after the last stop: the train is back with its owner."""
        return len(self)

    @property
    def starts(self) -> tuple[int, ...]:
        """The stops at which a train begins: there is nothing before them."""
        return tuple(index for index in self.indices if not self.before(index))

    @property
    def parties(self) -> tuple[PartyId, ...]:
        """Every station of the route once, in the order of their first stops."""
        return tuple(dict.fromkeys(one.party for one in self.places))

    def parties_after(self, party: PartyId) -> tuple[PartyId, ...]:
        """Return the stations that come after one in the order of `parties`."""
        return self.parties[self.parties.index(party) + 1 :]

    @property
    def places(self) -> tuple[Stop, ...]:
        """Who is expected at the stops, each once, in the order of their first stops."""
        return tuple(dict.fromkeys(self.stop(index) for index in self.indices))

    def of(self, party: PartyId) -> tuple[int, ...]:
        """Return the stops at which a party is expected."""
        return tuple(index for index in self.indices if self.stop(index).party == party)

    def ancestors(self, index: int) -> tuple[int, ...]:
        """Return every stop that must have passed before a train can be at this one, in order."""
        found: set[int] = set()
        waiting = list(self.before(index))
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self.before(one)
        return tuple(sorted(found))

    def ahead(self, index: int) -> tuple[int, ...]:
        """Return the stops that are still to pass when a train is at this one, itself included."""
        passed = frozenset(self.ancestors(index))
        return tuple(one for one in self.indices if one not in passed)

    def still_to_come(self, index: int) -> dict[Stop, int]:
        """Return who is expected at the stops `ahead` of one, each with the first of them."""
        return {self.stop(one): one for one in reversed(self.ahead(index))}

    def descendants(self, index: int) -> tuple[int, ...]:
        """Return every stop that a train can be at only once this one has passed, in order."""
        found: set[int] = set()
        waiting = list(self.after(index))
        while waiting:
            one = waiting.pop()
            if one not in found and one != self.home:
                found.add(one)
                waiting += self.after(one)
        return tuple(sorted(found))

    def way_to(self, index: int, entries: int) -> tuple[int, ...]:
        """Return the stops that a journey of so many `entries` to a stop, or home, has made; they are in order.

        For a stop they are its ancestors, however many entries there are. Home is reached from one of the `ends`: the
        first with as long a way as that, or else the last.
        """
        if index != self.home:
            return self.ancestors(index)
        ways = ((*self.ancestors(end), end) for end in self.ends)
        found: tuple[int, ...] = ()
        for found in ways:
            if len(found) >= entries:
                break
        return found

    def readers(self, index: int) -> tuple[Stop, ...]:
        """Return who has to verify the entry about a stop: who makes it, and everybody after it, each once."""
        return tuple(dict.fromkeys(map(self.stop, (index, *self.descendants(index)))))

    def told(self, index: int) -> str:
        """Say where a train is, in words for people: ``stop 2 of 3``, ``boarding``, or ``home``.

        What others claim can be told as well: an index that the route does not have.
        """
        if index == self.home:
            return "home"
        return self._told(index) if index in self.indices else f"stop {counted(index)}, which is not on the route"

    def _told(self, index: int) -> str:
        return f"stop {counted(index)} of {len(self)}"

    def __str__(self) -> str:
        """Return the stations in the order of the stops."""
        return " -> ".join(self.stop(index).party for index in self.indices)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRoute(Route):
    """One stop after another (kind ``sequence``). A station may occur more than once."""

    stops: Annotated[tuple[Stop, ...], Many(least=1, most=MAX_STOPS)]

    def __len__(self) -> int:
        return len(self.stops)

    def stop(self, index: int) -> Stop:
        """See `Route.stop`."""
        if index < 0:
            raise IndexError(index)
        return self.stops[index]

    def before(self, index: int) -> tuple[int, ...]:
        """See `Route.before`."""
        return (index - 1,) if index > 0 else ()

    def after(self, index: int) -> tuple[int, ...]:
        """See `Route.after`."""
        return (index + 1,)

    def task(self, index: int) -> Task:
        """See `Route.task`."""
        self.stop(index)
        return Task.RUN

    @property
    def conductor(self) -> Stop:
        """See `Route.conductor`: who has the first stop."""
        return self.stops[0]

    @property
    def ends(self) -> tuple[int, ...]:
        """See `Route.ends`."""
        return (len(self.stops) - 1,)
