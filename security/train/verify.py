"""May this train be believed, here and now?

The numbered procedure of ``docs/design.md``; every step carries its number, here and in `security.train.journey`. Keys come
from the directory only (attack T1): a train names keys by fingerprint and never brings any. Nothing here touches disk,
network or clock.

1.  The manifest's envelope is well-formed, and says which party owns it.
2.  Every key of the key set it names, as the directory knows it for that party, signed the manifest.
3.  The verified bytes are a manifest; its subjects are its code and its base; its results go to its owner's key.
4.  The manifest is valid now, for no longer than the directory's policy allows.
5.  The base image is approved.
6.  Every stop still to come has the key set the manifest expects, in force and not revoked; so has the home.
7.  Each journey entry is signed by every key of the pinned key set of the station of that stop.
8.  Each entry is about this train, this stop, this station, this base, and no older than the train.
9.  Each entry hangs on the one before it, and on the state that one sent.
10. There are exactly as many entries as stops before this one, and this one is ours.
11. There is a state exactly if there is an entry, and it is the one the last entry sent, and no larger than a state
    within the manifest's limits can be.
12. The code is the one the manifest names.

What is inside the seals is checked when they are opened (`security.train.seal`): 13 digest and size while reading, 14 the
number of recipients, 15 META.json, 16 the archive, 17 the code's content.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from security.directory.trust import TrustStore
from security.errors import (
    BaseNotApproved,
    BudgetExceeded,
    DigestMismatch,
    JourneyIncomplete,
    JourneyTooLong,
    KeyNotTrusted,
    NotOnRoute,
    OutsideValidity,
    RouteViolated,
)
from security.ids import PartyId, Role, TrainId
from security.statement.envelope import Envelope, Verified, verify
from security.train.journey import StateRef, TrainParts, VerifiedJourney, check_chain, need_entries
from security.train.manifest import TrainManifest, parse_manifest, read_manifest, train_id
from security.train.seal import StateBinding, most_sealed


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
    trust.check_fresh(now)
    manifest = verify_manifest(parts.manifest, trust, at=now)
    _need_valid(manifest.value, trust, now)
    # 5. the base image is approved
    trust.approved_base(manifest.value.base)
    # 6. the stops to come, and home
    for stop in manifest.value.route.stops[len(parts.entries) :]:
        trust.pinned(stop.party, Role.STATION, stop.key_set, now)
    journey = check_chain(manifest, parts.entries, trust, now=now)
    _need_here(manifest, journey, here)
    return _accepted(parts, manifest, journey)


def verify_home(parts: TrainParts, trust: TrustStore, *, owner: PartyId, now: datetime) -> AcceptedTrain:
    """Decide whether the owner may open what came home: the journey is complete and every step of it proven.

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
    journey = check_chain(manifest, parts.entries, trust, now=now)
    need_entries(journey, manifest.value.route.home, train_id(manifest))
    return _accepted(parts, manifest, journey)


def verify_manifest(envelope: Envelope, trust: TrustStore, *, at: datetime | None) -> Verified[TrainManifest]:
    """Steps 1 to 3: whose manifest is this, and do its owner's keys, all of them, stand behind it?

    The owner's key set must be in force `at` that time; None stands for the beginning of the train's validity, for an
    owner who has changed keys since. A revoked key set never counts.
    """
    # 1. what the manifest says of itself is good only for looking up which keys to try
    claimed = read_manifest(envelope.payload)
    moment = claimed.valid_from if at is None else at
    # 2. every key of the owner's key set, as the directory knows it
    key_set = trust.pinned(claimed.owner.party, Role.OWNER, claimed.owner.key_set, moment)
    # 3. the verified bytes are what is believed from here on
    manifest = parse_manifest(verify(envelope, key_set))
    if manifest.value.recipient != key_set.sealing:
        msg = "manifest sends its results to a key that is not its owner's"
        raise KeyNotTrusted(msg, owner=manifest.value.owner.party)
    return manifest


def _need_valid(manifest: TrainManifest, trust: TrustStore, now: datetime) -> None:
    # 4. valid now, and not for longer than the consortium allows
    if not manifest.is_valid_at(now):
        msg = "train is not valid now"
        raise OutsideValidity(msg, valid_from=manifest.valid_from, valid_until=manifest.valid_until)
    trust.check_duration(manifest.valid_from, manifest.valid_until)


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
    if parts.state is not None and parts.state.size > most_sealed(manifest.value.limits.output_bytes):
        # nobody has signed the size: whoever lays the artifact out could announce a whole disk full (attack T17)
        msg = "state is announced with more bytes than the manifest's limits allow for"
        raise BudgetExceeded(msg, train=train.short, bytes=parts.state.size)
    # 12. the code is the one the manifest names
    if parts.code != manifest.value.code:
        msg = "code is not the one the manifest names"
        raise DigestMismatch(msg, train=train.short, expected=manifest.value.code.digest, found=parts.code.digest)
    return AcceptedTrain(manifest=manifest, journey=journey, stop=journey.next_stop, state=parts.state)
