"""What would a registry do that lies?

A scripted HTTP server on a thread: for each method and path a reply, exactly as given, and a list of what was asked.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from registry.http.auth import Credentials
from registry.http.remote import LISTING_SECONDS, HttpRegistry
from registry.http.request import Http
from registry.http.terms import Timeouts, Trust
from registry.names import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer. A body of several pieces is sent chunked; ``length`` overrides the true Content-Length."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""
    length: int | None = None
    until_close: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that arrived."""

    method: str
    path: str
    authorization: str | None
    headers: Mapping[str, str]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up: that is what they should do."""


class Liar:
    """The server; `replies` may be changed while it runs. `otherwise` is what it says to all that nothing is set for."""

    def __init__(self, otherwise: Reply | None = None) -> None:
        self.otherwise = otherwise or Reply(status=404)
        self.replies: dict[tuple[str, str], list[Reply]] = {}
        self.asked: list[Asked] = []
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                liar.asked.append(
                    Asked(
                        method=self.command,
                        path=self.path,
                        authorization=headers.get("authorization"),
                        headers=headers,
                    )
                )
                with contextlib.suppress(ConnectionError):
                    self.rfile.read(int(headers.get("content-length", "0")))
                    self.reply(liar.next(self.command, self.path))

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - the base class's names

            def reply(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.until_close:
                    self.close_connection = True
                    self.end_headers()
                    self.wfile.write(b"".join(reply.body) if not isinstance(reply.body, bytes) else reply.body)
                elif isinstance(reply.body, bytes):
                    length = len(reply.body) if reply.length is None else reply.length
                    self.send_header("Content-Length", str(length))
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(reply.body)
                    if length != len(reply.body):
                        self.close_connection = True
                else:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for piece in reply.body:
                        self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                        self.wfile.flush()
                    self.wfile.write(b"0\r\n\r\n")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def says(self, method: str, path: str, *replies: Reply) -> None:
        """Set the replies for a path (without its query); the last one is given again and again."""
        self.replies[method, path] = list(replies)

    def next(self, method: str, path: str) -> Reply:
        """Return the next reply."""
        left = self.replies.get((method, path.partition("?")[0]))
        if not left:
            return self.otherwise
        return left.pop(0) if len(left) > 1 else left[0]

    def client(
        self,
        *,
        credentials: Credentials | None = None,
        blob_origins: Iterable[str] = (),
        token_origins: Iterable[str] = (),
        read_timeout: float = 20.0,
        listing_seconds: float = LISTING_SECONDS,
    ) -> HttpRegistry:
        """Return our client of this server."""
        trust = Trust(
            token_origins=tuple(Origin.from_text(text) for text in token_origins),
            blob_origins=tuple(Origin.from_text(text) for text in blob_origins),
        )
        timeouts = Timeouts(connect=5.0, read=read_timeout)
        http = Http(Origin.from_text(self.url), credentials=credentials, trust=trust, timeouts=timeouts)
        return HttpRegistry(http, prefix=None, listing_seconds=listing_seconds)

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def endless(piece: bytes = b"\0" * 65536) -> Iterator[bytes]:
    """Yield for ever."""
    while True:
        yield piece
