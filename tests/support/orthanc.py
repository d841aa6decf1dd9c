"""A real archive of images: Orthanc with its DICOMweb plugin, on loopback, with TLS and accounts."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
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
        certificate, key = self.authority.issue("127.0.0.1")
        both = self.folder / "both.pem"
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        (self.folder / "reads.lua").write_text(_READS_ONLY)
        settings = {
            "StorageDirectory": str(self.folder / "store"),
            "IndexDirectory": str(self.folder / "store"),
            "Plugins": [_PLUGIN],
            "LuaScripts": [str(self.folder / "reads.lua")],
            "DicomServerEnabled": False,
            "RemoteAccessAllowed": True,
            "HttpPort": self.port,
            "SslEnabled": True,
            "SslCertificate": str(both),
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
        return f"https://127.0.0.1:{self.port}"

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
        answer = requests.request(
            verb, self.url + path, data=data, auth=("admin", PASSWORD), verify=str(self.authority.file), timeout=60
        )
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


@pytest.fixture(scope="session")
def orthanc() -> Iterator[Orthanc]:
    server = Orthanc()
    try:
        yield server
    finally:
        server.close()
