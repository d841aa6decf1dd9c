"""Which manifest does a spec become, given the directory?

The train names keys by fingerprint; the keys themselves come from the directory, now for sealing and later, at every
station, for verifying (attack T1).
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from security.digest import Digest
from security.directory.trust import TrustStore
from security.ids import PartyId, Role
from security.keys.keyset import KeySet
from security.train.manifest import CodeRef, TrainManifest
from security.train.route import Route, SequenceRoute, Stop
from security.train.route_kinds import BoardedRoute, RoundsRoute
from security.train.seal import code_recipients
from train_builder.spec.spec import TrainSpec

_BACKDATED = timedelta(minutes=10)  # a station whose clock is behind must not refuse the train for good


def new_nonce() -> str:
    """Draw what makes two trains of the same spec different."""
    return secrets.token_hex(16)


def new_letter_key() -> str:
    """Draw the key of the letters that all parties of a train read."""
    return secrets.token_hex(32)


def route(spec: TrainSpec, trust: TrustStore, now: datetime) -> Route:
    """Pin the key set each station of the route has now.

    Raises:
        PartyUnknown, KeyRevoked, KeyOutsideValidity, KeyNotTrusted: a station cannot be sealed to.
    """
    pinned = {
        party: Stop(party=party, key_set=trust.current(party, Role.STATION, now).fingerprint) for party in spec.route
    }
    rounds = spec.rounds
    if rounds is None:
        sequence = SequenceRoute(stops=tuple(map(pinned.__getitem__, spec.route)))
        return BoardedRoute(then=sequence) if spec.boarding else sequence
    stations = tuple(map(pinned.__getitem__, rounds.stations))
    return BoardedRoute(then=RoundsRoute(stations=stations, junction=pinned[rounds.junction], most=rounds.most))


def readers(spec: TrainSpec, trust: TrustStore, owner: KeySet, now: datetime) -> tuple[str, ...]:
    """Return the age recipients of the code: each station of the route once, and the owner."""
    stations = [trust.current(party, Role.STATION, now).sealing for party in spec.route]
    return code_recipients(stations, owner.sealing)


def manifest(
    spec: TrainSpec,
    *,
    owner: PartyId,
    keys: KeySet,
    mail: str,
    code: CodeRef,
    nonce: str,
    trust: TrustStore,
    now: datetime,
) -> TrainManifest:
    """Put the manifest together. Its validity begins a little in the past, but not before the owner's keys do.

    Raises:
        PartyUnknown, KeyNotTrusted, KeyRevoked, KeyOutsideValidity: the directory does not know the owner with these
            keys, or a station at all.
        BaseNotApproved: the base image is not approved.
    """
    trust.pinned(owner, Role.OWNER, keys.fingerprint, now)
    since = _since(trust, owner, keys.fingerprint)
    begin = max(now - _BACKDATED, since).replace(microsecond=0)
    return TrainManifest(
        name=spec.name,
        purpose=spec.purpose,
        approval=spec.approval,
        owner=Stop(party=owner, key_set=keys.fingerprint),
        code=code,
        base=trust.base_named(spec.base).digest,
        command=spec.command,
        environment=dict(spec.environment),
        data=spec.data,
        outputs=spec.outputs,
        limits=spec.limits,
        route=route(spec, trust, now),
        recipient=keys.sealing,
        mail=mail,
        valid_from=begin,
        valid_until=begin + spec.valid,
        nonce=nonce,
        letter_key=new_letter_key(),
        combine=spec.combine,
        keep_bytes=spec.keep_bytes,
    )


def _since(trust: TrustStore, owner: PartyId, fingerprint: Digest) -> datetime:
    records = trust.parties[owner].key_sets
    return next(record.since for record in records if record.key_set.fingerprint == fingerprint)
