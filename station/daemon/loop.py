"""How does a station live: what is done in a turn, when is the next, and how does it end?

One turn looks into the mailbox, if it is time, and gives every visit under way one step, so one bad train cannot starve
the others. Asked to stop, the daemon finishes the step it is in; containers go on, and the next daemon adopts them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from security.clock import Clock
from security.digest import Digest
from security.errors import FileMissing, Forked, PhtError, Refused, Replayed, Unavailable
from security.ids import Role
from station.daemon.heads import sign_end
from station.daemon.health import say
from station.daemon.reconcile import look_out, reconcile
from station.errors import JournalDamaged
from station.house.house import House
from station.house.lock import holding
from station.steps.wipe import containers_of
from station.visit.events import DaemonStarted, DaemonStopped, Departed, HeadSigned
from station.visit.plan import Phase, Wait, next_step, phase_of
from station.visit.state import Visit

log = logging.getLogger(__name__)

HEADS_EVERY: Final = timedelta(days=1)
RUNNING_SECONDS: Final = 0.25
MOST_EVIDENCE: Final = 64
"""Of how many forks, of how many replays and of how many other refused trains is more kept than the journal's record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a turn brought: how many events were recorded, and what was in the way of looking at all."""

    recorded: int
    trouble: PhtError | None


class Lookout:
    """When the mailbox was looked into last, and what was in the way then."""

    def __init__(self) -> None:
        self.trouble: PhtError | None = None
        self._looked: datetime | None = None

    def due(self, now: datetime, seconds: float) -> bool:
        """Whether it is time to look again; a clock that was turned back counts as much time."""
        return self._looked is None or not 0 <= (now - self._looked).total_seconds() < seconds

    def looked(self, now: datetime, trouble: PhtError | None) -> None:
        """Keep what came of a look."""
        self._looked, self.trouble = now, trouble

    def hurry(self) -> None:
        """Look in the next turn: what has just left may have come to ourselves."""
        self._looked = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How time passes; `stop` is set by whoever wants the daemon to end."""

    clock: Clock
    stop: threading.Event
    poll_seconds: float
    lookout: Lookout = field(default_factory=Lookout)


def run(house: House, *, folder: Path, health: Path, version: str, pace: Pace) -> None:
    """Work until asked to stop.

    Raises:
        StationBusy: another daemon works on this folder.
        JournalDamaged: nothing can be recorded.
    """
    with holding(folder):
        _begin(house, pace, version)
        log.info("started", extra={"party": house.party, "version": version})
        _warn(house, pace.clock.now())
        while not pace.stop.is_set():
            done = turn(house, pace)
            say(health, house, done.trouble, now=pace.clock.now(), version=version)
            if not done.recorded:
                _pause(house, pace)
        house.journal.note(DaemonStopped(at=pace.clock.now()))
        log.info("stopped", extra={"party": house.party})


def once(house: House, *, folder: Path, health: Path, version: str, pace: Pace) -> Turn:
    """Do everything that can be done now, wait for runs that are going on, and end. Pauses are not waited for.

    Raises:
        StationBusy, JournalDamaged: see `run`.
    """
    recorded = 0
    with holding(folder):
        _begin(house, pace, version)
        while True:
            done = turn(house, pace)
            recorded += done.recorded
            say(health, house, done.trouble, now=pace.clock.now(), version=version)
            if pace.stop.is_set() or not (done.recorded or _running(house, pace.clock.now())):
                house.journal.note(DaemonStopped(at=pace.clock.now()))
                return Turn(recorded=recorded, trouble=done.trouble)
            if not done.recorded:
                _pause(house, pace)


def turn(house: House, pace: Pace) -> Turn:
    """Look into the mailbox, if it is time, then take one step of every visit, oldest first."""
    recorded = _look(house, pace) if pace.lookout.due(pace.clock.now(), pace.poll_seconds) else 0
    trouble = pace.lookout.trouble
    for arrival in house.journal.unfinished():
        if pace.stop.is_set():
            break
        try:
            event = reconcile(arrival, house, pace.clock.now())
            recorded += event is not None
            if isinstance(event, Departed):
                pace.lookout.hurry()
                _sweep(house)
        except (
            Unavailable,
            Refused,
            FileMissing,
        ) as error:  # the journal could not take the event; what was done is repeatable
            trouble = error
            log.warning("nothing recorded", extra={"visit": arrival.short, "code": error.code, "reason": str(error)})
    try:
        _sign_head(house, pace.clock.now())
    except (Unavailable, FileMissing) as error:
        trouble = trouble or error
        log.warning("the journal's head was not signed", extra={"code": error.code, "reason": str(error)})
    return Turn(recorded=recorded, trouble=trouble)


def _look(house: House, pace: Pace) -> int:
    """Look into the mailbox. Not in every turn: a registry that is away must not hold up what needs none."""
    try:
        found = len(look_out(house, pace.clock.now()))
    except JournalDamaged:
        raise
    except PhtError as error:
        log.warning("cannot look into the mailbox", extra={"code": error.code, "reason": str(error)})
        pace.lookout.looked(pace.clock.now(), error)
        return 0
    pace.lookout.looked(pace.clock.now(), None)
    return found


def tidy(house: House) -> None:
    """Remove what crashes and finished visits left: containers and rooms of nobody, blobs that nothing refers to."""
    unfinished = [house.journal.visit(arrival) for arrival in house.journal.unfinished()]
    wanted = {name for visit in unfinished for name in containers_of(visit)}
    try:
        for name in house.sandbox.leftovers(house.name):
            if name not in wanted:
                house.sandbox.remove(name)
    except PhtError as error:
        log.warning("cannot look for leftover containers", extra={"code": error.code, "reason": str(error)})
    for room in house.workrooms.names():
        if room not in {visit.arrival for visit in unfinished}:
            house.workrooms.wipe(room)
    _sweep(house)


def _sweep(house: House) -> None:
    with house.spool.unswept():  # an operator may be keeping a blob that no event names yet
        house.spool.sweep(references(house))


def references(house: House) -> frozenset[Digest]:
    """Return what the spool must keep.

    Of a train that was sent on, the documents: the next party has the sealed blobs. Of one that was refused, what
    `_evidence` says. Of what nobody verified, nothing: strangers must not fill the disk (attack T17).
    """
    kept: set[Digest] = {event.envelope for event in house.journal.station_events() if isinstance(event, HeadSigned)}
    refused: list[Visit] = []
    for arrival in house.journal.arrivals():
        visit = house.journal.visit(arrival)
        if not visit.departed:
            kept |= visit.blobs
        elif visit.pushed:
            kept |= visit.blobs - _sealed_blobs(visit, house)
        elif visit.fetched:
            refused.append(visit)
    return frozenset(kept | _evidence(refused, house))


def _evidence(refused: Sequence[Visit], house: House) -> set[Digest]:
    """Return what is kept of verified trains that were refused, or for which we had signed before.

    A fork proves a fraud: the first ones are kept whole, and no later flood displaces them. A replay proves nothing that
    the first delivery does not, and anybody can make one: the documents of the newest. The others are kept whole while
    they are new, and their documents for good.
    """
    code = {visit.arrival: _code(visit) for visit in refused}
    forks = [visit for visit in refused if code[visit.arrival] == Forked.code]
    replays = [visit for visit in refused if code[visit.arrival] == Replayed.code]
    others = [visit for visit in refused if code[visit.arrival] not in {Forked.code, Replayed.code}]
    kept: set[Digest] = set()
    for visit in (*forks[:MOST_EVIDENCE], *others[-MOST_EVIDENCE:]):
        kept |= visit.blobs
    for visit in (*replays[-MOST_EVIDENCE:], *others[:-MOST_EVIDENCE]):
        kept |= visit.blobs - _sealed_blobs(visit, house)
    return kept


def _code(visit: Visit) -> str | None:
    if visit.superseded:
        return Replayed.code
    return visit.refused.code if visit.refused else None


def _sealed_blobs(visit: Visit, house: House) -> frozenset[Digest]:
    try:
        parts = house.depot.load(visit.arrival, house.spool)
    except PhtError:
        return frozenset()
    ours = {visit.sealed.blob} if visit.sealed else set()
    printed = {visit.wiped.printed.digest} if visit.wiped and visit.wiped.printed else set()
    return frozenset({parts.code.digest, *({parts.state.digest} if parts.state else ()), *ours, *printed})


def _begin(house: House, pace: Pace, version: str) -> None:
    house.journal.check()
    house.journal.note(DaemonStarted(at=pace.clock.now(), version=version))
    tidy(house)


def _pause(house: House, pace: Pace) -> None:
    """Wait for something to happen: runs are looked at more often than mailboxes."""
    running = _running(house, pace.clock.now())
    pace.clock.wait(min(RUNNING_SECONDS, pace.poll_seconds) if running else pace.poll_seconds, pace.stop)


def _running(house: House, now: datetime) -> bool:
    """Whether a run goes on that nobody and nothing else is waited for."""
    visits = (house.journal.visit(arrival) for arrival in house.journal.unfinished())
    return any(
        phase_of(visit) is Phase.RUNNING and visit.held is None and not isinstance(next_step(visit, now), Wait)
        for visit in visits
    )


def _sign_head(house: House, now: datetime) -> None:
    """Sign the journal's end once a day, if anything happened since."""
    last = house.journal.last_signed_head()
    if last and (timedelta(0) <= now - last.at < HEADS_EVERY or house.journal.head().sequence == last.sequence + 1):
        return
    sign_end(house.journal, house.spool, house.secrets, station=house.party, now=now, purpose="sign the journal's head")


def _warn(house: House, now: datetime) -> None:
    """Say at once what would keep the first train waiting; nothing of it keeps the daemon from starting."""
    try:
        known = house.trust(now).current(house.party, Role.STATION, now).fingerprint
        house.keys(known)
    except PhtError as error:
        log.warning("not ready", extra={"code": error.code, "reason": str(error), "hint": error.hint})
    for finding in house.sandbox.doctor(None):
        if not finding.ok:
            log.warning("not ready", extra={"reason": f"{finding.name}: {finding.detail}", "hint": finding.hint})
