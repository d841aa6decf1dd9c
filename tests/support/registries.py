"""Where do tests get a real registry from?

From the ``docker-registry`` (or ``registry``) program: one process per way of reaching it, each in a private folder
and on a free port of the loopback interface, started when first asked for and stopped at the end.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from registry.http.auth import Credentials
from registry.http.remote import HttpRegistry
from registry.http.request import Http
from registry.http.terms import Trust
from registry.names import HttpLocation, Origin, location
from security.files import locked
from tests.support.certificates import Authority
from tests.support.engine import Engine
from tests.support.tokens import ISSUER, SERVICE, TokenService

USERNAME, PASSWORD = "tester", "correct horse"


class RealRegistries:
    """Starts registries as they are asked for; `close` stops them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "authority")
        self.tokens = TokenService(self.authority, username=USERNAME, password=PASSWORD)
        self._running: dict[str, tuple[str, subprocess.Popen[bytes]]] = {}

    def address(self, kind: str) -> str:
        """Return the URL of a registry: ``http``, ``http-basic``, ``http-token`` or ``http-tls``."""
        if kind not in self._running:
            self._running[kind] = self._start(kind)
        return self._running[kind][0]

    def client(self, kind: str, *, password: str = PASSWORD) -> HttpRegistry:
        """Return our client of a registry; ``http-prefix`` is ``http`` under a prefix."""
        prefix = "/some/prefix" if kind == "http-prefix" else ""
        place = location(self.address("http" if prefix else kind) + prefix)
        assert isinstance(place, HttpLocation)
        credentials = (
            Credentials(username=USERNAME, password=password) if kind in {"http-basic", "http-token"} else None
        )
        trust = Trust(
            ca_file=self.authority.file if kind == "http-tls" else None,
            token_origins=(Origin.of_url(self.tokens.realm),) if kind == "http-token" else (),
        )
        return HttpRegistry(Http(place.origin, credentials=credentials, trust=trust), prefix=place.prefix)

    def close(self) -> None:
        """Stop everything that was started."""
        for _, process in self._running.values():
            process.terminate()
        for _, process in self._running.values():
            process.wait()
        self.tokens.close()

    def _start(self, kind: str) -> tuple[str, subprocess.Popen[bytes]]:
        folder = self.folder / kind
        folder.mkdir()
        port = free_port()
        settings: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(folder / "storage")},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"127.0.0.1:{port}", "relativeurls": True},
        }
        scheme = "http"
        if kind == "http-basic":
            (folder / "htpasswd").write_bytes(
                USERNAME.encode() + b":" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)) + b"\n"
            )
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        elif kind == "http-token":
            settings["auth"] = {
                "token": {
                    "realm": self.tokens.realm,
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(self.authority.file),
                    "autoredirect": False,
                }
            }
        elif kind == "http-tls":
            scheme = "https"
            certificate, key = self.authority.issue("127.0.0.1")
            settings["http"]["tls"] = {"certificate": str(certificate), "key": str(key)}
        config = folder / "config.yml"
        config.write_text(json.dumps(settings))  # JSON is YAML
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program(), "serve", str(config)], stdout=log, stderr=log, cwd=folder)
        wait_for_port(port, process)
        return f"{scheme}://127.0.0.1:{port}", process


def program() -> str:
    """Return the path of the registry program, which the tests cannot do without."""
    found = shutil.which("docker-registry") or shutil.which("registry")
    assert found is not None, "tests need the docker-registry program"
    return found


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens on `port`."""
    for _ in range(400):
        assert process.poll() is None, "the registry ended at once"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    message = "the registry does not listen"
    raise AssertionError(message)


@pytest.fixture(scope="session")
def real_registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistries]:
    """Real registries of every kind, started when asked for."""
    real = RealRegistries(tmp_path_factory.mktemp("registries"))
    try:
        yield real
    finally:
        real.close()


@pytest.fixture
def engine_with_a_registry(
    engine: Engine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """An engine that has the image ``registry:2``: here the program of this machine and its libraries.

    Workers share the engine, and the image is removed afterwards: they take turns.
    """
    libraries = subprocess.run(["ldd", program()], check=True, capture_output=True, text=True).stdout
    files = [word for word in libraries.split() if word.startswith("/")]
    archive = tmp_path / "image.tar"
    with tarfile.open(archive, "w", dereference=True) as tar:
        for name in (program(), *files):
            tar.add(name)
    turn = tmp_path_factory.getbasetemp().parent / "registry-image.lock"
    with locked(turn), contextlib.closing(engine.client()) as client:
        there = bool(client.images("registry:2", quiet=True))
        if not there:
            changes = [f'ENTRYPOINT ["{program()}"]']
            client.import_image_from_file(str(archive), repository="registry", tag="2", changes=changes)
        yield engine
        if not there:
            client.remove_image("registry:2", force=True)
