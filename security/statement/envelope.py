"""Who signed these bytes, and what do they state?

Statements are in-toto Statements v1 (in-toto attestation framework, spec/v1/statement) inside DSSE envelopes (DSSE
v1.0.2). What is signed is the pre-authentication encoding (PAE) of the payload, so the bytes are verified before they
are parsed, and the verified bytes are the ones that are parsed.

An envelope is malleable (order of signatures, base64 alphabet, white space), so nothing is ever chained or named by its
bytes, but by `Envelope.digest`, the SHA-256 of the PAE.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from security.digest import Digest, digest_of
from security.encoding import Fields, Json, dump_json, parse_json
from security.errors import Malformed, MalformedStatement, SignatureMissing
from security.ids import KeyId
from security.keys.keyset import KeySet, Signer

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
MAX_ENVELOPE: Final = 4 << 20
MAX_SIGNATURES: Final = 8
MAX_PAYLOAD: Final = MAX_ENVELOPE // 4 * 3 - (128 << 10)
"""Bytes of a statement that an envelope has room for, in base64 and with all its signatures."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature of an envelope; nothing is known of it but what it claims."""

    key_id: KeyId
    sig: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A DSSE envelope as it was received: the payload is never re-encoded, and nothing in it is believed."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

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
        return dump_json(
            {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": str(one.key_id), "sig": base64.b64encode(one.sig).decode()} for one in self.signatures
                ],
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified(Generic[T]):
    """A value taken from bytes that every key of a key set has signed. Made in this module only.

    ``digest`` names the signed bytes; ``by`` is the fingerprint of the key set that signed them.
    """

    value: T
    digest: Digest
    by: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a statement is about: a name within the statement and the digest of a blob (in-toto ResourceDescriptor)."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """An in-toto Statement v1."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Json

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


def parse_envelope(raw: bytes) -> Envelope:
    """Parse a DSSE envelope (JSON form).

    Both base64 alphabets are accepted, as DSSE demands; a key id that occurs twice is refused, so that signatures can
    be counted by key.

    Raises:
        MalformedJson, MalformedStatement: not an envelope.
    """
    fields = Fields(parse_json(raw, limit=MAX_ENVELOPE), "envelope")
    payload = _unbase64(fields.text("payload", most=MAX_ENVELOPE), "envelope.payload")
    fields.constant("payloadType", PAYLOAD_TYPE)
    signatures = []
    for one in fields.objects("signatures", least=1, most=MAX_SIGNATURES):
        key_id = one.text("keyid", most=64)
        if re.fullmatch(r"[0-9a-f]{64}", key_id) is None:
            msg = "signature has no key id of ours"
            raise MalformedStatement(msg, field=one.where)
        signatures.append(
            Signature(key_id=KeyId(key_id), sig=_unbase64(one.text("sig", most=16384), f"{one.where}.sig"))
        )
        one.end()
    fields.end()
    if len({one.key_id for one in signatures}) != len(signatures):
        msg = "envelope is signed twice under one key id"
        raise MalformedStatement(msg)
    return Envelope(payload=payload, payload_type=PAYLOAD_TYPE, signatures=tuple(signatures))


def sign(statement: bytes, signers: Sequence[Signer]) -> Envelope:
    """Sign a statement's bytes with every given signer."""
    bare = Envelope(payload=statement, payload_type=PAYLOAD_TYPE, signatures=())
    signed = bare.pae()
    signatures = tuple(Signature(key_id=one.public.key_id, sig=one.sign(signed)) for one in signers)
    return Envelope(payload=statement, payload_type=PAYLOAD_TYPE, signatures=signatures)


def verify(envelope: Envelope, key_set: KeySet) -> Verified[bytes]:
    """Return the payload if *every* key of the set signed it.

    The requirement comes from the directory's key set, not from the envelope: stripping a signature does not lower it
    (attack T21). Signatures under other keys are ignored; they prove nothing and cost nothing.

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
    return Verified(value=envelope.payload, digest=digest_of(signed), by=key_set.fingerprint)


def verified_as(origin: Verified[bytes], value: T) -> Verified[T]:
    """Carry the proof over to what was parsed from the verified bytes."""
    return Verified(value=value, digest=origin.digest, by=origin.by)


def parse_statement(payload: bytes, *, predicate_type: str | None = None) -> Statement:
    """Parse an in-toto Statement v1, of one predicate type if given.

    Raises:
        MalformedJson, MalformedStatement: not such a statement; unknown predicate type, unknown or missing field.
    """
    fields = Fields(parse_json(payload), "statement")
    fields.constant("_type", STATEMENT_TYPE)
    kind = fields.text("predicateType", most=200)
    if predicate_type is not None and kind != predicate_type:
        msg = "statement is of another type"
        raise MalformedStatement(msg, expected=predicate_type, found=kind[:80])
    subjects = []
    for one in fields.objects("subject", least=1, most=16):
        name, digest = one.text("name", most=200), one.fields("digest")
        subjects.append(Subject(name=name, digest=_hex_digest(digest.text("sha256", most=64), digest.where)))
        digest.end()
        one.end()
    predicate = fields.take("predicate")
    fields.end()
    return Statement(subjects=tuple(subjects), predicate_type=kind, predicate=predicate)


def print_statement(statement: Statement) -> bytes:
    """Print a statement; the result is what gets signed and is never printed again."""
    subjects: list[Json] = [{"name": one.name, "digest": {"sha256": one.digest.hex}} for one in statement.subjects]
    return dump_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": subjects,
            "predicateType": statement.predicate_type,
            "predicate": statement.predicate,
        }
    )


def _hex_digest(text: str, where: str) -> Digest:
    if re.fullmatch(r"[0-9a-f]{64}", text) is None:
        msg = "not a sha256 digest"
        raise MalformedStatement(msg, field=where)
    return Digest.of_hex(text)


def _unbase64(text: str, where: str) -> bytes:
    standard = text.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4) if "=" not in text else standard, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = "not base64"
        raise Malformed(msg, field=where) from error
