"""How are a party, its roles and its keys spelled in a document?"""

from __future__ import annotations

from typing import Final

from security.encoding import Fields
from security.errors import InvalidInput, MalformedStatement
from security.ids import PartyId, Role
from security.keys.keyset import KeySet, PublicKey

MAX_TITLE: Final = 200


def parse_party_id(fields: Fields, name: str = "party") -> PartyId:
    """Take a party's id from a document that arrived."""
    text = fields.text(name, most=40)
    try:
        return PartyId(text)
    except InvalidInput as error:
        msg = "field is not a party name"
        raise MalformedStatement(msg, field=f"{fields.where}.{name}") from error


def parse_line(fields: Fields, name: str, *, most: int, least: int = 1) -> str:
    """Take a text that is shown to people: one line, so that it cannot move a terminal's cursor."""
    text = fields.text(name, most=most, least=least)
    if not text.isprintable():
        msg = "field holds characters that cannot be printed"
        raise MalformedStatement(msg, field=f"{fields.where}.{name}")
    return text


def parse_roles(fields: Fields) -> frozenset[Role]:
    """Take a party's roles: sorted, each once."""
    texts = fields.texts("roles", least=1, most=len(Role), longest=20)
    if list(texts) != sorted(set(texts)) or not set(texts) <= set(Role):
        msg = "roles are not a sorted list of known roles"
        raise MalformedStatement(msg, field=f"{fields.where}.roles", known=", ".join(Role))
    return frozenset(map(Role, texts))


def parse_key_set(fields: Fields) -> KeySet:
    """Take the fields ``signing`` and ``sealing``."""
    signing = tuple(PublicKey.of_pem(pem) for pem in fields.texts("signing", least=1, most=4))
    return KeySet(signing=signing, sealing=fields.text("sealing", most=4096))
