"""Which keys does a prospective party hold?

A party card is an in-toto statement in a DSSE envelope, signed by every signing key it lists: so whoever made it holds
all of them. It does not prove possession of the sealing key. That harms nobody but the party itself: it cannot read
what is sealed to a key it does not hold; and by naming a key that someone else holds it gives away what it could give
away as plaintext, too. (`TrustStore` refuses a sealing key that belongs to another party.)

A card proves nothing about *who* made it. That is why its fingerprint is read over the phone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from security.errors import InvalidInput, MalformedStatement
from security.forms.record import Inline, Record
from security.ids import PartyId, Role
from security.keys.form import Roles, Title
from security.keys.keyset import KeySet, Secrets
from security.statement.envelope import Envelope, parse_envelope, sign, verify
from security.statement.form import StatementForm

CARD_TYPE: Final = "urn:pht:statement:party-card:v1"
MAX_CARD: Final = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyCard:
    """A party's own statement of its keys, signed with each of them. Consistent in itself, and not yet trusted.

    ``made_at`` is for people; nothing is decided by it.
    """

    party: PartyId
    title: Title
    roles: Roles
    key_set: Annotated[KeySet, Inline()]
    made_at: datetime


CARD: Final = StatementForm(type=CARD_TYPE, record=Record(PartyCard), subjects={"keys": "key_set.fingerprint"})


def make_card(secrets: Secrets, *, party: PartyId, title: str, roles: Iterable[Role], now: datetime) -> Envelope:
    """Make and sign the card of a party.

    Raises:
        InvalidInput: no role, or a title that is empty or too long.
    """
    card = PartyCard(party=party, title=title, roles=frozenset(roles), key_set=secrets.key_set, made_at=now)
    if not CARD.record.accepts(card):
        msg = "a party has at least one role, and a title of one line and 1 to 200 characters"
        raise InvalidInput(msg)
    return sign(CARD.print(card), secrets.signers)


def parse_card(raw: bytes) -> PartyCard:
    """Parse a card and verify it against the keys it lists.

    The keys must be read before the signatures can be checked; they are used for nothing else until then.

    Raises:
        MalformedJson, MalformedStatement: not a card, or its subject is not these keys.
        SignatureMissing, SignatureInvalid: not signed by every key it lists (attack T1, at the first meeting).
    """
    if len(raw) > MAX_CARD:
        msg = "card is too long"
        raise MalformedStatement(msg, bytes=len(raw), limit=MAX_CARD)
    envelope = parse_envelope(raw)
    card = CARD.read(envelope.payload)
    verify(envelope, card.key_set)
    return card
