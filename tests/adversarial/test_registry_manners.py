"""Where do a registry's words lead our credentials, and for how long may it hold a request? (T15)"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from registry.errors import ForeignRealm, RegistryUnavailable
from registry.http.auth import Credentials
from registry.names import Repository, Tag
from registry.oci import EMPTY, OCI_MANIFEST, Descriptor, make_manifest
from registry.port import Registry
from security.digest import digest_of
from tests.support.liar import Liar, Reply

REPO = Repository("mailbox/hospital-a")
TAGS = f"/v2/{REPO}/tags/list"
ACCOUNT = Credentials(username="hospital-a", password="canary-password")  # noqa: S106 - looked for in what leaks
LIST = Reply(body=b'{"name":"mailbox/hospital-a","tags":["t"]}')
DOCUMENT = Descriptor(media_type="application/json", digest=digest_of(b"a document"), size=4 << 20)


@pytest.fixture
def liar() -> Iterator[Liar]:
    server = Liar()
    yield server
    server.close()


@pytest.fixture
def neighbour() -> Iterator[Liar]:
    """Another service on the registry's host."""
    server = Liar()
    yield server
    server.close()


def challenge(url: str) -> Reply:
    return Reply(status=401, headers={"WWW-Authenticate": f'Bearer realm="{url}/token",service="s"'})


def test_another_port_of_the_registrys_host_gets_no_credentials(liar: Liar, neighbour: Liar) -> None:
    liar.says("GET", TAGS, challenge(neighbour.url), LIST)
    neighbour.says("GET", "/token", Reply(body=b'{"token":"abc"}'))
    with pytest.raises(ForeignRealm):
        liar.client(credentials=ACCOUNT).list_tags(REPO)
    assert neighbour.asked == []


def test_another_port_that_the_configuration_names_gets_them(liar: Liar, neighbour: Liar) -> None:
    liar.says("GET", TAGS, challenge(neighbour.url), LIST)
    neighbour.says("GET", "/token", Reply(body=b'{"token":"abc"}'))
    client = liar.client(credentials=ACCOUNT, token_origins=[neighbour.url])
    assert client.list_tags(REPO) == (Tag("t"),)
    assert [one.authorization for one in neighbour.asked] == [ACCOUNT.header()]


def test_the_registry_itself_gets_them(liar: Liar) -> None:
    liar.says("GET", TAGS, challenge(liar.url), LIST)
    liar.says("GET", "/token", Reply(body=b'{"token":"abc"}'))
    assert liar.client(credentials=ACCOUNT).list_tags(REPO) == (Tag("t"),)


def manifest(registry: Registry) -> object:
    return registry.get_manifest(REPO, Tag("t"))


def tags(registry: Registry) -> object:
    return registry.list_tags(REPO)


def document(registry: Registry) -> object:
    with registry.open_blob(REPO, DOCUMENT) as source:
        return source.read()


@pytest.mark.parametrize("act", [manifest, tags, document])
def test_a_document_that_trickles_does_not_hold_a_request(liar: Liar, act: Callable[[Registry], object]) -> None:
    """At 8 kB/s, which a blob may have, 4 MiB would take nine minutes; it ends soon after the patience for one byte."""
    stopped = threading.Event()

    def trickle() -> Iterator[bytes]:
        while not stopped.wait(0.02):
            yield b" " * 160

    typed = Reply(body=trickle(), headers={"Content-Type": OCI_MANIFEST})
    for path in (f"/v2/{REPO}/manifests/t", TAGS, f"/v2/{REPO}/blobs/{DOCUMENT.digest}"):
        liar.says("GET", path, typed)
    begun = time.monotonic()
    try:
        with pytest.raises(RegistryUnavailable) as caught:
            act(liar.client(read_timeout=0.3))
    finally:
        stopped.set()
    assert "too slowly" in caught.value.message
    assert time.monotonic() - begun < 5


def test_a_blob_may_take_its_time(liar: Liar) -> None:
    """A large one is not given up at a speed at which a document would be."""
    data = make_manifest(config=EMPTY, layers=[]).raw * 30
    blob = Descriptor(media_type="application/octet-stream", digest=digest_of(data), size=len(data))
    large = Descriptor(media_type="application/octet-stream", digest=digest_of(data), size=5 << 20)

    def slowly() -> Iterator[bytes]:
        for start in range(0, len(data), 200):
            time.sleep(0.02)
            yield data[start : start + 200]

    path = f"/v2/{REPO}/blobs/{blob.digest}"
    liar.says("GET", path, Reply(body=slowly()))
    seen = 0
    with liar.client(read_timeout=0.2).open_blob(REPO, large) as source:
        while seen < len(data):
            seen += len(source.read(min(4096, len(data) - seen)))
    assert seen == len(data)
