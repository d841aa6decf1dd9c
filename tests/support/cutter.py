"""What if the connection to a registry breaks, again and again?

A TCP proxy that closes a connection after so many bytes went through it, for a number of times, and counts them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class Cutter:
    """Between a client and the registry at `url`: cuts `times` connections after `after` bytes of requests.

    Or after `down` bytes of answers. ``sent`` and ``received`` are the bytes that went through, since they were last set.
    """

    def __init__(self, url: str, *, after: int = 1 << 62, down: int = 1 << 62, times: int) -> None:
        parts = urlsplit(url)
        self._target = (str(parts.hostname), int(parts.port or 80))
        self._after, self._down, self.left = after, down, times
        self.sent = self.received = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._target)
            self._open += [client, server]
            for work in (self._forward, self._back):
                thread = threading.Thread(target=work, args=(client, server), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        sent = 0
        with contextlib.suppress(OSError), client, server:
            while data := client.recv(65536):
                if self.left and sent + len(data) > self._after:
                    server.sendall(data[: self._after - sent])
                    self.left -= 1
                    break
                server.sendall(data)
                sent += len(data)
                self.sent += len(data)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        received = 0
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.left and received + len(data) > self._down:
                    self.left -= 1
                    break
                client.sendall(data)
                received += len(data)
                self.received += len(data)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop; what is under way is cut."""
        for end in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(10)
