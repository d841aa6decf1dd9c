"""Where has a train been, and how does each stop's statement hang on the one before?

A journey is a chain of in-toto Statements, one signed by each station passed. Entry *k* names the digest of the signed
bytes of entry *k-1* (the manifest, for stop 0), the digest of the sealed state it received, and, as its subject, the
sealed state it sent. No plaintext hash, message or log is in it: a small count is recovered from its hash in
milliseconds.

A stop that refuses the train, or at which the run fails, signs a *refusal* instead, for the owner only: an outcome
class, never a message from the run. It is no part of any journey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from security.digest import Digest
from security.directory.trust import DirectoryVersion, TrustStore
from security.encoding import Fields, print_time
from security.errors import (
    InvalidInput,
    JourneyForeignEntry,
    JourneyIncomplete,
    JourneyTooLong,
    JourneyUnlinked,
    MalformedStatement,
)
from security.ids import PartyId, Role, TrainId
from security.statement.envelope import (
    Envelope,
    Statement,
    Subject,
    Verified,
    parse_statement,
    print_statement,
    verified_as,
    verify,
)
from security.train.manifest import CodeRef, TrainManifest, train_id

ENTRY_TYPE: Final = "urn:pht:statement:journey-entry:v1"
REFUSAL_TYPE: Final = "urn:pht:statement:refusal:v1"
STATE_SUBJECT: Final = "state"
TRAIN_SUBJECT: Final = "train"
CLOCK_SKEW: Final = timedelta(minutes=10)


class Outcome(StrEnum):
    """How a visit ended, as far as it is told outside the station."""

    PASSED = "passed"
    REFUSED = "refused"  # the station does not admit this train, or its outputs
    FAILED = "failed"  # the analysis ended with an error
    EXCEEDED = "exceeded"  # the analysis went over a limit of its manifest
    WITHHELD = "withheld"  # the station gives no reason class


@dataclass(frozen=True, slots=True, kw_only=True)
class StateRef:
    """A sealed state: digest and size in bytes of the age file."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainParts:
    """What travels and what arrives: nothing in it is believed.

    ``entries`` are in the order of the stops; ``state`` is absent before the first stop has passed.
    """

    manifest: Envelope
    entries: tuple[Envelope, ...]
    code: CodeRef
    state: StateRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyEntry:
    """What one station states about one stop. ``time`` is rounded down to the minute."""

    train: TrainId
    stop: int
    attempt: int
    station: PartyId
    previous: Digest
    state_in: Digest | None
    state_out: Digest
    base: Digest
    directory: DirectoryVersion
    sandbox: str
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a station tells the owner about a stop the train did not pass."""

    train: TrainId
    stop: int
    station: PartyId
    outcome: Outcome
    directory: DirectoryVersion
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedJourney:
    """The proven way from the manifest to ``next_stop`` (the route's ``home`` index when all stops have passed)."""

    entries: tuple[Verified[JourneyEntry], ...]
    next_stop: int
    head: Digest
    state: Digest | None


def check_chain(
    manifest: Verified[TrainManifest], entries: Sequence[Envelope], trust: TrustStore, *, now: datetime
) -> VerifiedJourney:
    """Verify every entry against the directory and the chain from the manifest on; the numbers are those of `verify`.

    Raises:
        JourneyTooLong: more entries than the route has stops.
        JourneyForeignEntry: an entry is about another train, stop or station, or from another time.
        JourneyUnlinked: an entry does not hang on its predecessor.
        SignatureMissing, SignatureInvalid, KeyNotTrusted, KeyRevoked: an entry does not count as its station's.
    """
    route, train = manifest.value.route, train_id(manifest)
    if len(entries) > route.home:
        msg = "more journey entries than stops"
        raise JourneyTooLong(msg, entries=len(entries), stops=route.home)
    checked: list[Verified[JourneyEntry]] = []
    head, state = manifest.digest, None
    for index, envelope in enumerate(entries):
        entry = check_entry(manifest, envelope, index, trust, now=now)
        # 9. each entry hangs on the one before, and on the state that one sent
        if entry.value.previous != head:
            msg = "journey entry does not name its predecessor"
            raise JourneyUnlinked(msg, train=train.short, stop=index)
        if entry.value.state_in != state:
            msg = "journey entry does not name the state it received"
            raise JourneyUnlinked(msg, train=train.short, stop=index)
        if checked and entry.value.time < checked[-1].value.time - CLOCK_SKEW:
            msg = "journey entry is older than its predecessor"
            raise JourneyForeignEntry(msg, train=train.short, stop=index)
        checked.append(entry)
        head, state = entry.digest, entry.value.state_out
    return VerifiedJourney(entries=tuple(checked), next_stop=len(checked), head=head, state=state)


def check_entry(
    manifest: Verified[TrainManifest], envelope: Envelope, index: int, trust: TrustStore, *, now: datetime
) -> Verified[JourneyEntry]:
    """Verify one entry by itself: signed by the station of stop `index` with its pinned key set, about this very stop.

    What it hangs on is not checked here; the owner uses this for receipts, which arrive one by one.
    """
    stop = manifest.value.route.stops[index]
    # 7. the key set comes from the directory, by the fingerprint in the manifest; the keys come before the content
    #    (the time it claims is good only for looking up what was in force then)
    claimed = read_entry(envelope.payload)
    proof = verify(envelope, trust.pinned(stop.party, Role.STATION, stop.key_set, claimed.time))
    entry = parse_entry(proof)
    # 8. the entry is about this train, this stop, this station, this base
    claim, train = entry.value, train_id(manifest)
    bound = (claim.train, claim.stop, claim.station, claim.base)
    if bound != (train, index, stop.party, manifest.value.base):
        msg = "journey entry is about another train, stop, station or base"
        raise JourneyForeignEntry(msg, train=train.short, stop=index, claims=f"{claim.station}/{claim.stop}")
    if not manifest.value.valid_from - CLOCK_SKEW <= claim.time <= now + CLOCK_SKEW:
        msg = "journey entry is from another time"
        raise JourneyForeignEntry(msg, train=train.short, stop=index, time=print_time(claim.time))
    return entry


def check_refusal(manifest: Verified[TrainManifest], envelope: Envelope, trust: TrustStore) -> Verified[Refusal]:
    """Verify a refusal: signed by the pinned key set of the station whose stop it is about, and about this train.

    Raises:
        JourneyForeignEntry: it is about another train, a stop not on the route, or another station's stop, or from
            before the train was.
    """
    claimed = _read_refusal(parse_statement(envelope.payload, predicate_type=REFUSAL_TYPE))
    route, train = manifest.value.route, train_id(manifest)
    if claimed.stop >= route.home or route.stops[claimed.stop].party != claimed.station or claimed.train != train:
        msg = "refusal is about another train, stop or station"
        raise JourneyForeignEntry(msg, train=train.short, stop=claimed.stop)
    if claimed.time < manifest.value.valid_from - CLOCK_SKEW:  # it would be looked up among keys long retired
        msg = "refusal is from another time"
        raise JourneyForeignEntry(msg, train=train.short, stop=claimed.stop, time=print_time(claimed.time))
    stop = route.stops[claimed.stop]
    proof = verify(envelope, trust.pinned(stop.party, Role.STATION, stop.key_set, claimed.time))
    return verified_as(proof, _read_refusal(parse_statement(proof.value, predicate_type=REFUSAL_TYPE)))


def need_entries(journey: VerifiedJourney, expected: int, train: TrainId) -> None:
    """Demand exactly `expected` entries (attacks T2 and T4).

    Raises:
        JourneyIncomplete, JourneyTooLong
    """
    found = len(journey.entries)
    if found < expected:
        msg = "journey has fewer entries than stops before this one"
        raise JourneyIncomplete(msg, train=train.short, entries=found, expected=expected)
    if found > expected:
        msg = "journey has more entries than stops before this one"
        raise JourneyTooLong(msg, train=train.short, entries=found, expected=expected)


def print_entry(entry: JourneyEntry) -> bytes:
    """Print the statement a station signs for a stop it passed. The only place that builds it."""
    return print_statement(
        Statement(
            subjects=(Subject(name=STATE_SUBJECT, digest=entry.state_out),),
            predicate_type=ENTRY_TYPE,
            predicate={
                "train": str(entry.train),
                "stop": entry.stop,
                "attempt": entry.attempt,
                "station": str(entry.station),
                "previous": str(entry.previous),
                "stateIn": None if entry.state_in is None else str(entry.state_in),
                "base": str(entry.base),
                "outcome": Outcome.PASSED.value,
                "directory": {"root": entry.directory.root, "targets": entry.directory.targets},
                "sandbox": entry.sandbox,
                "time": print_time(entry.time.replace(second=0, microsecond=0)),
            },
        )
    )


def parse_entry(proof: Verified[bytes]) -> Verified[JourneyEntry]:
    """Parse the verified bytes of a journey entry.

    Raises:
        MalformedStatement: a field is missing, unknown or wrong.
    """
    return verified_as(proof, read_entry(proof.value))


def read_entry(payload: bytes) -> JourneyEntry:
    """Parse an entry's payload without any proof of where it comes from (for showing and for schema tests)."""
    statement = parse_statement(payload, predicate_type=ENTRY_TYPE)
    if len(statement.subjects) != 1:
        msg = "journey entry has more than one subject"
        raise MalformedStatement(msg)
    fields = Fields(statement.predicate, "predicate")
    fields.constant("outcome", Outcome.PASSED.value)
    state_in = fields.take("stateIn")
    if state_in is not None and not isinstance(state_in, str):
        msg = "field is not what it should be"
        raise MalformedStatement(msg, field="predicate.stateIn", wanted="a digest or null")
    entry = JourneyEntry(
        train=_train(fields),
        stop=fields.number("stop", least=0, most=199),
        attempt=fields.number("attempt", least=1, most=1000),
        station=_party(fields),
        previous=Digest(fields.text("previous", most=71)),
        state_in=None if state_in is None else Digest(state_in),
        state_out=statement.subject(STATE_SUBJECT),
        base=Digest(fields.text("base", most=71)),
        directory=_directory(fields),
        sandbox=fields.text("sandbox", most=60),
        time=fields.time("time"),
    )
    fields.end()
    return entry


def print_refusal(refusal: Refusal) -> bytes:
    """Print the statement a station signs for a stop the train did not pass."""
    return print_statement(
        Statement(
            subjects=(Subject(name=TRAIN_SUBJECT, digest=Digest.of_hex(refusal.train)),),
            predicate_type=REFUSAL_TYPE,
            predicate={
                "train": str(refusal.train),
                "stop": refusal.stop,
                "station": str(refusal.station),
                "outcome": refusal.outcome.value,
                "directory": {"root": refusal.directory.root, "targets": refusal.directory.targets},
                "time": print_time(refusal.time.replace(second=0, microsecond=0)),
            },
        )
    )


def read_refusal(payload: bytes) -> Refusal:
    """Parse a refusal's payload without any proof of where it comes from."""
    return _read_refusal(parse_statement(payload, predicate_type=REFUSAL_TYPE))


def _read_refusal(statement: Statement) -> Refusal:
    fields = Fields(statement.predicate, "predicate")
    outcome = fields.text("outcome", most=20)
    if outcome not in set(Outcome) - {Outcome.PASSED}:
        msg = "field is not what it should be"
        raise MalformedStatement(msg, field="predicate.outcome", wanted="an outcome class")
    refusal = Refusal(
        train=_train(fields),
        stop=fields.number("stop", least=0, most=199),
        station=_party(fields),
        outcome=Outcome(outcome),
        directory=_directory(fields),
        time=fields.time("time"),
    )
    fields.end()
    if [one.name for one in statement.subjects] != [TRAIN_SUBJECT] or statement.subjects[0].digest.hex != refusal.train:
        msg = "refusal's subject is not its train"
        raise MalformedStatement(msg)
    return refusal


def _train(fields: Fields) -> TrainId:
    try:
        return TrainId(fields.text("train", most=64))
    except InvalidInput as error:
        raise MalformedStatement(error.message, field=f"{fields.where}.train") from error


def _party(fields: Fields) -> PartyId:
    try:
        return PartyId(fields.text("station", most=40))
    except InvalidInput as error:
        raise MalformedStatement(error.message, field=f"{fields.where}.station") from error


def _directory(fields: Fields) -> DirectoryVersion:
    inner = fields.fields("directory")
    version = DirectoryVersion(root=inner.number("root", least=1), targets=inner.number("targets", least=1))
    inner.end()
    return version
