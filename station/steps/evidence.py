"""What do the bytes in the spool prove about a visit?

The journal says that a train was accepted; that is a reminder, not evidence. Whoever opens, runs, seals or signs asks
here, and everything is verified again from bytes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from registry.depot import Arrival
from registry.names import Tag
from registry.oci import MAX_MANIFEST
from registry.taken import layers_of
from security.directory.trust import TrustStore
from security.errors import NotARecipient, NotOnRoute, PhtError, SealRecipients
from security.ids import TrainId
from security.keys.keyset import Secrets
from security.statement.envelope import parse_envelope
from security.train.boarding import PassSecrets
from security.train.journey import StateRef, TrainParts, check_entry, read_entry
from security.train.letters import OpenedParcel, Parcel, open_parcel
from security.train.manifest import CodeRef, TrainManifest, read_manifest, train_id
from security.train.verify import AcceptedTrain, check_ahead, verify_again, verify_arrival, verify_manifest
from station.errors import KeysElsewhere, PassGone, SpoolDamaged
from station.house.house import House
from station.house.proofs import Proof
from station.house.spool import Spool
from station.steps.gathered import stop_of, whole_journey
from station.visit.events import Accepted, Fetched
from station.visit.state import Visit


def arrival_of(visit: Visit, house: House) -> Arrival:
    """Return where the visit's train lies in our mailbox."""
    return Arrival(mailbox=house.party, tag=Tag(visit.noticed.tag), digest=visit.arrival)


def print_envelopes(parts: TrainParts) -> bytes:
    """Print the signed envelopes of a train for the spool, one a line: the manifest's, then those of the entries."""
    return b"\n".join(one.to_bytes() for one in (parts.manifest, *parts.entries))


def parts_of(visit: Visit, spool: Spool) -> TrainParts:
    """Return what arrived, from the spool: the envelopes as they were taken out of their letters.

    Raises:
        SpoolDamaged: it is not what was fetched.
    """
    head, *entries = (parse_envelope(line) for line in _envelopes(visit, spool).split(b"\n"))
    try:
        code, *states = layers_of(_fetched(visit).parts.digest, spool).sealed
    except PhtError as error:
        raise _changed(visit) from error
    return TrainParts(
        manifest=head,
        entries=tuple(entries),
        code=CodeRef(digest=code.digest, size=code.size),
        states=tuple(StateRef(digest=one.digest, size=one.size) for one in states),
    )


def whole_parts(visit: Visit, house: House) -> TrainParts:
    """Return what arrived, with the part of its journey that this station has from earlier visits of the same train.

    Raises:
        SpoolDamaged: it is not what was fetched.
    """
    came = parts_of(visit, house.spool)
    return replace(came, entries=whole_journey(came.manifest, came.entries, house))


def parcel_of(visit: Visit, house: House) -> Parcel:
    """Return what arrived as it arrived, from the spool: in its letters.

    Raises:
        SpoolDamaged: it is not what was fetched.
    """
    try:
        return house.depot.load(_fetched(visit).parts.digest, house.spool)
    except PhtError as error:
        raise _changed(visit) from error


def _fetched(visit: Visit) -> Fetched:
    if visit.fetched is None:
        msg = "nothing was fetched"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    return visit.fetched


def _envelopes(visit: Visit, spool: Spool) -> bytes:
    (blob,) = _fetched(visit).documents
    return spool.document(blob.digest, limit=blob.size)


def _changed(visit: Visit) -> SpoolDamaged:
    msg = "what was fetched is no longer in the spool as it was"
    return SpoolDamaged(msg, visit=visit.arrival.short)


def opened(parcel: Parcel, house: House, trust: TrustStore, now: datetime) -> OpenedParcel:
    """Open the letters of what arrived, with any keys of ours that are here.

    Raises:
        KeysElsewhere: they are not for these keys, and the directory knows others of ours that are not here.
        Refused: they are not for us, or no letters.
    """
    try:
        return open_parcel(parcel, [one.identity for one in house.keyring])
    except NotARecipient as error:
        ours = trust.parties[house.party].key_sets if house.party in trust.parties else ()
        in_force = [
            one.key_set.fingerprint for one in ours if not one.revoked and (one.until is None or now < one.until)
        ]
        here = {one.key_set.fingerprint for one in house.keyring}
        elsewhere = [one.short for one in in_force if one not in here]
        if elsewhere:
            msg = "the train is sealed for other keys, perhaps for a key set of this station that is not here"
            raise KeysElsewhere(msg, missing=", ".join(elsewhere)) from error
        msg = "the train is not sealed for this station"
        raise SealRecipients(msg) from error


def believe(parts: TrainParts, house: House, trust: TrustStore, at: datetime) -> AcceptedTrain:
    """Verify a train for this station, whether or not it can go on from here.

    Raises:
        Refused: one of its leaves.
        KeysElsewhere: it was made for keys that the directory knows as ours and that are not here: no fault of its own.
    """
    known = house.proofs.entries(TrainId(parts.manifest.digest.hex), trust)
    accepted = verify_arrival(parts, trust, here=house.party, now=at, known=known)
    keys_for(accepted.manifest.value, accepted.stop, house)
    return accepted


def keys_for(manifest: TrainManifest, stop: int, house: House) -> Secrets:
    """Return our keys that the train names for a stop: it is sealed for them, and expects to be signed with them.

    Raises:
        KeysElsewhere: they are not here.
    """
    return house.keys(manifest.route.stop(stop).key_set)


def pass_secrets(accepted: AcceptedTrain, house: House) -> PassSecrets:
    """Return the private halves of the pass with which this station is on board.

    Raises:
        PassGone: they are not here, cannot be opened, or are those of another pass.
    """
    secrets = house.passes.find(accepted.train, [one.identity for one in house.keyring])
    ours = accepted.passes[house.party]
    if (str(secrets.identity.recipient), secrets.mask_key.public.public.hex()) != (ours.recipient, ours.mask_key):
        msg = "this station's keys for the train are not those of its pass"
        raise PassGone(msg, train=accepted.train.short)
    return secrets


def verified(visit: Visit, house: House, trust: TrustStore, now: datetime) -> AcceptedTrain:
    """Verify a visit's train again: its validity as of its admission, what was revoked or withdrawn as of now.

    Once its owner is known, and can be answered, also whether it can go on from here.

    Raises:
        Refused: one of its leaves.
        SpoolDamaged: it verifies, but is not what the journal says was accepted.
    """
    at = now if visit.admitted is None else visit.admitted.at
    accepted = _proven(visit, house, trust, at)
    if visit.accepted is None:
        return accepted
    if not visit.accepted.same_parts(accepted_event(accepted, trust, visit.accepted.at)):
        msg = "what is in the spool is not what was accepted"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    check_ahead(accepted, trust, now=at)
    return accepted


def _proven(visit: Visit, house: House, trust: TrustStore, at: datetime) -> AcceptedTrain:
    """Verify from the bytes in the spool, each time; signatures over the same bytes are not computed again (`Proofs`)."""
    fetched = _fetched(visit)
    (envelopes,), parts = fetched.documents, fetched.parts.digest
    for blob, limit in ((envelopes, envelopes.size), (fetched.parts, MAX_MANIFEST)):
        house.spool.document(blob.digest, limit=limit)
    known = house.proofs.find(visit.arrival, parts=parts, envelopes=envelopes.digest, trust=trust)
    if known is not None:
        verify_again(known, trust, here=house.party, now=at)
        keys_for(known.manifest.value, known.stop, house)
        return known
    accepted = believe(whole_parts(visit, house), house, trust, at)
    house.proofs.note(visit.arrival, Proof(parts=parts, envelopes=envelopes.digest, trust=trust, accepted=accepted))
    return accepted


def accepted_manifest(visit: Visit, house: House) -> TrainManifest:
    """Return the manifest that was accepted, by its digest: what a run was started with, whoever is trusted now.

    Raises:
        SpoolDamaged: the spool holds another one.
    """
    envelope = parse_envelope(_envelopes(visit, house.spool).partition(b"\n")[0])
    if visit.accepted is None or envelope.digest != visit.accepted.manifest:
        msg = "what is in the spool is not what was accepted"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    return read_manifest(envelope.payload)


def recalled_event(visit: Visit, house: House, trust: TrustStore, now: datetime) -> Accepted:
    """Verify what came first of a train that was recalled before all of it was here: whose it is, and that its entries count.

    It is answered, and nothing else: as a train it is not whole, and whoever verifies it finds that.

    Raises:
        Refused: it is not signed by its owner, or an entry not by its station.
        KeysElsewhere: it was made for other keys of ours.
    """
    parts = parts_of(visit, house.spool)
    manifest = verify_manifest(parts.manifest, trust, at=None)
    route, claims = manifest.value.route, [read_entry(one.payload).stop for one in parts.entries]
    stop = stop_of(route, claims, house)
    if stop is None:
        msg = "the train is at no stop of this station"
        raise NotOnRoute(msg, name=manifest.value.name, here=house.party)
    entries = {
        claim: check_entry(manifest, one, claim, trust, now=now)
        for claim, one in zip(claims, parts.entries, strict=True)
    }
    keys_for(manifest.value, stop, house)
    previous = tuple(entries[one].digest for one in route.before(stop) if one in entries)
    return Accepted(
        at=now,
        train=train_id(manifest),
        stop=stop,
        place=route.told(stop),
        manifest=manifest.digest,
        previous=previous,
        states=(),
        owner=manifest.value.owner.party,
        name=manifest.value.name,
        directory_root=trust.version.root,
        directory_targets=trust.version.targets,
    )


def accepted_event(accepted: AcceptedTrain, trust: TrustStore, at: datetime) -> Accepted:
    """Return what the journal keeps of a verified train."""
    manifest = accepted.manifest.value
    return Accepted(
        at=at,
        train=accepted.train,
        stop=accepted.stop,
        place=manifest.route.told(accepted.stop),
        manifest=accepted.manifest.digest,
        previous=accepted.journey.previous,
        states=accepted.journey.states,
        owner=manifest.owner.party,
        name=manifest.name,
        directory_root=trust.version.root,
        directory_targets=trust.version.targets,
    )
