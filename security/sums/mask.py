"""Which masks do two stations share, that nobody else can compute?

A pair's secret comes from a key exchange between mask keys made for one train, which are gone when it has ended, and from a seed
that one sealed for the other, which keeps it from who records everything and has a quantum computer one day.
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from security.age.x25519 import demand_canonical, refuse_low_order
from security.digest import Digest
from security.errors import InvalidInput
from security.sums.errors import MaskKeyRejected, SumInvalid

SIZE: Final = 32
"""Bytes of a key, a seed, a secret."""

_SALT: Final = b"pht-mask-v1"
_STREAM: Final = b"pht-mask-stream-v1"
_START: Final = bytes(16)  # counter and nonce may be fixed: each key is used for one stream
_ZEROS: Final = bytes(1 << 18)
_MOST: Final = 2**32 - 1
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPublicKey:
    """The public half, as it stands in a boarding pass.

    Raises:
        MaskKeyRejected: not 32 bytes, a second spelling of a key, or a point of low order, with which everybody knows the secret.
    """

    public: bytes

    def __post_init__(self) -> None:
        _need_size(self.public, "key")
        try:
            demand_canonical(self.public)
            refuse_low_order(self.public)
        except InvalidInput as error:
            msg = "mask key is a point of low order, or not in canonical form"
            raise MaskKeyRejected(msg) from error


class MaskKey:
    """The private half: X25519, for one train. Its ``repr`` reveals nothing; `secret` must be called by name."""

    __slots__ = ("_key", "public")

    def __init__(self, secret: bytes) -> None:
        """Take the 32 bytes of the private key.

        Raises:
            MaskKeyRejected: not 32 bytes.
        """
        _need_size(secret, "key")
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self.public = MaskPublicKey(public=self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> MaskKey:
        """Make a new one."""
        return cls(secrets.token_bytes(SIZE))

    def secret(self) -> bytes:
        """Return the private key. For a sealed folder only."""
        return self._key.private_bytes_raw()

    def pair_with(self, other: MaskPublicKey, seed: bytes) -> PairSecret:
        """Return what this station shares with another, under the seed that the first of them made.

        Raises:
            MaskKeyRejected: the seed is not 32 bytes, or the key is our own.
        """
        _need_size(seed, "seed")
        if other == self.public:
            msg = "a station shares no masks with itself"
            raise MaskKeyRejected(msg)
        shared = self._key.exchange(X25519PublicKey.from_public_bytes(other.public))  # not zeros: not of low order
        return PairSecret(HKDF(SHA256(), SIZE, _SALT, b"").derive(shared + seed))


def new_seed() -> bytes:
    """Make what the first station of a pair seals for the second."""
    return secrets.token_bytes(SIZE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """What a mask is for, besides the two who share it: used for one vector, ever.

    It ``hangs_on`` the newest statement that all who add up must have before them (its digest): who was told something else has
    other masks.

    Raises:
        SumInvalid: a round out of range, or no path, or one that is too long or no text.
    """

    hangs_on: Digest
    round: int
    path: str

    def __post_init__(self) -> None:
        if not 0 <= self.round <= _MOST:
            msg = "no such round"
            raise SumInvalid(msg, most=_MOST)
        try:
            size = len(self.path.encode())
        except UnicodeEncodeError:
            size = 0
        if not 1 <= size <= _LONGEST:
            msg = "no such path of an output"
            raise SumInvalid(msg, most=_LONGEST)


class PairSecret:
    """What two stations share, and nobody else. Its ``repr`` reveals nothing."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def stream(self, occasion: Occasion, *, adds: int, subtracts: int) -> KeyStream:
        """Return the mask that one station, by its number, adds, and the other subtracts."""
        fields = (
            _STREAM,
            bytes.fromhex(occasion.hangs_on.hex),
            _number(occasion.round),
            occasion.path.encode(),
            _number(adds),
            _number(subtracts),
        )
        info = b"".join(_number(len(field)) + field for field in fields)
        return KeyStream(HKDFExpand(SHA256(), SIZE, info).derive(self._secret))


class KeyStream:
    """The bytes of ChaCha20 (RFC 8439, section 2.4) under a key that is used for nothing else: nonce and first counter are zero."""

    __slots__ = ("_encryptor",)

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(ChaCha20(key, _START), None).encryptor()

    def fill(self, buffer: memoryview) -> None:
        """Fill `buffer` with the next bytes."""
        for start in range(0, len(buffer), len(_ZEROS)):
            part = buffer[start : start + len(_ZEROS)]
            self._encryptor.update_into(memoryview(_ZEROS)[: len(part)], part)


def _number(value: int) -> bytes:
    return struct.pack("<I", value)


def _need_size(data: bytes, what: str) -> None:
    if len(data) != SIZE:
        msg = f"mask {what} has the wrong size"
        raise MaskKeyRejected(msg, expected=SIZE)
