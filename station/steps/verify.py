"""Verify: is this the train it claims to be, and has this stop not been made before?"""

from __future__ import annotations

import contextlib
from datetime import datetime

from registry.depot import Receipt, ReceiptKind
from registry.errors import NotInRegistry, RegistryDenied
from security.errors import Refused, Replayed
from security.journey import check_entry
from security.trust import TrustStore
from security.verify import AcceptedTrain
from station.events import Accepted
from station.house import House
from station.steps.evidence import accepted_event, verified
from station.visit import Visit


def perform(visit: Visit, house: House, now: datetime) -> Accepted:
    """Verify from the spool; that no other visit was accepted for this stop is checked when the event is recorded.

    Raises:
        Refused: one of its leaves, which says why.
    """
    trust = house.trust(now)
    accepted = verified(visit, house, trust, now)
    if house.journal.accepted(accepted.train, accepted.stop) is None:  # else the journal tells replay from fork
        _refuse_signed_before(accepted, house, trust, now)
    return accepted_event(accepted, trust, now)


def _refuse_signed_before(accepted: AcceptedTrain, house: House, trust: TrustStore, now: datetime) -> None:
    """Refuse a stop that we have a signed entry for in the owner's mailbox.

    The journal knows better, unless it was restored from an older backup: then a second, different entry would follow
    (attack T5). Where this station may not read the owner's mailbox, there is nothing to see.
    """
    owner = accepted.manifest.value.owner.party
    receipts: tuple[Receipt, ...] = ()
    with contextlib.suppress(RegistryDenied, NotInRegistry):
        receipts = house.depot.receipts(owner, accepted.train)
    for receipt in receipts:
        if (receipt.kind, receipt.stop) != (ReceiptKind.ENTRY, accepted.stop):
            continue
        try:
            envelope = house.depot.read_receipt(owner, receipt)
            check_entry(accepted.manifest, envelope, accepted.stop, trust, now=now)
        except (Refused, RegistryDenied, NotInRegistry):
            continue  # somebody else's writing under that name proves nothing, and hides nothing
        msg = "this station has signed for this stop before"
        hint = "was the journal restored from a backup? the registry remembers more than it"
        raise Replayed(msg, train=accepted.train.short, stop=accepted.stop, hint=hint)
