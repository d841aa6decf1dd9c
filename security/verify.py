"""May this train be believed, here and now?

The numbered procedure of ``docs/design.md``; every step carries its number, here and in `security.journey`. Keys come
from the directory only (attack T1): a train names keys by fingerprint and never brings any. Nothing here touches disk,
network or clock.

1.  The manifest's envelope is well-formed, and says which party owns it.
2.  Every key of that party's current key set, from the directory, signed the manifest.
3.  The verified bytes are a manifest; its subjects are its code and its base; the key set it names is the one used.
4.  The manifest is valid now, for no longer than the directory's policy allows.
5.  The base image is approved.
6.  Every stop still to come has the key set the manifest expects, in force and not revoked; so has the home.
7.  Each journey entry is signed by every key of the pinned key set of the station of that stop.
8.  Each entry is about this train, this stop, this station, this base, and within the train's validity.
9.  Each entry hangs on the one before it, and on the state that one sent.
10. There are exactly as many entries as stops before this one, and this one is ours.
11. There is a state exactly if there is an entry, and it is the one the last entry sent.
12. The code is the one the manifest names.

What is inside the seals is checked when they are opened (`security.seal`): 13 digest and size while reading, 14 the
number of recipients, 15 META.json, 16 the archive, 17 the code's content.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from security.envelope import Envelope, Verified, verify
from security.errors import (
    DigestMismatch,
    JourneyIncomplete,
    JourneyTooLong,
    KeyNotTrusted,
    NotOnRoute,
    OutsideValidity,
    RouteViolated,
)
from security.ids import PartyId, TrainId
from security.journey import StateRef, TrainParts, VerifiedJourney, check_chain, need_entries
from security.seal import StateBinding
from security.train import TrainManifest, claimed_owner, parse_manifest, train_id
from security.trust import Role, TrustStore


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedTrain:
    """A train that may be believed at ``stop``. Made by `verify_train` and `verify_home` only."""

    manifest: Verified[TrainManifest]
    journey: VerifiedJourney
    stop: int
    state: StateRef | None

    @property
    def train(self) -> TrainId:
        """The train's identity."""
        return train_id(self.manifest)

    def received(self) -> StateBinding:
        """Return what the state that came in must have been sealed for.

        Raises:
            JourneyIncomplete: there is none at the first stop.
        """
        if self.stop == 0:
            msg = "no state comes to the first stop"
            raise JourneyIncomplete(msg, train=self.train.short)
        sent = self.journey.entries[-1].value
        return StateBinding(
            train=self.train,
            stop=sent.stop,
            sender=sent.station,
            recipient=self.manifest.value.stop_or_home(self.stop).party,
            previous=sent.previous,
        )

    def to_send(self) -> StateBinding:
        """Return what the state that goes out from this stop must be sealed for."""
        return StateBinding(
            train=self.train,
            stop=self.stop,
            sender=self.manifest.value.route.stops[self.stop].party,
            recipient=self.manifest.value.stop_or_home(self.stop + 1).party,
            previous=self.journey.head,
        )


def verify_train(parts: TrainParts, trust: TrustStore, *, here: PartyId, now: datetime) -> AcceptedTrain:
    """Decide whether a train that arrived at the station `here` may be believed.

    Raises:
        Refused: one of its leaves, which says why.
    """
    manifest = verify_manifest(parts.manifest, trust, now=now)
    _need_valid(manifest.value, trust, now)
    # 6. the stops to come, and home
    for stop in manifest.value.route.stops[len(parts.entries) :]:
        trust.pinned(stop.party, Role.STATION, stop.key_set, now)
    journey = check_chain(manifest, parts.entries, trust, now=now)
    _need_here(manifest, journey, here)
    return _accepted(parts, manifest, journey)


def verify_home(parts: TrainParts, trust: TrustStore, *, owner: PartyId, now: datetime) -> AcceptedTrain:
    """Decide whether the owner may open what came home: the journey is complete and every step of it proven.

    The train's validity bounds when stations may run it, not when its owner may read the results.

    Raises:
        Refused: one of its leaves, which says why.
    """
    manifest = verify_manifest(parts.manifest, trust, now=now)
    if manifest.value.owner.party != owner:
        msg = "train belongs to another owner"
        raise RouteViolated(msg, owner=manifest.value.owner.party, here=owner)
    journey = check_chain(manifest, parts.entries, trust, now=now)
    need_entries(journey, manifest.value.route.home, train_id(manifest))
    return _accepted(parts, manifest, journey)


def verify_manifest(envelope: Envelope, trust: TrustStore, *, now: datetime) -> Verified[TrainManifest]:
    """Steps 1 to 3, and 5: whose manifest is this, and do its owner's keys, all of them, stand behind it?"""
    trust.check_fresh(now)
    # 1. which party says it owns the train: good only for looking up its keys
    owner = claimed_owner(envelope.payload)
    # 2. every key of the owner's key set, as the directory knows it
    key_set = trust.current(owner, Role.OWNER, now)
    proof = verify(envelope, key_set)
    # 3. only now are the bytes taken apart
    manifest = parse_manifest(proof)
    if manifest.value.owner.party != owner or manifest.value.owner.key_set != key_set.fingerprint:
        msg = "manifest names another key set of its owner than the current one"
        raise KeyNotTrusted(msg, owner=owner)
    if manifest.value.recipient != key_set.sealing:
        msg = "manifest sends its results to a key that is not its owner's"
        raise KeyNotTrusted(msg, owner=owner)
    # 5. the base image is approved
    trust.approved_base(manifest.value.base)
    return manifest


def _need_valid(manifest: TrainManifest, trust: TrustStore, now: datetime) -> None:
    # 4. valid now, and not for longer than the consortium allows
    if not manifest.is_valid_at(now):
        msg = "train is not valid now"
        raise OutsideValidity(msg, valid_from=manifest.valid_from, valid_until=manifest.valid_until)
    longest = timedelta(days=trust.policy.max_train_days)
    if manifest.valid_until - manifest.valid_from > longest:
        msg = "train is valid for longer than the consortium's policy allows"
        raise OutsideValidity(msg, days=longest.days)


def _need_here(manifest: Verified[TrainManifest], journey: VerifiedJourney, here: PartyId) -> None:
    # 10. exactly as many entries as stops before ours; the route is the signed one
    route, found, train = manifest.value.route, journey.next_stop, train_id(manifest)
    ours = route.indices(here)
    if not ours:
        msg = "this station is not on the train's route"
        raise NotOnRoute(msg, train=train.short, here=here)
    if found in ours:
        return
    if found < ours[-1]:
        msg = "journey has fewer entries than stops before this one"
        raise JourneyIncomplete(msg, train=train.short, entries=found, ours=ours)
    msg = "journey has more entries than stops before this one"
    raise JourneyTooLong(msg, train=train.short, entries=found, ours=ours)


def _accepted(parts: TrainParts, manifest: Verified[TrainManifest], journey: VerifiedJourney) -> AcceptedTrain:
    train = train_id(manifest)
    # 11. a state exactly if there is an entry, and the one the last entry sent
    if (parts.state is None) != (journey.state is None):
        msg = "a state is there exactly from the first stop on"
        raise JourneyIncomplete(msg, train=train.short, entries=journey.next_stop)
    if parts.state is not None and parts.state.digest != journey.state:
        msg = "state is not the one the last journey entry sent"
        raise DigestMismatch(msg, train=train.short, expected=journey.state, found=parts.state.digest)
    # 12. the code is the one the manifest names
    if parts.code != manifest.value.code:
        msg = "code is not the one the manifest names"
        raise DigestMismatch(msg, train=train.short, expected=manifest.value.code.digest, found=parts.code.digest)
    return AcceptedTrain(manifest=manifest, journey=journey, stop=journey.next_stop, state=parts.state)
