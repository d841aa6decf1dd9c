"""How does the end of the journal come to be signed, and what is it good for at the next start?

It is signed by the daemon once a day, and by an operator for an export, also while the daemon works: the blob is kept and
recorded while the spool is not swept. A daemon that starts follows the chain from the newest end that its own keys signed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime

from security.errors import Malformed, SignatureRejected
from security.ids import PartyId
from security.keys.keyset import Secrets
from security.statement.envelope import MAX_ENVELOPE, parse_envelope
from station.errors import SpoolDamaged
from station.house.spool import Spool
from station.journal.audit import read_head, sign_head
from station.journal.chain import START, Head
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


def known_head(journal: Journal, spool: Spool, keyring: Sequence[Secrets], *, station: PartyId) -> Head:
    """Return the newest end of the journal that one of our keys signed; `START` if there is none that still shows it."""
    last = journal.last_signed_head()
    if last is None:
        return START
    try:
        envelope = parse_envelope(spool.document(last.envelope, limit=MAX_ENVELOPE))
    except (SpoolDamaged, Malformed):
        return START
    for keys in keyring:
        with contextlib.suppress(SignatureRejected, Malformed):
            return read_head(envelope, keys.key_set, station=station).value.head
    return START


def signed_heads(journal: Journal, spool: Spool) -> tuple[tuple[int, bytes], ...]:
    """Return every signed head: after which record it was signed, and its envelope."""
    events = (one for one in journal.station_events(HeadSigned) if isinstance(one, HeadSigned))
    return tuple((one.sequence, spool.document(one.envelope, limit=MAX_ENVELOPE)) for one in events)
