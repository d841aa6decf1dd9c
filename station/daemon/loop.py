"""How does the daemon work: what does it begin now, what comes of it, and how does it stop?

One thread decides, and waits for something to happen; workers take the steps (`workers`, `lanes`). What is next for a visit
is asked of its journal each time (`agenda`), so that a restart, an operator's decision and a step that was taken are all
the same to it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from security.errors import FileMissing, PhtError, Refused, Unavailable
from station.daemon.agenda import Agenda
from station.daemon.complaints import Complaints
from station.daemon.heads import known_head, sign_end
from station.daemon.health import say
from station.daemon.lanes import WORKERS, Lane
from station.daemon.pace import Pace, Terms
from station.daemon.reconcile import look_for, look_out, reconcile
from station.daemon.sweep import SWEEP_EVERY, Sweeper
from station.daemon.tidy import tidy, warn
from station.daemon.workers import Inline, Job, Threads, Workers
from station.errors import JournalDamaged
from station.house.clocks import clock_trouble
from station.house.house import House
from station.house.lock import holding
from station.steps.depart import expect
from station.visit.events import ArrivalId, Departed, VisitEvent
from station.visit.plan import Wait, next_step
from station.visit.state import Visit
from station.visit.station_events import DaemonStarted, DaemonStopped, HeadSigned

log = logging.getLogger(__name__)

HEADS_EVERY: Final = timedelta(days=1)
HEADS_AGAIN: Final = timedelta(minutes=5)
"""After the journal's end could not be signed: each try is a record of it."""
CHAIN_EVERY: Final = timedelta(days=1)
CLOCK_EVERY: Final = timedelta(minutes=10)
WATCH_FIRST: Final = timedelta(seconds=0.02)
WATCH_SLOWER: Final = 1.15
WATCH_EVERY: Final = timedelta(seconds=0.25)
WAIT_EVERY: Final = timedelta(seconds=30)
"""Between two looks for what other stations send, which may take days; at first it is looked for as often as a run."""
AGAIN_AFTER: Final = timedelta(seconds=1)
"""After a step whose event could not be recorded."""
SAY_EVERY: Final = timedelta(seconds=1)
_ONCE: Final = timedelta(days=36500)
"""Between two looks into the mailbox, where one is enough; after a departure there is another all the same."""


class Errand(Enum):
    """What is to be done for no visit in particular."""

    MAILBOX = "mailbox"
    EXPECTED = "expected"
    DIRECTORY = "directory"
    SWEEP = "sweep"
    CHAIN = "chain"
    CLOCK = "clock"


About: TypeAlias = ArrivalId | Errand


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The result of a turn: how many events were recorded, and what went wrong, if anything."""

    recorded: int
    trouble: PhtError | None


class Shift:
    """A daemon at work, from when it has taken the state folder until it lets go of it."""

    def __init__(
        self,
        house: House,
        pace: Pace,
        terms: Terms,
        workers: Workers[About] | None = None,
        *,
        look_every: timedelta | None = None,
    ) -> None:
        self._house, self._pace = house, pace
        self._look_every = look_every or timedelta(seconds=pace.poll_seconds)
        self._workers: Workers[About] = workers or Inline()
        self._agenda = Agenda(capacity=terms.capacity, under_way=lambda visit: house.expected.knows(visit.noticed.tag))
        self._sweeper = Sweeper(house, terms.retention)
        self._errands: set[Errand] = set()
        self._due: dict[Errand, datetime] = {}
        self._since: dict[Errand, datetime] = {}
        self._trouble: PhtError | None = None
        self._clock_wrong: PhtError | None = None
        self._complaints = Complaints()
        self._seen = False
        self._signed: HeadSigned | None = None
        self._unsigned: tuple[datetime, PhtError] | None = None
        self._watched: dict[ArrivalId, timedelta] = {}

    def begin(self, version: str) -> None:
        """Check the journal as far as nobody has vouched for it, record the start, and remove what crashes left.

        The whole chain is followed, and the whole spool swept, beside the first steps.
        """
        house = self._house
        house.journal.follow(known_head(house.journal, house.spool, house.keyring, station=house.party))
        house.journal.note(DaemonStarted(at=self._pace.clock.now(), version=version))
        tidy(house)
        expect(house, self._pace.clock.now())

    def turn(self) -> Turn:
        """Take in what was done, and begin what can be done now."""
        recorded, trouble = self._take_in()
        self._look_at_journal()
        if not self._pace.stop.is_set():
            self._begin_errands()
            self._begin_steps()
        more, worse = self._take_in()  # what was done at once
        self._look_at_journal()
        trouble = trouble or worse or self._sign_head() or self._trouble
        return Turn(recorded=recorded + more, trouble=trouble)

    def rests(self) -> bool:
        """Whether no job is under way or waits for a worker, and no run goes on."""
        return not self._workers.at_work() and not self._agenda.waits() and not self._runs_go_on()

    def at_work(self) -> int:
        """How many jobs are under way."""
        return self._workers.at_work()

    def pause(self) -> float:
        """Return for how many seconds nothing has to be begun, unless something is finished before."""
        now = self._pace.clock.now()
        times = [due for errand, due in self._due.items() if errand not in self._errands and due > now]
        expected = None if Errand.EXPECTED in self._errands else self._house.expected.next_time
        times += [due for due in (self._agenda.next_time(), expected) if due is not None]
        return max(0.0, min([self._pace.poll_seconds, *((due - now).total_seconds() for due in times)]))

    def troubles(self, turn: Turn) -> tuple[PhtError, ...]:
        """Return what is in the way after a turn, and what is wrong and stops nothing."""
        return tuple(one for one in (turn.trouble, self._clock_wrong) if one is not None)

    def visits(self) -> tuple[Visit, ...]:
        """Return the visits under way, as they were last seen."""
        return tuple(self._agenda.visits())

    # --- What was done

    def _take_in(self) -> tuple[int, PhtError | None]:
        recorded, trouble = 0, None
        for done in self._workers.finished():
            about = done.job.about
            if isinstance(about, Errand):
                recorded += self._errand_done(about, done.result)
            else:
                event, wrong = self._step_done(about, done.result, done.job.lane)
                recorded, trouble = recorded + event, trouble or wrong
        return recorded, trouble

    def _step_done(self, arrival: ArrivalId, result: object, lane: Lane) -> tuple[bool, PhtError | None]:
        now = self._pace.clock.now()
        if isinstance(result, JournalDamaged):
            raise result
        if isinstance(result, PhtError):  # the journal could not take the event; what was done is repeatable
            log.warning("nothing recorded", extra={"visit": arrival.short, "code": result.code, "reason": str(result)})
            self._agenda.put_off(arrival, now + AGAIN_AFTER)
            return False, result
        if result is None:
            # the younger a run, the sooner it is looked at again: a short one must not wait long to be noticed
            longest = WATCH_EVERY if lane is Lane.ENGINE else WAIT_EVERY
            self._watched[arrival] = min(longest, self._watched.get(arrival, WATCH_FIRST) * WATCH_SLOWER)
            self._agenda.put_off(arrival, now + self._watched[arrival])
            return False, None
        self._watched.pop(arrival, None)
        self._agenda.put(self._house.journal.visit(arrival), now)
        if isinstance(result, Departed):
            self._at_once(Errand.MAILBOX)  # what has just left may have come to ourselves
            self._at_once(Errand.SWEEP)
        return True, None

    def _errand_done(self, errand: Errand, result: object) -> int:
        self._errands.discard(errand)
        if isinstance(result, JournalDamaged):
            raise result
        if errand == Errand.MAILBOX:
            self._trouble = result if isinstance(result, PhtError) else None
        if errand == Errand.CLOCK:
            self._clock_wrong = result if isinstance(result, PhtError) else None
        self._complaints.hear(errand.value, result)
        return result if isinstance(result, int) else 0

    def _look_at_journal(self) -> None:
        """See what was recorded, by us or by an operator's command."""
        now, journal = self._pace.clock.now(), self._house.journal
        touched = journal.touched()
        if not self._seen:
            self._seen, touched = True, frozenset(journal.unfinished())
        for arrival in sorted(touched, key=journal.age):
            if not self._agenda.busy(arrival):
                self._agenda.put(journal.visit(arrival), now)

    # --- What is begun

    def _begin_steps(self) -> None:
        self._agenda.wake(self._pace.clock.now())
        for lane in Lane:
            while self._workers.free(lane) and (visit := self._agenda.take(lane, self._pace.clock.now())) is not None:
                self._workers.begin(Job(lane=lane, about=visit.arrival, work=partial(self._step, visit.arrival)))

    def _step(self, arrival: ArrivalId) -> VisitEvent | PhtError | None:
        try:
            return reconcile(arrival, self._house, self._pace.clock.now())
        except (Unavailable, Refused, FileMissing, JournalDamaged) as error:
            return error

    def _begin_errands(self) -> None:
        self._errand(Errand.MAILBOX, Lane.REGISTRY, self._look_every, self._look)
        if (due := self._house.expected.next_time) is not None and due <= self._pace.clock.now():
            self._errand(Errand.EXPECTED, Lane.REGISTRY, timedelta(0), self._look_for_expected)
        self._errand(Errand.SWEEP, Lane.MACHINE, SWEEP_EVERY, self._sweep)
        self._errand(Errand.CHAIN, Lane.MACHINE, CHAIN_EVERY, self._follow)
        clock = partial(clock_trouble, self._house, self._pace.clock)
        self._errand(Errand.CLOCK, Lane.REGISTRY, CLOCK_EVERY, clock)
        if self._runs_go_on():  # watching runs makes no requests: revocations are read here
            self._errand(Errand.DIRECTORY, Lane.REGISTRY, timedelta(seconds=self._pace.poll_seconds), self._read_trust)
        else:
            self._at_once(Errand.DIRECTORY)  # when one goes on again; nothing is waited for until then

    def _errand(self, errand: Errand, lane: Lane, every: timedelta, work: Callable[[], object]) -> None:
        """Begin an errand if it is due; a clock that was turned back makes it due."""
        now = self._pace.clock.now()
        since = self._since.get(errand)
        if errand in self._errands or (since is not None and since <= now < self._due[errand]):
            return
        if not self._workers.free(lane):
            return
        self._since[errand], self._due[errand] = now, now + every
        self._errands.add(errand)
        self._workers.begin(Job(lane=lane, about=errand, work=work))

    def _at_once(self, errand: Errand) -> None:
        self._since.pop(errand, None)
        self._due.pop(errand, None)

    def _look(self) -> int | PhtError:
        try:
            return len(look_out(self._house, self._pace.clock.now()))
        except PhtError as error:
            return error

    def _look_for_expected(self) -> int | PhtError:
        now = self._pace.clock.now()
        try:
            tags = self._house.expected.due(now, timedelta(seconds=self._pace.poll_seconds))
            return len(look_for(self._house, tags, now))
        except PhtError as error:
            return error

    def _read_trust(self) -> PhtError | None:
        try:
            self._house.trust(self._pace.clock.now())
        except PhtError as error:
            return error
        return None

    def _sweep(self) -> PhtError | None:
        try:
            self._sweeper.sweep(self._pace.clock.now())
        except PhtError as error:
            return error
        return None

    def _follow(self) -> PhtError | None:
        try:
            self._house.journal.follow()
        except PhtError as error:
            return error
        return None

    def _sign_head(self) -> PhtError | None:
        """Sign the journal's end once a day, if anything happened since."""
        house, now = self._house, self._pace.clock.now()
        if self._signed is None or not timedelta(0) <= now - self._signed.at < HEADS_EVERY:
            self._signed = house.journal.last_signed_head()
        last = self._signed
        if last and (timedelta(0) <= now - last.at < HEADS_EVERY or house.journal.head().sequence == last.sequence + 1):
            return None
        if self._unsigned and timedelta(0) <= now - self._unsigned[0] < HEADS_AGAIN:
            return self._unsigned[1]
        try:
            self._signed = sign_end(
                house.journal,
                house.spool,
                house.secrets,
                station=house.party,
                now=now,
                purpose="sign the journal's head",
            )
        except (Unavailable, FileMissing) as error:
            self._complaints.hear("head", error)
            self._unsigned = now, error
            return error
        self._complaints.hear("head", None)
        self._unsigned = None
        return None

    def _runs_go_on(self) -> bool:
        """Whether a run goes on that is not held and not backing off."""
        now = self._pace.clock.now()
        return any(not isinstance(next_step(visit, now), Wait) for visit in self._agenda.running())


def run(house: House, *, folder: Path, health: Path, version: str, pace: Pace, terms: Terms) -> None:
    """Work until asked to stop.

    Raises:
        StationBusy: another daemon works on this folder.
        JournalDamaged: nothing can be recorded.
    """
    with holding(folder):
        workers = Threads[About](WORKERS, pace.awake.set)
        shift = Shift(house, pace, terms, workers)
        shift.begin(version)
        log.info("started", extra={"party": house.party, "version": version})
        warn(house, pace.clock.now())
        said: datetime | None = None
        while not pace.stop.is_set():
            done = shift.turn()
            now = pace.clock.now()
            if said is None or not timedelta(0) <= now - said < SAY_EVERY:
                say(
                    health,
                    house.party,
                    shift.visits(),
                    shift.troubles(done),
                    now=now,
                    version=version,
                    settings=house.settings,
                )
                said = now
            pace.sleep(shift.pause())
        _finish(shift, pace)
        workers.dismiss()
        house.journal.note(DaemonStopped(at=pace.clock.now()))
        log.info("stopped", extra={"party": house.party})


def once(house: House, *, folder: Path, health: Path, version: str, pace: Pace, terms: Terms) -> Turn:
    """Do everything that can be done now, wait for runs that are going on, and end. Pauses are not waited for.

    Raises:
        StationBusy, JournalDamaged: see `run`.
    """
    recorded = 0
    with holding(folder):
        workers = Threads[About](WORKERS, pace.awake.set)
        shift = Shift(house, pace, terms, workers, look_every=_ONCE)
        shift.begin(version)
        while True:
            done = shift.turn()
            recorded += done.recorded
            if pace.stop.is_set() or (not done.recorded and shift.rests()):
                break
            pace.sleep(shift.pause())
        recorded += _finish(shift, pace)
        workers.dismiss()
        now = pace.clock.now()
        say(
            health, house.party, shift.visits(), shift.troubles(done), now=now, version=version, settings=house.settings
        )
        house.journal.note(DaemonStopped(at=pace.clock.now()))
    return Turn(recorded=recorded, trouble=done.trouble)


def _finish(shift: Shift, pace: Pace) -> int:
    """Wait for the steps that are being taken, for a while."""
    recorded, until = 0, time.monotonic() + pace.grace_seconds
    while shift.at_work() and time.monotonic() < until:
        pace.sleep(0.1)
        recorded += shift.turn().recorded
    if shift.at_work():
        log.warning("steps are cut off", extra={"count": shift.at_work()})
    return recorded
