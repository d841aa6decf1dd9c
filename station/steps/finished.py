"""Is a train over that this station has boarded and waits for?

A train of rounds may go home from any combination that says so, and then does not come back here. So the junction puts its last entry
into the mailbox of every station, too. And an owner may have recalled a train, which then ends where it is, and not here. Who finds
either in its mailbox destroys its keys for the train at once (attack T26), and not only when the train's validity is over.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from datetime import datetime

from registry.depot import Receipt, ReceiptKind, mailbox, part_tag, receipt_tag
from registry.names import Tag
from security.errors import NotARecipient, PhtError, Refused
from security.ids import TrainId
from security.statement.envelope import Verified
from security.train.journey import check_entry
from security.train.letters import open_letter, with_common
from security.train.manifest import TrainManifest
from security.train.route import Route
from security.train.verify import verify_manifest
from station.errors import SpoolDamaged
from station.house.house import House
from station.steps.evidence import accepted_manifest
from station.steps.gathered import came_with
from station.steps.recall import find_recall
from station.visit.state import Visit

log = logging.getLogger(__name__)


def let_go(tags: Collection[Tag], house: House, now: datetime) -> None:
    """Destroy our keys for trains that have finished or were recalled; `tags` are those of the receipts and parts in our mailbox.

    Parts of a recalled train for which no visit has begun are taken out: the first of them will not come any more. What cannot be read or believed changes nothing: it is looked at again, and the keys go with the validity at the latest.
    """
    if not tags:
        return
    for train in house.passes.trains():
        try:
            _look(train, tags, house, now)
        except PhtError as error:
            log.warning("cannot tell whether a train is over", extra={"train": train.short, "code": error.code})


def _look(train: TrainId, tags: Collection[Tag], house: House, now: datetime) -> None:
    visit = next(_boardings(train, house), None)
    if visit is None:
        return
    route = accepted_manifest(visit, house).route
    recall = receipt_tag(train, house.party, 0, ReceiptKind.RECALL)
    told = [end for end in route.ends if receipt_tag(train, house.party, end, ReceiptKind.ENTRY) in tags]
    if not told and recall not in tags:
        return
    manifest = _manifest(visit, house, now)
    if recall in tags and find_recall(train, manifest.value, house, now):
        _take_out_parts(train, route, tags, house)
        house.passes.destroy(train)
        log.info("a train was recalled", extra={"train": train.short})
        return
    for end in told:
        for receipt in house.depot.receipts_of(house.party, train, (end,), (ReceiptKind.ENTRY,)):
            if _says_finished(receipt, manifest, house, now):
                house.passes.destroy(train)
                log.info("a train has finished", extra={"train": train.short})
            house.depot.registry.delete_manifest(mailbox(house.party), receipt.digest)


def _take_out_parts(train: TrainId, route: Route, tags: Collection[Tag], house: House) -> None:
    """Take out of our mailbox what other stops have sent; a visit that waits for it is ended, and takes out its own."""
    for stop in route.of(house.party):
        for sender in route.before(stop)[1:]:
            if part_tag(train, house.party, stop, sender) in tags:
                part = house.depot.part(house.party, train, stop, sender)
                if part is not None:
                    house.depot.remove(part)


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
        letter = open_letter(raw, with_common(manifest.value, [one.identity for one in house.keyring]))
        entry = check_entry(manifest, letter.envelope, receipt.stop, house.trust(now), now=now)
    except (Refused, NotARecipient) as error:  # anybody can write to a mailbox
        log.warning("not an entry", extra={"train": receipt.train.short, "code": error.code})
        return False
    return bool(entry.value.finished)
