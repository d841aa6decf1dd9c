"""Does an operator get a registry up, and down again?"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from registry.check import put_bytes
from registry.errors import RegistryDenied, RegistryInTheWay, RegistryNotStarted, RegistryToolMissing, RegistryUntrusted
from registry.http.auth import Credentials
from registry.http.terms import Trust
from registry.http.upload import CHUNK
from registry.names import Repository, Tag, location
from registry.oci import EMPTY, EMPTY_BYTES, Descriptor, make_manifest
from registry.open import Access, open_registry
from registry.port import Registry
from registry.server.config import ServerSettings
from registry.server.process import RunningServer, down, status, up
from security.digest import digest_of
from security.errors import DigestMismatch, InvalidInput
from tests.support.certificates import Authority
from tests.support.engine import Engine

pytestmark = pytest.mark.registry

REPO = Repository("mailbox/hospital-a")
ACCOUNT = Credentials(username="hospital-a", password="secret of a")  # noqa: S106 - for a registry that lives for one test


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "registry"
    yield folder
    down(folder, sleep=time.sleep)


def client(server: RunningServer, access: Access | None = None) -> Registry:
    return open_registry(location(server.address), access, sleep=time.sleep)


def store(registry: Registry) -> None:
    put_bytes(registry, REPO, EMPTY_BYTES, EMPTY.media_type)
    manifest = make_manifest(config=EMPTY, layers=[EMPTY])
    registry.put_manifest(REPO, Tag("t"), manifest.raw, manifest.media_type)


def test_up_store_down_up_again_at_the_same_place(state: Path) -> None:
    settings = ServerSettings(state=state)
    first = up(settings, sleep=time.sleep)
    assert first.started
    store(client(first))
    assert down(state, sleep=time.sleep)
    assert status(state) is None
    assert not down(state, sleep=time.sleep)
    second = up(settings, sleep=time.sleep)
    assert second.address == first.address
    assert client(second).list_tags(REPO) == (Tag("t"),)


def test_up_twice_tells_that_it_runs(state: Path) -> None:
    settings = ServerSettings(state=state)
    first = up(settings, sleep=time.sleep)
    again = up(settings, sleep=time.sleep)
    assert (again.started, again.address) == (False, first.address)
    assert status(state) == again


def test_other_settings_while_it_runs(state: Path) -> None:
    up(ServerSettings(state=state), sleep=time.sleep)
    with pytest.raises(RegistryInTheWay) as caught:
        up(ServerSettings(state=state, accounts=(ACCOUNT,)), sleep=time.sleep)
    assert caught.value.code == "registry.in-the-way"
    assert status(state) is not None


def test_after_a_kill_it_is_down_and_comes_up_again(state: Path) -> None:
    settings = ServerSettings(state=state)
    up(settings, sleep=time.sleep)
    os.kill(int((state / "registry.pid").read_text()), signal.SIGKILL)
    for _ in range(100):
        if status(state) is None:
            break
        time.sleep(0.05)
    assert status(state) is None
    assert up(settings, sleep=time.sleep).started


def test_an_upload_goes_on_after_the_registry_was_killed(state: Path) -> None:
    settings = ServerSettings(state=state)
    server = up(settings, sleep=time.sleep)
    data = hashlib.shake_128(b"long").digest((60 << 20) + 7)
    blob = Descriptor(media_type="application/octet-stream", digest=digest_of(data), size=len(data))
    opened: list[int] = []
    arrived = CHUNK + 2 * CHUNK  # each is twice as large as the one before

    class Slow(io.BytesIO):
        """Has the registry killed, and started again, when two chunks have arrived and the third begins.

        (Docker's registry forgets an upload that was killed within a chunk; then everything is sent again.)
        """

        def read(self, size: int | None = -1, /) -> bytes:
            if size and len(opened) == 1 and self.tell() == arrived:
                opened.append(-1)
                os.kill(int((state / "registry.pid").read_text()), signal.SIGKILL)
                while status(state) is not None:
                    time.sleep(0.05)
                assert up(settings, sleep=time.sleep).address == server.address
            return super().read(size)

    def open_at(offset: int) -> BinaryIO:
        opened.append(offset)
        source = Slow(data)
        source.seek(offset)
        return source

    client(server).put_blob(REPO, blob, open_at)
    assert opened[:2] == [0, -1]
    (resumed,) = opened[2:]
    assert resumed == arrived, "what had arrived is not sent again"
    with client(server).open_blob(REPO, blob) as source:
        assert source.read() == data
    said = json.loads((state / "config.yml").read_text())["http"]["secret"]
    assert len(set(said)) > 4
    assert (state / "config.yml").stat().st_mode & 0o077 == 0
    assert said not in (state / "registry.log").read_text()


def test_what_is_asked_is_not_logged_for_ever(state: Path) -> None:
    server = up(ServerSettings(state=state), sleep=time.sleep)
    store(client(server))
    before = (state / "registry.log").stat().st_size
    for _ in range(50):
        assert client(server).list_tags(REPO) == (Tag("t"),)
        assert client(server).list_tags(Repository("mailbox/nobody")) == ()
    with pytest.raises(DigestMismatch):  # what is an error is logged
        client(server).put_blob(
            REPO, Descriptor(media_type="x/y", digest=digest_of(b"a"), size=1), lambda _: io.BytesIO(b"b")
        )
    assert down(state, sleep=time.sleep)
    log = (state / "registry.log").read_bytes()
    assert log[before:].count(b"\n") < 10
    assert b"/tags/list" not in log
    assert b"digest invalid" in log[before:]


def test_the_log_tells_of_the_start_and_of_who_put_and_deleted_what(state: Path) -> None:
    server = up(ServerSettings(state=state), sleep=time.sleep)
    store(client(server))
    client(server).list_tags(REPO)
    hidden = 'x" http.response.status=404 http.request.method=GET'
    for agent in ("x http.response.status=404 y", hidden, '" level=info msg="response completed" '):
        begun = urllib.request.Request(f"{server.address}/v2/a/blobs/uploads/", data=b"", method="POST")  # noqa: S310
        with urllib.request.urlopen(begun) as answer:  # noqa: S310 - ours
            place = answer.headers["Location"]
        ask = urllib.request.Request(f"{server.address}{place}", data=b"{", method="PATCH")  # noqa: S310 - ours
        ask.add_header("User-Agent", agent)
        ask.add_header("Content-Type", agent)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(ask)  # noqa: S310 - likewise
    assert down(state, sleep=time.sleep)
    log = (state / "registry.log").read_text().splitlines()
    assert any("listening on" in line for line in log)
    assert sum("http.response.status=500" in line for line in log) == 3, log
    (put,) = (line for line in log if "response completed" in line and " http.request.method=PUT " in line)
    assert "http.response.status=201" in put
    assert f"/v2/{REPO}/manifests/t" in put


def test_stale_record_of_another_process_is_not_believed(state: Path) -> None:
    settings = ServerSettings(state=state)
    up(settings, sleep=time.sleep)
    down(state, sleep=time.sleep)
    (state / "registry.pid").write_text(str(os.getpid()))
    assert status(state) is None
    assert not down(state, sleep=time.sleep)


def test_accounts_and_certificate(state: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("127.0.0.1")
    settings = ServerSettings(state=state, certificate=certificate, key=key, accounts=(ACCOUNT,))
    server = up(settings, sleep=time.sleep)
    assert server.address.startswith("https://127.0.0.1:")
    assert not up(settings, sleep=time.sleep).started
    trust = Trust(ca_file=authority.file)
    store(client(server, Access(credentials=ACCOUNT, trust=trust)))
    with pytest.raises(RegistryDenied) as denied:
        client(server, Access(trust=trust)).list_tags(REPO)
    assert denied.value.code == "registry.denied"
    wrong = Credentials(username="hospital-a", password="guessed")  # noqa: S106 - a wrong one
    with pytest.raises(RegistryDenied):
        client(server, Access(credentials=wrong, trust=trust)).list_tags(REPO)
    with pytest.raises(RegistryUntrusted) as untrusted:
        client(server, Access(credentials=ACCOUNT)).list_tags(REPO)
    assert untrusted.value.code == "registry.certificate"
    with pytest.raises(RegistryInTheWay):
        up(ServerSettings(state=state, certificate=certificate, key=key, accounts=(wrong,)), sleep=time.sleep)
    assert "secret of a" not in "".join(path.read_text(errors="replace") for path in state.rglob("*") if path.is_file())


def test_port_that_is_taken(state: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(RegistryNotStarted) as caught:
            up(ServerSettings(state=state, port=other.getsockname()[1]), sleep=time.sleep)
    assert caught.value.code == "registry.not-started"
    assert status(state) is None


def test_no_program(state: Path, tmp_path: Path) -> None:
    with pytest.raises(RegistryToolMissing) as caught:
        up(ServerSettings(state=state, search_path=str(tmp_path)), sleep=time.sleep)
    assert caught.value.code == "registry.tool-missing"
    assert "docker-registry" in str(caught.value.hint)


def test_open_to_the_network_only_with_accounts_and_certificate(state: Path) -> None:
    with pytest.raises(InvalidInput):
        ServerSettings(state=state, host="0.0.0.0")  # noqa: S104 - refused


def test_program_that_ends_at_once_is_told_with_its_log(state: Path, tmp_path: Path) -> None:
    files = tmp_path / "certificate", tmp_path / "key"
    for path in files:
        path.write_text("no certificate")
    with pytest.raises(RegistryNotStarted) as caught:
        up(ServerSettings(state=state, certificate=files[0], key=files[1]), sleep=time.sleep)
    assert "registry.log" in str(caught.value.hint)
    assert status(state) is None


@pytest.mark.engine
def test_container_where_there_is_no_program(state: Path, tmp_path: Path, engine_with_a_registry: Engine) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    docker = shutil.which("docker")
    assert docker is not None
    (programs / "docker").symlink_to(docker)
    settings = ServerSettings(
        state=state, accounts=(ACCOUNT,), search_path=str(programs), engine=engine_with_a_registry.url
    )
    server = up(settings, sleep=time.sleep)
    assert server.runs == "container registry:2"
    store(client(server, Access(credentials=ACCOUNT)))
    assert not up(settings, sleep=time.sleep).started
    assert down(state, sleep=time.sleep)
    assert status(state) is None
    again = up(settings, sleep=time.sleep)
    assert again.address == server.address
    assert client(again, Access(credentials=ACCOUNT)).list_tags(REPO) == (Tag("t"),)
    assert down(state, sleep=time.sleep)
