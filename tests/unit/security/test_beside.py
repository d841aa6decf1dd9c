"""A second thread reads ahead or writes behind: the same bytes, the same errors, and it is over when the block is."""

from __future__ import annotations

import io
import os
import threading
from typing import BinaryIO, cast

import pytest

from security.beside import Ahead, Behind
from security.digest import checked, digest_of
from security.errors import DigestMismatch

DATA = os.urandom((6 << 20) + 7)


class Failing(io.RawIOBase):
    """Gives and takes a mebibyte, and then no more."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._pass(buffer)

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        return self._pass(data)

    def _pass(self, data: memoryview) -> int:
        if self.passed >= 1 << 20:
            msg = "no room"
            raise OSError(msg)
        self.passed += len(data)
        return len(data)


def test_what_is_read_ahead_is_what_is_there() -> None:
    before = threading.active_count()
    with Ahead(io.BytesIO(DATA)) as source:
        assert source.read(3) == DATA[:3]
        assert source.read() == DATA[3:]
        assert source.read(1) == b""
    assert threading.active_count() == before


def test_what_is_not_read_to_its_end_is_let_go() -> None:
    before = threading.active_count()
    with Ahead(io.BytesIO(DATA)) as source:
        source.read(3)
    assert threading.active_count() == before


def test_an_error_comes_after_what_was_read_before_it_and_stays() -> None:
    with Ahead(cast("BinaryIO", Failing())) as source:
        with pytest.raises(OSError, match="no room"):
            source.read()
        with pytest.raises(OSError, match="no room"):
            source.read(1)


def test_the_end_of_what_is_not_as_announced_is_no_end() -> None:
    reader = checked(io.BytesIO(DATA), digest_of(b"others"), len(DATA))
    with Ahead(reader) as source, pytest.raises(DigestMismatch):
        source.read()


def test_what_is_written_behind_is_there_after_the_block() -> None:
    out, before = io.BytesIO(), threading.active_count()
    with Behind(out) as sink:
        sink.write(DATA[:3])
        sink.write(DATA[3:])
    assert out.getvalue() == DATA
    assert threading.active_count() == before


def write_behind(sink: Failing, size: int, *, then: Exception | None = None) -> None:
    with Behind(cast("BinaryIO", sink)) as behind:
        for _ in range(size >> 20):
            behind.write(DATA[: 1 << 20])
        if then is not None:
            raise then


def test_what_cannot_be_written_is_told_while_writing_goes_on_or_at_the_end() -> None:
    with pytest.raises(OSError, match="no room"):
        write_behind(Failing(), 1 << 30)
    with pytest.raises(OSError, match="no room"):
        write_behind(Failing(), 2 << 20)


def test_an_error_in_the_block_is_the_one_that_is_told() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="ours"):
        write_behind(Failing(), 3 << 20, then=ValueError("ours"))
    assert threading.active_count() == before
