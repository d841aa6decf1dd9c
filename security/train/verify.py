"""May this train be trusted, here and now?

The numbered procedure of ``docs/design.md``; every step carries its number, here and in `security.train.journey`. Keys come
from the directory only (attack T1): a train names keys by fingerprint and never carries any. Nothing here touches disk,
network or clock.

1.  The manifest's envelope is well-formed, and says which party owns it.
2.  Every key of the key set it names, as the directory knows it for that party, signed the manifest.
3.  The verified bytes are a manifest; its subjects are its code and its base; its results go to its owner's key, which can share a
    file with those of the stations.
4.  The manifest is valid now, for no longer than the directory's policy allows. If its time is still to come, it waits.
5.  The base image is approved.
6.  Every stop still to come has the key set the manifest expects, in force and not revoked; so has the home.
7.  Each journey entry is signed by every key of the pinned key set of the station of that stop.
8.  Each entry is about this train, this stop, this station, this base, and no older than the train. If it is dated later
    than our clock, the train waits.
9.  Each entry hangs on those of the stops before its own, and on the states they sent.
10. The journey holds exactly the ancestors of this stop in the route, and this stop is ours.
11. There is a state of each stop before this one, and no other; it is the one that stop sent, and no larger than a state
    within the manifest's limits can be.
12. The code is the one the manifest names, and no larger than any code can be.

What is inside the seals is checked when they are opened (`security.train.seal`): 13 digest and size while reading, 14 the
number of recipients, 15 META.json, 16 the archive, 17 the code's content.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from security.age import parse_recipient
from security.digest import Digest
from security.directory.trust import TrustStore
from security.encoding import print_time
from security.errors import (
    BaseNotApproved,
    BudgetExceeded,
    DigestMismatch,
    JourneyIncomplete,
    KeyNotTrusted,
    KeyOutsideValidity,
    KeyRevoked,
    NotOnRoute,
    NotYet,
    OutsideValidity,
    RouteCutOff,
    RouteViolated,
    SealRecipients,
)
from security.ids import PartyId, Role, TrainId
from security.statement.envelope import Envelope, Verified, verify
from security.train.boarding import BoardingPass
from security.train.journey import (
    JourneyEntry,
    StateRef,
    TrainParts,
    VerifiedJourney,
    check_dated,
    check_journey,
)
from security.train.manifest import TrainManifest, parse_manifest, read_manifest, train_id
from security.train.seal import CODE_BUDGET, StateBinding, most_sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedTrain:
    """A train that may be trusted at ``stop``. Made by `verify_arrival` and `verify_home` only."""

    manifest: Verified[TrainManifest]
    journey: VerifiedJourney
    stop: int
    states: tuple[StateRef, ...]

    @property
    def train(self) -> TrainId:
        """The train's identity."""
        return train_id(self.manifest)

    @property
    def passes(self) -> Mapping[PartyId, BoardingPass]:
        """The boarding pass of each party, once all of them are on board."""
        entries = self.journey.passes()
        return entries if len(entries) == len(self.manifest.value.route.places) else {}

    def received(self) -> tuple[StateBinding, ...]:
        """Return what each of the `states` that came in must have been sealed for."""
        return tuple(self._from(sender) for sender in self.journey.before)

    def _from(self, sender: int) -> StateBinding:
        claim = self.journey.entry(sender).value
        return self._binding(sender, claim.previous, finished=bool(claim.finished))

    def to_send(self, *, finished: bool = False) -> StateBinding:
        """Return what the state that goes out from this stop must be sealed for, if the train has `finished` or if not."""
        return self._binding(self.stop, self.journey.previous, finished=finished)

    def _binding(self, sender: int, previous: tuple[Digest, ...], *, finished: bool) -> StateBinding:
        manifest = self.manifest.value
        receivers = (manifest.expected_at(one).party for one in manifest.route.onward(sender, finished=finished))
        return StateBinding(
            train=self.train,
            stop=sender,
            sender=manifest.route.stop(sender).party,
            recipients=tuple(dict.fromkeys(receivers)),
            previous=previous,
        )


def verify_train(parts: TrainParts, trust: TrustStore, *, here: PartyId, now: datetime) -> AcceptedTrain:
    """Decide whether a train that arrived at the station `here` may be trusted, and can still go all its way.

    Raises:
        Refused: one of its leaves, which says why.
        NotYet: something about it is dated later than `now`.
    """
    accepted = verify_arrival(parts, trust, here=here, now=now)
    check_ahead(accepted, trust, now=now)
    return accepted


def verify_arrival(
    parts: TrainParts,
    trust: TrustStore,
    *,
    here: PartyId,
    now: datetime,
    known: Mapping[Digest, Verified[JourneyEntry]] | None = None,
) -> AcceptedTrain:
    """Decide whether a train that arrived at the station `here` is what it says, whether or not it can go on from here.

    Whoever fails this deserves no answer. A train that passes it has an owner, who is told what `check_ahead` finds. What is
    `known`, see `check_journey`.

    Raises:
        Refused: one of its leaves, which says why.
        NotYet: something about it is dated later than `now`.
    """
    trust.check_fresh(now)
    manifest = verify_manifest(parts.manifest, trust, at=now)
    need_valid(manifest.value, trust, now)
    # 5. the base image is approved
    trust.approved_base(manifest.value.base)
    route = manifest.value.route
    stop = stop_meant(manifest.value, len(parts.entries), here)
    # 6. this stop: what our own key set signs must count
    trust.pinned(here, Role.STATION, route.stop(stop).key_set, now)
    # 7. to 10.
    journey = check_journey(manifest, parts.entries, stop, trust, now=now, known=known)
    return _accepted(parts, manifest, journey)


def verify_again(accepted: AcceptedTrain, trust: TrustStore, *, here: PartyId, now: datetime) -> None:
    """Decide what `verify_arrival` would, at another time, about a train that it accepted by a directory that says the same.

    Who signed what, and how it hangs together, depends on the bytes and on the directory. What depends on the time is here:
    whether directory and train are valid, and the keys of the owner and of this station in force.

    Raises:
        Refused, NotYet: see `verify_arrival`.
    """
    trust.check_fresh(now)
    manifest = accepted.manifest.value
    # 2.
    trust.pinned(manifest.owner.party, Role.OWNER, manifest.owner.key_set, now)
    need_valid(manifest, trust, now)
    # 6.
    trust.pinned(here, Role.STATION, manifest.route.stop(accepted.stop).key_set, now)
    # 8.
    for entry in accepted.journey.entries:
        check_dated(entry, now=now)


def check_ahead(accepted: AcceptedTrain, trust: TrustStore, *, now: datetime) -> None:
    """Step 6 for the stops after this one: is there anybody to send the train on to?

    The route names key sets, and the code was sealed for them: a party's newer keys are of no use to a train under way.

    Raises:
        RouteCutOff: the key set of a stop does not count any more.
        NotYet: it will.
    """
    route = accepted.manifest.value.route
    for one, stop in route.still_to_come(accepted.stop).items():
        try:
            trust.pinned(one.party, Role.STATION, one.key_set, now)
        except (KeyNotTrusted, KeyRevoked, KeyOutsideValidity) as error:
            msg = "a station still to come has no keys that count"
            raise RouteCutOff(msg, party=one.party, place=route.told(stop), reason=error.code) from error


def verify_home(parts: TrainParts, trust: TrustStore, *, owner: PartyId, now: datetime) -> AcceptedTrain:
    """Decide whether the owner may open what came home: the journey is complete and every step is proven.

    The train's validity bounds when stations may run it, not when its owner may read the results; likewise a base
    image that was withdrawn after the run must be known, but need not be approved any more.

    Raises:
        Refused: one of its leaves, which says why.
    """
    trust.check_fresh(now)
    manifest = verify_manifest(parts.manifest, trust, at=None)
    if manifest.value.base not in trust.bases:
        msg = "base image is not in the directory"
        raise BaseNotApproved(msg, digest=manifest.value.base.short)
    if manifest.value.owner.party != owner:
        msg = "train belongs to another owner"
        raise RouteViolated(msg, owner=manifest.value.owner.party, here=owner)
    # 7. to 10.
    journey = check_journey(manifest, parts.entries, manifest.value.route.home, trust, now=now)
    return _accepted(parts, manifest, journey)


def verify_manifest(envelope: Envelope, trust: TrustStore, *, at: datetime | None) -> Verified[TrainManifest]:
    """Steps 1 to 3: whose manifest is this, and do its owner's keys, all of them, stand behind it?

    The owner's key set must be in force `at` that time, and not revoked. None is for a train that has been under way: what
    counts is the beginning of its validity, whether the keys were changed since or revoked as of a later time.
    """
    # 1. what the manifest says of itself serves only to look up which keys to try
    claimed = read_manifest(envelope.payload)
    owner = claimed.owner
    # 2. every key of the owner's key set, as the directory knows it
    if at is None:
        key_set = trust.signer(owner.party, Role.OWNER, owner.key_set, claimed.valid_from)
    else:
        key_set = trust.pinned(owner.party, Role.OWNER, owner.key_set, at)
    # 3. from here on, only the verified bytes are trusted
    manifest = parse_manifest(verify(envelope, key_set))
    if manifest.value.recipient != key_set.sealing:
        msg = "the manifest sends its results to a key that is not its owner's"
        raise KeyNotTrusted(msg, owner=manifest.value.owner.party)
    _need_one_kind(manifest.value, trust)
    return manifest


def _need_one_kind(manifest: TrainManifest, trust: TrustStore) -> None:
    """The last part of step 3. A station could seal nothing for the owner and itself, not even a refusal: its visit would never end.

    Raises:
        SealRecipients: the owner's key is of another kind than a station's, and they cannot share a file.
    """
    ours = parse_recipient(manifest.recipient).kind
    for one in manifest.route.places:
        with contextlib.suppress(KeyNotTrusted):  # unknown as yet, or no more: step 6 says what comes of that
            if parse_recipient(trust.key_set(one.party, Role.STATION, one.key_set).sealing).kind != ours:
                msg = "the owner's key cannot share a file with that of a station, which is of another kind"
                raise SealRecipients(msg, owner=manifest.owner.party, station=one.party)


def need_valid(manifest: TrainManifest, trust: TrustStore, now: datetime) -> None:
    """Step 4: the time of a train is now.

    Raises:
        NotYet, OutsideValidity: it is not.
    """
    # 4. valid now, and not for longer than the consortium allows
    if now < manifest.valid_from:
        msg = "train is not valid yet"
        raise NotYet(msg, valid_from=print_time(manifest.valid_from), now=print_time(now))
    if not manifest.is_valid_at(now):
        msg = "train is no longer valid"
        raise OutsideValidity(msg, valid_until=print_time(manifest.valid_until), now=print_time(now))
    trust.check_duration(manifest.valid_from, manifest.valid_until)


def stop_meant(manifest: TrainManifest, entries: int, here: PartyId) -> int:
    """Return which of the stops of `here` a journey of so many entries leads to; whether it does, step 10 decides.

    Raises:
        NotOnRoute: there is none.
    """
    # 10. the stop is ours; the route is the signed one
    route = manifest.route
    ours = route.of(here)
    if not ours:
        msg = "this station is not on the train's route"
        raise NotOnRoute(msg, name=manifest.name, here=here)
    return next((stop for stop in ours if len(route.ancestors(stop)) >= entries), ours[-1])


def _accepted(parts: TrainParts, manifest: Verified[TrainManifest], journey: VerifiedJourney) -> AcceptedTrain:
    train = train_id(manifest)
    # 11. a state of each stop before this one, and the one that it sent
    arrived = tuple(one.digest for one in parts.states)
    if len(arrived) != len(journey.states):
        msg = "there must be a state of each stop that comes before this one"
        raise JourneyIncomplete(msg, train=train.short, states=len(arrived), expected=len(journey.states))
    if arrived != journey.states:
        msg = "state is not the one that was sent to this stop"
        raise DigestMismatch(msg, train=train.short, expected=journey.states, found=arrived)
    for state in parts.states:
        check_state_size(state, manifest.value)
    # 12. the code is the one the manifest names, and no larger than any code can be
    if manifest.value.code.size > most_sealed(CODE_BUDGET.total_bytes):
        msg = "the announced code is larger than code may be"
        raise BudgetExceeded(msg, train=train.short, bytes=manifest.value.code.size)
    if parts.code != manifest.value.code:
        msg = "code is not the one the manifest names"
        raise DigestMismatch(msg, train=train.short, expected=manifest.value.code.digest, found=parts.code.digest)
    return AcceptedTrain(manifest=manifest, journey=journey, stop=journey.stop, states=parts.states)


def check_state_size(state: StateRef, manifest: TrainManifest) -> None:
    """The last part of step 11. The size is not signed: whoever builds the artifact could announce a whole disk full (attack T17).

    Raises:
        BudgetExceeded: the announced state is larger than one within the manifest's limits can be.
    """
    if state.size > most_sealed(manifest.limits.output_bytes):
        msg = "the announced state is larger than the manifest's limits allow"
        raise BudgetExceeded(msg, name=manifest.name, bytes=state.size)
