"""How do two halves of a stream's way run on two cores?

Hashing, a cipher and the disk each let other threads run meanwhile. A second thread reads ahead, or writes behind, through a few
buffers. What goes wrong there is raised where the stream is used, and the thread is over when the block is.
"""

from __future__ import annotations

import io
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from security.streams import Sink, Source, fill, pour

if TYPE_CHECKING:
    from typing_extensions import Buffer

LARGE: Final = 8 << 20
"""Bytes from which on a second thread is worth being started."""
_PIECE: Final = 1 << 20
_PIECES: Final = 4


class Ahead(io.RawIOBase):
    """Reads `source` before it is asked to. It ends, or raises, where `source` does."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source, self._over = source, False
        self._thread = ThreadPoolExecutor(1)
        self._coming: deque[Future[memoryview]] = deque()
        self._piece, self._used = memoryview(b""), 0
        for _ in range(_PIECES):
            self._read_into(memoryview(bytearray(_PIECE)))

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer` as far as something was read. After an error it raises again."""
        window = memoryview(buffer).cast("B")
        if self._used == len(self._piece):
            following = self._coming[0].result()
            if len(following):
                self._coming.popleft()
                self._piece, self._used = following, 0
        count = min(len(window), len(self._piece) - self._used)
        window[:count] = self._piece[self._used : self._used + count]
        self._used += count
        if count and self._used == len(self._piece):
            self._read_into(memoryview(self._piece.obj))
        return count

    def close(self) -> None:
        """Wait until the thread is over. It reads no further."""
        self._thread.shutdown(cancel_futures=True)
        super().close()

    def _read_into(self, piece: memoryview) -> None:
        self._coming.append(self._thread.submit(self._fill, piece))

    def _fill(self, piece: memoryview) -> memoryview:
        count = 0
        if not self._over:
            self._over = True  # and stays so if this fails
            count = fill(self._source, piece)
            self._over = not count
        return piece[:count]


class Behind:
    """Writes to `sink` while more is being made. All of it is there after the block, or the block raises."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._broken = sink, False
        self._thread = ThreadPoolExecutor(1)
        self._free = [memoryview(bytearray(_PIECE)) for _ in range(_PIECES)]
        self._going: deque[Future[memoryview]] = deque()

    def write(self, data: Buffer, /) -> int:
        """Take all of `data`.

        Raises:
            OSError: what was written before could not be.
        """
        left = memoryview(data).cast("B")
        size = len(left)
        while len(left):
            piece = self._next_free()
            count = min(len(piece), len(left))
            piece[:count] = left[:count]
            self._going.append(self._thread.submit(self._pour, piece, count))
            left = left[count:]
        return size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._thread.shutdown(cancel_futures=error is not None)
        if error is None:
            for one in self._going:
                one.result()

    def _next_free(self) -> memoryview:
        if self._free:
            return self._free.pop()
        free = self._going[0].result()  # stays the first if it failed, so that nothing after it is taken for written
        self._going.popleft()
        return free

    def _pour(self, piece: memoryview, count: int) -> memoryview:
        if not self._broken:
            self._broken = True  # and stays so if this fails
            pour(self._sink, piece[:count])
            self._broken = False
        return piece
