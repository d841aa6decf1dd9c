"""A real archive of images: Orthanc with its DICOMweb plugin, on loopback, with accounts.

Debian's Orthanc dies of its first TLS connection: a front that speaks TLS stands before it, as in hospitals.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.certificates import Authority
from tests.support.registries import free_port

PASSWORD = "canary-password"
_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
_READS_ONLY = """function IncomingHttpRequestFilter(method, uri, ip, username, httpHeaders)
  return method == 'GET' or username == 'admin'
end
"""


class Orthanc:
    """An archive; `reader` may only read, `admin` everything."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pht-orthanc-"))
        self.port = free_port()
        self.authority = Authority(self.folder)
        (self.folder / "reads.lua").write_text(_READS_ONLY)
        settings = {
            "StorageDirectory": str(self.folder / "store"),
            "IndexDirectory": str(self.folder / "store"),
            "Plugins": [_PLUGIN],
            "LuaScripts": [str(self.folder / "reads.lua")],
            "DicomServerEnabled": False,
            "RemoteAccessAllowed": True,
            "HttpPort": self.port,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {"admin": PASSWORD, "reader": PASSWORD},
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        (self.folder / "orthanc.json").write_text(json.dumps(settings))
        self.password_file = self.folder / "password"
        self.password_file.write_text(PASSWORD)
        self.password_file.chmod(0o600)
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        return f"{self.url}/dicom-web"

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["Orthanc", str(self.folder / "orthanc.json")], cwd=self.folder, stdout=log, stderr=log
            )
        for _ in range(600):
            try:
                self._ask("GET", "/system")
            except requests.ConnectionError:
                if self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.1)
            else:
                return
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _ask(self, verb: str, path: str, data: bytes | None = None) -> requests.Response:
        answer = requests.request(verb, self.url + path, data=data, auth=("admin", PASSWORD), timeout=60)
        answer.raise_for_status()
        return answer

    def store(self, file: Path) -> str:
        return str(self._ask("POST", "/instances", file.read_bytes()).json()["ID"])

    def remove(self, image: str) -> None:
        self._ask("DELETE", f"/instances/{image}")

    def empty(self) -> None:
        for one in self._ask("GET", "/instances").json():
            self.remove(one)

    def fill(self, folder: Path) -> None:
        """Have the images of a folder, and no others."""
        self.empty()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.store(path)


class Front:
    """Speaks TLS for a server, with a certificate of an authority."""

    def __init__(self, port: int, authority: Authority) -> None:
        certificate, key = authority.issue("127.0.0.1")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"https://127.0.0.1:{self._listener.getsockname()[1]}/dicom-web"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), self._context.wrap_socket(client, server_side=True) as wrapped:
                self._carry(wrapped)

    def _carry(self, client: ssl.SSLSocket) -> None:
        """Carry one connection, whose requests have no bodies: a question, and its answer."""
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            back = threading.Thread(target=self._back, args=(server, client))
            back.start()
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
            back.join()

    def _back(self, server: socket.socket, client: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture(scope="session")
def orthanc() -> Iterator[Orthanc]:
    server = Orthanc()
    try:
        yield server
    finally:
        server.close()
