"""Which kinds of recipients are there, and how is one read from its text?"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Protocol

from security.age import bech32, hybrid, x25519
from security.age.hybrid import HybridIdentity, HybridRecipient
from security.age.stanza import Stanza
from security.age.x25519 import X25519Identity, X25519Recipient
from security.errors import InvalidInput

_KNOWN: Final = 1024
"""Recipients whose text need not be read again: the keys of a consortium come with every letter."""


class Recipient(Protocol):
    """A party that a file can be sealed for."""

    @property
    def kind(self) -> str:
        """The recipient type: the first argument of its stanzas."""

    def wrap(self, file_key: bytes, /) -> Stanza:
        """Wrap a file key, so that only this recipient can unwrap it."""


class Unwrapper(Protocol):
    """What can open a file: an identity or a passphrase."""

    def unwrap(self, stanza: Stanza, /) -> bytes | None:
        """Return the file key, or None if the stanza is for another recipient; refuse a malformed one of this type."""


class Identity(Unwrapper, Protocol):
    """A private key: opens files, and gives out its public half and, only when asked by name, itself."""

    @property
    def recipient(self) -> Recipient:
        """The public half."""

    def secret_text(self) -> str:
        """Return the private key as the text age tools read. For key files only."""


@lru_cache(maxsize=_KNOWN)
def parse_recipient(text: str) -> Recipient:
    """Read a recipient, ``age1pq…`` or ``age1…``. Its ``str`` is `text` again.

    Raises:
        InvalidInput: it is not a recipient, has a typing error, or is a key that protects nothing.
    """
    prefix, data = bech32.decode(text)
    if prefix == hybrid.RECIPIENT:
        return HybridRecipient(public=data)
    if prefix == x25519.RECIPIENT:
        return X25519Recipient(public=data)
    msg = "not an age recipient"
    raise InvalidInput(msg, hint="a recipient starts with age1pq or age1")


def another_like(recipient: Recipient) -> Identity:
    """Make a new identity that can share a file with a recipient: age tools do not mix kinds.

    Raises:
        InvalidInput: not a kind that identities have.
    """
    if recipient.kind == hybrid.KIND:
        return HybridIdentity.generate()
    if recipient.kind == x25519.KIND:
        return X25519Identity.generate()
    msg = "no identity of this kind can be made"
    raise InvalidInput(msg, kind=recipient.kind)


def parse_identity(text: str) -> Identity:
    """Read an identity, ``AGE-SECRET-KEY-PQ-1…`` or ``AGE-SECRET-KEY-1…``.

    Raises:
        InvalidInput: it is not an identity. The error does not quote it.
    """
    prefix, data = bech32.decode(text)
    if prefix == hybrid.IDENTITY:
        return HybridIdentity(data)
    if prefix == x25519.IDENTITY:
        return X25519Identity(data)
    msg = "not an age identity"
    raise InvalidInput(msg, hint="an identity starts with AGE-SECRET-KEY-PQ-1 or AGE-SECRET-KEY-1")
