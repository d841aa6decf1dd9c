"""What if a daemon is killed in the middle of a request?

A TCP proxy before a registry. `hold` stops the next request that begins like this, either before the registry has seen
it or before the client has seen the answer, so that a test knows exactly what has happened and what the client knows. What was asked is
listed.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_PIECE = 1 << 18
_REQUEST = re.compile(rb"(?:GET|HEAD|POST|PUT|PATCH|DELETE) /[!-~]* HTTP/1\.1\r\n")
_LONGEST = 400


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    """One request that is not to be completed."""

    begin: bytes
    after: bool
    reached: threading.Event = field(default_factory=threading.Event)


class Barrier:
    """Lets everything through to the registry at `url`, but what is held."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        self._hold: Hold | None = None
        self._free = threading.Event()
        self._free.set()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def hold(self, begin: str, *, after: bool) -> Hold:
        """Stop the next request that begins like this; `after` the registry has answered it, or before it sees it."""
        self._hold = Hold(begin=begin.encode(), after=after)
        return self._hold

    def hang(self) -> None:
        """Let nothing through any more, in neither direction, and break nothing off."""
        self._free.clear()

    def free(self) -> None:
        """Let everything through that has waited."""
        self._free.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:  # the registry is away, and so is its proxy
                client.close()
                continue
            self._open += [client, server]
            silent: list[Hold] = []
            for work in (self._forward, self._back):
                thread = threading.Thread(target=work, args=(client, server, silent), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _forward(self, client: socket.socket, server: socket.socket, silent: list[Hold]) -> None:
        tail = b""
        with contextlib.suppress(OSError), client, server:
            while data := client.recv(_PIECE):
                self._free.wait()
                self._note(tail[-_LONGEST:], data)
                wanted = self._hold
                if wanted is not None and wanted.begin in tail[1 - len(wanted.begin) :] + data:
                    self._hold = None
                    if not wanted.after:
                        wanted.reached.set()
                        while client.recv(_PIECE):
                            pass
                        break
                    silent.append(wanted)
                tail = data
                server.sendall(data)
            _end(client, server)

    def _note(self, before: bytes, data: bytes) -> None:
        """List the requests whose first line ends in `data`."""
        for found in _REQUEST.finditer(before + data):
            if found.end() > len(before):
                self.asked.append(found[0].split(b" HTTP")[0].decode())

    def _back(self, client: socket.socket, server: socket.socket, silent: list[Hold]) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_PIECE):
                self._free.wait()
                if silent:
                    silent[0].reached.set()
                    return
                client.sendall(data)
            _end(client, server)

    def close(self) -> None:
        """Stop; what is under way is cut."""
        self.free()
        for end in (self._listener, *self._open):
            _end(end)
            end.close()
        for thread in self._threads:
            thread.join(10)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
