"""How does the end of the journal come to be signed?

By the daemon once a day, and by an operator for an export, also while the daemon works: the blob is kept and recorded
while the spool is not swept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from security.ids import PartyId
from security.keys.keyset import Secrets
from security.statement.envelope import MAX_ENVELOPE
from station.house.spool import Spool
from station.journal.audit import sign_head
from station.journal.journal import Journal
from station.visit.station_events import HeadSigned, KeyUsed


def sign_end(
    journal: Journal, spool: Spool, secrets: Secrets, *, station: PartyId, now: datetime, purpose: str
) -> HeadSigned:
    """Sign where the journal ends now, the record of this use of the key included, and record that."""
    journal.note(KeyUsed(at=now, key_set=secrets.key_set.fingerprint, purpose=purpose))
    head = journal.head()
    envelope = sign_head(head, station=station, signers=secrets.signers, now=now)
    with spool.unswept():
        kept = spool.keep(envelope.to_bytes())
        signed = HeadSigned(at=now, sequence=head.sequence, head=head.hash, envelope=kept)
        journal.note(signed)
    return signed


def signed_heads(journal: Journal, spool: Spool) -> tuple[tuple[int, bytes], ...]:
    """Return every signed head: after which record it was signed, and its envelope."""
    events: Sequence[HeadSigned] = [one for one in journal.station_events() if isinstance(one, HeadSigned)]
    return tuple((one.sequence, spool.document(one.envelope, limit=MAX_ENVELOPE)) for one in events)
