"""How does what a container prints come into the workroom, and nowhere else?

The engine keeps no log (log driver ``none``). The station is attached while the run goes on, and writes what comes into a file
of the workroom. Where nobody is attached, the engine drops what comes; where the engine itself is away, the run waits at a
full pipe until it is back: either way it goes on, and only what was printed meanwhile is lost.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import BinaryIO, Final, cast

from security.errors import PhtError
from station.sandbox.order import RunOrder
from station.sandbox.printed import Printed

_PATIENCE: Final = 60
_FRAME: Final = 8
"""Bytes before each piece: the stream, three zeros, the length (Docker Engine API, attach)."""
_LONGEST_HEAD: Final = 1 << 14
_SWITCHED: Final = (b"101", b"200")
_LAST_WORDS: Final = 5.0
"""Seconds that the end of what a run printed may take to arrive after the run has ended."""


class Listeners:
    """The threads of a daemon that listen to runs, by the runs' names."""

    def __init__(self) -> None:
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def begin(self, url: str, version: str, container: str, order: RunOrder) -> None:
        """Attach to a container, started or not, unless it is listened to.

        Raises:
            OSError: the engine does not answer, or does not let us.
        """
        with self._lock:
            known = self._threads.get(order.name)
            if known is not None and known.is_alive():
                return
            printed = Printed(order.printed, order.limits.output_bytes)
            door = _attach(url, version, container)
            thread = threading.Thread(
                target=_listen, args=(door, printed), name=f"listen-{order.name[-8:]}", daemon=True
            )
            self._threads[order.name] = thread
            thread.start()

    def listens(self, name: str) -> bool:
        """Whether somebody listens to this run."""
        with self._lock:
            known = self._threads.get(name)
        return known is not None and known.is_alive()

    def await_end(self, name: str) -> None:
        """Return when everything that an ended run printed is in its file, or after a few seconds."""
        with self._lock:
            known = self._threads.get(name)
        if known is not None:
            known.join(_LAST_WORDS)

    def forget(self, name: str) -> None:
        """Forget a run that was removed."""
        with self._lock:
            self._threads.pop(name, None)


def _attach(url: str, version: str, container: str) -> socket.socket:
    """Ask for the stream of what a container prints. By hand: the client leaks the connection that is switched to it."""
    door = socket.socket(socket.AF_UNIX)
    with contextlib.ExitStack() as stack:
        stack.callback(door.close)
        door.settimeout(_PATIENCE)
        door.connect(url.removeprefix("unix://"))
        asked = f"POST /v{version}/containers/{container}/attach?stream=1&stdout=1&stderr=1 HTTP/1.1"
        door.sendall(f"{asked}\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode("ascii"))
        if _status(door) not in _SWITCHED:
            raise ConnectionRefusedError
        door.settimeout(None)
        stack.pop_all()
    return door


def _status(door: socket.socket) -> bytes:
    """Read the head of an answer, and not one byte more; return its status."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        letter = door.recv(1)
        if not letter or len(head) > _LONGEST_HEAD:
            raise ConnectionAbortedError
        head += letter
    return head.split(b" ", 2)[1]


def _listen(door: socket.socket, printed: Printed) -> None:
    """Write until the stream ends: with the run, or with the engine. What cannot be kept is read all the same."""
    with contextlib.closing(door), contextlib.suppress(OSError), door.makefile("rb") as stream:
        while piece := _piece(cast("BinaryIO", stream)):
            with contextlib.suppress(PhtError):
                printed.write(piece)


def _piece(stream: BinaryIO) -> bytes:
    head = stream.read(_FRAME)
    return stream.read(int.from_bytes(head[4:], "big")) if len(head) == _FRAME else b""
