"""How often is an engine asked which version of the API it speaks? By an engine that only counts."""

from __future__ import annotations

import json
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from security.errors import PhtError
from station.sandbox.docker.engine import DockerSandbox
from station.sandbox.port import Absent


class Counting(socketserver.ThreadingUnixStreamServer):
    """Knows no container; with `trouble`, it says that of itself."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.asked: Counter[str] = Counter()
        self.version, self.trouble = "1.41", False
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                engine.asked["version" if self.path == "/version" else self.path.split("/")[1]] += 1
                known = self.path == "/version"
                status = 200 if known else 500 if engine.trouble else 404
                body = json.dumps({"ApiVersion": engine.version} if known else {"message": "no"}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                del format, args

            def address_string(self) -> str:
                return "here"

        super().__init__(str(path), Handler)


@contextmanager
def counting(path: Path) -> Iterator[Counting]:
    engine = Counting(path)
    thread = threading.Thread(target=engine.serve_forever, args=(0.01,))
    thread.start()
    yield engine
    engine.shutdown()
    thread.join()
    engine.server_close()


def test_an_engine_is_asked_for_its_version_once_and_again_after_trouble(tmp_path: Path) -> None:
    with counting(tmp_path / "socket") as engine:
        sandbox = DockerSandbox(url=f"unix://{tmp_path / 'socket'}")
        for _ in range(5):
            assert isinstance(sandbox.look("run"), Absent)
        assert engine.asked == {"version": 1, "v1.41": 5}
        engine.version, engine.trouble = "1.40", True  # another one was put in its place
        with pytest.raises(PhtError):
            sandbox.look("run")
        engine.trouble = False
        assert isinstance(sandbox.look("run"), Absent)
        assert engine.asked == {"version": 2, "v1.41": 6, "v1.40": 1}
