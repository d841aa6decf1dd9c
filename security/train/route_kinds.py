"""Which kinds of route are there besides one stop after another?

Rounds, in which all stations work at once; and, around either, boarding: nothing runs before everybody has said that they
take part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from security.forms.form import Number
from security.forms.many import Many
from security.forms.record import Kinds, Rule
from security.ids import PartyId
from security.train.route import MOST_ABOARD, MOST_ROUNDS, MOST_STATIONS, Route, SequenceRoute, Stop, Task, counted


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

    def of(self, party: PartyId) -> tuple[int, ...]:
        """See `Route.of`."""
        here = [place for place in range(self.stride) if self.stop(place).party == party]
        return tuple(begin + place for begin in range(0, len(self), self.stride) for place in here)

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
    def conductor(self) -> Stop:
        """See `Route.conductor`: the junction."""
        return self.junction

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
        """See `Route.readers`: everybody, as every round but the last is before one of all stations, and which is the last comes out late."""
        self.stop(index)
        return self.places

    def _told(self, index: int) -> str:
        return f"round {counted(self.round(index))} of at most {self.most} ({self.task(index)})"

    def __str__(self) -> str:
        """Return the stations, and the junction they all send to."""
        return f"{', '.join(one.party for one in self.stations)} <-> {self.junction.party}"


LEGS: Final = Kinds(sequence=SequenceRoute, rounds=RoundsRoute)
"""What a train does once it is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardedRoute(Route):
    """A route on which nothing runs before every station has said that it takes part (kind ``boarded``).

    Its first stops are those of boarding, one for each party of the route `then`, all at once; the next is the departure,
    at the conductor of that route; then come its own stops.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            says=f"at most {MOST_ABOARD} parties board",
            holds=lambda one: len(one.places) <= MOST_ABOARD,
            field="then",
        ),
    )

    then: Annotated[Route, LEGS]

    @property
    def legs(self) -> Route:
        """See `Route.legs`."""
        return self.then

    @property
    def departure(self) -> int:
        """The stop at which everybody is on board."""
        return len(self.then.places)

    @property
    def _first(self) -> int:
        return self.departure + 1

    def _shifted(self, stops: Iterable[int]) -> tuple[int, ...]:
        first = self._first
        return tuple(first + one for one in stops)

    def __len__(self) -> int:
        return self._first + len(self.then)

    def stop(self, index: int) -> Stop:
        """See `Route.stop`."""
        if index < 0:
            raise IndexError(index)
        places = self.then.places
        if index < len(places):
            return places[index]
        return self.then.conductor if index == len(places) else self.then.stop(index - len(places) - 1)

    def task(self, index: int) -> Task:
        """See `Route.task`."""
        if index < self._first:
            self.stop(index)
            return Task.DEPART if index == self.departure else Task.BOARD
        return self.then.task(index - self._first)

    def round(self, index: int) -> int:
        """See `Route.round`."""
        return self.then.round(max(0, index - self._first))

    def leg(self, index: int) -> int | None:
        """See `Route.leg`."""
        return None if index < self._first else index - self._first

    def before(self, index: int) -> tuple[int, ...]:
        """See `Route.before`."""
        if index <= self.departure:
            return tuple(range(self.departure)) if index == self.departure else ()
        return self._shifted(self.then.before(index - self._first)) or (self.departure,)

    def after(self, index: int) -> tuple[int, ...]:
        """See `Route.after`."""
        if index < self.departure:
            return (self.departure,)
        return self._shifted(self.then.starts if index == self.departure else self.then.after(index - self._first))

    @property
    def conductor(self) -> Stop:
        """See `Route.conductor`."""
        return self.then.conductor

    @property
    def ends(self) -> tuple[int, ...]:
        """See `Route.ends`."""
        return self._shifted(self.then.ends)

    @property
    def places(self) -> tuple[Stop, ...]:
        """See `Route.places`."""
        return self.then.places

    def boarding(self, party: PartyId) -> int | None:
        """See `Route.boarding`."""
        return next((index for index, one in enumerate(self.then.places) if one.party == party), None)

    def of(self, party: PartyId) -> tuple[int, ...]:
        """See `Route.of`."""
        first = (*self.then.places, self.then.conductor)
        boards = tuple(index for index, one in enumerate(first) if one.party == party)
        return (*boards, *self._shifted(self.then.of(party)))

    def ancestors(self, index: int) -> tuple[int, ...]:
        """See `Route.ancestors`."""
        if index <= self.departure:
            return self.before(index)
        return (*range(self._first), *self._shifted(self.then.ancestors(index - self._first)))

    def descendants(self, index: int) -> tuple[int, ...]:
        """See `Route.descendants`."""
        if index <= self.departure:
            return tuple(range(max(index + 1, self.departure), len(self)))
        return self._shifted(self.then.descendants(index - self._first))

    def readers(self, index: int) -> tuple[Stop, ...]:
        """See `Route.readers`."""
        if index <= self.departure:
            return tuple(dict.fromkeys((self.stop(index), *self.places)))
        return self.then.readers(index - self._first)

    def _told(self, index: int) -> str:
        if index <= self.departure:
            return "departure" if index == self.departure else "boarding"
        return self.then.told(index - self._first)

    def __str__(self) -> str:
        """Return the route after the departure."""
        return str(self.then)


KINDS: Final = Kinds(sequence=SequenceRoute, rounds=RoundsRoute, boarded=BoardedRoute)
"""Every kind of route, by the value of ``kind`` in the manifest."""
