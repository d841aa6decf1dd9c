"""Sign: what does this station state about the visit, once and for all?

Nothing has left the house yet. The envelope is in the spool before the event that names it, the journal takes one such
event for a visit, and only the bytes it names ever leave.
"""

from __future__ import annotations

from datetime import datetime

from registry.artifact import need_receivable
from security.directory.trust import DirectoryVersion
from security.keys.keyset import Secrets
from security.statement.envelope import Envelope, sign
from security.train.journey import JourneyEntry, Outcome, Refusal, check_next, print_entry, print_refusal
from station.errors import LimitExceeded, RunTimedOut
from station.house.house import House
from station.steps.before import signed_before
from station.steps.evidence import accepted_manifest, keys_for, verified
from station.steps.push import sent_on
from station.visit.events import Accepted, Signed, SignedKind, Superseded
from station.visit.plan import Phase, phase_of
from station.visit.state import Visit
from station.visit.station_events import KeyUsed

_EXCEEDED = frozenset({LimitExceeded.code, RunTimedOut.code})


def perform(visit: Visit, house: House, now: datetime) -> Signed | Superseded:
    """Sign the journey entry, or, for a train that ends here, the refusal for its owner; or neither, if we have before.

    Raises:
        Refused: the train, or the entry as the next station would see it, does not verify any more.
        RegistryUnavailable: whether we have signed before cannot be seen now.
    """
    if visit.accepted is None:
        msg = "nobody is known to be owed an answer"
        raise ValueError(msg)
    before = signed_before(visit.accepted.train, visit.accepted.stop, visit.accepted.owner, house)
    if before is not None:
        return Superseded(at=now, statement=before)
    if phase_of(visit) is Phase.READY:
        return _keep(*_entry(visit, house, now), SignedKind.ENTRY, house, now)
    return _keep(*_refusal(visit, visit.accepted, house, now), SignedKind.REFUSAL, house, now)


def _entry(visit: Visit, house: House, now: datetime) -> tuple[Envelope, Secrets]:
    trust = house.trust(now)
    accepted = verified(visit, house, trust, now)
    if visit.started is None or visit.sealed is None:
        msg = "nothing was run, or nothing sealed"
        raise ValueError(msg)
    entry = JourneyEntry(
        train=accepted.train,
        stop=accepted.stop,
        attempt=visit.attempt,
        station=house.party,
        previous=accepted.journey.previous,
        states_in=accepted.journey.states,
        state_out=visit.sealed.blob,
        base=accepted.manifest.value.base,
        directory=trust.version,
        sandbox=visit.started.profile,
        time=now,
    )
    ours = keys_for(accepted.manifest.value, accepted.stop, house)
    envelope = sign(print_entry(entry), ours.signers)
    # What the next station would refuse must not become our one signature.
    check_next(accepted.manifest, accepted.journey, envelope, trust, now=now)
    need_receivable(sent_on(visit, envelope, house))
    return envelope, ours


def _refusal(visit: Visit, accepted: Accepted, house: House, now: datetime) -> tuple[Envelope, Secrets]:
    """Sign a class of outcome, and nothing else about what happened: even a code could carry a bit about the data.

    So could the class, if the house wants to tell not even that.

    The directory's version is the one the train was accepted with, so that an answer is given even when it is away.
    """
    refusal = Refusal(
        train=accepted.train,
        stop=accepted.stop,
        station=house.party,
        outcome=Outcome.WITHHELD if house.withhold else outcome_of(visit),
        directory=DirectoryVersion(root=accepted.directory_root, targets=accepted.directory_targets),
        time=now,
    )
    ours = keys_for(accepted_manifest(visit, house), accepted.stop, house)
    return sign(print_refusal(refusal), ours.signers), ours


def outcome_of(visit: Visit) -> Outcome:
    """Return the class of outcome the owner is told."""
    if visit.fault is None:
        return Outcome.REFUSED
    return Outcome.EXCEEDED if visit.fault.code in _EXCEEDED else Outcome.FAILED


def _keep(envelope: Envelope, ours: Secrets, what: SignedKind, house: House, now: datetime) -> Signed:
    house.journal.note(KeyUsed(at=now, key_set=ours.key_set.fingerprint, purpose=f"sign {envelope.digest}"))
    return Signed(at=now, entry=envelope.digest, envelope=house.spool.keep(envelope.to_bytes()), what=what)
