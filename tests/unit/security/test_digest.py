"""A digest has one spelling, and what is read is what was announced or is refused for good."""

from __future__ import annotations

import hashlib
import io

import pytest

from security.digest import CheckedReader, Digest, digest_of, digest_stream
from security.errors import BudgetExceeded, DigestMismatch, MalformedStatement, PhtError

DATA = b"what was announced"


class Plain:
    """A source with nothing but ``read``."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(5, size))

    def close(self) -> None:
        self._data.close()


def reader(data: bytes, announced: bytes = DATA, size: int | None = None) -> CheckedReader:
    return CheckedReader(io.BytesIO(data), digest_of(announced), len(announced) if size is None else size)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 64,
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "SHA256:" + "a" * 64,
        "sha512:" + "0" * 128,
        "sha256:" + "0" * 64 + "\n",
        " sha256:" + "0" * 64,
        "sha256:" + "\N{ARABIC-INDIC DIGIT ZERO}" * 64,
    ],
)
def test_a_digest_has_one_spelling(text: str) -> None:
    with pytest.raises(MalformedStatement, match="not a sha256 digest"):
        Digest(text)


def test_a_digest_is_that_of_the_bytes() -> None:
    expected = hashlib.sha256(DATA).hexdigest()
    found = digest_of(DATA)
    assert (found, found.hex, found.short) == (f"sha256:{expected}", expected, expected[:12])
    assert Digest.of_hex(expected) == found
    assert repr(found) == f"Digest('sha256:{expected}')"
    for source in (io.BytesIO(DATA), Plain(DATA)):
        assert digest_stream(source) == (found, len(DATA))  # type: ignore[arg-type] # the least a source can be


def test_announced_bytes_are_read_to_their_end() -> None:
    source = io.BytesIO(DATA)
    checked = CheckedReader(source, digest_of(DATA), len(DATA))
    assert checked.readable()
    assert checked.read(4) == DATA[:4]
    assert not checked.complete
    assert checked.read() == DATA[4:]
    assert checked.complete
    assert checked.read(1) == b""
    checked.close()
    checked.close()
    assert source.closed


def test_a_source_may_know_no_more_than_read() -> None:
    assert CheckedReader(Plain(DATA), digest_of(DATA), len(DATA)).read() == DATA  # type: ignore[arg-type]


def test_nothing_asked_for_is_not_the_end() -> None:
    checked = reader(DATA)
    assert checked.readinto(memoryview(bytearray(0))) == 0
    assert not checked.complete
    assert checked.read() == DATA


@pytest.mark.parametrize(
    ("found", "size", "expected"),
    [
        (DATA[:-1], None, DigestMismatch),
        (b"", None, DigestMismatch),
        (DATA[:-1] + b"!", None, DigestMismatch),
        (DATA + b"!", None, BudgetExceeded),
        (DATA + b"!!", None, BudgetExceeded),
        (DATA, len(DATA) + 1, DigestMismatch),
        (DATA, len(DATA) - 1, BudgetExceeded),
        (DATA, 0, BudgetExceeded),
    ],
)
def test_t15_other_bytes_are_refused_however_often_they_are_asked_for(
    found: bytes, size: int | None, expected: type[PhtError]
) -> None:
    checked = reader(found, size=size)
    for _ in range(3):
        with pytest.raises(expected):
            list(iter(lambda: checked.read(7), b""))
        assert not checked.complete


def test_t15_no_more_than_one_byte_is_read_beyond_the_announced_size() -> None:
    source = io.BytesIO(DATA + bytes(100))
    with pytest.raises(BudgetExceeded):
        CheckedReader(source, digest_of(DATA), len(DATA)).read()
    assert source.tell() == len(DATA) + 1
