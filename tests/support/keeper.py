"""What would a registry do that keeps what came of an upload that was cut, as the specification wants it?

Just enough of one for uploads: a session keeps every byte that arrives, and says how many there are.
"""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PIECE = 1 << 16


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    keeper: Keeper

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.say(200 if self.name in self.server.keeper.stored else 404)

    def do_POST(self) -> None:
        name = str(len(self.server.keeper.sessions) + 1)
        self.server.keeper.sessions[name] = bytearray()
        self.say(202, name)

    def do_GET(self) -> None:
        self.say(204, self.name)

    def do_PATCH(self) -> None:
        if self.take():
            self.say(202, self.name)

    def do_PUT(self) -> None:
        if self.take():
            (digest,) = parse_qs(urlsplit(self.path).query)["digest"]
            found = "sha256:" + hashlib.sha256(self.server.keeper.sessions[self.name]).hexdigest()
            if found == digest:
                self.server.keeper.stored.add(digest)
            self.say(201 if found == digest else 400)

    @property
    def name(self) -> str:
        return urlsplit(self.path).path.rpartition("/")[2]

    def take(self) -> bool:
        """Keep what arrives of a body; whether all of it has."""
        held, left = self.server.keeper.sessions[self.name], int(self.headers.get("Content-Length", "0"))
        begun = self.headers.get("Content-Range", str(len(held))).partition("-")[0]
        if int(begun) != len(held):
            self.rfile.read(left)
            self.say(416)
            return False
        with self.server.keeper.taking:
            while left:
                data = self.rfile.read1(min(left, _PIECE))
                if not data:
                    self.close_connection = True
                    return False
                held += data
                left -= len(data)
        return True

    def say(self, status: int, name: str = "") -> None:
        self.send_response(status)
        if name:
            self.send_header("Location", f"/up/{name}")
            self.send_header("Range", f"0-{max(len(self.server.keeper.sessions[name]) - 1, 0)}")
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


class Keeper:
    """The server. `stored` are the digests of what it took in whole, `sessions` what has come of each upload."""

    def __init__(self) -> None:
        self.stored: set[str] = set()
        self.sessions: dict[str, bytearray] = {}
        self.taking = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.keeper = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Wait until it has taken in what was cut: it notices later than whoever sent it."""
        with self.taking:
            pass

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
