"""Seal: how does the new state become something that only the next party can read?"""

from __future__ import annotations

from datetime import datetime
from typing import BinaryIO, cast

from security.directory.trust import TrustStore
from security.errors import ArchiveRejected, BudgetExceeded, FileMissing
from security.train.seal import seal_state
from security.train.verify import AcceptedTrain
from station.errors import GateType
from station.house.house import House
from station.steps.evidence import verified
from station.steps.gate import cleared_files, judge, judged_in
from station.visit.events import Sealed
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> Sealed:
    """Print what the run left and ask the gate again, and seal what it lets pass, straight into the spool.

    The directory at hand is enough: where its place does not answer, plaintext must not wait for it. Nothing leaves before
    `sign` has asked for the newest one, which may refuse what is sealed here.

    Raises:
        GateRefused: the state is no longer what was cleared.
        RouteCutOff, KeyRevoked, KeyOutsideValidity: the next stop, or the owner, has no trusted key.
    """
    trust = house.trust(now)
    accepted = verified(visit, house, trust, now)
    manifest = accepted.manifest.value
    noted = judged_in(house.workrooms.find(visit.arrival))
    cleared, content = judge(visit, manifest, house)
    if content != noted or visit.cleared is None or cleared_files(cleared) != visit.cleared.files:
        msg = "the state is not what was cleared"
        raise GateType(msg)
    recipients = recipients_of(accepted, trust, now)
    try:
        with house.spool.writing() as writer:
            sealed = seal_state(
                cast("BinaryIO", writer), cleared.members, binding=accepted.to_send(), recipients=recipients
            )
    except (ArchiveRejected, BudgetExceeded, FileMissing):
        msg = "the state changed while it was sealed"
        raise GateType(msg) from None  # the cause names a path, and the run chose that (attack T20)
    return Sealed(at=now, blob=sealed.digest, size=sealed.size)


def recipients_of(accepted: AcceptedTrain, trust: TrustStore, now: datetime) -> tuple[str, ...]:
    """Return who reads the state next: the keys the directory has for whom the signed route names (attack T9)."""
    manifest = accepted.manifest.value
    found = []
    for following in manifest.route.after(accepted.stop):
        one = manifest.expected_at(following)
        found.append(trust.pinned(one.party, manifest.role_at(following), one.key_set, now).sealing)
    return tuple(dict.fromkeys(found))
