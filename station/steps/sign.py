"""Sign: what does this station state about the visit, once and for all?

Nothing has left the station yet. The envelope is in the spool before the event that names it, the journal takes one such
event for a visit, and only the bytes it names ever leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from security.age import Recipient
from security.directory.trust import DirectoryVersion, TrustStore
from security.errors import RouteCutOff
from security.ids import Role
from security.keys.keyset import Secrets
from security.statement.envelope import Envelope, sign
from security.train.boarding import BoardingPass
from security.train.journey import JourneyEntry, Limit, Outcome, Refusal, check_next, print_entry, print_refusal
from security.train.letters import entry_recipients, refusal_recipients, seal_letter
from security.train.route import Task
from security.train.verify import AcceptedTrain
from station.errors import GateOversized, MemoryExceeded, OutputExceeded, RunTimedOut
from station.house.house import House
from station.house.trust import newest_trust
from station.steps.before import signed_before
from station.steps.evidence import accepted_manifest, keys_for, verified
from station.visit.events import Accepted, Signed, SignedKind, Superseded
from station.visit.plan import Phase, phase_of
from station.visit.state import Visit
from station.visit.station_events import KeyUsed

NO_SANDBOX: Final = "none"
"""What stands for the sandbox where nothing is run: for boarding and for the departure."""
_EXCEEDED: Final = {
    GateOversized.code: Limit.OUTPUT,
    MemoryExceeded.code: Limit.MEMORY,
    OutputExceeded.code: Limit.OUTPUT,
    RunTimedOut.code: Limit.TIME,
}


def perform(visit: Visit, house: House, now: datetime) -> Signed | Superseded:
    """Sign the journey entry, or, for a train that ends here, the refusal for its owner; or neither, if we have before.

    Raises:
        Refused: the train, or the entry as the next station would see it, does not verify any more.
        RegistryUnavailable: whether we have signed before cannot be seen now.
    """
    if visit.accepted is None:
        msg = "no owner is known who is owed an answer"
        raise ValueError(msg)
    before = signed_before(visit.accepted.train, visit.accepted.stop, accepted_manifest(visit, house), house)
    if before is not None:
        return Superseded(at=now, statement=before)
    if phase_of(visit) is Phase.READY:
        return _keep(_entry(visit, house, now), SignedKind.ENTRY, house, now)
    return _keep(_refusal(visit, visit.accepted, house, now), SignedKind.REFUSAL, house, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statement:
    """What was signed, with which keys, and who reads it (age recipients)."""

    envelope: Envelope
    keys: Secrets
    readers: tuple[str, ...] | tuple[Recipient]


def _entry(visit: Visit, house: House, now: datetime) -> _Statement:
    trust = newest_trust(house, now)  # after this signature nothing can be refused any more
    accepted = verified(visit, house, trust, now)
    if visit.sealed is None or (visit.started is None and visit.boarded is None):
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
        sandbox=NO_SANDBOX if visit.started is None else visit.started.profile,
        time=now,
        finished=True if visit.cleared is not None and visit.cleared.finished else None,
        boarding=_pass(accepted, trust, house, now),
    )
    ours = keys_for(accepted.manifest.value, accepted.stop, house)
    envelope = sign(print_entry(entry), ours.signers)
    # What the next station would refuse must not become our one signature.
    check_next(accepted.manifest, accepted.journey, envelope, trust, now=now)
    readers = entry_recipients(accepted.manifest.value, accepted.stop, trust, now)
    return _Statement(envelope=envelope, keys=ours, readers=readers)


def _pass(accepted: AcceptedTrain, trust: TrustStore, house: House, now: datetime) -> BoardingPass | None:
    """Return our pass, if this is where we board; its private halves are on disk before it is signed."""
    manifest = accepted.manifest.value
    if manifest.route.task(accepted.stop) is not Task.BOARD:
        return None
    later = manifest.route.parties_after(house.party)
    ours = keys_for(manifest, accepted.stop, house).key_set.sealing
    secrets = house.passes.make(
        accepted.train,
        like=ours,
        later=later,
        ours=ours,
        until=manifest.valid_until,
        identities=[one.identity for one in house.keyring],
    )
    pinned = {one.party: trust.pinned(one.party, Role.STATION, one.key_set, now) for one in manifest.route.places}
    return secrets.pass_for({party: pinned[party].sealing for party in later})


def _refusal(visit: Visit, accepted: Accepted, house: House, now: datetime) -> _Statement:
    """Sign a class of outcome: once a run has read data, even an error's code could carry a bit about them.

    Before that the reason is told, and after it which limit was exceeded. A station that withholds tells neither.

    The directory's version is the one the train was accepted with, so that an answer is given even when it is away.
    """
    outcome = Outcome.WITHHELD if house.withhold else outcome_of(visit)
    told = visit.refused.told if visit.refused and outcome is Outcome.REFUSED else ""
    refusal = Refusal(
        train=accepted.train,
        stop=accepted.stop,
        station=house.party,
        outcome=outcome,
        reason=told or None,
        limit=None if house.withhold else _EXCEEDED.get(_code(visit)),
        directory=DirectoryVersion(root=accepted.directory_root, targets=accepted.directory_targets),
        time=now,
    )
    manifest = accepted_manifest(visit, house)
    ours = keys_for(manifest, accepted.stop, house)
    readers = refusal_recipients(manifest, ours.key_set.sealing)
    return _Statement(envelope=sign(print_refusal(refusal), ours.signers), keys=ours, readers=readers)


def outcome_of(visit: Visit) -> Outcome:
    """Return the class of outcome that the owner learns.

    Results that are larger than the manifest allows are told like a run that was stopped because of that.
    """
    if _code(visit) in _EXCEEDED:
        return Outcome.EXCEEDED
    if visit.fault is not None:
        return Outcome.FAILED
    return Outcome.CUT_OFF if _code(visit) == RouteCutOff.code else Outcome.REFUSED


def _code(visit: Visit) -> str:
    ending = visit.fault or visit.refused
    return "" if ending is None else ending.code


def _keep(made: _Statement, what: SignedKind, house: House, now: datetime) -> Signed:
    envelope = made.envelope
    house.journal.note(KeyUsed(at=now, key_set=made.keys.key_set.fingerprint, purpose=f"sign {envelope.digest}"))
    kept, letter = house.spool.keep(envelope.to_bytes()), house.spool.keep(seal_letter(envelope, made.readers))
    return Signed(at=now, entry=envelope.digest, envelope=kept, letter=letter, what=what)
