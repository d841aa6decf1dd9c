"""Has a train of rounds finished that this station waits for?

A train may go home from any combination that says so, and then does not come back here. So the junction puts its last entry into the
mailbox of every station, too; who finds it there destroys its keys for the train at once (attack T26), and not only when the train's
validity is over.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from datetime import datetime

from registry.depot import Receipt, ReceiptKind, mailbox, receipt_tag
from registry.names import Tag
from security.errors import NotARecipient, PhtError, Refused
from security.ids import TrainId
from security.statement.envelope import Verified
from security.train.journey import check_entry
from security.train.letters import open_letter
from security.train.manifest import TrainManifest
from security.train.verify import verify_manifest
from station.errors import SpoolDamaged
from station.house.house import House
from station.steps.gathered import came_with
from station.visit.state import Visit

log = logging.getLogger(__name__)


def let_go(tags: Collection[Tag], house: House, now: datetime) -> None:
    """Destroy our keys for trains that have finished; `tags` are those of the receipts in our mailbox.

    What cannot be read or believed changes nothing: it is looked at again, and the keys go with the validity at the latest.
    """
    if not tags:
        return
    for train in house.passes.trains():
        try:
            _look(train, tags, house, now)
        except PhtError as error:
            log.warning("cannot tell whether a train has finished", extra={"train": train.short, "code": error.code})


def _look(train: TrainId, tags: Collection[Tag], house: House, now: datetime) -> None:
    visit = next(_boardings(train, house), None)
    if visit is None:
        return
    manifest = _manifest(visit, house, now)
    for end in manifest.value.route.ends:
        if receipt_tag(train, house.party, end, ReceiptKind.ENTRY) not in tags:
            continue
        for receipt in house.depot.receipts_of(house.party, train, (end,), (ReceiptKind.ENTRY,)):
            if _says_finished(receipt, manifest, house, now):
                house.passes.destroy(train)
                log.info("a train has finished", extra={"train": train.short})
            house.depot.registry.delete_manifest(mailbox(house.party), receipt.digest)


def _boardings(train: TrainId, house: House) -> Iterator[Visit]:
    """Yield the visits in which this station boarded a train."""
    for visit in house.journal.beginning(train):
        if visit.accepted is not None and visit.accepted.train == train and visit.boarded is not None:
            yield visit


def _manifest(visit: Visit, house: House, now: datetime) -> Verified[TrainManifest]:
    """Return the manifest that was accepted, proven again by the directory as it is."""
    envelope = came_with(visit, house)[0]
    if visit.accepted is None or envelope.digest != visit.accepted.manifest:
        msg = "what is in the spool is not what was accepted"
        raise SpoolDamaged(msg, visit=visit.arrival.short)
    return verify_manifest(envelope, house.trust(now), at=None)


def _says_finished(receipt: Receipt, manifest: Verified[TrainManifest], house: House, now: datetime) -> bool:
    try:
        raw = house.depot.read_receipt(house.party, receipt)
        letter = open_letter(raw, [one.identity for one in house.keyring])
        entry = check_entry(manifest, letter.envelope, receipt.stop, house.trust(now), now=now)
    except (Refused, NotARecipient) as error:  # anybody can write to a mailbox
        log.warning("not an entry", extra={"train": receipt.train.short, "code": error.code})
        return False
    return bool(entry.value.finished)
