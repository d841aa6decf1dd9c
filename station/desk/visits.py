"""Which trains are and were here, and what is next for each?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from security.encoding import print_time
from security.ids import PartyId, TrainId
from station.desk.opening import journal_of
from station.house.config import StationConfig
from station.visit.events import ArrivalId
from station.visit.plan import Ask, Do, Over, Phase, Wait, next_step, phase_of
from station.visit.state import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitSummary:
    """A visit as it is listed. What a train says of itself is None until it was verified. Stops count from 0."""

    visit: ArrivalId
    train: TrainId | None
    stop: int | None
    name: str | None
    owner: PartyId | None
    phase: Phase
    next: str
    since: datetime


def list_visits(config: StationConfig, now: datetime, *, waiting: bool) -> tuple[VisitSummary, ...]:
    """Return all visits, the newest last; if `waiting`, only those that wait for a person.

    Raises:
        VisitUnknown: the station has no journal yet.
    """
    with journal_of(config) as journal:
        visits = [journal.visit(arrival) for arrival in journal.arrivals()]
    return tuple(summary(one, now) for one in visits if one.held or not waiting)


def summary(visit: Visit, now: datetime) -> VisitSummary:
    """Return a visit as it is listed."""
    accepted = visit.accepted
    return VisitSummary(
        visit=visit.arrival,
        train=accepted.train if accepted else None,
        stop=accepted.stop if accepted else None,
        name=accepted.name if accepted else None,
        owner=accepted.owner if accepted else None,
        phase=phase_of(visit),
        next=_next(visit, now),
        since=visit.events[-1].at,
    )


def _next(visit: Visit, now: datetime) -> str:
    match next_step(visit, now):
        case Do(step=step):
            return step.value
        case Wait(until=until):
            code = visit.stumbled.code if visit.stumbled else ""
            return f"again at {print_time(until)} ({code})"
        case Ask(hold=hold, reason=reason):
            return f"a person, for {hold.value}: {reason}"
        case Over():
            if visit.superseded:
                return "nothing: it was signed before, which this journal is too old to know"
            ending = visit.refused or visit.fault
            return f"nothing: {ending.code}" if ending else "nothing: sent on"
