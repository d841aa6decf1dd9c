"""Does the consortium's directory lie in a registry and on a web server as `security.directory.client` wants it?"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from registry.check import put_bytes
from registry.directory import DIRECTORY, RegistryDirectory, WebDirectory
from registry.errors import RegistryMisbehaved
from registry.http.request import Http
from registry.http.terms import Timeouts
from registry.memory import MemoryRegistry
from registry.names import HttpLocation, Tag, location
from registry.oci import EMPTY, EMPTY_BYTES, make_manifest
from security.directory.client import DirectorySink, DirectorySource
from security.errors import BudgetExceeded, DirectoryUnavailable, NotPublished
from tests.support.liar import Liar, Reply, endless
from tests.support.registries import RealRegistries


def both(directory: RegistryDirectory) -> tuple[DirectorySource, DirectorySink]:
    return directory, directory


@pytest.mark.parametrize("kind", ["memory", "http"])
def test_files_come_back_and_are_replaced(real_registries: RealRegistries, kind: str) -> None:
    registry = MemoryRegistry() if kind == "memory" else real_registries.client(kind)
    source, sink = both(RegistryDirectory(registry))
    sink.write("1.root.json", b"root")
    sink.write("timestamp.json", b"first")
    sink.write("timestamp.json", b"second")
    assert source.read("1.root.json", 100) == b"root"
    assert source.read("timestamp.json", 6) == b"second"
    with pytest.raises(NotPublished):
        source.read("2.root.json", 100)
    with pytest.raises(BudgetExceeded):
        source.read("timestamp.json", 5)


def test_something_else_under_that_name() -> None:
    registry = MemoryRegistry()
    config = put_bytes(registry, DIRECTORY, EMPTY_BYTES, EMPTY.media_type)
    manifest = make_manifest(config=config, layers=[config, config])
    registry.put_manifest(DIRECTORY, Tag("1.root.json"), manifest.raw, manifest.media_type)
    with pytest.raises(RegistryMisbehaved):
        RegistryDirectory(registry).read("1.root.json", 100)


@pytest.fixture
def web() -> Iterator[Liar]:
    server = Liar()
    yield server
    server.close()


def directory_at(url: str) -> DirectorySource:
    place = location(url)
    assert isinstance(place, HttpLocation)
    return WebDirectory(Http(place.origin, timeouts=Timeouts(connect=2, read=5)), place)


def test_web_server(web: Liar) -> None:
    web.says("GET", "/pht/1.root.json", Reply(body=b"root"))
    web.says("GET", "/pht/2.root.json", Reply(body=endless()))
    source = directory_at(web.url + "/pht")
    assert source.read("1.root.json", 4) == b"root"
    with pytest.raises(NotPublished) as missing:
        source.read("3.root.json", 100)
    assert missing.value.code == "directory.not-published"
    with pytest.raises(RegistryMisbehaved):
        source.read("2.root.json", 100)


def test_web_server_that_is_away() -> None:
    server = Liar()
    server.close()
    with pytest.raises(DirectoryUnavailable) as caught:
        directory_at(server.url).read("1.root.json", 100)
    assert caught.value.code == "directory.unavailable"
