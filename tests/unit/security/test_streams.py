"""Bytes pass whole, whatever the streams on both sides are like."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from security.streams import fill, pour

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Plain:
    """A source with nothing but ``read``, of five bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(5, size))


class Full:
    """A sink that takes ten bytes, and no more."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: Buffer, /) -> int:
        taken = bytes(data)[: 10 - len(self.data)]
        self.data += taken
        return len(taken)


@pytest.mark.parametrize("make", [Plain, io.BytesIO])
def test_a_buffer_is_filled_unless_the_source_ends(make: type[Plain | io.BytesIO]) -> None:
    source, buffer = make(b"twelve bytes"), memoryview(bytearray(8))
    assert fill(source, buffer) == 8
    assert bytes(buffer) == b"twelve b"
    assert fill(source, buffer) == 4
    assert bytes(buffer[:4]) == b"ytes"
    assert fill(source, buffer) == 0


def test_a_sink_that_takes_no_more_is_an_error_and_not_a_loss() -> None:
    sink = Full()
    pour(sink, b"ten bytes!")
    with pytest.raises(BlockingIOError):
        pour(sink, b"more")
    assert sink.data == b"ten bytes!"
