"""How do two halves of a stream's way run on two cores?

Hashing, a cipher and the disk each let other threads run meanwhile. A second thread reads ahead, or writes behind, through four
buffers of a mebibyte. What goes wrong there is raised where the stream is used, and the thread is over when the block is.
"""

from __future__ import annotations

import io
import queue
import threading
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
        self._source = source
        self._free: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[memoryview, int] | BaseException] = queue.SimpleQueue()
        for _ in range(_PIECES):
            self._free.put(memoryview(bytearray(_PIECE)))
        self._piece, self._from, self._to = memoryview(bytearray(0)), 0, 0
        self._failure: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer` as far as something was read. After an error it raises again."""
        window = memoryview(buffer).cast("B")
        if self._failure is not None:
            raise self._failure
        if self._from == self._to and not self._ended:
            self._next()
        count = min(len(window), self._to - self._from)
        window[:count] = self._piece[self._from : self._from + count]
        self._from += count
        return count

    def close(self) -> None:
        """Wait until the thread is over. It reads no further."""
        if not self.closed:
            self._free.put(None)
            self._thread.join()
        super().close()

    def _next(self) -> None:
        if len(self._piece):
            self._free.put(self._piece)
            self._piece = self._piece[:0]
        found = self._full.get()
        if isinstance(found, BaseException):
            self._failure = found
            raise found
        self._piece, self._to = found
        self._from, self._ended = 0, not self._to

    def _run(self) -> None:
        try:
            while (piece := self._free.get()) is not None:
                count = fill(self._source, piece)
                self._full.put((piece, count))
                if not count:
                    break
        except BaseException as error:  # noqa: BLE001 - raised by `readinto`
            self._full.put(error)


class Behind:
    """Writes to `sink` while more is being made. All of it is there after the block, or the block raises."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[tuple[memoryview, int] | None] = queue.SimpleQueue()
        for _ in range(_PIECES):
            self._free.put(memoryview(bytearray(_PIECE)))
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, data: Buffer, /) -> int:
        """Take all of `data`.

        Raises:
            OSError: what was written before could not be.
        """
        left = memoryview(data).cast("B")
        size = len(left)
        while len(left):
            piece = self._free.get()
            if self._failure is not None:
                self._free.put(piece)
                raise self._failure
            count = min(len(piece), len(left))
            piece[:count] = left[:count]
            self._full.put((piece, count))
            left = left[count:]
        return size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._full.put(None)
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (found := self._full.get()) is not None:
            piece, count = found
            if self._failure is None:
                try:
                    pour(self._sink, piece[:count])
                except BaseException as error:  # noqa: BLE001 - raised by `write`, or at the end
                    self._failure = error
            self._free.put(piece)
