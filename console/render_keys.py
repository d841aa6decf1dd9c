"""How are the keys of a party shown to a person, and to a program?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from console.answer import Answer
from security.encoding import Json
from security.ids import Role
from security.keys.keyset import KeySet, spell

_LINE: Final = 80
_BEGINNING: Final = 32


def render_keys(party: str, title: str, roles: Iterable[Role], key_set: KeySet, *, after: str = "") -> Answer:
    """Render the keys of a party; `after` is what to do next."""
    lines = [
        f"{party}: {title} ({', '.join(sorted(roles))})",
        f"  fingerprint  {spell(key_set.fingerprint)}",
        *(f"  signs with   {key.scheme.value} {key.key_id[:16]}" for key in key_set.signing),
        f"  sealed to    {_recipient(key_set)}",
    ]
    data: dict[str, Json] = {
        "party": party,
        "title": title,
        "roles": [role.value for role in sorted(roles)],
        "fingerprint": key_set.fingerprint,
        "spelled": spell(key_set.fingerprint),
        "signing": [{"scheme": key.scheme.value, "keyId": key.key_id} for key in key_set.signing],
        "sealing": key_set.sealing,
    }
    return Answer(text="\n".join([*lines, after] if after else lines), data=data)


def _recipient(key_set: KeySet) -> str:
    return key_set.sealing if len(key_set.sealing) < _LINE else f"{key_set.sealing[:_BEGINNING]}… (hybrid)"
