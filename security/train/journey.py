"""Where has a train been, and how does each stop's statement hang on those before it?

A journey is a graph of in-toto Statements, one signed by each station passed. The entry about a stop names the entries
of the stops before it in the route, by the digests of their signed bytes (the manifest, where nothing comes before), the
sealed states they sent, and, as its subject, the sealed state it sent itself. No plaintext hash, message or log is in
it: a small count is recovered from its hash in milliseconds.

A stop that refuses the train, or at which the run fails, signs a *refusal* instead, for the owner only: an outcome
class, never a message from the run. As long as nothing has read data, it also says why: nothing of patients can be in that.
What more a person at the station wants to tell is an *answer*, which follows a refusal. Neither is part of any journey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from security.digest import Digest
from security.directory.trust import DirectoryVersion, TrustStore
from security.encoding import print_time
from security.errors import (
    BoardingRejected,
    JourneyForeignEntry,
    JourneyIncomplete,
    JourneyTooLong,
    JourneyUnlinked,
    NotYet,
)
from security.forms.form import Choice, Flag, Number, Text
from security.forms.many import Many
from security.forms.record import Elsewhere, Record, Rule
from security.ids import PartyId, Role, TrainId
from security.statement.envelope import Envelope, Verified, verified_as, verify
from security.statement.form import StatementForm
from security.train.boarding import BoardingPass, check_company, check_pass
from security.train.manifest import CodeRef, TrainManifest, train_id
from security.train.route import LONGEST, MAX_STOPS, Task

ANSWER_TYPE: Final = "urn:pht:statement:answer:v1"
ENTRY_TYPE: Final = "urn:pht:statement:journey-entry:v1"
REFUSAL_TYPE: Final = "urn:pht:statement:refusal:v1"
STATE_SUBJECT: Final = "state"
TRAIN_SUBJECT: Final = "train"
MOST_REASON: Final = 1000
"""Characters of what a refusal or an answer says in words, on one line."""
CLOCK_SKEW: Final = timedelta(minutes=10)
SANDBOX: Final = Text(most=60, pattern="[!-~]+", says="the sandbox's name, in printable ASCII without blanks")


class Outcome(StrEnum):
    """How a visit ended, as far as the station discloses it."""

    PASSED = "passed"
    REFUSED = "refused"  # the station does not admit this train, or its outputs
    FAILED = "failed"  # the analysis ended with an error
    EXCEEDED = "exceeded"  # the analysis went over a limit of its manifest
    CUT_OFF = "cut-off"  # a station still to come has no valid keys any more
    WITHHELD = "withheld"  # the station does not say


class Limit(StrEnum):
    """Which limit of its manifest an analysis went over."""

    MEMORY = "memory"
    TIME = "time"
    OUTPUT = "output"  # bytes or files left behind


_WORDS: Final = Text(most=MOST_REASON, line=True, says=f"a line of up to {MOST_REASON} characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRef:
    """A sealed state: digest and size in bytes of the age file."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainParts:
    """What travels and arrives: nothing in it is trusted yet.

    ``entries`` are in the order of the stops; ``states`` are those that the stops before this one sent, in the order of
    `Route.before`: none where a train begins.
    """

    manifest: Envelope
    entries: tuple[Envelope, ...]
    code: CodeRef
    states: tuple[StateRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyEntry:
    """A station's statement about a stop the train passed. ``time`` is rounded down to the minute.

    ``previous`` and ``states_in`` are in the order of `Route.before`. ``finished`` is there, and true, where a combination
    says that the train goes home although the route would have more rounds; ``boarding`` is there about a stop of boarding only.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(says="finished is true where it is there", holds=lambda one: one.finished is not False, field="finished"),
    )

    train: TrainId
    stop: Annotated[int, Number(most=LONGEST - 1)]
    attempt: Annotated[int, Number(least=1, most=1000)]
    station: PartyId
    previous: Annotated[tuple[Digest, ...], Many(least=1, most=MAX_STOPS)]
    states_in: Annotated[tuple[Digest, ...], Many(most=MAX_STOPS)]
    state_out: Annotated[Digest, Elsewhere()]
    base: Digest
    directory: DirectoryVersion
    sandbox: Annotated[str, SANDBOX]
    time: datetime
    finished: Annotated[bool | None, Flag(says="true where the train goes home from a combination")] = None
    boarding: BoardingPass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A station's statement, for the owner, about a stop the train did not pass.

    ``reason`` is there only for what was refused before anything had read data, ``limit`` only for what went over one.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            says="a reason goes with the outcome refused only",
            holds=lambda one: one.reason is None or one.outcome is Outcome.REFUSED,
            field="reason",
        ),
        Rule(
            says="a limit goes with the outcome exceeded only",
            holds=lambda one: one.limit is None or one.outcome is Outcome.EXCEEDED,
            field="limit",
        ),
    )

    train: TrainId
    stop: Annotated[int, Number(most=LONGEST - 1)]
    station: PartyId
    outcome: Annotated[Outcome, Choice(*(one for one in Outcome if one is not Outcome.PASSED))]
    directory: DirectoryVersion
    time: datetime
    reason: Annotated[str | None, _WORDS] = None
    limit: Limit | None = None

    @property
    def about(self) -> Digest:
        """The train, as the subject of a statement."""
        return Digest.of_hex(self.train)


@dataclass(frozen=True, slots=True, kw_only=True)
class StationAnswer:
    """What a person at a station tells the owner about a stop the train did not pass."""

    train: TrainId
    stop: Annotated[int, Number(most=LONGEST - 1)]
    station: PartyId
    text: Annotated[str, _WORDS]
    time: datetime

    @property
    def about(self) -> Digest:
        """The train, as the subject of a statement."""
        return Digest.of_hex(self.train)


ENTRY: Final = StatementForm(
    type=ENTRY_TYPE, record=Record(JourneyEntry, outcome=Outcome.PASSED.value), subjects={STATE_SUBJECT: "state_out"}
)
REFUSAL: Final = StatementForm(type=REFUSAL_TYPE, record=Record(Refusal), subjects={TRAIN_SUBJECT: "about"})
ANSWER: Final = StatementForm(type=ANSWER_TYPE, record=Record(StationAnswer), subjects={TRAIN_SUBJECT: "about"})

read_entry, read_refusal, read_answer = ENTRY.read, REFUSAL.read, ANSWER.read


def print_entry(entry: JourneyEntry) -> bytes:
    """Print the statement a station signs for a stop the train passed."""
    return ENTRY.print(replace(entry, time=_minute(entry.time)))


def print_refusal(refusal: Refusal) -> bytes:
    """Print the statement a station signs for a stop the train did not pass."""
    return REFUSAL.print(replace(refusal, time=_minute(refusal.time)))


def print_answer(answer: StationAnswer) -> bytes:
    """Print the statement a station signs when a person there has more to say about a refusal."""
    return ANSWER.print(replace(answer, time=_minute(answer.time)))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedJourney:
    """What led to `stop`, proven: the entries of exactly its ancestors in the route, in their order.

    ``before`` are the stops that sent it here, in the order of `Route.before`. ``previous`` and ``states`` are what the entry
    about `stop` must name, and no other.
    """

    stop: int
    before: tuple[int, ...]
    entries: tuple[Verified[JourneyEntry], ...]
    previous: tuple[Digest, ...]
    states: tuple[Digest, ...]

    def entry(self, stop: int) -> Verified[JourneyEntry]:
        """Return the entry about an ancestor.

        Raises:
            KeyError: the stop is not one.
        """
        return {one.value.stop: one for one in self.entries}[stop]

    def passes(self) -> Mapping[PartyId, BoardingPass]:
        """Return the boarding pass of each party that is on board, in the order of the route."""
        return {one.value.station: one.value.boarding for one in self.entries if one.value.boarding is not None}


def check_journey(
    manifest: Verified[TrainManifest],
    entries: Sequence[Envelope],
    stop: int,
    trust: TrustStore,
    *,
    now: datetime,
    known: Mapping[Digest, Verified[JourneyEntry]] | None = None,
) -> VerifiedJourney:
    """Demand exactly the ancestors of `stop` in the route, each proven; the numbers are those of `verify`.

    Of what is `known`, entries of this train verified by what the same directory says, and beside the same signatures, only times and links are.

    Raises:
        JourneyIncomplete, JourneyTooLong: fewer or more entries than stops before this one.
        JourneyForeignEntry: an entry is about another train, stop or station, or from another time.
        JourneyUnlinked: an entry does not hang on those before it.
        BoardingRejected: a boarding pass is missing, or two stations show the same key in theirs.
        SignatureMissing, SignatureInvalid, KeyNotTrusted, KeyRevoked: an entry is not validly signed by its station.
        NotYet: an entry is dated later than `now`, by more than clocks may differ.
    """
    route, train = manifest.value.route, train_id(manifest)
    expected = route.way_to(stop, len(entries))
    checked: dict[int, Verified[JourneyEntry]] = {}
    for ancestor, envelope in zip(expected, entries, strict=False):  # 10 counts them
        entry = (known or {}).get(envelope.digest)
        if entry is None or entry.value.stop != ancestor or entry.signatures != envelope.signatures:
            entry = check_entry(manifest, envelope, ancestor, trust, now=now)
        check_dated(entry, now=now)
        check_link(manifest, entry, checked)
        checked[ancestor] = entry
    # 10. the journey holds exactly the ancestors of this stop: none missing, none more (attacks T2 and T4)
    if len(entries) < len(expected):
        msg = "journey has fewer entries than stops before this one"
        raise JourneyIncomplete(msg, train=train.short, entries=len(entries), expected=len(expected))
    if len(entries) > len(expected):
        msg = "journey has more entries than stops before this one"
        raise JourneyTooLong(msg, train=train.short, entries=len(entries), expected=len(expected))
    before = route.before(stop) if stop != route.home else expected[-1:]
    _need_end(manifest, stop, before, checked)
    previous, states = _links(manifest, before, checked)
    found = VerifiedJourney(stop=stop, before=before, entries=tuple(checked.values()), previous=previous, states=states)
    check_company(found.passes())
    return found


def _need_end(
    manifest: Verified[TrainManifest],
    stop: int,
    before: tuple[int, ...],
    checked: Mapping[int, Verified[JourneyEntry]],
) -> None:
    """Part of step 10: a train is home where it has finished, and nowhere else.

    Raises:
        JourneyIncomplete: it came home from a combination that did not say so, and that was not the last.
        JourneyTooLong: it went on from one that did.
    """
    route, train = manifest.value.route, train_id(manifest).short
    finishing = [one for one, entry in checked.items() if entry.value.finished]
    if stop == route.home and not finishing and before != route.ends[-1:]:
        msg = "the train came home, and no stop said that it has finished"
        raise JourneyIncomplete(msg, train=train, last=route.told(before[-1]))
    if any(stop != route.home or one not in before for one in finishing):
        msg = "the train went on after a stop that said it has finished"
        raise JourneyTooLong(msg, train=train, finished=route.told(finishing[0]))


def check_next(
    manifest: Verified[TrainManifest],
    journey: VerifiedJourney,
    envelope: Envelope,
    trust: TrustStore,
    *,
    now: datetime,
) -> Verified[JourneyEntry]:
    """Verify the entry about the stop that a journey led to, as whoever comes after it will.

    Raises:
        NotYet: our clock is behind what the train or an entry before says: nothing is signed with that time.
        JourneyForeignEntry, JourneyUnlinked, SignatureRejected, KeyNotTrusted, KeyRevoked: see `check_journey`.
    """
    earliest = max((manifest.value.valid_from, *(one.value.time for one in journey.entries)))
    if now < earliest - CLOCK_SKEW:
        msg = "our clock is behind the times that came with the train"
        raise NotYet(msg, train=train_id(manifest).short, now=print_time(now), came_with=print_time(earliest))
    entry = check_entry(manifest, envelope, journey.stop, trust, now=now)
    check_link(manifest, entry, {one.value.stop: one for one in journey.entries})
    return entry


def check_link(
    manifest: Verified[TrainManifest], entry: Verified[JourneyEntry], known: Mapping[int, Verified[JourneyEntry]]
) -> None:
    """Step 9: a verified entry hangs on those of the stops before its own, which are all `known`.

    Raises:
        JourneyUnlinked: it names others, or other states than those they sent.
        JourneyForeignEntry: it is older than one of them.
    """
    claim, train, route = entry.value, train_id(manifest), manifest.value.route
    previous, states = _links(manifest, route.before(claim.stop), known)
    # 9. each entry hangs on those before it, and on the states they sent
    if (claim.previous, claim.states_in) != (previous, states):
        what = "entries before it" if claim.previous != previous else "states it received"
        msg = f"journey entry does not name the {what}"
        raise JourneyUnlinked(msg, train=train.short, place=route.told(claim.stop))
    if any(claim.time < known[one].value.time - CLOCK_SKEW for one in route.before(claim.stop)):
        msg = "journey entry is older than one before it"
        raise JourneyForeignEntry(msg, train=train.short, place=route.told(claim.stop))


def _links(
    manifest: Verified[TrainManifest], before: Sequence[int], known: Mapping[int, Verified[JourneyEntry]]
) -> tuple[tuple[Digest, ...], tuple[Digest, ...]]:
    """Return the digests that an entry must name: of the entries before it, and of the states they sent."""
    entries = [known[one] for one in before]
    if not entries:
        return (manifest.digest,), ()
    return tuple(one.digest for one in entries), tuple(one.value.state_out for one in entries)


def check_entry(
    manifest: Verified[TrainManifest], envelope: Envelope, index: int, trust: TrustStore, *, now: datetime
) -> Verified[JourneyEntry]:
    """Verify one entry by itself: signed by the station of stop `index` with its pinned key set, about this very stop.

    What it hangs on is not checked here; the owner uses this for receipts, which arrive one by one.
    """
    route, stop = manifest.value.route, manifest.value.route.stop(index)
    # 7. the key set comes from the directory, by the fingerprint in the manifest; the keys come before the content
    #    (the time it claims is good only for looking up what was in force then)
    claimed = read_entry(envelope.payload)
    proof = verify(envelope, trust.signer(stop.party, Role.STATION, stop.key_set, claimed.time))
    entry = verified_as(proof, claimed)  # what was read is what was signed: the same bytes
    # 8. the entry is about this train, this stop, this station, this base
    claim, train = entry.value, train_id(manifest)
    bound = (claim.train, claim.stop, claim.station, claim.base)
    if bound != (train, index, stop.party, manifest.value.base):
        msg = "journey entry is about another train, stop, station or base"
        claims = f"{claim.station} at {route.told(claim.stop)}"
        raise JourneyForeignEntry(msg, train=train.short, place=route.told(index), claims=claims)
    if claim.finished and route.task(index) is not Task.COMBINE:
        msg = "journey entry says that the train has finished, and is not about a combination"
        raise JourneyForeignEntry(msg, train=train.short, place=route.told(index))
    if (claim.boarding is not None) != (route.task(index) is Task.BOARD):
        msg = "there must be a boarding pass in an entry exactly if it is about boarding"
        raise BoardingRejected(msg, train=train.short, place=route.told(index))
    if claim.boarding:
        check_pass(claim.boarding, later=route.parties_after(stop.party), like=manifest.value.recipient)
    if claim.time < manifest.value.valid_from - CLOCK_SKEW:
        msg = "journey entry was signed before the train was"
        hint = f"{stop.party}'s clock was behind, or the entry is another train's: ask its operator"
        when = {"time": print_time(claim.time), "since": print_time(manifest.value.valid_from)}
        raise JourneyForeignEntry(msg, hint=hint, train=train.short, place=route.told(index), **when)
    check_dated(entry, now=now)
    return entry


def check_dated(entry: Verified[JourneyEntry], *, now: datetime) -> None:
    """The last part of step 8, which is all of an entry's verification that depends on the time.

    Raises:
        NotYet: it is dated later than `now`, by more than clocks may differ.
    """
    claim = entry.value
    if claim.time > now + CLOCK_SKEW:  # one clock or the other is wrong, which is no reason to end anything for good
        msg = "journey entry is dated later than our clock"
        hint = f"is this machine's clock right? If it is, {claim.station}'s is ahead: tell its operator, and wait"
        when, ours = print_time(claim.time), print_time(now)
        raise NotYet(msg, hint=hint, train=claim.train.short, station=claim.station, time=when, now=ours)


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
