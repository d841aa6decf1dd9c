"""Which stops does a train make, what must have happened before each, and who receives what it sends?

A route is a graph of stops. Each is named by its index, from 0, in an order in which every stop comes after the stops
it depends on; `home`, the index after the last, is the owner. People count stops from one: what they read goes through
`counted` or `Route.told`.

Whoever needs a neighbour of a stop asks for `before` and `after` it, and computes nothing from the index. A kind of
route says who is expected where and what comes before and after; everything else here follows from that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from security.digest import Digest
from security.forms.form import Number
from security.forms.many import Many
from security.forms.record import Kinds, Rule
from security.ids import PartyId

MAX_STOPS: Final = 200
"""Stops in a sequence."""
MOST_ROUNDS: Final = 100
MOST_STATIONS: Final = 50
"""Stations that take part in rounds."""
LONGEST: Final = MOST_ROUNDS * (MOST_STATIONS + 1)
"""Stops that any route can have in all."""


class Task(StrEnum):
    """What a stop is for."""

    RUN = "run"  # the analysis, on what came before and on the data of this station
    CONTRIBUTE = "contribute"  # one station's part of a round
    COMBINE = "combine"  # the parts of a round become what the next begins with, or the result


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
    def ends(self) -> tuple[int, ...]:
        """The stops after which a train can come home: the last one, and such as may say that it has finished."""

    def round(self, index: int) -> int:
        """Return which round a stop belongs to, from 0; the stops of a sequence are of one."""
        del index
        return 0

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
        """Say where a train is: ``stop 2 of 3``, or ``home``."""
        return "home" if index == self.home else f"stop {counted(index)} of {len(self)}"

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
    def ends(self) -> tuple[int, ...]:
        """See `Route.ends`."""
        return (len(self.stops) - 1,)


def _different(stations: Sequence[Stop]) -> bool:
    return len({one.party for one in stations}) == len(stations)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsRoute(Route):
    """Rounds of all stations at once (kind ``rounds``), of which there are `most`.

    In each round every station *contributes*, and the junction *combines*; all stations begin the next with what came of
    that. The stops of a round are its contributions, in the order of the stations, and then the combination. The junction
    may be one of the stations.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(says="stations are different parties", holds=lambda one: _different(one.stations), field="stations"),
        Rule(
            says="a junction that is one of the stations has the same keys as there",
            holds=lambda one: all(it == one.junction for it in one.stations if it.party == one.junction.party),
            field="junction",
        ),
    )

    stations: Annotated[tuple[Stop, ...], Many(least=1, most=MOST_STATIONS)]
    junction: Stop
    most: Annotated[int, Number(least=1, most=MOST_ROUNDS, says=f"how many rounds at most, from 1 to {MOST_ROUNDS}")]

    @property
    def stride(self) -> int:
        """How many stops a round has."""
        return len(self.stations) + 1

    def round(self, index: int) -> int:
        """See `Route.round`."""
        return index // self.stride

    def __len__(self) -> int:
        return self.most * self.stride

    def stop(self, index: int) -> Stop:
        """See `Route.stop`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = index % self.stride
        return self.junction if place == len(self.stations) else self.stations[place]

    def task(self, index: int) -> Task:
        """See `Route.task`."""
        self.stop(index)
        return Task.COMBINE if index % self.stride == len(self.stations) else Task.CONTRIBUTE

    @property
    def places(self) -> tuple[Stop, ...]:
        """See `Route.places`."""
        return tuple(dict.fromkeys((*self.stations, self.junction)))

    def before(self, index: int) -> tuple[int, ...]:
        """See `Route.before`. Before home is the last combination that there can be."""
        begin = self.round(index) * self.stride
        if index != self.home and self.task(index) is Task.COMBINE:
            return tuple(range(begin, index))
        return (begin - 1,) if begin else ()

    def after(self, index: int) -> tuple[int, ...]:
        """See `Route.after`."""
        begin = self.round(index) * self.stride
        if self.task(index) is Task.CONTRIBUTE:
            return (begin + len(self.stations),)
        following = index + 1
        return (self.home,) if following == self.home else tuple(range(following, following + len(self.stations)))

    @property
    def ends(self) -> tuple[int, ...]:
        """See `Route.ends`."""
        return tuple(range(len(self.stations), len(self), self.stride))

    def ancestors(self, index: int) -> tuple[int, ...]:
        """See `Route.ancestors`: all earlier rounds, and for a combination the contributions to its own."""
        combines = index != self.home and self.task(index) is Task.COMBINE
        return tuple(range(index if combines else self.round(index) * self.stride))

    def descendants(self, index: int) -> tuple[int, ...]:
        """See `Route.descendants`."""
        combination = self.round(index) * self.stride + len(self.stations)
        return tuple(range(combination + (index == combination), len(self)))

    def readers(self, index: int) -> tuple[Stop, ...]:
        """See `Route.readers`."""
        made = (self.stop(index),) if self.task(index) is Task.COMBINE else (self.stop(index), self.junction)
        later = self.stations if self.round(index) + 1 < self.most else ()
        return tuple(dict.fromkeys((*made, *later)))

    def told(self, index: int) -> str:
        """Say where a train is: ``round 2 of at most 20 (contribute)``, or ``home``."""
        if index == self.home:
            return "home"
        return f"round {counted(self.round(index))} of at most {self.most} ({self.task(index)})"

    def __str__(self) -> str:
        """Return the stations, and the junction they all send to."""
        return f"{', '.join(one.party for one in self.stations)} <-> {self.junction.party}"


KINDS: Final = Kinds(sequence=SequenceRoute, rounds=RoundsRoute)
"""Every kind of route, by the value of ``kind`` in the manifest."""
