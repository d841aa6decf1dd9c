"""What would a hospital's web proxy see, and carry?

An HTTP proxy on a thread that notes every request. All names lead to one place: nobody else can resolve them.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    proxy: WebProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def let_through(self) -> bool:
        self.server.proxy.seen.append(f"{self.command} {self.path}")
        wanted = self.server.proxy.wanted
        if wanted is None or self.headers.get("Proxy-Authorization") == wanted:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        return False

    def carry(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if not self.let_through():
            return
        with contextlib.closing(http.client.HTTPConnection(*self.server.proxy.target, timeout=20)) as connection:
            parts = urlsplit(self.path)
            kept = {name: value for name, value in self.headers.items() if not name.startswith("Proxy-")}
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(self.command, path, body=body or None, headers=kept)
            answer = connection.getresponse()
            data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection"}:
                self.send_header(name, value)
        if answer.getheader("Content-Length") is None and answer.status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = carry  # noqa: N815 - the base class's names

    def do_CONNECT(self) -> None:
        if not self.let_through():
            return
        with socket.create_connection(self.server.proxy.target) as server:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pour, args=(server, self.connection), daemon=True)
            back.start()
            pour(self.connection, server)
            back.join()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


class WebProxy:
    """The proxy; ``seen`` is what it was asked for: ``GET http://host/path`` or ``CONNECT host:port``."""

    def __init__(self, target: str, *, account: str | None = None) -> None:
        parts = urlsplit(target)
        self.target = (str(parts.hostname), int(parts.port or 80))
        self.seen: list[str] = []
        self.wanted = account and "Basic " + base64.b64encode(account.encode()).decode()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def pour(source: socket.socket, sink: socket.socket) -> None:
    """Carry what comes until it ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
