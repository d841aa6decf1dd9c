"""How is a file key wrapped so that neither a broken lattice scheme nor a quantum computer alone recovers it?

Source: C2SP age, recipient type ``mlkem768x25519``: HPKE (RFC 9180) in base mode with the KEM MLKEM768-X25519 (0x647a,
draft-ietf-hpke-pq; keys as in draft-irtf-cfrg-concrete-hybrid-kems), HKDF-SHA256 and ChaCha20-Poly1305.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from security.age import bech32
from security.age.stanza import Stanza, to_base64
from security.age.x25519 import demand_canonical, refuse_low_order
from security.errors import HeaderInvalid, InvalidInput

KIND: Final = "mlkem768x25519"
RECIPIENT: Final = "age1pq"
IDENTITY: Final = "AGE-SECRET-KEY-PQ-"
SEED: Final = 32

_INFO: Final = b"age-encryption.org/mlkem768x25519"
_LATTICE: Final = 1184
_CURVE: Final = 32
_ENCAPSULATED: Final = 1088 + _CURVE
_LATTICE_SEED: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridRecipient:
    """The public half: an ML-KEM-768 and an X25519 public key. Its ``str`` is the text age tools read.

    Raises:
        InvalidInput: the wrong size, coefficients out of range (FIPS 203, section 7.2), a second spelling of the curve's
            part, or a point of low order.
    """

    public: bytes
    _key: MLKEM768X25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.public) != _LATTICE + _CURVE:
            msg = "recipient has the wrong size"
            raise InvalidInput(msg, kind=KIND, expected=_LATTICE + _CURVE, found=len(self.public))
        lattice, curve = self.public[:_LATTICE], self.public[_LATTICE:]
        refuse_low_order(curve)
        demand_canonical(curve)
        try:
            key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(lattice), X25519PublicKey.from_public_bytes(curve)
            )
        except ValueError as error:
            msg = "recipient is not a key"
            raise InvalidInput(msg, kind=KIND) from error
        object.__setattr__(self, "_key", key)

    def __str__(self) -> str:
        return bech32.encode(RECIPIENT, self.public)

    @property
    def kind(self) -> str:
        """The recipient type."""
        return KIND

    def wrap(self, file_key: bytes) -> Stanza:
        """Wrap a file key under a freshly encapsulated one."""
        sent = _suite().encrypt(file_key, self._key, _INFO)
        return Stanza(args=(KIND, to_base64(sent[:_ENCAPSULATED]).decode()), body=sent[_ENCAPSULATED:])


class HybridIdentity:
    """The private half: one seed for both keys. Its ``repr`` reveals nothing; `secret_text` must be called by name."""

    __slots__ = ("_key", "_seed", "recipient")

    def __init__(self, seed: bytes) -> None:
        """Take the 32 bytes that both private keys are derived from.

        Raises:
            InvalidInput: not 32 bytes.
        """
        if len(seed) != SEED:
            msg = "identity has the wrong size"
            raise InvalidInput(msg, kind=KIND, expected=SEED, found=len(seed))
        self._seed = seed
        stretched = hashlib.shake_256(seed).digest(_LATTICE_SEED + _CURVE)
        lattice = MLKEM768PrivateKey.from_seed_bytes(stretched[:_LATTICE_SEED])
        curve = X25519PrivateKey.from_private_bytes(stretched[_LATTICE_SEED:])
        self._key = MLKEM768X25519PrivateKey(lattice, curve)
        public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        self.recipient = HybridRecipient(public=public)

    @classmethod
    def generate(cls) -> HybridIdentity:
        """Make a new one."""
        return cls(secrets.token_bytes(SEED))

    def secret_text(self) -> str:
        """Return the private key as the text age tools read. For key files only."""
        return bech32.encode(IDENTITY, self._seed).upper()

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """Return the file key, or None if the stanza is of another type or for another recipient.

        Raises:
            HeaderInvalid: the stanza is malformed.
        """
        if stanza.kind != KIND:
            return None
        stanza.need(arguments=1)
        encapsulated = stanza.bytes_at(1, _ENCAPSULATED)
        try:
            refuse_low_order(encapsulated[-_CURVE:])
        except InvalidInput as error:
            msg = "share is a point of low order"
            raise HeaderInvalid(msg, kind=KIND) from error
        try:
            return _suite().decrypt(encapsulated + stanza.body, self._key, _INFO)
        except InvalidTag:
            return None


def _suite() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
