"""Keys: their texts, what is refused, and that secrets do not show."""

from __future__ import annotations

import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from security.age import (
    HybridIdentity,
    HybridRecipient,
    PassphraseIdentity,
    PassphraseRecipient,
    X25519Identity,
    X25519Recipient,
    bech32,
    parse_identity,
    parse_recipient,
)
from security.age.x25519 import refuse_low_order
from security.errors import InvalidInput

SPEC_IDENTITY = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
SPEC_RECIPIENT = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def test_the_example_of_the_specification() -> None:
    identity = parse_identity(SPEC_IDENTITY)
    assert str(identity.recipient) == SPEC_RECIPIENT
    assert identity.secret_text() == SPEC_IDENTITY


@pytest.mark.parametrize("kind", [HybridIdentity, X25519Identity])
def test_texts_go_round(kind: type[HybridIdentity | X25519Identity]) -> None:
    identity = kind.generate()
    again = parse_identity(identity.secret_text())
    assert again.secret_text() == identity.secret_text()
    assert again.recipient == identity.recipient == parse_recipient(str(identity.recipient))
    assert str(parse_recipient(str(identity.recipient))) == str(identity.recipient)


def test_hybrid_texts_are_told_apart_by_their_prefix() -> None:
    identity = HybridIdentity.generate()
    assert identity.secret_text().startswith("AGE-SECRET-KEY-PQ-1")
    assert str(identity.recipient).startswith("age1pq1")


@pytest.mark.parametrize("kind", [HybridIdentity, X25519Identity])
def test_a_secret_does_not_show(kind: type[HybridIdentity | X25519Identity]) -> None:
    identity = kind.generate()
    secret = identity.secret_text()
    for shown in (repr(identity), str(identity), repr([identity])):
        assert secret[20:40].lower() not in shown.lower()
    for holder in (PassphraseIdentity(b"open sesame"), PassphraseRecipient(b"open sesame")):
        assert "sesame" not in repr(holder) + str(holder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age1",
        "age",
        "1" * 20,
        SPEC_RECIPIENT[:-1],
        SPEC_RECIPIENT[:-1] + "q",
        SPEC_RECIPIENT.replace("z", "b", 1),
        SPEC_RECIPIENT.upper(),
        SPEC_RECIPIENT.replace("age1z", "age1Z"),
        SPEC_RECIPIENT + " ",
        SPEC_IDENTITY,
        bech32.encode("age", bytes(31)),
        bech32.encode("age", bytes(33)),
        bech32.encode("age1pq", bytes(1215)),
        bech32.encode("age1tag", bytes(33)),
        "age1" + "q" * 5000,
        "agé1" + SPEC_RECIPIENT[4:],
    ],
)
def test_what_is_not_a_recipient_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_recipient(text)


@pytest.mark.parametrize(
    "text",
    [
        SPEC_RECIPIENT,
        SPEC_IDENTITY.lower(),
        SPEC_IDENTITY[:-1],
        bech32.encode("age-secret-key-", bytes(31)).upper(),
        bech32.encode("age-secret-key-pq-", bytes(33)).upper(),
    ],
)
def test_what_is_not_an_identity_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_identity(text)
    assert text[20:40].lower() not in str(refusal.value).lower()


def test_padding_bits_of_a_key_text_are_zero() -> None:
    values = [0] * 51 + [1]  # 260 bits for 32 bytes: the last four are padding
    rest = bech32._polymod([*bech32._expand("age"), *values, *[0] * 6]) ^ 1
    text = "age1" + "".join(bech32._ALPHABET[value] for value in values)
    text += "".join(bech32._ALPHABET[(rest >> 5 * (5 - index)) & 31] for index in range(6))
    with pytest.raises(InvalidInput, match="padding"):
        parse_recipient(text)


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_recipient_that_protects_nothing_is_refused(point: str) -> None:
    with pytest.raises(InvalidInput, match="low order"):
        X25519Recipient(public=bytes.fromhex(point))
    with pytest.raises(InvalidInput, match="low order"):
        HybridRecipient(public=HybridIdentity.generate().recipient.public[:1184] + bytes.fromhex(point))


@pytest.mark.parametrize("highest", [0, 1 << 255])
def test_of_low_order_is_what_no_exchange_takes(highest: int) -> None:
    low = [int.from_bytes(bytes.fromhex(point), "little") for point in LOW_ORDER]
    around = {(one + step) % 2**255 for one in low for step in range(-3, 4)}
    for one in around | {int.from_bytes(secrets.token_bytes(31), "little") for _ in range(100)}:
        public = (one | highest).to_bytes(32, "little")
        try:
            X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(public))
        except ValueError:
            assert one in low
            with pytest.raises(InvalidInput, match="low order"):
                refuse_low_order(public)
        else:
            assert one not in low
            refuse_low_order(public)


def test_a_lattice_key_with_coefficients_out_of_range_is_refused() -> None:
    good = HybridIdentity.generate().recipient.public
    with pytest.raises(InvalidInput):
        HybridRecipient(public=b"\xff" * 1184 + good[1184:])


@pytest.mark.parametrize(("passphrase", "log_n"), [(b"", 10), (b"x", 0), (b"x", 23), (b"x", -1)])
def test_a_passphrase_recipient_has_limits(passphrase: bytes, log_n: int) -> None:
    with pytest.raises(InvalidInput):
        PassphraseRecipient(passphrase, log_n)
