"""How do bytes pass completely from one stream to the next, without extra copies?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Source(Protocol):
    """What can be read: every ``BinaryIO`` and raw stream. One that also has ``readinto`` is read without a copy."""

    def read(self, size: int, /) -> bytes | None:
        """Return at most `size` bytes, and none at the end."""


class Sink(Protocol):
    """What can be written to: every ``BinaryIO`` and raw stream, and the writers of ``security.age``."""

    def write(self, data: Buffer, /) -> int | None:
        """Take `data`, or the front of it; return how many bytes were taken."""


def fill(source: Source, buffer: memoryview) -> int:
    """Read until `buffer` is full or `source` ends; return how many bytes were read. Fewer than asked means the end."""
    into = getattr(source, "readinto", None)
    filled = 0
    while filled < len(buffer):
        room = buffer[filled:]
        if into is not None:
            count = into(room) or 0
        else:
            data = source.read(len(room)) or b""
            count = len(data)
            room[:count] = data
        if count == 0:
            break
        filled += count
    return filled


def pour(sink: Sink, data: Buffer) -> None:
    """Write all of `data`: a raw stream may accept less at a time, and silently drop the rest."""
    left = memoryview(data).cast("B")
    while len(left):
        count = sink.write(left)
        if not count:
            msg = "sink accepts no more data"
            raise BlockingIOError(msg)
        left = left[count:]
