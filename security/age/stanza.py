"""What is in the header of a sealed file for one recipient?

Source: C2SP age, "Recipient stanza", and the wrapping that X25519 and scrypt stanzas share.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from security.errors import HeaderInvalid

FILE_KEY: Final = 16
"""Size of a file key in bytes."""

WRAPPED: Final = FILE_KEY + 16
"""Size of a wrapped file key: the key and the authentication tag."""

_NONCE: Final = bytes(12)  # fixed, as the specification says: each wrapping key encrypts one file key


@dataclass(frozen=True, slots=True, kw_only=True)
class Stanza:
    """One recipient's line of arguments, of which the first is the type, and a body: the file key, wrapped for it."""

    args: tuple[str, ...]
    body: bytes

    @property
    def kind(self) -> str:
        """The recipient type."""
        return self.args[0]

    def need(self, arguments: int) -> None:
        """Check the shape before the body is decrypted, so that a longer plaintext cannot fit two keys.

        Raises:
            HeaderInvalid: not that many arguments after the type, or a body that is not one wrapped file key.
        """
        if len(self.args) != 1 + arguments or len(self.body) != WRAPPED:
            msg = "recipient stanza has the wrong shape"
            raise HeaderInvalid(msg, kind=self.kind, arguments=len(self.args) - 1, body=len(self.body))

    def bytes_at(self, index: int, size: int) -> bytes:
        """Return an argument that stands for `size` bytes.

        Raises:
            HeaderInvalid: it does not, or not in canonical form.
        """
        data = from_base64(self.args[index].encode())
        if len(data) != size:
            msg = "recipient stanza has an argument of the wrong size"
            raise HeaderInvalid(msg, kind=self.kind, expected=size, found=len(data))
        return data


def to_base64(data: bytes) -> bytes:
    """Encode without padding (RFC 4648, section 4)."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=")


def from_base64(text: bytes) -> bytes:
    """Decode unpadded, canonical base64 (RFC 4648, sections 3.5 and 4).

    Raises:
        HeaderInvalid: padding, foreign characters, or spare bits that are not zero: a header must have one form.
    """
    try:
        data = binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error as error:
        msg = "header has invalid base64"
        raise HeaderInvalid(msg) from error
    if to_base64(data) != text:
        msg = "header has non-canonical base64"
        raise HeaderInvalid(msg)
    return data


def derive(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256 (RFC 5869) to 32 bytes."""
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def wrap(key: bytes, file_key: bytes) -> bytes:
    """Encrypt the file key under a key that is used for nothing else."""
    return ChaCha20Poly1305(key).encrypt(_NONCE, file_key, None)


def unwrap(key: bytes, body: bytes) -> bytes | None:
    """Decrypt the file key, or return None if this is not the key it was wrapped with."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, body, None)
    except InvalidTag:
        return None
