"""How does a person decide about a visit?

In two steps, so that they can be shown what they are about to decide: a decision is made from the visit as it is, and
recorded only if the visit has not changed since.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from security.errors import InvalidInput
from security.train.journey import MOST_REASON
from station.desk.opening import find_visit, journal_of
from station.house.config import StationConfig
from station.visit.events import Approved, HoldFor, Refused
from station.visit.plan import approve, refuse
from station.visit.state import Visit

DecisionEvent = TypeVar("DecisionEvent", Approved, Refused)

REFUSED_BY_HAND: Final = "policy.refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[DecisionEvent]):
    """What a person decided about a visit; it counts once it is recorded."""

    visit: Visit
    event: DecisionEvent


def approval(config: StationConfig, train: str, *, by: str, note: str, now: datetime) -> Decision[Approved]:
    """Say yes to what a train waits for: to be admitted, released, or tried again.

    Raises:
        NothingToDecide: it waits for no decision.
        VisitUnknown: no such train is here.
    """
    with journal_of(config) as journal:
        visit = find_visit(journal, train)
    return Decision(visit=visit, event=approve(visit, by=by, note=note, now=now))


def refusal(
    config: StationConfig, train: str, *, by: str, reason: str, now: datetime, tell: str = ""
) -> Decision[Refused]:
    """Say no to a train for good. The reason stays in this house; what to `tell` goes to the owner.

    Without that, the owner of a train that waited for its admission is told what this house asked its person: files that
    are missing, or an analysis that is not known here. Nothing had read data then.

    Raises:
        InvalidInput: what to tell is too long, or no line of text.
        NothingToDecide: it is too late.
        VisitUnknown: no such train is here.
    """
    with journal_of(config) as journal:
        visit = find_visit(journal, train)
    held = visit.held
    asked = held.reason[:MOST_REASON] if held is not None and held.hold is HoldFor.ADMISSION else ""
    told = line_for_owner(tell) if tell else asked
    return Decision(visit=visit, event=refuse(visit, code=REFUSED_BY_HAND, reason=reason, by=by, now=now, told=told))


def line_for_owner(text: str) -> str:
    """Return what a person wants to tell an owner, if a statement can carry it.

    Raises:
        InvalidInput: it is empty, too long, or no line of text.
    """
    if not text.strip() or len(text) > MOST_REASON or not text.isprintable():
        msg = "not a line of text that an owner can be told"
        raise InvalidInput(
            msg, characters=len(text), most=MOST_REASON, hint="write one line, without control characters"
        )
    return text


def record(config: StationConfig, decision: Decision[Approved] | Decision[Refused]) -> None:
    """Record a decision.

    Raises:
        JournalRaced: something has happened to the visit since.
    """
    with journal_of(config) as journal:
        journal.append(decision.visit.arrival, decision.event, expect=decision.visit.length)
