"""Which keys does a party have, and did one of them make this signature?

Key ids are the SHA-256 of the key as DER SubjectPublicKeyInfo (RFC 5280, 4.1). Signatures are those of
`securesystemslib` for Ed25519 (RFC 8032, raw 64 bytes) and ECDSA P-256 with SHA-256 (DER). ML-DSA-65 (FIPS 204) signs the
data itself with the empty context: `securesystemslib` would sign TAP 21's prefixed SHA-512 of it, which no other DSSE
tool checks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, ClassVar, Final, Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from security.age import HybridIdentity, Identity, parse_recipient
from security.digest import Digest, digest_of
from security.errors import InvalidInput, KeyNotTrusted, KeyUnreadable, MalformedStatement, SignatureInvalid
from security.forms.form import Text, Word
from security.forms.many import Many
from security.forms.record import Rule
from security.ids import KeyId

PublicPart: TypeAlias = Ed25519PublicKey | EllipticCurvePublicKey | MLDSA65PublicKey
PrivatePart: TypeAlias = Ed25519PrivateKey | EllipticCurvePrivateKey | MLDSA65PrivateKey

MAX_SIGNING_KEYS: Final = 4
_PEM_LIMIT: Final = 4096  # ML-DSA-65, the longest, takes 2 726
_KNOWN: Final = 1024  # keys that need not be parsed again to verify with them: those of a consortium
_FIELD: Final = 2**255 - 19
_CURVE_D: Final = -121665 * pow(121666, -1, _FIELD) % _FIELD  # RFC 8032, 5.1


class Scheme(StrEnum):
    """What a signing key signs with; the names are those of `securesystemslib`, and FIPS 204's."""

    ED25519 = "ed25519"
    P256 = "ecdsa-sha2-nistp256"
    ML_DSA_65 = "ml-dsa-65"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A public signing key. Can be constructed only from its one canonical PEM.

    Raises:
        MalformedStatement: not a PEM SubjectPublicKeyInfo in canonical form, an algorithm outside `Scheme`, or no
            Ed25519 point or one of low order, under which one signature holds for many messages.
    """

    pem: str
    key_id: KeyId = field(init=False)
    scheme: Scheme = field(init=False)

    def __post_init__(self) -> None:
        part = _load_public(self.pem)
        der = part.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        if _pem_of(part) != self.pem:
            msg = "public key is not in canonical form"
            raise MalformedStatement(msg)
        object.__setattr__(self, "key_id", KeyId(hashlib.sha256(der).hexdigest()))
        object.__setattr__(self, "scheme", _scheme_of(part))

    @classmethod
    def of_pem(cls, pem: str) -> PublicKey:
        """Parse; see the class."""
        return cls(pem=pem)

    def verify(self, data: bytes, signature: bytes) -> None:
        """Check one raw signature over `data`.

        Raises:
            SignatureInvalid: it does not verify, or is not in the one encoding the scheme allows.
        """
        part = _load_public(self.pem)
        try:
            if isinstance(part, MLDSA65PublicKey):
                part.verify(signature, data)
                return
            if isinstance(part, EllipticCurvePublicKey):
                _demand_der(signature)
            key = SSlibKey.from_crypto(part, keyid=self.key_id)
            key.verify_signature(Signature(self.key_id, signature.hex()), data)
        except (InvalidSignature, UnverifiedSignatureError, ValueError) as error:
            msg = "signature does not verify"
            raise SignatureInvalid(msg, key=self.key_id, scheme=self.scheme.value) from error


PEM: Final = Word(
    made=PublicKey.of_pem,
    spell=lambda key: str(key.pem),
    text=Text(most=_PEM_LIMIT),
    called="PublicKey",
    rule="a public signing key in PEM, in canonical form",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The keys that together are one party: everything it signs is signed by each of `signing`.

    `signing` is sorted by key id; `sealing` is an age recipient in its canonical Bech32 text.

    Raises:
        MalformedStatement: no key or more than four, not sorted, repeated, or `sealing` is not a recipient.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            says="signing keys are sorted by key id, each once; the sealing key is an age recipient in canonical form"
        ),
    )

    signing: Annotated[tuple[PublicKey, ...], Many(of=PEM, least=1, most=MAX_SIGNING_KEYS)]
    sealing: Annotated[str, Text(most=4096)]

    def __post_init__(self) -> None:
        ids = [key.key_id for key in self.signing]
        if not 1 <= len(ids) <= MAX_SIGNING_KEYS or ids != sorted(set(ids)):
            msg = "a key set has one to four distinct signing keys, sorted by key id"
            raise MalformedStatement(msg, keys=len(ids))
        try:
            parse_recipient(self.sealing)  # accepts one text for one recipient
        except InvalidInput as error:
            msg = "the sealing key is not an age recipient"
            raise MalformedStatement(msg) from error

    @classmethod
    def of(cls, keys: Sequence[PublicKey], sealing: str) -> KeySet:
        """Make a key set of keys in any order."""
        return cls(signing=tuple(sorted(keys, key=lambda key: key.key_id)), sealing=sealing)

    @property
    def text(self) -> str:
        """The lines whose SHA-256 is the fingerprint."""
        lines = ["pht-key-set-v1"]
        lines += [f"sign {key.scheme.value} {key.key_id}" for key in self.signing]
        lines += [f"seal {self.sealing}"]
        return "".join(f"{line}\n" for line in lines)

    @property
    def fingerprint(self) -> Digest:
        """The name of the whole set: what a route pins and what is read over the phone."""
        return digest_of(self.text.encode())


class Signer(Protocol):
    """A private signing key, wherever it is kept."""

    @property
    def public(self) -> PublicKey:
        """Its public half."""

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data`."""


class SoftwareSigner:
    """A `Signer` whose key is in this process's memory. Its `repr` is its key id."""

    __slots__ = ("_private", "public")

    def __init__(self, private: PrivatePart) -> None:
        self._private = private
        self.public = PublicKey.of_pem(_pem_of(private.public_key()))

    @classmethod
    def generate(cls, scheme: Scheme) -> SoftwareSigner:
        """Make a new key from the operating system's randomness."""
        match scheme:
            case Scheme.ED25519:
                return cls(Ed25519PrivateKey.generate())
            case Scheme.P256:
                return cls(generate_ec(SECP256R1()))
            case Scheme.ML_DSA_65:
                return cls(MLDSA65PrivateKey.generate())

    @classmethod
    def of_pkcs8(cls, pem: bytes) -> SoftwareSigner:
        """Parse an unencrypted PKCS#8 private key in PEM (RFC 5958).

        Raises:
            KeyUnreadable: not one, encrypted, or of an algorithm outside `Scheme`.
        """
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            msg = "not an unencrypted PKCS#8 private key in PEM"
            raise KeyUnreadable(msg, hint="openssl pkcs8 -topk8 -nocrypt converts most forms") from error
        if isinstance(private, Ed25519PrivateKey | MLDSA65PrivateKey) or (
            isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP256R1)
        ):
            return cls(private)
        msg = "private key is of a kind that this software does not support"
        raise KeyUnreadable(msg, known=", ".join(Scheme))

    def to_pkcs8(self) -> bytes:
        """Return the private key as unencrypted PKCS#8 in PEM; the caller encrypts what it stores."""
        return self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, data: bytes) -> bytes:
        """Return the raw signature over `data`."""
        if isinstance(self._private, MLDSA65PrivateKey):
            return self._private.sign(data)
        return bytes.fromhex(self.for_tuf().sign(data).signature)

    def for_tuf(self) -> CryptoSigner:
        """Return the key as `securesystemslib` and TUF know it: there, ML-DSA-65 signs what TAP 21 says."""
        return CryptoSigner(self._private)

    def __repr__(self) -> str:
        return f"SoftwareSigner({self.public.key_id!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Everything private a party holds. Not printable.

    Raises:
        MalformedStatement: the keys do not make a key set.
    """

    signers: tuple[Signer, ...] = field(repr=False)
    identity: Identity = field(repr=False)
    key_set: KeySet = field(init=False)

    def __post_init__(self) -> None:
        public = [signer.public for signer in self.signers]
        object.__setattr__(self, "key_set", KeySet.of(public, str(self.identity.recipient)))


def generate(schemes: Sequence[Scheme]) -> Secrets:
    """Make a new set of keys: one signing key per scheme, and a hybrid post-quantum sealing identity.

    Raises:
        InvalidInput: no scheme, more than four, or one named twice.
    """
    if not 1 <= len(schemes) <= MAX_SIGNING_KEYS or len(set(schemes)) != len(schemes):
        msg = "name one to four different signature schemes"
        raise InvalidInput(msg, given=", ".join(schemes))
    signers = tuple(SoftwareSigner.generate(scheme) for scheme in schemes)
    return Secrets(signers=signers, identity=HybridIdentity.generate())


def spell(fingerprint: Digest) -> str:
    """Spell the first 128 bits of a fingerprint in eight groups, to be read over the phone."""
    return " ".join(fingerprint.hex[at : at + 4] for at in range(0, 32, 4))


def confirms(text: str, fingerprint: Digest) -> bool:
    """Whether `text`, as a person typed it, is this fingerprint: whole, or its first 128 bits as `spell` writes them.

    Raises:
        InvalidInput: it is in neither form.
    """
    digits = re.sub(r"[\s:-]", "", text.lower().removeprefix("sha256:"))
    if re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", digits) is None:
        msg = "not a fingerprint (eight groups of four hexadecimal digits, or sha256: and 64)"
        raise InvalidInput(msg, value=repr(text)[:80])
    return fingerprint.hex.startswith(digits)


def check_fingerprint(given: str, fingerprint: Digest) -> None:
    """Compare a fingerprint that somebody was told with that of the keys that are here.

    Raises:
        KeyNotTrusted: it is another one.
        InvalidInput: it has not the form of one.
    """
    if not confirms(given, fingerprint):
        msg = "the fingerprint differs from the one that was read out"
        raise KeyNotTrusted(msg, found=spell(fingerprint), hint="do not go on: the file may have been exchanged")


def _pem_of(part: PublicPart) -> str:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return part.public_bytes(serialization.Encoding.PEM, spki).decode("ascii")


def _scheme_of(part: PublicPart) -> Scheme:
    match part:
        case Ed25519PublicKey():
            return Scheme.ED25519
        case MLDSA65PublicKey():
            return Scheme.ML_DSA_65
        case _:
            return Scheme.P256


@lru_cache(maxsize=_KNOWN)
def _load_public(pem: str) -> PublicPart:
    """Parse a PEM SubjectPublicKeyInfo of one of the three algorithms."""
    msg = "not a public signing key in PEM"
    if len(pem) > _PEM_LIMIT or not pem.isascii():
        raise MalformedStatement(msg)
    try:
        part = serialization.load_pem_public_key(pem.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedStatement(msg) from error
    if isinstance(part, Ed25519PublicKey):
        _refuse_low_order(part)
        return part
    if isinstance(part, MLDSA65PublicKey):
        return part
    if isinstance(part, EllipticCurvePublicKey) and isinstance(part.curve, SECP256R1):
        return part
    msg = "public key is of a kind that this software does not support"
    raise MalformedStatement(msg, known=", ".join(Scheme))


def _refuse_low_order(part: Ed25519PublicKey) -> None:
    """Refuse the eight points of order 1, 2, 4 and 8, and second encodings of any point (RFC 8032, 5.1.3).

    Calculated rather than looked up: eight times such a point is the neutral one, whose height is 1. What is doubled is
    the height, as the curve's equation gives the square of the other coordinate.
    """
    height = int.from_bytes(part.public_bytes_raw(), "little") & (2**255 - 1)
    if height >= _FIELD or _doubled(_doubled(_doubled(height))) == 1:
        msg = "public key is a point of low order"
        raise MalformedStatement(msg)


def _doubled(height: int) -> int:
    """Return the height of twice a point.

    Raises:
        MalformedStatement: there is no point of that height on the curve.
    """
    up = height * height % _FIELD
    across = (up - 1) * pow(_CURVE_D * up + 1, -1, _FIELD) % _FIELD  # the denominator is never 0: -1/d is no square
    if pow(across, (_FIELD - 1) // 2, _FIELD) not in {0, 1}:
        msg = "public key is no point of the curve"
        raise MalformedStatement(msg)
    return (up + across) * pow(1 - _CURVE_D * across * up, -1, _FIELD) % _FIELD


def _demand_der(signature: bytes) -> None:
    """Refuse an ECDSA signature in any encoding but its DER form (X.690, 10; RFC 3279, 2.2.3)."""
    if encode_dss_signature(*decode_dss_signature(signature)) != signature:
        msg = "not DER"
        raise ValueError(msg)
