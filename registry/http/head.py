"""How long may the head of a response be, and how long may it take?

`http.client` bounds each line and the number of headers, and a socket's timeout bounds the wait for each byte. That
leaves a server free to send interim responses or trailers without end, or a line byte by byte for days (attack T15). So
everything that is read line by line has a budget of bytes and of time, which starts again with every piece of body.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

if TYPE_CHECKING:
    from typing_extensions import Buffer

MOST: Final = 64 << 10  # bytes of a status line, interim responses and headers together
_PATIENCE: Final = 60.0  # seconds, for a socket without a timeout


def limit_heads(manager: PoolManager) -> None:
    """Have every connection of `manager` read the heads of responses within these bounds."""
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


class _Stream(io.BufferedReader):
    """The bytes a server sends: lines within a budget, bodies unchanged."""

    def __init__(self, raw: io.RawIOBase, patience: float) -> None:
        super().__init__(raw)
        self._patience = patience
        self._begin(2 * patience)  # once until the response begins, once until its head is complete

    def _begin(self, seconds: float) -> None:
        self._left, self._seconds = MOST, seconds
        self._until: float | None = None

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line, or its beginning if it is longer than `size`.

        Raises:
            TimeoutError: the server takes too long over it.
            HTTPException: there are more bytes than allowed.
        """
        if self._until is None:
            self._until = time.monotonic() + self._seconds
        most = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        line = bytearray()
        while len(line) < most and not line.endswith(b"\n"):
            if time.monotonic() > self._until:
                msg = "head of a response arrives too slowly"
                raise TimeoutError(msg)
            seen = self.peek(1)[: most - len(line)]  # waits for the connection once, if at all
            if not seen:
                break
            line += super().read(seen.find(b"\n") + 1 or len(seen))
        self._left -= len(line)
        if self._left < 0:
            msg = "head of a response is longer than allowed"
            raise http.client.HTTPException(msg)
        return bytes(line)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read a piece of the body."""
        self._begin(self._patience)
        return super().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        """Read what has arrived of the body."""
        self._begin(self._patience)
        return super().read1(size)

    def readinto(self, buffer: Buffer, /) -> int:
        """Read a piece of the body into `buffer`."""
        self._begin(self._patience)
        return super().readinto(buffer)


class _Response(http.client.HTTPResponse):
    """A response whose head, chunk sizes and trailers are read by `_Stream`."""

    def __init__(self, sock: Any, *others: Any, **named: Any) -> None:  # noqa: ANN401 - the library's arguments
        super().__init__(sock, *others, **named)
        self.fp = _Stream(self.fp.detach(), sock.gettimeout() or _PATIENCE)


class _Http(HTTPConnection):
    response_class = _Response


class _Https(HTTPSConnection):
    response_class = _Response


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https
