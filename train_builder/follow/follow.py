"""Where is my train?

Stations put a signed receipt into the owner's mailbox: their journey entry when the train has passed, or a refusal.
`whereabouts_of` folds verified receipts into a `Whereabouts`; what does not verify is counted as a doubt and changes nothing,
so whoever can write to the mailbox cannot make a train seem further than it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from registry.depot import Depot
from security.digest import Digest
from security.directory.trust import TrustStore
from security.encoding import print_time
from security.errors import NotYet, PhtError, Refused
from security.ids import PartyId, Role, TrainId
from security.statement.envelope import Verified
from security.train.journey import (
    JourneyEntry,
    Limit,
    Outcome,
    Refusal,
    StationAnswer,
    check_link,
)
from security.train.manifest import TrainManifest, train_id
from security.train.route import Stop, Task
from security.train.verify import verify_manifest
from train_builder.errors import NotHomeYet, TrainFailed, TrainRefused
from train_builder.follow.mail import Mail, Name, Statement, read_mail, statement_in
from train_builder.home import Seen, TrainRecord

PATIENCE: Final = timedelta(days=1)
"""Beside the run itself: for fetching, for looking through the outputs, and for a station that is down overnight."""

WHAT_TO_DO: Final[Mapping[Outcome, str]] = {
    Outcome.REFUSED: "you have recalled it, a person there refused it, or its outputs were not let out: 'pht train rehearse' has the"
    " same gate, else ask the station's operator",
    Outcome.FAILED: "the analysis ended with an error at this station: try 'pht train rehearse' on samples like its data;"
    " one that may begin no further process (limits.processes) ends so, too",
    Outcome.EXCEEDED: "the analysis went over a limit in train.yaml: use less, or ask for more",
    Outcome.CUT_OFF: "a station after it has no valid keys any more ('pht train stations' tells which): send a new train",
    Outcome.WITHHELD: "the station gives no reason; ask its operator",
}


_LIMIT: Final = {Limit.MEMORY: "limits.memory", Limit.TIME: "limits.wall_time", Limit.OUTPUT: "limits.output"}


class StopState(StrEnum):
    """What is known of a stop."""

    PASSED = "passed"
    PRESUMED = "presumed"  # a later stop has passed, but this stop's own receipt is not here (yet)
    STOPPED = "stopped"  # refused or failed, signed by the station
    WAITING = "waiting"  # the train is there, or on its way there
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopProgress:
    """What is known of one stop, and since when.

    ``round``, ``task`` and ``place``, in words, are those of its route. ``reason`` and ``limit`` are what its refusal says, ``answer`` what a person there told later.
    """

    stop: int
    station: PartyId
    state: StopState
    round: int = 0
    task: Task = Task.RUN
    place: str = ""
    at: datetime | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    limit: Limit | None = None
    answer: str | None = None

    @property
    def advice(self) -> str:
        """Why it ended there, as far as the station says so, and what to do."""
        if self.reason is not None:
            return self.reason
        if self.limit is not None:
            return f"the analysis went over {_LIMIT[self.limit]} of train.yaml: use less, or ask for more"
        return "" if self.outcome is None else WHAT_TO_DO[self.outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where a train is, as far as verified receipts tell. ``waiting_for`` is the owner when all stops have passed.

    In rounds, ``stops`` go as far as the round that the train is in, and it has ``passed`` with the one that finishes.
    """

    train: TrainId
    name: str
    stops: tuple[StopProgress, ...]
    waiting_for: PartyId | None
    since: datetime | None
    valid_until: datetime
    longest_run: timedelta
    doubts: tuple[str, ...]
    cut_off: str | None = None
    """Why the directory lets nobody go on with it where it is."""

    @property
    def passed(self) -> bool:
        """Whether every stop has passed."""
        return all(one.state in {StopState.PASSED, StopState.PRESUMED} for one in self.stops)

    @property
    def waited_for(self) -> tuple[PartyId, ...]:
        """Everybody whose turn it is."""
        here = tuple(one.station for one in self.stops if one.state is StopState.WAITING)
        return here or (() if self.waiting_for is None else (self.waiting_for,))

    @property
    def untouched(self) -> bool:
        """Whether no station has said anything yet."""
        return all(one.state in {StopState.WAITING, StopState.AHEAD} for one in self.stops)

    @property
    def stopped(self) -> StopProgress | None:
        """The stop the train did not pass, if there is one."""
        return next((one for one in self.stops if one.state is StopState.STOPPED), None)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen on the way."""
        return self.passed or self.stopped is not None

    @property
    def learnt(self) -> Seen | None:
        """What of it is worth keeping: where the train was, signed for; None as long as nothing is."""
        stopped = self.stopped
        if stopped is not None:
            return Seen(stop=stopped.stop, party=stopped.station, outcome=stopped.outcome)
        if self.untouched or self.waiting_for is None:
            return None
        here = next((one.stop for one in self.stops if one.state is StopState.WAITING), len(self.stops))
        return Seen(stop=here, party=self.waiting_for, passed=self.passed)

    def stranded(self, now: datetime) -> bool:
        """Whether it is under way, and no station may run it any more."""
        return not self.ended and now >= self.valid_until

    def silent(self, now: datetime) -> timedelta | None:
        """Return for how long the station that has the train owes a word, if it is longer than anything takes by itself.

        A station says nothing before it is done. That it waits for a person there, or does not work at all, looks the
        same from here; that it still runs can be ruled out, for the manifest says how long a run may take.
        """
        if self.since is None or self.over(now):
            return None
        waited = now - self.since
        return waited if waited >= self.longest_run + PATIENCE else None

    def over(self, now: datetime) -> bool:
        """Whether there is nothing left to wait for."""
        return self.ended or self.stranded(now) or self.cut_off is not None


def follow(record: TrainRecord, depot: Depot, trust: TrustStore, *, now: datetime) -> Whereabouts:
    """Read from the mailbox where a train is.

    Raises:
        RegistryUnavailable: the mailbox cannot be reached.
    """
    return Follower(record, depot).look(trust, now=now)


class Follower:
    """A train that is looked for again and again.

    What has passed is not asked for again, what was read is not fetched again, and what was verified is verified again
    only when the directory has changed: a look costs what is new, however many rounds lie behind.
    """

    def __init__(self, record: TrainRecord, depot: Depot) -> None:
        self._record, self._depot = record, depot
        self._mail: tuple[Mail, ...] = ()
        self._statements: _Statements | None = None

    def look(self, trust: TrustStore, *, now: datetime) -> Whereabouts:
        """Read from the mailbox where the train is now.

        Raises:
            RegistryUnavailable: the mailbox cannot be reached.
        """
        record, ours = self._record, self._record.manifest
        known = self._statements
        if known is None or known.trust != trust:
            known = self._statements = _Statements(verify_manifest(record.envelope, trust, at=None), trust)
        passed = known.hear(self._mail, now).entries.keys()
        self._mail = read_mail(self._depot, record.train, ours, record.mail, held=self._mail, passed=passed)
        return _whereabouts(known.hear(self._mail, now), trust, sent=record.sent, now=now)


def whereabouts_of(
    manifest: Verified[TrainManifest],
    mail: Iterable[Mail],
    trust: TrustStore,
    *,
    sent: datetime | None,
    now: datetime,
) -> Whereabouts:
    """Verify the receipts and say where the train is. A pure function."""
    return _whereabouts(_Statements(manifest, trust).hear(mail, now), trust, sent=sent, now=now)


def _whereabouts(heard: _Heard, trust: TrustStore, *, sent: datetime | None, now: datetime) -> Whereabouts:
    manifest = heard.manifest
    stops = tuple(heard.stops())
    waiting: PartyId | None = None
    since: datetime | None = None
    cut_off: str | None = None
    if not any(one.state is StopState.STOPPED for one in stops):
        here = next((one.stop for one in stops if one.state is StopState.WAITING), manifest.value.route.home)
        waiting = manifest.value.expected_at(here).party
        since = max((entry.value.time for entry in heard.entries.values()), default=sent)
        waited = [manifest.value.route.stop(one.stop) for one in stops if one.state is StopState.WAITING]
        cut_off = next((why for why in (_cut_off(one, trust, now) for one in waited) if why is not None), None)
    return Whereabouts(
        train=train_id(manifest),
        name=manifest.value.name,
        stops=stops,
        waiting_for=waiting,
        since=since,
        valid_until=manifest.value.valid_until,
        longest_run=timedelta(seconds=manifest.value.limits.wall_seconds),
        doubts=tuple(heard.doubts),
        cut_off=cut_off,
    )


def _cut_off(stop: Stop, trust: TrustStore, now: datetime) -> str | None:
    """Return why nothing that a station signs about this train will count, whatever it does; None if it would."""
    try:
        trust.pinned(stop.party, Role.STATION, stop.key_set, now)
    except Refused as error:
        return error.message
    except NotYet:
        return None
    return None


def not_home(found: Whereabouts) -> PhtError:
    """Return the error that says why a train is not home: refused, failed, or under way."""
    stopped = found.stopped
    if stopped is not None and stopped.outcome is not None:
        kind = TrainFailed if stopped.outcome in {Outcome.FAILED, Outcome.EXCEEDED} else TrainRefused
        msg = "the train did not pass a station"
        return kind(
            msg,
            hint=stopped.advice,
            train=found.train.short,
            station=stopped.station,
            place=stopped.place,
            outcome=stopped.outcome.value,
            **({} if stopped.answer is None else {"station_says": stopped.answer}),
        )
    msg = "the train is not home yet"
    since = None if found.since is None else print_time(found.since)
    hint = (
        None if found.cut_off is None else f"{found.waiting_for} cannot pass it on: {found.cut_off}; send a new train"
    )
    return NotHomeYet(msg, hint=hint, train=found.train.short, waiting_for=found.waiting_for, since=since)


class _Statements:
    """What has been verified of a train, under one directory."""

    def __init__(self, manifest: Verified[TrainManifest], trust: TrustStore) -> None:
        self.trust = trust
        self._manifest = manifest
        self._known: dict[Name, tuple[Digest, Statement]] = {}

    def hear(self, mail: Iterable[Mail], now: datetime) -> _Heard:
        """Put together what letters say, those of earlier stops first; what does not count is a doubt."""
        heard = _Heard(self._manifest)
        for one in sorted(mail, key=lambda letter: letter.name):
            try:
                heard.take(self._statement(one, now))
            except PhtError as error:
                advice = f"; {error.hint}" if error.hint and error.hint != Refused.default_hint else ""
                place = self._manifest.value.route.told(one.receipt.stop)
                heard.doubts.append(f"{one.receipt.kind} for {place}: {error} [{error.code}]{advice}")
        return heard

    def _statement(self, mail: Mail, now: datetime) -> Statement:
        digest, known = self._known.get(mail.name, (None, None))
        if known is None or digest != mail.receipt.digest:
            known = statement_in(mail, self._manifest, self.trust, now=now)
            self._known[mail.name] = (mail.receipt.digest, known)
        return known


class _Heard:
    """What stations are known to have said, by stop, and why other letters do not count."""

    def __init__(self, manifest: Verified[TrainManifest]) -> None:
        self.manifest, self._route = manifest, manifest.value.route
        self.entries: dict[int, Verified[JourneyEntry]] = {}
        self.refusals: dict[int, Refusal] = {}
        self.answers: dict[int, StationAnswer] = {}
        self.doubts: list[str] = []

    @property
    def passed(self) -> frozenset[int]:
        """The stops that have passed: those that say so, and all that come before them."""
        found: set[int] = set()
        for stop in sorted(self.entries, reverse=True):
            if stop not in found:  # otherwise what comes before it is there, too
                found.update(self._route.ancestors(stop), (stop,))
        return frozenset(found)

    def take(self, statement: Statement) -> None:
        """Take what was verified by itself; what is about earlier stops comes first.

        Raises:
            JourneyUnlinked, JourneyForeignEntry: see `check_link`.
        """
        match statement.value:
            case JourneyEntry(stop=stop):
                if self.entries.keys() >= set(self._route.before(stop)):
                    check_link(self.manifest, statement, self.entries)
                self.entries[stop] = statement
            case Refusal() as refusal:
                self.refusals[refusal.stop] = refusal
            case StationAnswer() as answer:
                self.answers[answer.stop] = answer

    def stops(self) -> Iterator[StopProgress]:
        """Say of each stop what is known."""
        passed = self.passed
        ended = not self.refusals.keys() <= passed
        for stop in self._shown(passed):
            state, at = StopState.AHEAD, None
            if stop in self.entries:
                state, at = StopState.PASSED, self.entries[stop].value.time
            elif stop in passed:
                state = StopState.PRESUMED
            elif stop in self.refusals:
                yield self._stopped(self.refusals[stop])
                continue
            elif not ended and passed.issuperset(self._route.before(stop)):
                state = StopState.WAITING
            yield StopProgress(stop=stop, station=self._route.stop(stop).party, state=state, at=at, **self._place(stop))

    def _place(self, stop: int) -> dict[str, Any]:
        return {
            "round": self._route.round(stop),
            "task": self._route.task(stop),
            "place": self._route.told(stop),
        }

    def _shown(self, passed: Collection[int]) -> tuple[int, ...]:
        """Return the stops as far as the round that the train is in, or came home from."""
        route = self._route
        for end in route.ends:
            finished = end in self.entries and self.entries[end].value.finished
            if finished or end not in passed or end == route.ends[-1]:
                return (*route.ancestors(end), end)
        return ()

    def _stopped(self, refusal: Refusal) -> StopProgress:
        answer = self.answers.get(refusal.stop)
        return StopProgress(
            stop=refusal.stop,
            station=refusal.station,
            state=StopState.STOPPED,
            **self._place(refusal.stop),
            at=refusal.time,
            outcome=refusal.outcome,
            reason=refusal.reason,
            limit=refusal.limit,
            answer=None if answer is None else answer.text,
        )
