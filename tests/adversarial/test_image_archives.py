"""What does an image archive do to whoever publishes it? (T17)"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.base.archive import from_stream
from registry.base.store import base_repository, push_base
from registry.base.stream import MOST_AT_ONCE
from registry.memory import MemoryRegistry
from security.errors import ArchiveRejected, BudgetExceeded, Malformed

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip in two members": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
DATA = b"layer " * 600_000


def archive(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def header(kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, size
    return member.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("how", PACKERS)
def test_an_archive_comes_out_as_it_went_in_however_it_is_packed(tmp_path: Path, how: str) -> None:
    packed = PACKERS[how](archive(("manifest.json", b"[]"), ("0" * 150 + "/layer.tar", DATA)))
    found = from_stream(io.BytesIO(packed), tmp_path)
    assert found.path("0" * 150 + "/layer.tar").read_bytes() == DATA
    assert found.read("manifest.json") == b"[]"


@pytest.mark.parametrize("raw", [b"\x1f\x8b\x08", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"", b"BZh9garbage", b"x" * 512])
def test_an_archive_of_a_few_bytes_is_refused(tmp_path: Path, raw: bytes) -> None:
    """Three bytes of gzip used to be an internal error."""
    with pytest.raises(ArchiveRejected):
        push_base(MemoryRegistry(), base_repository("debian"), io.BytesIO(raw), room=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["gzip", "bzip2", "xz"])
def test_a_cut_archive_is_refused(tmp_path: Path, how: str) -> None:
    packed = PACKERS[how](archive(("layer.tar", DATA)))
    with pytest.raises(ArchiveRejected):
        from_stream(io.BytesIO(packed[: len(packed) // 2]), tmp_path)


BOMBS = {
    "pax": lambda size: header(tarfile.XHDTYPE, size),
    "global pax": lambda size: header(tarfile.XGLTYPE, size),
    "long name": lambda size: header(tarfile.GNUTYPE_LONGNAME, size),
    "long link": lambda size: header(tarfile.GNUTYPE_LONGLINK, size),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_description_that_claims_hundreds_of_megabytes_takes_no_memory(tmp_path: Path, what: str) -> None:
    size = 64 << 20
    packed = gzip.compress(BOMBS[what](size) + bytes(size), compresslevel=6)
    assert len(packed) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(BudgetExceeded):
            from_stream(io.BytesIO(packed), tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MOST_AT_ONCE


def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    """Each describes the next: `tarfile` goes one deeper for each of them."""
    record = b"12 a=bcdefg\n".ljust(512, b"\0")
    with pytest.raises(Malformed):
        from_stream(io.BytesIO((header(tarfile.XHDTYPE, 12) + record) * 2_000), tmp_path)


def test_a_number_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    record = b"9" * 5_000 + b" a=b\n"
    raw = header(tarfile.XHDTYPE, len(record)) + record.ljust(-(-len(record) // 512) * 512, b"\0")
    with pytest.raises(Malformed):
        from_stream(io.BytesIO(raw + header(tarfile.REGTYPE, 0)), tmp_path)


def described(number: int, key: str, size: int) -> bytes:
    """A member whose description has a text of so many bytes."""
    text = f" {key}=".encode() + bytes([97 + number % 26]) * size + b"\n"
    record = str(len(text) + len(str(len(text) + 7))).encode() + text
    while int(record.split(b" ", 1)[0]) != len(record):
        record = str(len(record)).encode() + text
    padded = record.ljust(-(-len(record) // 512) * 512, b"\0")
    return header(tarfile.XHDTYPE, len(record)) + padded + header(tarfile.REGTYPE, 0)


@pytest.mark.parametrize("key", ["comment", "path", "linkpath"])
def test_many_members_with_long_descriptions_take_the_memory_of_one(tmp_path: Path, key: str) -> None:
    size = MOST_AT_ONCE - (200 << 10)
    packed = gzip.compress(b"".join(described(number, key, size) for number in range(40)), compresslevel=6)
    assert len(packed) < 200_000
    tracemalloc.start()
    try:
        try:
            found = from_stream(io.BytesIO(packed), tmp_path)
            assert len(found.files) == 1
        except BudgetExceeded:
            assert key != "comment"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MOST_AT_ONCE
