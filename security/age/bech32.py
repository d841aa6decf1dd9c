"""How is a key written so that people can pass it on, and a typing error is noticed?

Bech32 (BIP 173) without its limit of 90 characters, which age lifts (C2SP age, "The X25519 recipient type").
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import reduce
from operator import xor
from typing import Final

from security.errors import InvalidInput

_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BASE32: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
"""The alphabet of base32 (RFC 4648), which groups bits as Bech32 does."""
_OF_BASE32: Final = bytes.maketrans(_BASE32, _ALPHABET.encode())
_TO_BASE32: Final = bytes.maketrans(_ALPHABET.encode(), _BASE32)
_VALUES: Final = bytes.maketrans(_ALPHABET.encode(), bytes(range(32)))
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_TERMS: Final = tuple(
    reduce(xor, (term for index, term in enumerate(_GENERATOR) if top >> index & 1), 0) for top in range(32)
)
"""What the five highest bits add to the rest of a division."""
_CHECKSUM: Final = 6
_WIDTH: Final = 5
_LIMIT: Final = 4096  # a hybrid recipient, the longest there is, takes 1 959 characters


def encode(prefix: str, data: bytes) -> str:
    """Return the lower-case text for `data` under a human-readable `prefix`."""
    prefix = prefix.lower()
    letters = base64.b32encode(data).rstrip(b"=").translate(_OF_BASE32)
    rest = _polymod([*_expand(prefix), *letters.translate(_VALUES), *[0] * _CHECKSUM]) ^ 1
    checksum = "".join(_ALPHABET[(rest >> 5 * (5 - index)) & 31] for index in range(_CHECKSUM))
    return prefix + "1" + letters.decode() + checksum


def decode(text: str) -> tuple[str, bytes]:
    """Return the prefix, in the case it was written in, and the data.

    Raises:
        InvalidInput: mixed case, a foreign character, a wrong checksum or padding. Never tells the text, which may be
            a secret.
    """
    lower = text.lower()
    prefix, mark, tail = lower.rpartition("1")
    if text not in {lower, text.upper()} or not text.isascii() or len(text) > _LIMIT:
        msg = "key text has mixed case, foreign characters, or is too long"
        raise InvalidInput(msg)
    if not mark or not prefix or len(tail) < _CHECKSUM or not set(tail) <= set(_ALPHABET):
        msg = "key text is not Bech32"
        raise InvalidInput(msg)
    letters = tail.encode()
    values = letters.translate(_VALUES)
    if _polymod([*_expand(prefix), *values]) != 1:
        msg = "key text has a wrong checksum"
        raise InvalidInput(msg, hint="copy the whole text again; a character is missing or wrong")
    values = values[:-_CHECKSUM]
    spare = len(values) * 5 % 8
    if spare >= _WIDTH or (spare and values[-1] & ((1 << spare) - 1)):
        msg = "key text has invalid padding"
        raise InvalidInput(msg)
    base32 = letters[:-_CHECKSUM].translate(_TO_BASE32)
    return text[: len(prefix)], base64.b32decode(base32 + b"=" * (-len(base32) % 8))


def _expand(prefix: str) -> list[int]:
    return [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]


def _polymod(values: Iterable[int]) -> int:
    rest = 1
    for value in values:
        rest = (rest & 0x1FFFFFF) << 5 ^ value ^ _TERMS[rest >> 25]
    return rest
