"""A mask is what RFC 5869 and RFC 8439 say it is, and another for every pair, train, round and path."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import struct
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from security.digest import digest_of
from security.sums.errors import MaskKeyRejected, SumInvalid
from security.sums.mask import KeyStream, MaskKey, MaskPublicKey, Occasion, PairSecret, new_seed
from tests.support.sums import OCCASION, chance, key_of, seed_of

FIELD = 2**255 - 19
ORDER_8 = (
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
)


def little(number: int) -> bytes:
    return number.to_bytes(32, "little")


LOW_ORDER = [
    *(little(number) for number in (0, 1, FIELD - 1)),
    *ORDER_8,
    *(little(number) for number in (FIELD, FIELD + 1)),
    *(little(number + 2**255) for number in (0, 1, FIELD - 1, FIELD, FIELD + 1)),
    *(little(int.from_bytes(point, "little") + 2**255) for point in ORDER_8),
]
IF_THE_HIGHEST_BIT_COUNTED = [
    *(little(number) for number in (2 * FIELD - 1, 2 * FIELD, 2 * FIELD + 1)),
    *(little(number) for number in (int.from_bytes(point, "little") + FIELD for point in ORDER_8)),
]
"""Of low order for who does not mask that bit, as RFC 7748 demands; for who does, other keys in a second spelling."""


# Written out from the standards, beside what the package uses.


def extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, hashlib.sha256)


def expand(key: bytes, info: bytes, length: int) -> bytes:
    blocks, last = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        last = hmac.digest(key, last + info + bytes([counter]), hashlib.sha256)
        blocks += last
    return blocks[:length]


def chacha20(key: bytes) -> Iterator[bytes]:
    """Yield the blocks of RFC 8439, section 2.3, with a nonce of zeros."""
    for counter in itertools.count():
        start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", key), counter, 0, 0, 0]
        state = list(start)
        for _ in range(10):
            for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
                quarter(state, a, b, c, d)
            for a, b, c, d in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                quarter(state, a, b, c, d)
        yield struct.pack("<16I", *((one + other) % 2**32 for one, other in zip(start, state, strict=True)))


def quarter(state: list[int], a: int, b: int, c: int, d: int) -> None:
    for to, of, onto, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[to] = (state[to] + state[of]) % 2**32
        mixed = state[onto] ^ state[to]
        state[onto] = (mixed << by | mixed >> 32 - by) % 2**32


def taken(stream: KeyStream, size: int) -> bytes:
    buffer = bytearray(size)
    stream.fill(memoryview(buffer))
    return bytes(buffer)


def test_what_the_test_writes_out_is_what_the_standards_say() -> None:
    """RFC 5869, A.1 to A.3; RFC 8439, A.1."""
    for secret, salt, info, key, output in (
        (
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            bytes(range(80)).hex(),
            bytes(range(0x60, 0xB0)).hex(),
            bytes(range(0xB0, 0x100)).hex(),
            "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
            (
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
                "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
            ),
        ),
        (
            "0b" * 22,
            "",
            "",
            "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ):
        found = extract(bytes.fromhex(salt), bytes.fromhex(secret))
        assert found.hex() == key
        assert expand(found, bytes.fromhex(info), len(output) // 2).hex() == output
    assert next(chacha20(bytes(32))).hex().startswith("76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1a")


@pytest.mark.parametrize(
    ("key", "block", "stream"),
    [
        (
            "00" * 32,
            0,
            (
                "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
                "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
            ),
        ),
        (
            "00" * 32,
            1,
            (
                "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
                "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
            ),
        ),
        (
            "00" * 31 + "01",
            1,
            (
                "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
                "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"
            ),
        ),
        (
            "00ff" + "00" * 30,
            2,
            (
                "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca"
                "13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096"
            ),
        ),
    ],
)
def test_a_key_stream_is_that_of_rfc_8439(key: str, block: int, stream: str) -> None:
    """Section A.1, vectors 1 to 4."""
    found = taken(KeyStream(bytes.fromhex(key)), 64 * (block + 1))
    assert found[-64:].hex() == stream


def test_a_key_stream_goes_on_where_it_was() -> None:
    whole = taken(KeyStream(bytes(range(32))), 1 << 20)
    stream = KeyStream(bytes(range(32)))
    parts = [taken(stream, size) for size in (1, 63, 64, 65, 1000, 1 << 18, (1 << 18) + 1)]
    assert whole.startswith(b"".join(parts))
    blocks = chacha20(bytes(range(32)))
    assert whole.startswith(b"".join(next(blocks) for _ in range(40)))


def field(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


@pytest.mark.parametrize(("own", "other"), [(0, 1), (4, 2), (300, 7)])
def test_a_mask_is_what_the_design_says(own: int, other: int) -> None:
    first, second = sorted((own, other))
    private = X25519PrivateKey.from_private_bytes(chance("train", "key", own))
    public = X25519PublicKey.from_public_bytes(key_of(other).public.public)
    secret = expand(extract(b"pht-mask-v1", private.exchange(public) + seed_of(own, other)), b"", 32)
    info = b"".join(
        (
            field(b"pht-mask-stream-v1"),
            field(hashlib.sha256(b"departure").digest()),
            field(struct.pack("<I", 3)),
            field(b"model/gradient.npy"),
            field(struct.pack("<I", first)),
            field(struct.pack("<I", second)),
        )
    )
    blocks = chacha20(expand(secret, info, 32))
    expected = b"".join(next(blocks) for _ in range(8))
    pair = key_of(own).pair_with(key_of(other).public, seed_of(own, other))
    assert taken(pair.stream(OCCASION, adds=first, subtracts=second), 512) == expected


def test_a_mask_that_was_computed_once_is_computed_always() -> None:
    one, other = MaskKey(bytes(range(32))), MaskKey(bytes(range(32, 64)))
    pair = one.pair_with(other.public, bytes(range(64, 96)))
    occasion = Occasion(hangs_on=digest_of(b""), round=0, path="sum.json")
    found = taken(pair.stream(occasion, adds=0, subtracts=1), 32).hex()
    assert found == "bc7a4ef04a606ee934ce0580833f58a294b290051bce575fd213bbe25599d5c8"


def test_both_of_a_pair_share_one_secret() -> None:
    one = key_of(1).pair_with(key_of(2).public, seed_of(1, 2))
    two = key_of(2).pair_with(key_of(1).public, seed_of(1, 2))
    assert taken(one.stream(OCCASION, adds=1, subtracts=2), 99) == taken(two.stream(OCCASION, adds=1, subtracts=2), 99)


def test_everything_that_differs_makes_another_mask() -> None:
    departure, other = digest_of(b"departure"), digest_of(b"another")

    def stream(
        on: Occasion = OCCASION, adds: int = 1, subtracts: int = 2, own: int = 1, seed: bytes = seed_of(1, 2)
    ) -> bytes:
        return taken(key_of(own).pair_with(key_of(5).public, seed).stream(on, adds=adds, subtracts=subtracts), 32)

    found = [
        stream(),
        stream(Occasion(hangs_on=other, round=3, path="model/gradient.npy")),
        stream(Occasion(hangs_on=departure, round=4, path="model/gradient.npy")),
        stream(Occasion(hangs_on=departure, round=3, path="model/gradient.npz")),
        stream(Occasion(hangs_on=departure, round=3, path="model/gradient.npy\0")),
        stream(Occasion(hangs_on=departure, round=3, path="model/gradient.npy\x04\0\0\0\x01\0\0\0")),
        stream(adds=2, subtracts=1),
        stream(adds=1, subtracts=3),
        stream(adds=0, subtracts=2),
        stream(own=2),
        stream(seed=seed_of(1, 3)),
        stream(seed=bytes(32)),
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
def test_a_point_of_low_order_is_no_mask_key(point: bytes) -> None:
    shared_with_anybody(point)
    with pytest.raises(MaskKeyRejected):
        MaskPublicKey(public=point)


@pytest.mark.parametrize("point", IF_THE_HIGHEST_BIT_COUNTED, ids=bytes.hex)
def test_nor_is_what_others_take_for_one(point: bytes) -> None:
    with pytest.raises(MaskKeyRejected):
        MaskPublicKey(public=point)


def shared_with_anybody(point: bytes) -> None:
    """Every exchange with it ends in zeros, which the library itself refuses to hand out."""
    for number in range(3):
        with pytest.raises(ValueError, match="shared key"):
            X25519PrivateKey.from_private_bytes(chance(number)).exchange(X25519PublicKey.from_public_bytes(point))


def test_a_mask_key_has_one_spelling() -> None:
    number = int.from_bytes(key_of(1).public.public, "little")
    for other in (little(number + 2**255), little(FIELD + 9)):  # the base point is 9
        with pytest.raises(MaskKeyRejected):
            MaskPublicKey(public=other)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_keys_and_seeds_have_one_size(size: int) -> None:
    makers: tuple[Callable[[bytes], object], ...] = (
        lambda data: MaskPublicKey(public=data),
        MaskKey,
        lambda data: key_of(1).pair_with(key_of(2).public, data),
    )
    for make in makers:
        with pytest.raises(MaskKeyRejected):
            make(bytes(size))


def test_nobody_shares_a_mask_with_itself() -> None:
    with pytest.raises(MaskKeyRejected):
        key_of(1).pair_with(key_of(1).public, new_seed())


@pytest.mark.parametrize(("number", "path"), [(-1, "a"), (2**32, "a"), (0, ""), (0, "a" * 4097), (0, "\ud800")])
def test_an_occasion_is_one_that_can_be(number: int, path: str) -> None:
    with pytest.raises(SumInvalid):
        Occasion(hangs_on=digest_of(b""), round=number, path=path)


def test_what_is_made_is_never_made_twice_and_comes_back() -> None:
    keys = [MaskKey.generate() for _ in range(20)]
    assert len({key.public.public for key in keys} | {new_seed() for _ in range(20)}) == 40
    assert all(MaskKey(key.secret()).public == key.public for key in keys)


def test_t20_secrets_are_in_no_text() -> None:
    key = key_of(1)
    pair = PairSecret(chance("pair"))
    shown = f"{key!r} {key} {pair!r} {pair} {pair.stream(OCCASION, adds=0, subtracts=1)!r}"
    for secret in (key.secret(), chance("pair")):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
