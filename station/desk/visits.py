"""Which trains are and were here, and what is next for each?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from security.encoding import print_time
from security.errors import PhtError
from security.ids import PartyId, TrainId
from station.daemon.health import read_health
from station.desk.opening import journal_of
from station.house.config import StationConfig
from station.house.lock import held
from station.journal.journal import Journal
from station.visit.events import ArrivalId, Stumbled
from station.visit.plan import Ask, Do, Over, Phase, Wait, next_step, phase_of
from station.visit.state import Visit

NO_DAEMON: Final = "nothing, for no daemon works here: pht station run"
RECENT: Final = 20
"""Of the newest visits, so many are listed also if they are over."""
LONGEST_SILENCE: Final = timedelta(minutes=15)
"""A daemon says every few seconds that it is there, but a step may keep it from that for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitSummary:
    """A visit as it is listed. What a train says of itself is None until it was verified.

    ``stop`` counts from 0; ``place`` says where that is on the route, in words.
    """

    visit: ArrivalId
    train: TrainId | None
    stop: int | None
    place: str | None
    name: str | None
    owner: PartyId | None
    phase: Phase
    next: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Visits as they are listed, in the order of their arrival, and how many `more` there were before that are over."""

    visits: tuple[VisitSummary, ...]
    more: int


def list_visits(config: StationConfig, now: datetime, *, waiting: bool = False, every: bool = False) -> Listing:
    """Return the visits under way and the newest that are over, or every one; if `waiting`, those that wait for a person.

    Raises:
        VisitUnknown: the station has no journal yet.
    """
    with journal_of(config) as journal:
        return listing(journal, now, worked=held(config.folder), waiting=waiting, every=every)


def listing(journal: Journal, now: datetime, *, worked: bool, waiting: bool = False, every: bool = False) -> Listing:
    """Return what `list_visits` does; `worked` is whether a daemon works here."""
    if waiting:
        asked = (visit for visit in journal.going_on() if visit.held)
        return Listing(visits=tuple(summary(one, now, worked=worked) for one in asked), more=0)
    newest = journal.arrivals(None if every else RECENT)
    shown = frozenset(newest)
    older = (visit for visit in journal.going_on() if visit.arrival not in shown)
    visits = (*older, *map(journal.visit, newest))
    found = tuple(summary(one, now, worked=worked) for one in visits)
    return Listing(visits=found, more=max(0, journal.count() - len(found)))


def silence(config: StationConfig, now: datetime) -> timedelta | None:
    """Return for how long the daemon that holds the state folder has said nothing, if that is longer than it should."""
    try:
        quiet = now - read_health(config.health).turn
    except PhtError:
        return None
    return quiet if held(config.folder) and quiet > LONGEST_SILENCE else None


def summary(visit: Visit, now: datetime, *, worked: bool) -> VisitSummary:
    """Return a visit as it is listed; `worked` is whether a daemon works here."""
    accepted = visit.accepted
    return VisitSummary(
        visit=visit.arrival,
        train=accepted.train if accepted else None,
        stop=accepted.stop if accepted else None,
        place=accepted.place if accepted else None,
        name=accepted.name if accepted else None,
        owner=accepted.owner if accepted else None,
        phase=phase_of(visit),
        next=_next(visit, now, worked=worked),
        since=visit.events[-1].at,
    )


def _next(visit: Visit, now: datetime, *, worked: bool) -> str:
    match next_step(visit, now):
        case Do() | Wait() if not worked:
            return NO_DAEMON if visit.stumbled is None else f"{NO_DAEMON}; it waited{_why(visit.stumbled)}"
        case Do(step=step):
            return step.value
        case Wait(until=until):
            return f"again at {print_time(until)}{'' if visit.stumbled is None else _why(visit.stumbled)}"
        case Ask(hold=hold, reason=reason):
            return f"a person, for {hold.value}: {reason}"
        case Over():
            if visit.superseded:
                return "nothing: it was signed before, which this journal is too old to know"
            ending = visit.refused or visit.fault
            return f"nothing: {ending.code}" if ending else "nothing: sent on"


def _why(stumbled: Stumbled) -> str:
    return f": {stumbled.reason} ({stumbled.code})" if stumbled.reason else f" ({stumbled.code})"
