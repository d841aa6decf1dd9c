"""Where is my train?

Stations put a signed receipt into the owner's mailbox: their journey entry when the train has passed, or a refusal.
`whereabouts_of` folds verified receipts into a `Whereabouts`; what does not verify is counted as a doubt and changes nothing,
so whoever can write to the mailbox cannot make a train seem further than it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from registry.depot import Depot, Receipt, ReceiptKind
from security.age import Unwrapper
from security.directory.trust import TrustStore
from security.encoding import print_time
from security.errors import JourneyForeignEntry, NotARecipient, NotYet, PhtError, Refused
from security.ids import PartyId, Role, TrainId
from security.statement.envelope import Verified
from security.train.endings import check_answer, check_refusal
from security.train.journey import (
    JourneyEntry,
    Limit,
    Outcome,
    Refusal,
    StationAnswer,
    check_entry,
    check_link,
)
from security.train.letters import Letter, check_entry_readers, check_refusal_readers, open_letter
from security.train.manifest import TrainManifest, train_id
from security.train.route import Route, Stop, Task
from security.train.verify import verify_manifest
from train_builder.errors import NotHomeYet, TrainFailed, TrainRefused
from train_builder.home import Seen, TrainRecord

S = TypeVar("S", Refusal, StationAnswer)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A receipt and its letter, opened, or why it could not be read; nothing of it is believed."""

    receipt: Receipt
    letter: Letter | PhtError


def read_mail(depot: Depot, owner: PartyId, train: TrainId, route: Route, identity: Unwrapper) -> tuple[Mail, ...]:
    """Fetch and open the receipts of one train, each by its name. One that is broken does not hide the others.

    Of a train of rounds, an entry about a combination says that its round is over: only what comes after the last such entry
    is asked for stop by stop.
    """
    found = []
    for receipt in _receipts(depot, owner, train, route):
        letter: Letter | PhtError
        try:
            letter = open_letter(depot.read_receipt(owner, receipt), [identity])
        except (Refused, NotARecipient) as error:
            letter = error
        found.append(Mail(receipt=receipt, letter=letter))
    return tuple(found)


def _receipts(depot: Depot, owner: PartyId, train: TrainId, route: Route) -> Iterator[Receipt]:
    begun: set[int] = set()
    for end in route.ends:
        over = depot.receipts_of(owner, train, (end,), (ReceiptKind.ENTRY,)) if len(route.ends) > 1 else ()
        if not over:
            stops = [one for one in route.way_to(route.home, len(route.ancestors(end)) + 1) if one not in begun]
            yield from depot.receipts_of(owner, train, stops)
            return
        yield from over
        begun.update(route.ancestors(end), (end,))


def follow(record: TrainRecord, depot: Depot, trust: TrustStore, *, now: datetime) -> Whereabouts:
    """Read from the mailbox where a train is.

    Raises:
        RegistryUnavailable: the mailbox cannot be reached.
    """
    manifest = verify_manifest(record.envelope, trust, at=None)
    mail = read_mail(depot, record.manifest.owner.party, record.train, record.manifest.route, record.mail)
    return whereabouts_of(manifest, mail, trust, sent=record.sent, now=now)


def whereabouts_of(
    manifest: Verified[TrainManifest],
    mail: Sequence[Mail],
    trust: TrustStore,
    *,
    sent: datetime | None,
    now: datetime,
) -> Whereabouts:
    """Verify the receipts and say where the train is. A pure function."""
    heard = _Heard(manifest, trust, now)
    doubts: list[str] = []
    for one in sorted(mail, key=lambda letter: (letter.receipt.stop, letter.receipt.kind)):
        try:
            heard.take(one)
        except PhtError as error:
            advice = f"; {error.hint}" if error.hint and error.hint != Refused.default_hint else ""
            doubts.append(
                f"{one.receipt.kind} for {manifest.value.route.told(one.receipt.stop)}: {error} [{error.code}]{advice}"
            )
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
        doubts=tuple(doubts),
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


class _Heard:
    """The receipts that verified, by stop."""

    def __init__(self, manifest: Verified[TrainManifest], trust: TrustStore, now: datetime) -> None:
        self._manifest, self._route, self._trust, self._now = manifest, manifest.value.route, trust, now
        self.entries: dict[int, Verified[JourneyEntry]] = {}
        self.refusals: dict[int, Verified[Refusal]] = {}
        self.answers: dict[int, Verified[StationAnswer]] = {}

    @property
    def passed(self) -> frozenset[int]:
        """The stops that have passed: those that say so, and all that come before them."""
        return frozenset(self.entries).union(*map(self._route.ancestors, self.entries))

    def take(self, mail: Mail) -> None:
        """Verify a receipt; those of earlier stops come first.

        Raises:
            PhtError: it does not count, and why.
        """
        stop = mail.receipt.stop
        letter, manifest = mail.letter, self._manifest.value
        if isinstance(letter, PhtError):
            raise letter
        if stop >= self._route.home:
            msg = "receipt is for a stop the route does not have"
            raise JourneyForeignEntry(msg, place=self._route.told(stop))
        if mail.receipt.kind is ReceiptKind.REFUSAL:
            refusal = self._about(stop, check_refusal(self._manifest, letter.envelope, self._trust))
            check_refusal_readers(letter, manifest, stop)
            self.refusals[stop] = refusal
            return
        if mail.receipt.kind is ReceiptKind.ANSWER:
            answer = self._about(stop, check_answer(self._manifest, letter.envelope, self._trust))
            check_refusal_readers(letter, manifest, stop)
            self.answers[stop] = answer
            return
        entry = check_entry(self._manifest, letter.envelope, stop, self._trust, now=self._now)
        if self.entries.keys() >= set(self._route.before(stop)):
            check_link(self._manifest, entry, self.entries)
        check_entry_readers(letter, manifest, stop)
        self.entries[stop] = entry

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
                yield self._stopped(self.refusals[stop].value)
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
            answer=None if answer is None else answer.value.text,
        )

    def _about(self, stop: int, found: Verified[S]) -> Verified[S]:
        """Return a statement if it is about this stop.

        Raises:
            JourneyForeignEntry: it is about another one.
        """
        if found.value.stop != stop:
            msg = "receipt is about a stop other than the one in its name"
            raise JourneyForeignEntry(msg, place=self._route.told(stop))
        return found
