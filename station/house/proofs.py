"""What was verified already, so that the next step of a visit need not verify the same signatures again?

Every step reads the bytes in the spool again, and asks the directory and the clock. Only what follows from the bytes and
from what the directory says is remembered, under both: other bytes, or a directory that says anything else, are verified
anew. Nothing here is kept anywhere: a daemon that starts verifies everything.

Likewise the entries that a stop of ours has left in the spool are read there once: what it signed is final, and so are they. A round
costs no more than the one before then. Nothing is believed for being remembered: they are the bytes that were there, and are verified with
what came since; a document that was damaged afterwards is noticed when it is to be sent on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from security.digest import Digest
from security.directory.trust import TrustStore
from security.ids import TrainId
from security.statement.envelope import Envelope, Verified
from security.train.journey import JourneyEntry
from security.train.verify import AcceptedTrain

MOST: Final = 256
"""Trains that are remembered; of more under way at once, those asked for longest ago are verified again."""
MOST_LEFT: Final = 20_000
"""Entries that stops here have left and that are remembered, some kilobytes each; of more, those of the trains are read again that had a stop
here longest ago. The longest journey there can be has a quarter of these.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A verified train, the bytes it was verified from, and the directory that it was verified by.

    `parts` is the digest of the OCI manifest with its parts, `envelopes` that of its signed statements.
    """

    parts: Digest
    envelopes: Digest
    trust: TrustStore
    accepted: AcceptedTrain


class Proofs:
    """The proofs of one station's visits, by their arrival. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Digest, Proof] = {}
        self._left: dict[TrainId, dict[int, Mapping[int, Envelope]]] = {}

    def note(self, arrival: Digest, proof: Proof) -> None:
        """Remember a proof; it replaces what was known of that arrival."""
        with self._lock:
            self._held.pop(arrival, None)
            self._held[arrival] = proof
            if len(self._held) > MOST:
                del self._held[next(iter(self._held))]

    def entries(self, train: TrainId, trust: TrustStore) -> Mapping[Digest, Verified[JourneyEntry]]:
        """Return the entries of a train that were verified at its visits here, by a directory that said the same."""
        with self._lock:
            held = [one for one in self._held.values() if one.accepted.train == train]
        found: dict[Digest, Verified[JourneyEntry]] = {}
        for proof in held:
            if proof.trust is trust or proof.trust == trust:
                found |= {entry.digest: entry for entry in proof.accepted.journey.entries}
        return found

    def find(self, arrival: Digest, *, parts: Digest, envelopes: Digest, trust: TrustStore) -> AcceptedTrain | None:
        """Return what was verified from these bytes by a directory that said the same, if anything was."""
        with self._lock:
            proof = self._held.pop(arrival, None)
            if proof is None:
                return None
            self._held[arrival] = proof  # the newest again
        if (proof.parts, proof.envelopes) != (parts, envelopes) or (proof.trust is not trust and proof.trust != trust):
            return None
        return proof.accepted

    def left(
        self, train: TrainId, stop: int, read: Callable[[], Mapping[int, Envelope] | None]
    ) -> Mapping[int, Envelope]:
        """Return the entries, by stop, that a stop here has left, and none as long as it is not over.

        `read` finds them in the spool, or nothing: then it is asked again the next time.
        """
        with self._lock:
            known = self._left.get(train, {}).get(stop)
        if known is not None:
            return known
        found = read()
        if found is None:
            return {}
        with self._lock:
            self._left[train] = {**self._left.pop(train, {}), stop: found}  # the newest
            while len(self._left) > 1 and self._entries_left() > MOST_LEFT:
                del self._left[next(iter(self._left))]
        return found

    def _entries_left(self) -> int:
        return sum(len(entries) for journey in self._left.values() for entries in journey.values())
