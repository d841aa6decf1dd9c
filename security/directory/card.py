"""Which keys does somebody who wants to be a party hold?

A party card is an in-toto statement in a DSSE envelope, signed by every signing key it lists: so whoever made it holds
them all. It does not prove possession of the sealing key. That harms nobody but the party itself: what is sealed to a
key it does not hold, it cannot read; what is sealed to a key that somebody else holds, it has chosen to give away,
which it could do with the plaintext as well. (`TrustStore` refuses a sealing key that belongs to another party.)

A card proves nothing about *who* made it. That is what reading its fingerprint over the phone is for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from security.encoding import Fields, print_time
from security.errors import InvalidInput, MalformedStatement
from security.ids import PartyId, Role
from security.keys.form import MAX_TITLE, parse_key_set, parse_line, parse_party_id, parse_roles
from security.keys.keyset import KeySet, Secrets
from security.statement.envelope import (
    Envelope,
    Statement,
    Subject,
    parse_envelope,
    parse_statement,
    print_statement,
    sign,
    verify,
)

CARD_TYPE: Final = "urn:pht:statement:party-card:v1"
MAX_CARD: Final = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyCard:
    """What a card says; consistent in itself, and not yet trusted."""

    party: PartyId
    title: str
    roles: frozenset[Role]
    key_set: KeySet


def make_card(secrets: Secrets, *, party: PartyId, title: str, roles: Iterable[Role], now: datetime) -> Envelope:
    """Make and sign the card of a party.

    Raises:
        InvalidInput: no role, or a title that is empty or too long.
    """
    roles = sorted(set(roles))
    if not roles or not 1 <= len(title) <= MAX_TITLE or not title.isprintable():
        msg = "a party has at least one role, and a title of one line and 1 to 200 characters"
        raise InvalidInput(msg)
    key_set = secrets.key_set
    statement = Statement(
        subjects=(Subject(name=party, digest=key_set.fingerprint),),
        predicate_type=CARD_TYPE,
        predicate={
            "party": party,
            "title": title,
            "roles": [role.value for role in roles],
            "signing": [key.pem for key in key_set.signing],
            "sealing": key_set.sealing,
            "madeAt": print_time(now),
        },
    )
    return sign(print_statement(statement), secrets.signers)


def parse_card(raw: bytes) -> PartyCard:
    """Parse a card and verify it against the keys it lists.

    The keys have to be read before the signatures can be checked; nothing else is done with them before.

    Raises:
        MalformedJson, MalformedStatement: not a card, or its subject is not this party with these keys.
        SignatureMissing, SignatureInvalid: not signed by every key it lists (attack T1, at the first meeting).
    """
    if len(raw) > MAX_CARD:
        msg = "card is too long"
        raise MalformedStatement(msg, bytes=len(raw), limit=MAX_CARD)
    envelope = parse_envelope(raw)
    card, subjects = _read(envelope.payload)
    verify(envelope, card.key_set)
    if subjects != (Subject(name=card.party, digest=card.key_set.fingerprint),):
        msg = "card is not about the party and the keys it lists"
        raise MalformedStatement(msg, party=card.party)
    return card


def _read(payload: bytes) -> tuple[PartyCard, tuple[Subject, ...]]:
    statement = parse_statement(payload, predicate_type=CARD_TYPE)
    fields = Fields(statement.predicate, "predicate")
    card = PartyCard(
        party=parse_party_id(fields),
        title=parse_line(fields, "title", most=MAX_TITLE),
        roles=parse_roles(fields),
        key_set=parse_key_set(fields),
    )
    fields.time("madeAt")  # for people; there is nothing to decide by it
    fields.end()
    return card, statement.subjects
