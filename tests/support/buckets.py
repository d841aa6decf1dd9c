"""A real S3 server on loopback (rclone's), and a gateway before it that a test can make say and refuse what servers do."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from minio import Minio

from tests.support.certificates import Authority
from tests.support.registries import free_port, wait_for_port

ACCESS, SECRET = "station", "canary-secret-key"
BUCKET = "clinic"
KEYS = f"{ACCESS}\n{SECRET}\n"


class Buckets:
    """A server with one bucket, whose keys may write; another process shows the same bucket to be read only; a third has TLS."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pht-buckets-"))
        self.store = self.folder / "store" / BUCKET
        self.store.mkdir(parents=True)
        self.authority = Authority(self.folder / "authority")
        certificate, key = self.authority.issue("127.0.0.1")
        self._tls = (f"--cert={certificate}", f"--key={key}")
        self._running: dict[str, tuple[str, subprocess.Popen[bytes]]] = {}

    def endpoint(self, kind: str = "plain") -> str:
        """Return the address of a server: ``plain``, ``read-only`` or ``tls``.

        The others know nothing of what is put into the bucket after they began: each begins anew.
        """
        if kind in self._running and kind != "plain":
            self.stop(kind)
            self.again(kind)
        if kind not in self._running:
            port = free_port()
            self._running[kind] = (
                f"{'https' if kind == 'tls' else 'http'}://127.0.0.1:{port}",
                self._start(kind, port),
            )
        return self._running[kind][0]

    def stop(self, kind: str = "plain") -> None:
        """Let a server go down, until `again`."""
        self._running[kind][1].kill()
        self._running[kind][1].wait()

    def again(self, kind: str = "plain") -> None:
        """Start a server that is down, where it was."""
        address, _ = self._running[kind]
        self._running[kind] = (address, self._start(kind, int(urlsplit(address).port or 0)))

    def _start(self, kind: str, port: int) -> subprocess.Popen[bytes]:
        more = {"plain": (), "read-only": ("--read-only",), "tls": ("--read-only", *self._tls)}[kind]
        command = [
            str(Path(sys.executable).with_name("rclone")),
            *("serve", "s3", f"--addr=127.0.0.1:{port}", f"--auth-key={ACCESS},{SECRET}"),
            *(f"--config={self.folder / 'rclone.conf'}", f"--cache-dir={self.folder / 'cache'}"),
            *more,
            str(self.store.parent),
        ]
        with (self.folder / f"log-{kind}").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env={"PATH": os.defpath})
        wait_for_port(port, process)
        return process

    def client(self) -> Minio:
        """Return a client with every right."""
        place = urlsplit(self.endpoint()).netloc
        pool = urllib3.PoolManager(retries=False)
        return Minio(
            endpoint=place, access_key=ACCESS, secret_key=SECRET, secure=False, region="us-east-1", http_client=pool
        )

    def put(self, key: str, content: bytes) -> None:
        """Put an object into the bucket."""
        with contextlib.closing(io.BytesIO(content)) as data:
            self.client().put_object(bucket_name=BUCKET, object_name=key, data=data, length=len(content))

    def remove(self, key: str) -> None:
        """Remove an object."""
        self.client().remove_object(bucket_name=BUCKET, object_name=key)

    def keys(self) -> list[str]:
        """Return what is in the bucket."""
        return sorted(str(one.object_name) for one in self.client().list_objects(bucket_name=BUCKET, recursive=True))

    def empty(self) -> None:
        """Remove every object."""
        for key in self.keys():
            self.remove(key)

    def close(self) -> None:
        """Stop everything that was started."""
        for _, process in self._running.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)


# --- Before it -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request on its way to the server."""

    method: str
    path: str
    headers: Mapping[str, str]

    @property
    def lists(self) -> bool:
        """Whether it asks which objects there are."""
        return "list-type" in self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """An answer that is not the server's."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, code: str) -> Says:
    """Return an answer as S3 refuses, with the code that it has for why."""
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>canary</Message></Error>"
    return Says(status=status, body=text.encode(), headers={"Content-Type": "application/xml"})


Pieces = Callable[[bytes], Iterable[bytes]]
"""How a body is sent."""

Rule = Callable[[Asked], Says | None]
"""Looks at a request, and does what it will; None lets it pass."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    gateway: Gateway

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def carry(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        gateway = self.server.gateway
        asked = Asked(method=self.command, path=self.path, headers=dict(self.headers.items()))
        gateway.seen.append(asked)
        said = gateway.rule(asked)
        if said is None:
            said = self._forwarded(body)
        self.send_response(said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        if said.status != 204:
            self.send_header("Content-Length", str(len(said.body)))
        self.end_headers()
        for piece in gateway.pieces(said.body):
            self.wfile.write(piece)

    def _forwarded(self, body: bytes) -> Says:
        gateway = self.server.gateway
        with contextlib.closing(http.client.HTTPConnection(*gateway.target, timeout=60)) as connection:
            kept = {name: value for name, value in self.headers.items() if name.lower() not in gateway.dropped}
            connection.request(self.command, self.path, body=body or None, headers=kept)
            answer = connection.getresponse()
            data = answer.read()
        apart = {"transfer-encoding", "connection", "content-length"} | gateway.dropped
        return Says(
            status=answer.status,
            body=data,
            headers={name: value for name, value in answer.getheaders() if name.lower() not in apart},
        )

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = carry  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


class Gateway:
    """Stands before a server. ``seen`` is what was asked; headers in ``dropped`` are lost in both directions."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.target = (str(parts.hostname), int(parts.port or 80))
        self.rule: Rule = lambda _: None
        self.pieces: Pieces = lambda body: (body,)
        self.dropped: set[str] = set()
        self.seen: list[Asked] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.gateway = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="session")
def buckets() -> Iterator[Buckets]:
    server = Buckets()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def gateway(buckets: Buckets) -> Iterator[Gateway]:
    made = Gateway(buckets.endpoint())
    yield made
    made.close()
