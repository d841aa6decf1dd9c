"""What must be done next for a visit?

`TABLE` is the whole machine: for each phase the one step to perform and the events that step may record, each with the
phase it leads to. Every step may be performed again after a crash, because its effect is repeatable and is only believed
once its event is recorded. Everything that leaves the station leaves after ``WIPE`` and ``SIGN``: no plaintext is left by
then, and what is sent is what was recorded.

Being held for a person and stumbling are no phases: they keep a visit where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

from registry.errors import NotInRegistry
from security.errors import NotYet
from station.errors import JournalDamaged, NothingToDecide, PartsMissing
from station.visit.events import (
    Accepted,
    Admitted,
    Approved,
    Boarded,
    Cleared,
    Departed,
    Ended,
    Fetched,
    Furnished,
    Held,
    HoldFor,
    Opened,
    Pushed,
    ReceiptSent,
    Refused,
    RoomLost,
    RunFault,
    Sealed,
    Signed,
    SignedKind,
    Started,
    Stumbled,
    Superseded,
    VisitEvent,
    Wiped,
)
from station.visit.state import INTERNAL, Visit

MOST_INTERNAL_STUMBLES: Final = 5
MOST_ROOMS_LOST: Final = 3
LONGEST_BACKOFF: Final = timedelta(minutes=5)
LONGEST_ABSENCE: Final = timedelta(hours=6)
"""Between two looks for an arrival the registry says it does not have, or whose time has not come: whoever can write to a
mailbox can also put thousands there and take them out again, and every look is a record."""


class Phase(StrEnum):
    """Where a visit is."""

    NOTICED = "noticed"
    FETCHED = "fetched"
    ACCEPTED = "accepted"
    ADMITTED = "admitted"
    BOARDED = "boarded"
    OPENED = "opened"
    FURNISHED = "furnished"
    RUNNING = "running"
    ENDED = "ended"
    CLEARED = "cleared"
    SEALED = "sealed"
    READY = "ready"  # sealed and wiped: to be signed and sent on
    SIGNED = "signed"
    STOPPED = "stopped"  # refused or failed, the owner known and owed an answer
    ANSWERABLE = "answerable"  # stopped and wiped: the answer is to be signed
    REPORTING = "reporting"
    REJECTED = "rejected"  # refused before its owner was verified, or signed for before: no one is answered
    LEAVING = "leaving"
    GONE = "gone"


class Step(StrEnum):
    """What can be done for a visit."""

    FETCH = "fetch"
    VERIFY = "verify"
    ADMIT = "admit"
    OPEN = "open"
    FURNISH = "furnish"
    START = "start"
    COLLECT = "collect"
    GATE = "gate"
    SEAL = "seal"
    WIPE = "wipe"
    SIGN = "sign"
    PUSH = "push"
    RECEIPT = "receipt"
    DEPART = "depart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One phase of the machine: its step, and where each event leads."""

    step: Step
    then: Mapping[type[VisitEvent], Phase]
    ask: HoldFor | None = None
    """What the step may ask a person, besides for attention."""
    signs: SignedKind | None = None


_P = Phase
TABLE: Final[Mapping[Phase, Row]] = {
    _P.NOTICED: Row(step=Step.FETCH, then={Fetched: _P.FETCHED, Refused: _P.REJECTED}),
    _P.FETCHED: Row(step=Step.VERIFY, then={Accepted: _P.ACCEPTED, Refused: _P.REJECTED}),
    _P.ACCEPTED: Row(
        step=Step.ADMIT, then={Admitted: _P.ADMITTED, Boarded: _P.BOARDED, Refused: _P.STOPPED}, ask=HoldFor.ADMISSION
    ),
    _P.ADMITTED: Row(step=Step.OPEN, then={Opened: _P.OPENED, Refused: _P.STOPPED}),
    _P.BOARDED: Row(step=Step.SEAL, then={Sealed: _P.SEALED, Refused: _P.STOPPED}),
    _P.OPENED: Row(
        step=Step.FURNISH,
        then={Furnished: _P.FURNISHED, RoomLost: _P.ADMITTED, Refused: _P.STOPPED},
    ),
    _P.FURNISHED: Row(
        step=Step.START,
        then={Started: _P.RUNNING, RoomLost: _P.ADMITTED, RunFault: _P.STOPPED, Refused: _P.STOPPED},
    ),
    _P.RUNNING: Row(
        step=Step.COLLECT,
        then={Ended: _P.ENDED, RoomLost: _P.ADMITTED, RunFault: _P.STOPPED, Refused: _P.STOPPED},
    ),
    _P.ENDED: Row(
        step=Step.GATE,
        then={Cleared: _P.CLEARED, RoomLost: _P.ADMITTED, RunFault: _P.STOPPED, Refused: _P.STOPPED},
        ask=HoldFor.RELEASE,
    ),
    _P.CLEARED: Row(step=Step.SEAL, then={Sealed: _P.SEALED, RoomLost: _P.ADMITTED, Refused: _P.STOPPED}),
    _P.SEALED: Row(step=Step.WIPE, then={Wiped: _P.READY, Refused: _P.STOPPED}),
    _P.READY: Row(
        step=Step.SIGN,
        then={Signed: _P.SIGNED, Refused: _P.ANSWERABLE, Superseded: _P.REJECTED},
        signs=SignedKind.ENTRY,
    ),
    _P.SIGNED: Row(step=Step.PUSH, then={Pushed: _P.REPORTING}),
    _P.STOPPED: Row(step=Step.WIPE, then={Wiped: _P.ANSWERABLE}),
    _P.ANSWERABLE: Row(step=Step.SIGN, then={Signed: _P.REPORTING, Superseded: _P.REJECTED}, signs=SignedKind.REFUSAL),
    _P.REPORTING: Row(step=Step.RECEIPT, then={ReceiptSent: _P.LEAVING}),
    _P.REJECTED: Row(step=Step.WIPE, then={Wiped: _P.LEAVING}),
    _P.LEAVING: Row(step=Step.DEPART, then={Departed: _P.GONE}),
}
"""The machine. `Phase.GONE` is its end and has no row."""


# --- Asking the table ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Perform this step now."""

    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Come back then."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A person must decide first."""

    hold: HoldFor
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """Nothing more will ever be done for this visit."""


Next: TypeAlias = Do | Wait | Ask | Over


def phase_of(visit: Visit) -> Phase:
    """Walk the table along the visit's events.

    Raises:
        JournalDamaged: the table does not allow one of them where it stands.
    """
    phase, held = Phase.NOTICED, None
    for event in visit.events[1:]:
        if not _allows(phase, held, event):
            msg = "the journal tells what cannot have happened"
            raise JournalDamaged(msg, arrival=visit.arrival, phase=phase, found=event.kind)
        held = event if isinstance(event, Held) else None
        phase = TABLE[phase].then.get(type(event), phase)
    return phase


def permits(visit: Visit, event: VisitEvent) -> bool:
    """Whether this event may be recorded next."""
    return _allows(phase_of(visit), visit.held, event)


def next_step(visit: Visit, now: datetime) -> Next:
    """Tell what to do for a visit; the same answer until an event is recorded or a time has come."""
    phase = phase_of(visit)
    if phase is Phase.GONE:
        return Over()
    if visit.held:
        return Ask(hold=visit.held.hold, reason=visit.held.reason)
    # A pause longer than any we make: the clock was ahead when it was noted, and has been put right.
    if visit.not_before and now < visit.not_before <= now + LONGEST_ABSENCE:
        return Wait(until=visit.not_before)
    return Do(step=TABLE[phase].step)


def _allows(phase: Phase, held: Held | None, event: VisitEvent) -> bool:
    row = TABLE.get(phase)
    if row is None:
        return False
    match event:
        case Approved():
            allowed = held is not None and (held.hold, held.analysis) == (event.hold, event.analysis)
        case Refused():
            allowed = Refused in row.then
        case Held():
            allowed = held is None and event.hold in {row.ask, HoldFor.ATTENTION}
        case Stumbled():
            allowed = held is None and event.step == row.step
        case Signed():
            allowed = held is None and event.what is row.signs
        case _:
            allowed = held is None and type(event) in row.then
    return allowed


# --- Events that follow from the table -------------------------------------------------------------------------------


def backoff(attempt: int, longest: timedelta = LONGEST_BACKOFF) -> timedelta:
    """Return the pause after the `attempt`-th stumble in a row: 1, 2, 4, ... seconds, at most `longest`."""
    return min(timedelta(seconds=2 ** min(attempt - 1, 16)), longest)


def stumble(visit: Visit, *, code: str, now: datetime, reason: str = "") -> Stumbled:
    """No progress now; try again later, and again, for as long as it takes."""
    attempt = visit.stumbles + 1
    step = _row(visit).step
    absent = step is Step.FETCH and code in {NotInRegistry.code, NotYet.code}
    pause = backoff(attempt, LONGEST_ABSENCE if absent else LONGEST_BACKOFF)
    if code == PartsMissing.code:  # the step itself looks for what is missing, and says so once
        pause = timedelta(0)
    return Stumbled(at=now, step=step, code=code, attempt=attempt, not_before=now + pause, reason=reason)


def stumble_internally(visit: Visit, *, now: datetime) -> Stumbled | Held:
    """A bug of ours: try again a few times, then ask a person to look."""
    if visit.internal_stumbles + 1 >= MOST_INTERNAL_STUMBLES:
        return Held(at=now, hold=HoldFor.ATTENTION, reason="internal error, several times in a row; see the log")
    return stumble(visit, code=INTERNAL, now=now)


def lose_room(visit: Visit, *, now: datetime) -> RoomLost | Held:
    """Go back and open the train again; ask a person once that happens too often."""
    if visit.rooms_lost + 1 >= MOST_ROOMS_LOST:
        return Held(at=now, hold=HoldFor.ATTENTION, reason="the run was lost several times; see the log")
    return RoomLost(at=now, attempt=visit.attempt)


def approve(visit: Visit, *, by: str, note: str, now: datetime) -> Approved:
    """A person says yes.

    Raises:
        NothingToDecide: the visit is not waiting for a decision.
    """
    if visit.held is None:
        msg = "this visit does not wait for a decision"
        raise NothingToDecide(msg, arrival=visit.arrival.short, phase=phase_of(visit))
    return Approved(at=now, hold=visit.held.hold, by=by, note=note, analysis=visit.held.analysis)


def refuse(visit: Visit, *, code: str, reason: str, by: str, now: datetime, told: str = "") -> Refused:
    """A person, or a step, says no for good; the owner is `told` so much of it.

    Raises:
        NothingToDecide: the visit has been signed or refused already.
    """
    refusal = Refused(at=now, code=code, reason=reason, by=by, told=told)
    if not permits(visit, refusal):
        msg = "it is too late to refuse this visit"
        raise NothingToDecide(msg, arrival=visit.arrival.short, phase=phase_of(visit))
    return refusal


def _row(visit: Visit) -> Row:
    phase = phase_of(visit)
    if phase not in TABLE:
        msg = "this visit is over"
        raise NothingToDecide(msg, arrival=visit.arrival.short)
    return TABLE[phase]


# --- Drawing it ------------------------------------------------------------------------------------------------------


def diagram() -> str:
    """Draw the table as a Mermaid state diagram; ``docs/design.md`` holds the result."""
    lines = ["stateDiagram-v2", f"    [*] --> {Phase.NOTICED} : {Phase.NOTICED}"]
    for phase, row in TABLE.items():
        arrows: dict[Phase, list[str]] = {}
        for event, target in row.then.items():
            arrows.setdefault(target, []).append(event.kind)
        lines += [f"    {phase} --> {target} : {row.step} / {', '.join(kinds)}" for target, kinds in arrows.items()]
        if row.ask:
            lines.append(f"    {phase} --> {phase} : held for {row.ask}, approved")
    lines.append(f"    {Phase.GONE} --> [*]")
    return "\n".join(lines) + "\n"
