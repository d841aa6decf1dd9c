"""Seal: how does the new state become something that only the next party can read?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import BinaryIO, cast

from security.directory.trust import TrustStore
from security.errors import ArchiveRejected, BudgetExceeded, FileMissing, Refused
from security.train.journey import StateRef
from security.train.seal import seal_state
from security.train.verify import AcceptedTrain
from station.errors import GateRefused, GateType
from station.gate.inspect import declared_in
from station.house.house import House
from station.house.trust import trust_or_at_hand
from station.house.workroom import Workroom
from station.steps.evidence import verified
from station.steps.gate import cleared_files, judged_in, print_outputs
from station.steps.keep import put_away
from station.visit.events import Sealed
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Sealed:
    """Seal what the gate judged and let pass, straight into the spool. It is the same to the byte, or nothing is sealed.

    The directory at hand is enough: where its place does not answer, plaintext must not wait for it. Nothing leaves before
    `sign` has asked for the newest one, which may refuse what is sealed here.

    Raises:
        GateRefused: what is there is no longer what was cleared.
        RoomMissing: the machine went down and took it with it, or what was to be kept here.
        RouteCutOff, KeyRevoked, KeyOutsideValidity: the next stop, or the owner, has no trusted key.
    """
    trust = trust_or_at_hand(house, now)
    accepted = verified(visit, house, trust, now)
    if visit.boarded is not None:
        return _sealed_nothing(accepted, recipients_of(accepted, trust, now, finished=False), house, now)
    room = house.workrooms.find(visit.arrival)
    recipients = recipients_of(accepted, trust, now, finished=_finished(visit))
    if accepted.manifest.value.keep_bytes is not None:
        house.workrooms.need_laid_out(visit.arrival)  # nobody has judged that, and it may be cut short
    try:
        ref = _sealed(room, visit, accepted, recipients, house)
    except GateRefused:  # a power cut may have taken what was printed, and left what it was printed from
        ref = _sealed_again(room, visit, accepted, recipients, house)
    put_away(room, accepted, house)
    return Sealed(at=now, blob=ref.digest, size=ref.size)


def _sealed_again(
    room: Workroom, visit: Visit, accepted: AcceptedTrain, recipients: Sequence[str], house: House
) -> StateRef:
    try:
        print_outputs(visit, accepted, house)
        return _sealed(room, visit, accepted, recipients, house)
    except Refused:
        house.workrooms.need_laid_out(visit.arrival)  # or it may have taken both
        raise


def _sealed(room: Workroom, visit: Visit, accepted: AcceptedTrain, recipients: Sequence[str], house: House) -> StateRef:
    files = declared_in(room.outgoing, accepted.manifest.value.at_stop(accepted.stop))
    if visit.cleared is None or cleared_files(files) != visit.cleared.files:
        raise _changed()
    try:
        with house.spool.writing() as writer:
            members = [one.member for one in files]
            binding = accepted.to_send(finished=_finished(visit))
            sealed = seal_state(cast("BinaryIO", writer), members, binding=binding, recipients=recipients)
            if sealed.content != judged_in(room):  # before the spool keeps it
                raise _changed()
    except (ArchiveRejected, BudgetExceeded, FileMissing):
        raise _changed() from None  # the cause names a path, and the run chose that (attack T20)
    return sealed.ref


def _changed() -> GateType:
    msg = "what was printed is not what was cleared"
    return GateType(msg)


def _sealed_nothing(accepted: AcceptedTrain, recipients: Sequence[str], house: House, now: datetime) -> Sealed:
    """Seal an empty state: who boards or departs has nothing to hand on but what it signs."""
    with house.spool.writing() as writer:
        ref = seal_state(cast("BinaryIO", writer), (), binding=accepted.to_send(), recipients=recipients).ref
    return Sealed(at=now, blob=ref.digest, size=ref.size)


def _finished(visit: Visit) -> bool:
    return visit.cleared is not None and visit.cleared.finished


def recipients_of(accepted: AcceptedTrain, trust: TrustStore, now: datetime, *, finished: bool) -> tuple[str, ...]:
    """Return who reads the state next: the keys the directory has for whom the signed route names (attack T9).

    Of those who are on board, the keys that they made for this train; that they are still who they were, the directory says.
    """
    manifest, passes = accepted.manifest.value, accepted.passes
    found = []
    for following in manifest.route.onward(accepted.stop, finished=finished):
        one = manifest.expected_at(following)
        pinned = trust.pinned(one.party, manifest.role_at(following), one.key_set, now).sealing
        on_board = following != manifest.route.home and one.party in passes
        found.append(passes[one.party].recipient if on_board else pinned)
    return tuple(dict.fromkeys(found))
