"""Receipt: has the owner been told?"""

from __future__ import annotations

from datetime import datetime

from registry.depot import ReceiptKind
from station.errors import SpoolDamaged
from station.house.house import House
from station.steps.push import signed_letter
from station.visit.events import ReceiptSent
from station.visit.state import Visit


def perform(visit: Visit, house: House, now: datetime) -> ReceiptSent:
    """Put the recorded statement into the owner's mailbox."""
    if visit.accepted is None or visit.signed is None:
        msg = "no owner is known who is owed an answer"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    head = house.depot.send_receipt(
        signed_letter(visit, house),
        owner=visit.accepted.owner,
        train=visit.accepted.train,
        stop=visit.accepted.stop,
        kind=ReceiptKind(visit.signed.what.value),
    )
    return ReceiptSent(at=now, head=head)
