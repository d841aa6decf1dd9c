"""How does a folder become a train under way, exactly once?

The train is recorded in the owner's home before anything leaves; what is sent is the recorded train, as often as it
takes. Submitting the same folder again after a crash, or while the registry could not be reached, sends that same train: a second
one would be run a second time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from console.progress import Working
from registry.depot import Depot
from registry.port import Progress
from security.archive import Member
from security.digest import Digest
from security.directory.trust import TrustStore
from security.encoding import print_time
from security.errors import Refused
from security.files import locked
from security.ids import PartyId, TrainId
from security.keys.keyset import Secrets
from security.train.verify import verify_train
from train_builder.build.build import build, source_digest
from train_builder.code.check import Finding, Level, hint_for, packed, preflight, stops_departure
from train_builder.code.sources import SourceTree, collect
from train_builder.code.wheels import DEBIAN_12, REQUIREMENTS, Target, Wheel, vendor
from train_builder.errors import PreflightFailed, TrainAlreadySent
from train_builder.follow.follow import StopState, Whereabouts, follow
from train_builder.home import Home, TrainRecord
from train_builder.spec.spec import TrainSpec, load_spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A train that is in the mailboxes of those it begins at. ``resumed`` if it had been recorded by an earlier attempt.

    ``twin`` is an earlier train made from the same source, if there is one.
    """

    record: TrainRecord
    first: tuple[PartyId, ...]
    findings: tuple[Finding, ...]
    wheels: tuple[Wheel, ...]
    resumed: bool
    twin: TrainId | None


def submit(
    folder: Path,
    home: Home,
    *,
    depot: Depot,
    trust: TrustStore,
    unlock: Callable[[], Secrets],
    now: datetime,
    allow: Sequence[str] = (),
    target: Target = DEBIAN_12,
    again: bool = False,
    progress: Progress | None = None,
    working: Working = nullcontext,
) -> Submitted:
    """Check, build, record and send. `unlock` opens the owner's keys; it is called once everything else is in order.

    Raises:
        SpecInvalid, SourcesRejected, PreflightFailed, WheelsUnresolved: there is something to fix first.
        TrainAlreadySent: this very train was sent before, and not `again` is meant.
        Refused: the directory does not allow this train; one of its leaves, which says why.
        RegistryUnavailable: the train is recorded but not sent; submitting again sends it.
    """
    spec = load_spec(folder)
    tree = collect(folder / spec.code)
    findings = preflight(spec, tree, trust, now=now, allow=allow, target=target)
    _need_clear(findings)
    source = source_digest(spec, tree, target)
    with _alone(home, working):
        before, record = _sent_before(home, source, now), _unsent(home, source, now)
        if record is not None and before is not None and before.recorded > record.recorded:
            record = None  # another one was sent in its place
        if record is not None and again and _cannot_go(record, depot, trust, now):
            record = None
        wheels: tuple[Wheel, ...] = ()
        resumed = record is not None
        if record is None:
            if before is not None and not again:
                raise already_sent(before, home)
            with tempfile.TemporaryDirectory(dir=home.path) as temporary:
                with working("resolving packages"):
                    wheels, vendored = fetch_wheels(folder, spec, tree, target, Path(temporary))
                if wheels:
                    _need_clear(packed(spec, tree, vendored, target, allow=allow))
                secrets = unlock()  # which may ask
                with working("sealing the code"):
                    built = build(
                        spec,
                        tree,
                        owner=home.party,
                        secrets=secrets,
                        trust=trust,
                        blobs=home.blobs,
                        now=now,
                        vendored=vendored,
                    )
            record = home.keep(
                built.envelope,
                letter=built.parcel.manifest,
                mail=built.mail,
                source=source,
                content=built.content,
                now=now,
            )
        first = deliver(record, home, depot=depot, trust=trust, now=now, progress=progress)
    twin = None if before is None else before.train
    return Submitted(record=record, first=first, findings=findings, wheels=wheels, resumed=resumed, twin=twin)


@contextmanager
def _alone(home: Home, working: Working) -> Iterator[None]:
    """Let one submission at a time out of a home: two of one folder would find no record of it, and make two trains."""
    with ExitStack() as stack:
        with working("waiting for another submission"):
            stack.enter_context(locked(home.path / "submit.lock"))
        yield


def already_sent(train: TrainRecord, home: Home) -> TrainAlreadySent:
    """Return the error that says that nothing has changed since a train was sent, and what became of that one."""
    msg = "this train was already sent: nothing in its folder has changed since"
    sent = None if train.sent is None else print_time(train.sent)
    tells = "" if home.forgotten(train.train) else f"'pht train follow {train.train.short}' tells where it is; "
    hint = f"{tells}to send a second one all the same: --again"
    return TrainAlreadySent(msg, train=train.train.short, sent=sent, state=home.state_of(train), hint=hint)


def fetch_wheels(
    folder: Path, spec: TrainSpec, tree: SourceTree, target: Target, into: Path
) -> tuple[tuple[Wheel, ...], tuple[Member, ...]]:
    """Fetch the packages the code asks for, if it has a requirements.txt.

    Raises:
        WheelsUnresolved: see `wheels.vendor`.
    """
    if tree.find(REQUIREMENTS) is None:
        return (), ()
    return vendor(folder / spec.code / REQUIREMENTS, target, into=into)


def deliver(
    record: TrainRecord,
    home: Home,
    *,
    depot: Depot,
    trust: TrustStore,
    now: datetime,
    progress: Progress | None = None,
) -> tuple[PartyId, ...]:
    """Send a recorded train to the stations it begins at, but those that have had it; note that it arrived.

    Raises:
        Refused: the first station would refuse it now (its validity is over, a key was revoked, …).
    """
    starts = _starts(record)
    if record.sent is None:
        # A receipt shows that an earlier delivery arrived and only its note was lost; a second would look like a replay.
        where = follow(record, depot, trust, now=now)
        home.note_seen(record.train, where.learnt)
        if not where.ended:
            missing = _missing(record, where)
            try:
                _need_accepted(record, missing, trust, now)
            except Refused as error:
                hint = "it was made earlier, never sent, and cannot go any more; to make a new one: --again"
                raise type(error)(error.message, hint=hint, **error.fields) from error
            near: dict[Digest, PartyId] = {}
            for start, party in missing.items():
                depot.send(
                    record.parcel, home.blobs, to=party, train=record.train, stop=start, near=near, progress=progress
                )
                near[record.manifest.code.digest] = party
        home.note_sent(record.train, now)
    return tuple(starts.values())


def _starts(record: TrainRecord) -> dict[int, PartyId]:
    return {start: record.manifest.expected_at(start).party for start in record.manifest.route.starts}


def _missing(record: TrainRecord, where: Whereabouts) -> dict[int, PartyId]:
    """Return where a train begins and was not heard of."""
    heard = {one.stop for one in where.stops if one.state not in {StopState.WAITING, StopState.AHEAD}}
    return {start: party for start, party in _starts(record).items() if start not in heard}


def _need_accepted(record: TrainRecord, missing: Mapping[int, PartyId], trust: TrustStore, now: datetime) -> None:
    for party in missing.values():
        verify_train(record.parts, trust, here=party, now=now)


def _cannot_go(record: TrainRecord, depot: Depot, trust: TrustStore, now: datetime) -> bool:
    """Whether the directory has changed since an unsent train was made, so that a station it begins at refuses it."""
    where = follow(record, depot, trust, now=now)
    if where.ended:
        return False
    try:
        _need_accepted(record, _missing(record, where), trust, now)
    except Refused:
        return True
    return False


def _unsent(home: Home, source: Digest, now: datetime) -> TrainRecord | None:
    """Find a train made from the same source that never got away, and still may."""
    for record in home.records():
        if record.sent is None and record.source == source and record.manifest.is_valid_at(now):
            return record
    return None


def _sent_before(home: Home, source: Digest, now: datetime) -> TrainRecord | None:
    """Find the newest train that was sent from the same source, and came home or may still do so."""
    for record in reversed(home.records()):
        if record.source == source and record.sent is not None:
            seen = home.seen(record.train)
            home_again = home.arrival(record.train) is not None or (seen is not None and seen.passed)
            under_way = record.manifest.is_valid_at(now) and (seen is None or not seen.ended)
            if home_again or under_way:
                return record
    return None


def _need_clear(findings: Sequence[Finding]) -> None:
    if stops_departure(findings):
        errors = [one for one in findings if one.level is Level.ERROR and not one.allowed]
        msg = "the check before departure found errors"
        raise PreflightFailed(
            msg, first=f"{errors[0].path}: {errors[0].text}", errors=len(errors), hint=hint_for(findings)
        )
