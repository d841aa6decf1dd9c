"""T1 at the first meeting: a card that reaches the consortium is not the one the party made."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from security.directory.card import CARD, CARD_TYPE, make_card, parse_card
from security.errors import (
    InvalidInput,
    Malformed,
    MalformedStatement,
    SignatureInvalid,
    SignatureMissing,
)
from security.ids import PartyId, Role
from security.keys.keyset import KeySet, Scheme, Secrets, SoftwareSigner, confirms, generate
from security.statement.envelope import Envelope, Signature, Statement, Subject, parse_statement, print_statement, sign
from tests.support.directories import clock

HONEST = generate([Scheme.ED25519, Scheme.ML_DSA_65])
MALLORY = generate([Scheme.ED25519, Scheme.ML_DSA_65])
PARTY = PartyId("hospital-a")


def card(secrets: Secrets = HONEST) -> Envelope:
    return make_card(secrets, party=PARTY, title="Hospital A", roles=[Role.STATION], now=clock())


def spoiled(**changes: object) -> bytes:
    """Return a card signed by its honest holder, but with other words."""
    statement = parse_statement(card().payload)
    assert isinstance(statement.predicate, dict)
    predicate = {**statement.predicate, **changes}
    words = replace(statement, predicate=json.loads(json.dumps(predicate)))
    return sign(print_statement(words), HONEST.signers).to_bytes()


def test_a_card_says_what_its_party_said() -> None:
    parsed = parse_card(card().to_bytes())
    assert (parsed.party, parsed.title, parsed.roles) == (PARTY, "Hospital A", frozenset({Role.STATION}))
    assert parsed.key_set == HONEST.key_set


def test_t1_a_card_under_other_keys_has_another_fingerprint() -> None:
    exchanged = parse_card(card(MALLORY).to_bytes())
    assert not confirms(str(HONEST.key_set.fingerprint), exchanged.key_set.fingerprint)


def test_t1_a_card_with_one_signature_stripped_is_refused() -> None:
    envelope = card()
    for signature in envelope.signatures:
        with pytest.raises(SignatureMissing):
            parse_card(replace(envelope, signatures=(signature,)).to_bytes())


def test_t1_a_card_of_foreign_keys_without_their_private_halves_is_refused() -> None:
    signatures = card(MALLORY).signatures
    relabelled = tuple(
        Signature(key_id=key.key_id, sig=one.sig) for key, one in zip(HONEST.key_set.signing, signatures, strict=True)
    )
    with pytest.raises(SignatureInvalid):
        parse_card(replace(card(), signatures=relabelled).to_bytes())


def test_t1_a_changed_word_breaks_the_signatures() -> None:
    envelope = card()
    changed = envelope.payload.replace(b"hospital-a", b"hospital-b")
    assert changed != envelope.payload
    with pytest.raises(SignatureInvalid):
        parse_card(replace(envelope, payload=changed).to_bytes())


def test_t1_one_foreign_signing_key_among_own_ones_is_refused() -> None:
    stranger = SoftwareSigner.generate(Scheme.P256).public
    joined = KeySet.of((*HONEST.key_set.signing, stranger), HONEST.key_set.sealing)
    forged = replace(parse_card(card().to_bytes()), key_set=joined)
    with pytest.raises(SignatureMissing):
        parse_card(sign(CARD.print(forged), HONEST.signers).to_bytes())


def test_t1_the_sealing_key_is_under_the_signatures_and_the_fingerprint() -> None:
    with pytest.raises(MalformedStatement):  # signed by its holder, but the subject still names the old set
        parse_card(spoiled(sealing=MALLORY.key_set.sealing))


def test_t1_the_subject_is_the_fingerprint_of_the_keys() -> None:
    statement = parse_statement(card().payload)
    (subject,) = statement.subjects
    for subjects in (
        (replace(subject, name="others"),),
        (replace(subject, digest=MALLORY.key_set.fingerprint),),
        (subject, Subject(name="more", digest=subject.digest)),
    ):
        words = replace(statement, subjects=subjects)
        with pytest.raises(MalformedStatement):
            parse_card(sign(print_statement(words), HONEST.signers).to_bytes())


def test_t1_another_statement_is_no_card() -> None:
    words = Statement(
        subjects=parse_statement(card().payload).subjects, predicate_type=CARD_TYPE + "x", predicate={"party": PARTY}
    )
    with pytest.raises(MalformedStatement):
        parse_card(sign(print_statement(words), HONEST.signers).to_bytes())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("party", "Hospital A"),
        ("title", "\x1b]0;owned\x07"),
        ("roles", ["root"]),
        ("roles", []),
        ("signing", []),
        ("signing", ["-----BEGIN PUBLIC KEY-----"]),
        ("sealing", "age1qqqq"),
        ("madeAt", "now"),
        ("extra", True),
    ],
)
def test_t23_a_malformed_card_is_refused(field: str, value: object) -> None:
    with pytest.raises(Malformed):
        parse_card(spoiled(**{field: value}))


def test_t23_an_endless_card_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(MalformedStatement):
        parse_card(b" " * (300 << 10))


def test_a_card_needs_a_role_and_a_title() -> None:
    for title, roles in (("", [Role.OWNER]), ("two\nlines", [Role.OWNER]), ("x", [])):
        with pytest.raises(InvalidInput):
            make_card(HONEST, party=PARTY, title=title, roles=roles, now=clock())
