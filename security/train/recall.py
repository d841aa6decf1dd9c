"""Has the owner of a train called it back?

A statement about the train and nothing else, signed with the keys that signed its manifest. Every station that has not signed its
stop yet ends the train there and says so; what was signed before stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from security.digest import Digest
from security.directory.trust import TrustStore
from security.errors import JourneyForeignEntry
from security.forms.form import Text
from security.forms.record import Record
from security.ids import Role, TrainId
from security.statement.envelope import Envelope, Verified, verify
from security.statement.form import StatementForm
from security.train.journey import MOST_REASON, TRAIN_SUBJECT
from security.train.manifest import TrainManifest

RECALL_TYPE: Final = "urn:pht:statement:recall:v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """An owner's statement that a train is not to go on, wherever it is. ``reason`` is for the people at the stations."""

    train: TrainId
    time: datetime
    reason: Annotated[
        str | None, Text(most=MOST_REASON, line=True, says=f"a line of up to {MOST_REASON} characters")
    ] = None

    @property
    def about(self) -> Digest:
        """The train, as the subject of a statement."""
        return Digest.of_hex(self.train)


RECALL: Final = StatementForm(type=RECALL_TYPE, record=Record(Recall), subjects={TRAIN_SUBJECT: "about"})
print_recall, read_recall = RECALL.print, RECALL.read


def check_recall(manifest: TrainManifest, train: TrainId, envelope: Envelope, trust: TrustStore) -> Verified[Recall]:
    """Verify a recall: signed with the keys that the train's manifest names for its owner, and about this train.

    Raises:
        JourneyForeignEntry: it is about another train.
        SignatureMissing, SignatureInvalid, KeyNotTrusted, KeyRevoked: it is not validly signed by the owner.
    """
    owner = manifest.owner
    key_set = trust.signer(owner.party, Role.OWNER, owner.key_set, manifest.valid_from)
    recall = RECALL.parse(verify(envelope, key_set))
    if recall.value.train != train:
        msg = "recall is about another train"
        raise JourneyForeignEntry(msg, train=train.short)
    return recall
