"""Whatever is signed, listed or typed: what was meant passes, and one bit off does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from security.digest import Digest
from security.directory.card import make_card, parse_card
from security.directory.documents import parse_party, print_party
from security.directory.trust import DirectoryVersion, KeySetRecord, Party, Policy, TrustStore
from security.errors import KeyOutsideValidity, KeyRevoked, Refused, SignatureInvalid
from security.ids import PartyId, Role
from security.keys.keyset import KeySet, PublicKey, Scheme, SoftwareSigner, confirms, generate, spell

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
A = PartyId("hospital-a")
SIGNERS = {scheme: SoftwareSigner.generate(scheme) for scheme in Scheme}
SECRETS = generate([Scheme.ED25519, Scheme.P256])
CARD = make_card(SECRETS, party=A, title="Hospital A", roles=[Role.STATION], now=START).to_bytes()
SETS = [KeySet.of([SoftwareSigner.generate(Scheme.ED25519).public], SECRETS.key_set.sealing) for _ in range(4)]

moments = some.integers(0, 100).map(lambda hours: START + hours * HOUR)


@some.composite
def records(draw: some.DrawFn) -> tuple[KeySetRecord, ...]:
    chosen = draw(some.lists(some.sampled_from(SETS), min_size=1, unique_by=lambda keys: keys.fingerprint))
    found = []
    for key_set in chosen:
        since, length = draw(moments), draw(some.none() | some.integers(0, 50))
        until = None if length is None else since + length * HOUR
        found.append(KeySetRecord(key_set=key_set, since=since, until=until, revoked=draw(some.none() | moments)))
    return tuple(found)


@given(scheme=some.sampled_from(Scheme), data=some.binary(max_size=300), bit=some.integers(0, 10**6))
def test_a_signature_holds_for_exactly_its_data(scheme: Scheme, data: bytes, bit: int) -> None:
    signer = SIGNERS[scheme]
    signature = signer.sign(data)
    signer.public.verify(data, signature)
    position, mask = bit // 8 % len(signature), 1 << bit % 8
    spoiled = bytearray(signature)
    spoiled[position] ^= mask
    with pytest.raises(SignatureInvalid):
        signer.public.verify(data, bytes(spoiled))
    with pytest.raises(SignatureInvalid):
        signer.public.verify(data + b"\0", signature)


@given(scheme=some.sampled_from(Scheme), signature=some.binary(max_size=200))
def test_rubbish_is_no_signature(scheme: Scheme, signature: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        SIGNERS[scheme].public.verify(b"data", signature)


@given(some.text(max_size=400) | some.sampled_from([key.pem for key in SETS[0].signing]))
def test_a_public_key_is_its_own_text_or_refused(text: str) -> None:
    try:
        key = PublicKey.of_pem(text)
    except Refused:
        return
    assert key.pem == text


@settings(max_examples=300)
@given(at=some.integers(0, len(CARD) - 1), byte=some.integers(0, 255))
def test_one_other_byte_never_makes_another_card(at: int, byte: int) -> None:
    spoiled = CARD[:at] + bytes([byte]) + CARD[at + 1 :]
    try:
        card = parse_card(spoiled)
    except Refused:
        return
    assert card == parse_card(CARD)  # such as another spelling of the same base64


@given(records())
def test_a_party_says_again_what_was_printed(key_sets: tuple[KeySetRecord, ...]) -> None:
    party = Party(party=A, title="Ünïversity", roles=frozenset(Role), key_sets=key_sets)
    assert parse_party(print_party(party)) == party


@given(records(), moments)
def test_what_is_current_is_also_pinned_and_nothing_newer_is_in_force(
    key_sets: tuple[KeySetRecord, ...], now: datetime
) -> None:
    party = Party(party=A, title="A", roles=frozenset({Role.STATION}), key_sets=key_sets)
    trust = TrustStore(
        version=DirectoryVersion(root=1, targets=1), expires=now, parties={A: party}, bases={}, policy=Policy()
    )
    valid = [
        one for one in key_sets if one.revoked is None and one.since <= now and (one.until is None or now < one.until)
    ]
    if valid:
        current = trust.current(A, Role.STATION, now)
        assert trust.pinned(A, Role.STATION, current.fingerprint, now) == current
        assert max(one.since for one in valid) == next(one.since for one in key_sets if one.key_set == current)
    else:
        with pytest.raises(KeyRevoked if all(one.revoked is not None for one in key_sets) else KeyOutsideValidity):
            trust.current(A, Role.STATION, now)


@given(some.binary(min_size=32, max_size=32), some.binary(min_size=32, max_size=32))
def test_a_spelled_fingerprint_confirms_itself_only(one: bytes, other: bytes) -> None:
    first, second = Digest.of_hex(one.hex()), Digest.of_hex(other.hex())
    assert confirms(spell(first), first)
    assert confirms(spell(first), second) == (one[:16] == other[:16])
