"""Keys that hold for too much, and second spellings of keys: what is no key, or somebody else's, under another name."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from security.age import bech32, parse_recipient
from security.age.hybrid import RECIPIENT as HYBRID
from security.age.hybrid import HybridIdentity
from security.age.x25519 import RECIPIENT, X25519Identity
from security.directory.trust import DirectoryVersion, KeySetRecord, Party, Policy, TrustStore
from security.errors import DirectoryRejected, InvalidInput, MalformedStatement, SignatureInvalid
from security.ids import PartyId, Role
from security.keys.keyset import KeySet, PublicKey, Scheme, generate
from tests.support.trains import NOW

# --- Ed25519, by plain arithmetic (RFC 8032, 5.1): independent of the code under test and of any published list

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # of -1

Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    (a, b), (c, d) = one, other
    product = D * a * b * c * d
    return (a * d + b * c) * pow(1 + product, P - 2, P) % P, (b * d + a * c) * pow(1 - product, P - 2, P) % P


def times(count: int, point: Point) -> Point:
    total, power = (0, 1), point
    while count:
        if count & 1:
            total = add(total, power)
        power, count = add(power, power), count >> 1
    return total


def point_at(height: int) -> Point | None:
    square = (height * height - 1) * pow(D * height * height + 1, P - 2, P) % P
    across = pow(square, (P + 3) // 8, P)
    for candidate in (across, across * ROOT % P):
        if candidate * candidate % P == square:
            return candidate, height
    return None


def torsion() -> list[Point]:
    """The eight points whose order divides eight: multiples of one of order eight, found by search."""
    for height in range(2, 100):
        point = point_at(height)
        if point is not None:
            small = times(L, point)
            if times(4, small) != (0, 1):
                return [times(count, small) for count in range(8)]
    raise AssertionError


def encoded(height: int, sign: int) -> bytes:
    return (height | sign << 255).to_bytes(32, "little")


SMALL = torsion()
CANONICAL = sorted(encoded(height, across & 1) for across, height in SMALL)
SECOND = sorted(
    {encoded(height, 1 - (across & 1)) for across, height in SMALL if across == 0}
    | {encoded(height + P, sign) for _, height in SMALL if height + P < 2**255 for sign in (0, 1)}
)
"""Encodings of the same points that a strict reader refuses: a sign on 0, and heights that were not reduced."""


def pem(raw: bytes) -> str:
    key = Ed25519PublicKey.from_public_bytes(raw)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_there_are_eight_such_points_and_six_second_encodings() -> None:
    """As the list that C2SP publishes (CCTV, ed25519) has it: fourteen in all."""
    assert len(set(SMALL)) == len(set(CANONICAL)) == 8
    assert len(SECOND) == 6
    assert not set(CANONICAL) & set(SECOND)
    assert all(times(8, point) == (0, 1) for point in SMALL)


PUBLISHED = """
0000000000000000000000000000000000000000000000000000000000000000
edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
0000000000000000000000000000000000000000000000000000000000000080
edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
0100000000000000000000000000000000000000000000000000000000000000
0100000000000000000000000000000000000000000000000000000000000080
eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05
26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85
c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a
c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa
ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f
ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
"""
"""The encodings of low order that C2SP publishes (CCTV, ed25519/README.md)."""

MIXED = "10eb7c3acfb2bed3e0d6ab89bf5a3d6afddd1176ce4812e38d9fd485058fdb1f"
VECTORS = [
    (4, "ed25519vectors 7", "0000000000000000000000000000000000000000000000000000000000000000", "5e176f12cfb0d4e6eb6929b19ae4c998ef05c1c2cf628a9b1fa1c21312627108", False),
    (5, "ed25519vectors 3", "0000000000000000000000000000000000000000000000000000000000000000", "9472a69cd9a701a50d130ed52189e2455b23767db52cacb8716fb896ffeeac09", True),
    (6, "ed25519vectors 10", "36684ea91032ba5b1dbab2d02f4debc74c3327f2b3802e2e4d371aa42b12b56b", "c02e2b9e63e385c058bf62b14b3a2b29ccefe8e38ddb536bc3f9865320a3d801", False),
    (7, "ed25519vectors", "36684ea91032ba5b1dbab2d02f4debc74c3327f2b3802e2e4d371aa42b12b56b", "bbfd00bd9c259d8d222d15e67a3d8228585050dbb9b9585be20d8fadc721da03", True),
    (16, "ed25519vectors 6", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "1cb421dfbd92aa6c30d550bff53c81cf650ace6deb96a8ec22d2fef84dbbe20b", False),
    (17, "ed25519vectors 3", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "ad7a355469b5c87e550469f6b2de409ee723acd584bf35f86b80c384e8ceb702", False),
    (18, "ed25519vectors 7", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "5e176f12cfb0d4e6eb6929b19ae4c998ef05c1c2cf628a9b1fa1c21312627108", False),
    (19, "ed25519vectors 3", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "9472a69cd9a701a50d130ed52189e2455b23767db52cacb8716fb896ffeeac09", False),
]  # fmt: skip
"""Some of CCTV's ed25519vectors.json: number, message, both halves of the signature, verdict; under a key with a part of low order. RFC 8032 lets a verifier choose: ours, like most,
refuses a point R in a second encoding, and parts of low order that do not cancel out; it takes the rest."""


def test_the_points_that_are_refused_are_those_that_are_published() -> None:
    assert sorted(bytes.fromhex(one) for one in PUBLISHED.split()) == sorted(CANONICAL + SECOND)


@pytest.mark.parametrize(
    ("message", "point", "scalar", "holds"), [one[1:] for one in VECTORS], ids=[str(one[0]) for one in VECTORS]
)
def test_signatures_at_the_edge_are_judged_as_most_verifiers_do(
    message: str, point: str, scalar: str, *, holds: bool
) -> None:
    key = PublicKey.of_pem(pem(bytes.fromhex(MIXED)))
    if holds:
        key.verify(message.encode(), bytes.fromhex(point + scalar))
    else:
        with pytest.raises(SignatureInvalid):
            key.verify(message.encode(), bytes.fromhex(point + scalar))


@pytest.mark.parametrize("raw", CANONICAL + SECOND, ids=bytes.hex)
def test_no_point_of_low_order_is_a_key(raw: bytes) -> None:
    with pytest.raises(MalformedStatement):
        PublicKey.of_pem(pem(raw))


def test_one_signature_under_such_a_key_would_have_passed_for_many_messages() -> None:
    """What the refusal protects from, mounted with a point of order eight on the library as it is."""
    key = next(point for point in SMALL if times(4, point) != (0, 1))
    raw = Ed25519PublicKey.from_public_bytes(encoded(key[1], key[0] & 1))
    forged = encoded(1, 0) + bytes(32)
    passed = 0
    for number in range(64):
        try:
            raw.verify(forged, b"message %d" % number)
            passed += 1
        except Exception:  # noqa: BLE001, S112 - any failure counts as one
            continue
    assert passed > 1


def test_no_second_encoding_of_any_point_is_a_key() -> None:
    """Heights below 19 have room for a second one; most of those points are of full order."""
    others = [height for height in range(19) if point_at(height) is not None]
    assert len(others) > 4
    for height in others:
        for sign in (0, 1):
            with pytest.raises(MalformedStatement):
                PublicKey.of_pem(pem(encoded(height + P, sign)))


def test_what_is_no_point_is_no_key() -> None:
    height = next(height for height in range(2, 100) if point_at(height) is None)
    with pytest.raises(MalformedStatement):
        PublicKey.of_pem(pem(encoded(height, 0)))


def test_a_point_that_is_not_of_low_order_is_a_key() -> None:
    """Also one with a part of low order: what counts is that signatures under it hold for one message."""
    point = next(found for height in range(2, 100) if (found := point_at(height)) and times(8, found) != (0, 1))
    for small in SMALL:
        across, height = add(point, small)
        assert PublicKey.of_pem(pem(encoded(height, across & 1))).scheme is Scheme.ED25519


# --- Sealing keys


def hybrid_again() -> tuple[str, str]:
    """A hybrid key, and the same one with the bit set that X25519 ignores."""
    public = HybridIdentity.generate().recipient.public
    return bech32.encode(HYBRID, public), bech32.encode(HYBRID, public[:-1] + bytes([public[-1] | 0x80]))


def plain_again() -> tuple[str, str]:
    public = X25519Identity.generate().recipient.public
    return bech32.encode(RECIPIENT, public), bech32.encode(RECIPIENT, public[:-1] + bytes([public[-1] | 0x80]))


@pytest.mark.parametrize("spell", [hybrid_again, plain_again])
def test_a_second_spelling_of_a_recipient_is_none(spell: object) -> None:
    assert callable(spell)
    first, second = spell()
    assert str(parse_recipient(first)) == first
    with pytest.raises(InvalidInput, match="canonical"):
        parse_recipient(second)


@pytest.mark.parametrize("number", [P + 9, P + 18, 2**255 - 1, 9 + 2**255])
def test_a_number_that_was_not_reduced_is_no_recipient(number: int) -> None:
    public = HybridIdentity.generate().recipient.public[:-32]
    for prefix, rest in ((HYBRID, public), (RECIPIENT, b"")):
        with pytest.raises(InvalidInput, match="canonical"):
            parse_recipient(bech32.encode(prefix, rest + number.to_bytes(32, "little")))


def test_t1_nobody_escapes_that_a_key_belongs_to_one_party() -> None:
    """Mallory publishes Alice's sealing key as her own: in its one spelling it is found, another is none."""
    alice, mallory = generate([Scheme.ED25519]).key_set, generate([Scheme.ED25519]).key_set
    taken = bech32.decode(alice.sealing)[1]
    with pytest.raises(MalformedStatement):
        KeySet(signing=mallory.signing, sealing=bech32.encode(HYBRID, taken[:-1] + bytes([taken[-1] | 0x80])))
    parties = {
        PartyId(name): Party(
            party=PartyId(name),
            title=name,
            roles=frozenset({Role.OWNER}),
            key_sets=(
                KeySetRecord(
                    key_set=KeySet(signing=keys.signing, sealing=alice.sealing), since=NOW, until=None, revoked=None
                ),
            ),
        )
        for name, keys in (("alice", alice), ("mallory", mallory))
    }
    with pytest.raises(DirectoryRejected):
        TrustStore(
            version=DirectoryVersion(root=1, targets=1),
            expires=NOW + timedelta(days=1),
            parties=parties,
            bases={},
            policy=Policy(),
        )
