"""Has this station signed for this stop before, in a life that its journal does not remember?

The journal knows, unless it was restored from an older backup: then a second, different entry would follow (attack T5).
The owner's mailbox remembers what was signed, so it is asked before a train is accepted and again before anything is
signed: a backup may be from between the two. A registry that hides the receipt, or denies the look, hides the past.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import Final

from registry.depot import Receipt, ReceiptKind
from registry.errors import NotInRegistry, RegistryDenied
from security.digest import Digest
from security.errors import NotARecipient, Refused
from security.ids import PartyId, TrainId
from security.keys.keyset import KeySet
from security.statement.envelope import Envelope, verify
from security.train.journey import read_entry, read_refusal
from security.train.letters import open_letter, with_common
from security.train.manifest import TrainManifest
from station.house.house import House

_SIGNED: Final = (ReceiptKind.ENTRY, ReceiptKind.REFUSAL)
"""There is no answer without a refusal."""


def signed_before(train: TrainId, stop: int, manifest: TrainManifest, house: House) -> Digest | None:
    """Return the digest of a statement of ours about this stop in the owner's mailbox, entry or refusal, if any.

    Ours is what every key of ours signed: no directory has to be there, or be believed, to know one's own hand. What a
    visit itself signs is there only after its journal says that it did.

    Raises:
        RegistryUnavailable: this cannot be determined now.
    """
    owner = manifest.owner.party
    receipts: tuple[Receipt, ...] = ()
    with contextlib.suppress(RegistryDenied, NotInRegistry):
        receipts = house.depot.receipts_of(owner, train, (stop,), _SIGNED)
    for receipt, ours in itertools.product(receipts, house.keyring):
        try:
            raw = house.depot.read_receipt(owner, receipt)
            envelope = open_letter(raw, with_common(manifest, [ours.identity])).envelope
            if _about(envelope, receipt.kind, ours.key_set) == (train, stop, house.party):
                return envelope.digest
        except (Refused, NotARecipient, RegistryDenied, NotInRegistry):
            continue  # what another party wrote under that name proves nothing, and hides nothing
    return None


def _about(envelope: Envelope, kind: ReceiptKind, ours: KeySet) -> tuple[TrainId, int, PartyId]:
    """Return which train and stop a statement of ours is about, and whose it says it is.

    Raises:
        Refused: it is not ours, or no such statement.
    """
    payload = verify(envelope, ours).value
    told = read_entry(payload) if kind is ReceiptKind.ENTRY else read_refusal(payload)
    return told.train, told.stop, told.station
