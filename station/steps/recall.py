"""Has its owner recalled a train that is here?

A recall lies in our mailbox under the name of a receipt, so that the look for arrivals sees whether there is one. It ends a visit
that has signed nothing, whatever it is doing or waiting for.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime

from registry.depot import ReceiptKind, receipt_tag
from registry.names import Tag
from security.errors import NotARecipient, PhtError, Refused
from security.ids import TrainId
from security.train.letters import open_letter
from security.train.manifest import TrainManifest
from security.train.recall import Recall, check_recall
from station.errors import JournalRaced, TrainRecalled
from station.house.house import House
from station.steps.evidence import accepted_manifest
from station.visit.events import Furnished
from station.visit.plan import permits, refuse
from station.visit.state import Visit

log = logging.getLogger(__name__)


def find_recall(train: TrainId, manifest: TrainManifest, house: House, now: datetime) -> Recall | None:
    """Return the recall of a train that lies in our mailbox, if it is its owner's.

    Raises:
        RegistryUnavailable, DirectoryRejected: nobody can tell now.
    """
    for receipt in house.depot.receipts_of(house.party, train, (0,), (ReceiptKind.RECALL,)):
        try:
            letter = open_letter(
                house.depot.read_receipt(house.party, receipt), [one.identity for one in house.keyring]
            )
            return check_recall(manifest, train, letter.envelope, house.trust(now)).value
        except (Refused, NotARecipient) as error:  # anybody can write to a mailbox
            log.warning("not a recall", extra={"train": train.short, "code": error.code})
    return None


def seen_recall(train: TrainId, manifest: TrainManifest, house: House, now: datetime) -> Recall | None:
    """Return the recall of a train if one lay in our mailbox when we last looked; see `find_recall`."""
    if receipt_tag(train, house.party, 0, ReceiptKind.RECALL) not in house.mailbox.recalls:
        return None
    return find_recall(train, manifest, house, now)


def recalled(recall: Recall) -> TrainRecalled:
    """Return the error that says so, with the owner's reason."""
    msg = "its owner has recalled it"
    return TrainRecalled(msg if recall.reason is None else f"{msg}: {recall.reason}")


def end_recalled(tags: Collection[Tag], house: House, now: datetime) -> None:
    """End the visits under way whose trains were recalled; `tags` are those of the receipts in our mailbox."""
    for visit in house.journal.going_on():
        if visit.accepted is None or visit.signed is not None or visit.refused is not None:
            continue
        if receipt_tag(visit.accepted.train, house.party, 0, ReceiptKind.RECALL) in tags:
            try:
                _end(visit, visit.accepted.train, house, now)
            except PhtError as error:
                log.warning("cannot look at a recall", extra={"visit": visit.arrival.short, "code": error.code})


def _end(visit: Visit, train: TrainId, house: House, now: datetime) -> None:
    recall = find_recall(train, accepted_manifest(visit, house), house, now)
    if recall is None:
        return
    told = str(recalled(recall))
    before_data = not any(isinstance(event, Furnished) for event in visit.events)
    event = refuse(visit, code=TrainRecalled.code, reason=told, by="owner", now=now, told=told if before_data else "")
    if permits(visit, event):
        try:
            house.journal.append(visit.arrival, event, expect=visit.length)
        except JournalRaced:  # it went on meanwhile: looked at again
            return
        log.warning("recalled", extra={"visit": visit.arrival.short, "train": train.short, "reason": told})
