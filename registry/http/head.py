"""How long may the head of an answer be, and how long may it take?

`http.client` bounds each line and the number of headers, and a socket's time-out bounds the wait for each byte. That
leaves a server free to send interim answers or trailers without end, or a line byte by byte for days (attack T15). Here
everything that is read by lines has a budget of bytes and of time.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import time
from collections.abc import Iterator
from typing import Any, Final, cast

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

MOST: Final = 64 << 10  # bytes of a status line, interim answers and headers together
_PATIENCE: Final = 60.0  # seconds, for a socket without a time-out


def hurry(manager: PoolManager) -> None:
    """Have every connection of `manager` read the heads of answers within these bounds."""
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


class _Lines:
    """Reads lines from a connection until bytes or time run out. It is no ``io`` class: those close when collected."""

    def __init__(self, source: io.BufferedReader, patience: float) -> None:
        self._source, self._left, self._until = source, MOST, time.monotonic() + patience

    def readline(self, size: int, /) -> bytes:
        """Return the next line, or its beginning if it is longer than `size`.

        Raises:
            TimeoutError: the server takes too long over it.
            HTTPException: there are more bytes than allowed.
        """
        most = min(size, self._left + 1)
        line = bytearray()
        while len(line) < most and not line.endswith(b"\n"):
            if time.monotonic() > self._until:
                msg = "head of an answer comes too slowly"
                raise TimeoutError(msg)
            seen = self._source.peek(1)[: most - len(line)]  # waits for the connection once, if at all
            if not seen:
                break
            line += self._source.read(seen.find(b"\n") + 1 or len(seen))
        self._left -= len(line)
        if self._left < 0:
            msg = "head of an answer is longer than allowed"
            raise http.client.HTTPException(msg)
        return bytes(line)

    def close(self) -> None:
        """Close the connection's stream: `http.client` gives up an answer it cannot read."""
        self._source.close()


class _Answer(http.client.HTTPResponse):
    """An answer whose head, chunk sizes and trailers are read by `_Lines`."""

    def __init__(self, sock: Any, *others: Any, **named: Any) -> None:  # noqa: ANN401 - the library's arguments
        super().__init__(sock, *others, **named)
        self._patience = sock.gettimeout() or _PATIENCE

    def begin(self) -> None:
        with self._hurried(2 * self._patience):  # once until it begins, once until it is there
            super().begin()

    def _read_next_chunk_size(self) -> int:
        with self._hurried(self._patience):
            return cast("int", super()._read_next_chunk_size())  # type: ignore[misc] # not in the stubs

    def _read_and_discard_trailer(self) -> None:
        with self._hurried(self._patience):
            super()._read_and_discard_trailer()  # type: ignore[misc] # not in the stubs

    @contextlib.contextmanager
    def _hurried(self, patience: float) -> Iterator[None]:
        whole = self.fp
        lines: Any = _Lines(whole, patience)
        self.fp = lines
        try:
            yield
        finally:
            if self.fp is lines:
                self.fp = whole


class _Http(HTTPConnection):
    response_class = _Answer


class _Https(HTTPSConnection):
    response_class = _Answer


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https
