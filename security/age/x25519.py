"""How is a file key wrapped for an X25519 key?

Source: C2SP age, "The X25519 recipient type". Readable and writable, but not what we make by default: whoever records
such a file today can read it once a large quantum computer exists.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from security.age import bech32
from security.age.stanza import Stanza, derive, to_base64, unwrap, wrap
from security.errors import HeaderInvalid, InvalidInput

KIND: Final = "X25519"
RECIPIENT: Final = "age"
IDENTITY: Final = "AGE-SECRET-KEY-"
SIZE: Final = 32

_INFO: Final = b"age-encryption.org/v1/X25519"
_FIELD: Final = 2**255 - 19
_CURVE: Final = 486662


@dataclass(frozen=True, slots=True, kw_only=True)
class X25519Recipient:
    """The public half. Its ``str`` is the text age tools read.

    Raises:
        InvalidInput: not 32 bytes, a second spelling of a key, or a point of low order, with which anyone could read the
            file.
    """

    public: bytes

    def __post_init__(self) -> None:
        if len(self.public) != SIZE:
            msg = "recipient has the wrong size"
            raise InvalidInput(msg, kind=KIND, expected=SIZE, found=len(self.public))
        refuse_low_order(self.public)
        demand_canonical(self.public)

    def __str__(self) -> str:
        return bech32.encode(RECIPIENT, self.public)

    @property
    def kind(self) -> str:
        """The recipient type."""
        return KIND

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap a file key under a fresh ephemeral key."""
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(self.public))
        key = derive(shared, salt=share + self.public, info=_INFO)
        return Stanza(args=(KIND, to_base64(share).decode()), body=wrap(key, file_key))


class X25519Identity:
    """The private half. Its ``repr`` reveals nothing; `secret_text` must be called by name."""

    __slots__ = ("_key", "_secret", "recipient")

    def __init__(self, secret: bytes) -> None:
        """Take the 32 bytes of the private key.

        Raises:
            InvalidInput: not 32 bytes.
        """
        if len(secret) != SIZE:
            msg = "identity has the wrong size"
            raise InvalidInput(msg, kind=KIND, expected=SIZE, found=len(secret))
        self._secret, self._key = secret, X25519PrivateKey.from_private_bytes(secret)
        self.recipient = X25519Recipient(public=self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> X25519Identity:
        """Make a new one."""
        return cls(secrets.token_bytes(SIZE))

    def secret_text(self) -> str:
        """Return the private key as the text age tools read. For key files only."""
        return bech32.encode(IDENTITY, self._secret).upper()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """Return the file key, or None if the stanza is of another type or for another recipient.

        Raises:
            HeaderInvalid: the stanza is malformed, or its share is a point of low order.
        """
        if stanza.kind != KIND:
            return None
        stanza.need(arguments=1)
        share = stanza.bytes_at(1, SIZE)
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:  # the shared secret is all zeros, which everyone knows
            msg = "recipient stanza has a share of low order"
            raise HeaderInvalid(msg) from error
        return unwrap(derive(shared, salt=share + self.recipient.public, info=_INFO), stanza.body)


def demand_canonical(public: bytes) -> None:
    """Refuse a public key in another spelling than the one a private key gives (RFC 7748, section 5).

    X25519 ignores the highest bit and reduces what is left, so that several texts name one key: under a second one, a
    party could publish somebody else's key as its own.

    Raises:
        InvalidInput: the highest bit is set, or the number is not below the field's.
    """
    if int.from_bytes(public, "little") >= _FIELD:
        msg = "recipient is not in canonical form"
        raise InvalidInput(msg)


def refuse_low_order(public: bytes) -> None:
    """Refuse a public key with which every exchange ends in zeros (RFC 7748, section 6.1).

    Calculated rather than tried, which takes thirty times as long, and every share of a file is looked at: eight times such a
    point, of the curve or of its twist, is the one at infinity.

    Raises:
        InvalidInput: it is one of those.
    """
    across, depth = int.from_bytes(public, "little") % 2**255, 1  # the highest bit is ignored
    for _ in range(3):
        across, depth = _doubled(across, depth)
    if depth == 0:
        msg = "recipient is a point of low order"
        raise InvalidInput(msg)


def _doubled(across: int, depth: int) -> tuple[int, int]:
    """Double a point of which only the one coordinate is known, as a fraction (RFC 7748, section 5)."""
    squares, product = across * across + depth * depth, across * depth
    return (squares * squares - 4 * product * product) % _FIELD, 4 * product * (squares + _CURVE * product) % _FIELD
