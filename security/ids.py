"""How are trains, parties and keys named?"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import ClassVar, Self

from security.errors import InvalidInput


class _Name(str):
    """A string that cannot be constructed in a wrong form."""

    __slots__ = ()
    PATTERN: ClassVar[str]
    SAYS: ClassVar[str]
    _FORM: ClassVar[re.Pattern[str]]

    def __init_subclass__(cls) -> None:
        cls._FORM = re.compile(cls.PATTERN)

    def __new__(cls, text: str) -> Self:
        """Parse, or raise `InvalidInput`."""
        if cls._FORM.fullmatch(text) is None:
            msg = f"not {cls.SAYS}"
            raise InvalidInput(msg, value=repr(text)[:80])
        return super().__new__(cls, text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class PartyId(_Name):
    """A party of the consortium: a station or an owner. Doubles as a component of a repository name (OCI 1.1)."""

    __slots__ = ()
    PATTERN = "[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"
    SAYS = "a party name (1 to 40 of a-z, 0-9 and '-', not at either end)"


class TrainId(_Name):
    """The SHA-256, in lower-case hex, of the signed bytes (PAE) of the train's manifest."""

    __slots__ = ()
    PATTERN = "[0-9a-f]{64}"
    SAYS = "a train id (64 hexadecimal digits)"

    @property
    def short(self) -> str:
        """The first twelve digits, for people."""
        return self[:12]


class KeyId(_Name):
    """The SHA-256, in lower-case hex, of a public signing key as DER SubjectPublicKeyInfo (RFC 5280, 4.1)."""

    __slots__ = ()
    PATTERN = "[0-9a-f]{64}"
    SAYS = "a key id (64 hexadecimal digits)"


class Role(StrEnum):
    """What a party may do."""

    OWNER = "owner"
    STATION = "station"
