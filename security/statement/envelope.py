"""Who signed these bytes, and what do they state?

Statements are in-toto Statements v1 (in-toto attestation framework, spec/v1/statement) inside DSSE envelopes (DSSE
v1.0.2). What is signed is the pre-authentication encoding (PAE) of the payload, so the bytes are verified before they
are parsed, and the verified bytes are the ones that are parsed.

An envelope is malleable (order of signatures, base64 alphabet, white space), so nothing is chained or named by its
bytes, only by `Envelope.digest`, the SHA-256 of the PAE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, ClassVar, Final, Generic, TypeVar

from security.digest import Digest, digest_of
from security.encoding import Json
from security.errors import MalformedStatement, SignatureMissing
from security.forms.document import Document
from security.forms.form import Base64, Constant, Definitions, Form, Schema, Text, wrong
from security.forms.many import AnyObject, Many
from security.forms.record import Record, Rule, Spelled
from security.ids import KeyId
from security.keys.keyset import KeySet, Signer

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
MAX_ENVELOPE: Final = 4 << 20
MAX_SIGNATURES: Final = 8
_MAX_ENCODED: Final = MAX_ENVELOPE - (176 << 10)
MAX_PAYLOAD: Final = _MAX_ENCODED // 4 * 3
"""Bytes of a statement that an envelope has room for, in base64 and with all its signatures: what is read can be printed."""

SMALL_STATEMENT: Final = 32 << 10
"""Bytes of a statement that is read once: every step of a visit reads those of its train again."""
KNOWN_STATEMENTS: Final = 64
"""How many of these are remembered, those asked for last."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature of an envelope; until it is verified, a mere claim."""

    key_id: Annotated[KeyId, Spelled("keyid")]
    sig: Annotated[bytes, Base64(most=16384)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A DSSE envelope as it was received: the payload is never re-encoded, and nothing in it is believed."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            says="no key id is there twice",
            holds=lambda one: len({each.key_id for each in one.signatures}) == len(one.signatures),
            field="signatures",
        ),
    )

    payload: Annotated[bytes, Base64(most=_MAX_ENCODED)]
    payload_type: Annotated[str, Constant(PAYLOAD_TYPE)]
    signatures: Annotated[tuple[Signature, ...], Many(least=1, most=MAX_SIGNATURES)]

    def pae(self) -> bytes:
        """Return the bytes that are signed (DSSE v1, PAE). The only place in this project that builds them."""
        kind = self.payload_type.encode()
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)

    @property
    def digest(self) -> Digest:
        """The SHA-256 of the signed bytes: the name of the statement."""
        return digest_of(self.pae())

    def to_bytes(self) -> bytes:
        """Print the envelope as JSON."""
        return ENVELOPE.compact(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Generic[T]):
    """A value taken from bytes that every key of a key set has signed. Made in this module only.

    ``digest`` names the signed bytes; ``by`` is the fingerprint of the key set that signed them. The ``signatures`` are those that
    stood beside them: the same bytes under others are verified anew.
    """

    value: T
    digest: Digest
    by: Digest
    signatures: tuple[Signature, ...] = field(repr=False, compare=False)


class Sha256(Form[Digest]):
    """A digest as in-toto writes it: ``{"sha256": "<64 hexadecimal digits>"}``."""

    _DIGITS: Final = Text(least=64, most=64, pattern="[0-9a-f]{64}", says="64 hexadecimal digits")

    def read(self, value: Json, where: str) -> Digest:
        """See `Form.read`."""
        if not isinstance(value, dict) or value.keys() != {"sha256"}:
            wrong(where, "an object with nothing but sha256")
        return Digest.of_hex(self._DIGITS.read(value["sha256"], f"{where}.sha256"))

    def write(self, value: Digest) -> Json:
        """See `Form.write`."""
        return {"sha256": value.hex}

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""

        def make() -> Schema:
            digits: Schema = {"sha256": self._DIGITS.schema(defs)}
            return {"type": "object", "additionalProperties": False, "required": ["sha256"], "properties": digits}

        return defs.refer("sha256", make)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a statement is about: a name within the statement and the digest of a blob (in-toto ResourceDescriptor)."""

    name: Annotated[str, Text(most=200)]
    digest: Annotated[Digest, Sha256()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """An in-toto Statement v1."""

    subjects: Annotated[tuple[Subject, ...], Spelled("subject"), Many(least=1, most=16)]
    predicate_type: Annotated[str, Text(most=200)]
    predicate: Annotated[Json, AnyObject()]

    def subject(self, name: str) -> Digest:
        """Return the digest of the subject called `name`.

        Raises:
            MalformedStatement: there is none, or it is not the only one of that name.
        """
        found = [one.digest for one in self.subjects if one.name == name]
        if len(found) != 1:
            msg = "statement does not have this subject exactly once"
            raise MalformedStatement(msg, subject=name)
        return found[0]


ENVELOPE: Final = Document(
    record=Record(Envelope),
    name="envelope",
    title="A DSSE envelope around a statement",
    limit=MAX_ENVELOPE,
    where="envelope",
)


def parse_envelope(raw: bytes) -> Envelope:
    """Parse a DSSE envelope (JSON form).

    Raises:
        MalformedJson, MalformedStatement: not an envelope, or signed twice under one key id, so that signatures could
            not be counted by key.
    """
    return _parse_small(raw) if len(raw) <= SMALL_STATEMENT else ENVELOPE.parse(raw)


@lru_cache(maxsize=KNOWN_STATEMENTS)
def _parse_small(raw: bytes) -> Envelope:
    return ENVELOPE.parse(raw)


def sign(statement: bytes, signers: Sequence[Signer]) -> Envelope:
    """Sign a statement's bytes with every given signer."""
    bare = Envelope(payload=statement, payload_type=PAYLOAD_TYPE, signatures=())
    signed = bare.pae()
    signatures = tuple(Signature(key_id=one.public.key_id, sig=one.sign(signed)) for one in signers)
    return Envelope(payload=statement, payload_type=PAYLOAD_TYPE, signatures=signatures)


def verify(envelope: Envelope, key_set: KeySet) -> Verified[bytes]:
    """Return the payload if *every* key of the set signed it.

    The requirement comes from the directory's key set, not from the envelope: stripping a signature does not lower it
    (attack T21). Signatures by other keys are ignored: they prove nothing.

    Raises:
        SignatureMissing: a key of the set did not sign.
        SignatureInvalid: a signature under a key of the set is wrong.
    """
    signed = envelope.pae()
    offered = {one.key_id: one.sig for one in envelope.signatures}
    for key in key_set.signing:
        signature = offered.get(key.key_id)
        if signature is None:
            msg = "a required key did not sign"
            raise SignatureMissing(msg, key=key.key_id[:16], scheme=key.scheme.value)
        key.verify(signed, signature)
    return Verified(
        value=envelope.payload, digest=digest_of(signed), by=key_set.fingerprint, signatures=envelope.signatures
    )


def verified_as(origin: Verified[bytes], value: T) -> Verified[T]:
    """Carry the proof over to what was parsed from the verified bytes."""
    return Verified(value=value, digest=origin.digest, by=origin.by, signatures=origin.signatures)


_STATEMENT: Final = Document(
    record=Record(Statement, _type=STATEMENT_TYPE), name="statement", title="An in-toto Statement v1", where="statement"
)


def parse_statement(payload: bytes, *, predicate_type: str | None = None) -> Statement:
    """Parse an in-toto Statement v1, of one predicate type if given.

    Raises:
        MalformedJson, MalformedStatement: not such a statement; unknown predicate type, unknown or missing field.
    """
    statement = _STATEMENT.parse(payload)
    kind = statement.predicate_type
    if predicate_type is not None and kind != predicate_type:
        msg = "statement is of another type"
        raise MalformedStatement(msg, expected=predicate_type, found=kind[:80])
    return statement


def print_statement(statement: Statement) -> bytes:
    """Print a statement; the result is what gets signed and is never printed again."""
    return _STATEMENT.compact(statement)
