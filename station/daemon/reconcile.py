"""What happens to one visit in one turn?

One visit, one step, one event. What a step raises becomes an event by its family: who must act next decides whether the
visit ends, waits or asks a person. This is one of the two places that handle every exception; a bug in a step must not
stop the other visits.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from registry.errors import NotInRegistry, RegistryDenied, RegistryMisbehaved
from registry.names import Tag
from security.errors import (
    ArchiveRejected,
    BudgetExceeded,
    CodeAltered,
    DirectoryRejected,
    PhtError,
    Refused,
    Replayed,
    TrainFault,
)
from security.train.journey import MOST_REASON
from station.errors import JournalRaced, RoomMissing, RunInterrupted, SpoolDamaged
from station.house.house import House
from station.house.usage import RUNS
from station.steps import perform
from station.steps.mend import mend
from station.steps.notice import notice, notice_expected
from station.steps.wipe import clear
from station.visit.events import (
    ArrivalId,
    Furnished,
    Held,
    HoldFor,
    RoomLost,
    RunFault,
    Stumbled,
    Superseded,
    VisitEvent,
)
from station.visit.events import Refused as RefusedEvent
from station.visit.parts import plain
from station.visit.plan import Do, Step, lose_room, next_step, permits, phase_of, stumble, stumble_internally
from station.visit.state import INTERNAL, Visit

log = logging.getLogger(__name__)

_AMONG_PLAINTEXT: Final = frozenset({Step.OPEN, Step.SEAL})
"""Steps whose errors may name files inside a seal: of those, journal and log keep the constant message only (T20)."""
_OF_A_SEAL: Final = (ArchiveRejected, BudgetExceeded, CodeAltered)
"""Errors that may name such files wherever a seal is opened."""
_BEFORE_DATA: Final = frozenset({Step.ADMIT, Step.OPEN})
"""Steps that come before anything has read data: what they refuse for says nothing about a patient, and is told."""


def reconcile(arrival: ArrivalId, house: House, now: datetime) -> VisitEvent | None:
    """Do what is next for a visit and record it; None if there was nothing to do now, or it was updated concurrently.

    What the step puts into the spool is held there until its event is recorded.

    Raises:
        JournalDamaged, DiskFull: nothing can be recorded, so nothing may be done.
    """
    with house.spool.holding():
        return _reconcile(arrival, house, now)


def _reconcile(arrival: ArrivalId, house: House, now: datetime) -> VisitEvent | None:
    visit = house.journal.visit(arrival)
    todo = next_step(visit, now)
    if not isinstance(todo, Do):
        return None
    event = _attempt(todo.step, visit, house, now)
    if event is None:
        return None
    try:
        house.journal.append(arrival, event, expect=visit.length)
    except JournalRaced:
        return None
    except Replayed as error:
        event = _explained(error, todo.step, visit, now)
        try:
            house.journal.append(arrival, event, expect=visit.length)
        except JournalRaced:
            return None
    log.log(
        logging.WARNING if isinstance(event, RefusedEvent | Superseded | RunFault | Stumbled | Held) else logging.INFO,
        "recorded",
        extra={
            "visit": arrival.short,
            "train": visit.accepted.train.short if visit.accepted else None,
            "place": visit.accepted.place if visit.accepted else None,
            "step": todo.step.value,
            "event": event.kind,
            "code": getattr(event, "code", None),
            "reason": getattr(event, "reason", None),
        },
    )
    return event


def look_out(house: House, now: datetime) -> tuple[ArrivalId, ...]:
    """Begin a visit for every new arrival; a bug that a stranger's tag sets off must not stop the visits under way.

    Raises:
        PhtError: see `station.steps.notice`.
    """
    return _looking(partial(notice, house, now))


def look_for(house: House, tags: Sequence[Tag], now: datetime) -> tuple[ArrivalId, ...]:
    """Begin a visit for each arrival that is expected under one of these names and is there; see `look_out`.

    Raises:
        PhtError: see `station.steps.notice`.
    """
    return _looking(partial(notice_expected, house, tags, now))


def _looking(look: Callable[[], tuple[ArrivalId, ...]]) -> tuple[ArrivalId, ...]:
    try:
        return look()
    except PhtError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary, as below
        log.error("internal error", extra={"step": "notice", "type": type(error).__name__, "where": _where(error)})  # noqa: TRY400 - the traceback's message may quote
        return ()


def _attempt(step: Step, visit: Visit, house: House, now: datetime) -> VisitEvent | None:
    try:
        return _answered(step, visit, house, now)
    except Exception as error:  # noqa: BLE001 - the boundary: our bug, and not the other visits' problem
        _log_bug(error, step, visit)
        return _unbroken(step, visit, house, now)


def _answered(step: Step, visit: Visit, house: House, now: datetime) -> VisitEvent | None:
    """Take the step, or tell what it raises."""
    try:
        return _performed(step, visit, house, now)
    except SpoolDamaged as error:
        return _attended(_mended(error, step, visit, house, now), visit, house, now)
    except PhtError as error:
        return _left(_explained(error, step, visit, now), visit, house, now)


def _unbroken(step: Step, visit: Visit, house: House, now: datetime) -> VisitEvent:
    """Try again after a bug of ours, or ask a person; what is cleared away before that may be what the bug is in."""
    try:
        return _attended(stumble_internally(visit, now=now), visit, house, now)
    except Exception as error:  # noqa: BLE001 - the boundary, as above
        _log_bug(error, step, visit)
        return stumble(visit, code=INTERNAL, now=now)


def _attended(event: VisitEvent, visit: Visit, house: House, now: datetime) -> VisitEvent:
    """See that no run goes on that nobody watches while a person is asked; what has ended stays."""
    return _left(event, visit, house, now) if phase_of(visit) in RUNS else event


def _performed(step: Step, visit: Visit, house: House, now: datetime) -> VisitEvent | None:
    """Take the step, and make durable what its event is going to name."""
    event = perform(step, visit, house, now)
    house.spool.settle()
    return event


def _left(event: VisitEvent, visit: Visit, house: House, now: datetime) -> VisitEvent:
    """See that nothing is left of a lost run: before a person is asked, who may take days, and at once where that is possible."""
    if not isinstance(event, RoomLost | Held):
        return event
    try:
        clear(visit, house)
    except PhtError as error:
        log.warning("something is left", extra={"visit": visit.arrival.short, "code": error.code, "reason": str(error)})
        if isinstance(event, Held):
            return stumble(visit, code=error.code, now=now, reason=plain(error.message))
    return event


def _mended(error: SpoolDamaged, step: Step, visit: Visit, house: House, now: datetime) -> Stumbled | Held:
    """Fetch what is damaged again, and try once more; ask a person where that is not possible."""
    reason = (
        "a file in the spool is damaged, and this station made it itself: restore it from a backup, or refuse the train"
    )
    try:
        if mend(visit, house):
            log.warning("fetched again what was damaged", extra={"visit": visit.arrival.short, "code": error.code})
            return stumble(visit, code=error.code, now=now, reason=_reason(error, step))
    except (NotInRegistry, RegistryDenied):
        reason = "a file in the spool is damaged, and the registry does not have it any more: restore it from a backup, or refuse the train"
    except PhtError as unreachable:
        return stumble(visit, code=unreachable.code, now=now, reason=_reason(unreachable, step))
    return Held(at=now, hold=HoldFor.ATTENTION, reason=reason)


def _explained(error: PhtError, step: Step, visit: Visit, now: datetime) -> VisitEvent:
    """Turn an error into the event its family calls for, if the machine allows that where it stands."""
    reason = _reason(error, step)
    stumbled = stumble(visit, code=error.code, now=now, reason=reason)
    if isinstance(error, RoomMissing | RunInterrupted):
        wanted: VisitEvent = lose_room(visit, now=now)
        return wanted if permits(visit, wanted) else stumbled
    # A directory that cannot be believed, or a registry that cannot, says nothing about the train.
    if isinstance(error, Refused) and not isinstance(error, DirectoryRejected | RegistryMisbehaved):
        told = reason[:MOST_REASON] if step in _BEFORE_DATA and not _read_data(visit) else ""
        wanted = RefusedEvent(at=now, code=error.code, reason=reason, by=step.value, told=told)
        if permits(visit, wanted):
            return wanted
    if isinstance(error, TrainFault):
        wanted = RunFault(at=now, code=error.code, reason=reason)
        if permits(visit, wanted):
            return wanted
    return stumbled


def _reason(error: PhtError, step: Step) -> str:
    return plain(error.message if step in _AMONG_PLAINTEXT or isinstance(error, _OF_A_SEAL) else str(error))


def _read_data(visit: Visit) -> bool:
    """Whether any attempt has got so far, those included whose room was lost."""
    return any(isinstance(event, Furnished) for event in visit.events)


def _log_bug(error: Exception, step: Step, visit: Visit) -> None:
    """Log where it happened, but not what the exception says: a foreign message may quote data (T20)."""
    log.error(
        "internal error",
        extra={"visit": visit.arrival.short, "step": step.value, "type": type(error).__name__, "where": _where(error)},
    )


def _where(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
