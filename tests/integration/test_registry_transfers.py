"""Do transfers survive broken connections, and do other tools understand what we store?"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pytest

from registry.blobs import BlobFolder
from registry.check import put_bytes
from registry.errors import RegistryUnavailable
from registry.http.remote import HttpRegistry
from registry.http.request import Http
from registry.layout import LayoutRegistry
from registry.names import Origin, Repository, Tag
from registry.oci import OCI_CONFIG, OCI_LAYER, Descriptor, make_manifest, parse_manifest
from registry.port import Registry
from registry.retry import RetryingRegistry
from security.digest import digest_of
from tests.support.cutter import Cutter
from tests.support.keeper import Keeper
from tests.support.liar import Liar, Reply
from tests.support.registries import RealRegistries

SIZE = (50 << 20) + 11
REPO = Repository("base/debian")


@pytest.fixture(scope="module")
def data() -> bytes:
    return hashlib.shake_128(b"blob").digest(SIZE)


def blob_of(data: bytes) -> Descriptor:
    return Descriptor(media_type="application/octet-stream", digest=digest_of(data), size=len(data))


def no_wait(seconds: float) -> None:
    assert seconds > 0


@pytest.fixture
def cutter(real_registries: RealRegistries) -> Iterator[Callable[[int, int], Cutter]]:
    made: list[Cutter] = []

    def make(after: int, times: int) -> Cutter:
        made.append(Cutter(real_registries.address("http"), after=after, times=times))
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.mark.parametrize("after", [1000, 1 << 20, 20 << 20, 40 << 20])
def test_upload_through_a_connection_that_breaks(cutter: Callable[[int, int], Cutter], data: bytes, after: int) -> None:
    proxy = cutter(after, 3)
    registry = RetryingRegistry(HttpRegistry(Http(Origin.from_text(proxy.url)), prefix=None), sleep=no_wait)
    repo = Repository(f"test/r{secrets.token_hex(6)}")
    carried: list[int] = []
    registry.put_blob(repo, blob_of(data), lambda offset: io.BytesIO(data[offset:]), carried.append)
    assert proxy.left < 3
    assert registry.has_blob(repo, digest_of(data))
    assert sum(carried) == len(data)
    with registry.open_blob(repo, blob_of(data)) as source:
        assert source.read() == data


def test_upload_that_never_gets_through(cutter: Callable[[int, int], Cutter], data: bytes) -> None:
    proxy = cutter(100_000, 1000)
    registry = RetryingRegistry(HttpRegistry(Http(Origin.from_text(proxy.url)), prefix=None), sleep=no_wait)
    with pytest.raises(RegistryUnavailable):
        registry.put_blob(Repository("test/never"), blob_of(data), lambda offset: io.BytesIO(data[offset:]))


def test_after_a_break_on_the_way_down_only_the_rest_comes(
    real_registries: RealRegistries, tmp_path: Path, data: bytes
) -> None:
    repo = Repository(f"test/r{secrets.token_hex(6)}")
    real_registries.client("http").put_blob(repo, blob_of(data), lambda offset: io.BytesIO(data[offset:]))
    proxy = Cutter(real_registries.address("http"), down=len(data) // 2, times=1)
    with contextlib.closing(proxy):
        registry, folder = HttpRegistry(Http(Origin.from_text(proxy.url)), prefix=None), BlobFolder(tmp_path)
        rest = partial(registry.open_blob, repo, blob_of(data))
        with pytest.raises(RegistryUnavailable):
            folder.fetch(digest_of(data), len(data), rest)
        (part,) = tmp_path.iterdir()
        kept, proxy.received = part.stat().st_size, 0
        folder.fetch(digest_of(data), len(data), rest)
    assert kept > len(data) // 2 - (2 << 20)
    assert len(data) - kept <= proxy.received < len(data) - kept + 2000
    assert folder.at(digest_of(data)).read_bytes() == data


@pytest.fixture
def liar() -> Iterator[Liar]:
    server = Liar()
    yield server
    server.close()


def test_upload_goes_on_where_the_registry_says(liar: Liar, data: bytes) -> None:
    """A registry that keeps what came of a cut chunk, as the specification wants it."""
    path, received = "/v2/test/r/blobs/uploads/", (16 << 20) + 5
    liar.says("POST", path, Reply(status=202, headers={"Location": "/up/1"}))
    liar.says(
        "PATCH",
        "/up/1",
        Reply(status=202, headers={"Location": "/up/1", "Range": f"0-{(16 << 20) - 1}"}),
        Reply(status=503),
        Reply(status=202, headers={"Location": "/up/1"}),
    )
    liar.says("GET", "/up/1", Reply(status=204, headers={"Location": "/up/1", "Range": f"0-{received - 1}"}))
    liar.says("PUT", "/up/1", Reply(status=201))
    opened: list[int] = []

    def open_at(offset: int) -> BinaryIO:
        opened.append(offset)
        return io.BytesIO(data[offset:])

    registry = RetryingRegistry(liar.client(), sleep=no_wait)
    registry.put_blob(Repository("test/r"), blob_of(data), open_at)
    assert opened == [0, received]
    ranges = [asked.headers["content-range"] for asked in liar.asked if asked.method == "PATCH"]
    assert ranges[2].startswith(f"{received}-")
    assert chunks(liar) == [16 << 20, 32 << 20, 16 << 20, 16 << 20, SIZE - (48 << 20) - 5]
    assert ranges[-1].endswith(f"-{SIZE - 1}")


def test_after_a_break_on_the_way_up_only_the_rest_goes(data: bytes) -> None:
    """To a registry that keeps what came. docker-registry 2.8 does not: there, all of it goes again (ADR 25)."""
    with (
        contextlib.closing(Keeper()) as keeper,
        contextlib.closing(Cutter(keeper.url, after=SIZE // 2, times=1)) as cut,
    ):
        before = list[int]()

        def wait(seconds: float) -> None:
            assert seconds > 0
            keeper.settle()
            before.append(cut.sent)
            cut.sent = 0

        registry = RetryingRegistry(HttpRegistry(Http(Origin.from_text(cut.url)), prefix=None), sleep=wait)
        registry.put_blob(REPO, blob_of(data), lambda offset: io.BytesIO(data[offset:]))
        assert len(before) == 1
        assert SIZE // 3 < before[0] < SIZE // 2 + 1
        assert cut.sent < SIZE - before[0] + (1 << 17)
        assert keeper.stored == {digest_of(data)}


def test_upload_that_is_forgotten_while_it_goes_on_starts_again(liar: Liar, data: bytes) -> None:
    """A registry that still took in a cut chunk when it told where to go on: `BLOB_UPLOAD_INVALID` at the next one."""
    path, first = "/v2/test/r/blobs/uploads/", f"0-{(16 << 20) - 1}"
    liar.says("POST", path, *(Reply(status=202, headers={"Location": f"/up/{number}"}) for number in (1, 2)))
    forgotten = Reply(status=404, body=b'{"errors": [{"code": "BLOB_UPLOAD_INVALID"}]}')
    liar.says(
        "PATCH", "/up/1", Reply(status=202, headers={"Location": "/up/1", "Range": first}), Reply(status=503), forgotten
    )
    liar.says("GET", "/up/1", Reply(status=204, headers={"Location": "/up/1", "Range": first}))
    liar.says("PATCH", "/up/2", Reply(status=202, headers={"Location": "/up/2"}))
    liar.says("PUT", "/up/2", Reply(status=201))
    carried: list[int] = []
    registry = RetryingRegistry(liar.client(), sleep=no_wait)
    registry.put_blob(Repository("test/r"), blob_of(data), lambda offset: io.BytesIO(data[offset:]), carried.append)
    assert sum(int(asked.headers["content-length"]) for asked in liar.asked if asked.path == "/up/2") == SIZE
    assert sum(carried) == SIZE


def test_upload_that_goes_on_at_another_place_than_the_registry_is_starts_again(liar: Liar, data: bytes) -> None:
    """As distribution 1.1 has it refuse that: it was still taking in the cut chunk when it told where to go on."""
    path, first = "/v2/test/r/blobs/uploads/", f"0-{(16 << 20) - 1}"
    liar.says("POST", path, *(Reply(status=202, headers={"Location": f"/up/{number}"}) for number in (1, 2)))
    liar.says(
        *("PATCH", "/up/1"),
        Reply(status=202, headers={"Location": "/up/1", "Range": first}),
        Reply(status=503),
        Reply(status=416, headers={"Location": "/up/1", "Range": f"0-{16 << 20}"}),
    )
    liar.says("GET", "/up/1", Reply(status=204, headers={"Location": "/up/1", "Range": first}))
    liar.says("PATCH", "/up/2", Reply(status=202, headers={"Location": "/up/2"}))
    liar.says("PUT", "/up/2", Reply(status=201))
    registry = RetryingRegistry(liar.client(), sleep=no_wait)
    registry.put_blob(Repository("test/r"), blob_of(data), lambda offset: io.BytesIO(data[offset:]))
    assert sum(int(asked.headers["content-length"]) for asked in liar.asked if asked.path == "/up/2") == SIZE


def chunks(liar: Liar) -> list[int]:
    """Return the sizes of the chunks that were sent, refused ones as well."""
    return [int(asked.headers["content-length"]) for asked in liar.asked if asked.method == "PATCH"]


def test_each_chunk_that_came_makes_the_next_one_twice_as_large(liar: Liar, data: bytes) -> None:
    liar.says("POST", "/v2/test/r/blobs/uploads/", Reply(status=202, headers={"Location": "/up/1"}))
    liar.says("PATCH", "/up/1", Reply(status=202, headers={"Location": "/up/1"}))
    liar.says("PUT", "/up/1", Reply(status=201))
    liar.client().put_blob(Repository("test/r"), blob_of(data), lambda offset: io.BytesIO(data[offset:]))
    assert chunks(liar) == [16 << 20, 32 << 20, SIZE - (48 << 20)]


def test_chunks_that_are_too_large_for_a_proxy_on_the_way_become_smaller(liar: Liar, data: bytes) -> None:
    came, most = Reply(status=202, headers={"Location": "/up/1"}), Reply(status=413)
    liar.says("POST", "/v2/test/r/blobs/uploads/", came)
    liar.says("PATCH", "/up/1", came, most, came)
    liar.says("PUT", "/up/1", Reply(status=201))
    carried: list[int] = []
    liar.client().put_blob(
        Repository("test/r"), blob_of(data), lambda offset: io.BytesIO(data[offset:]), carried.append
    )
    assert chunks(liar) == [16 << 20, 32 << 20, 16 << 20, 16 << 20, SIZE - (48 << 20)]
    assert sum(carried) == SIZE


def test_registry_without_chunks_gets_one_request(liar: Liar, data: bytes) -> None:
    liar.says("POST", "/v2/test/r/blobs/uploads/", Reply(status=202, headers={"Location": "/up?state=1"}))
    liar.says("PATCH", "/up", Reply(status=405))
    liar.says("PUT", "/up", Reply(status=201))
    liar.client().put_blob(Repository("test/r"), blob_of(data), lambda offset: io.BytesIO(data[offset:]))
    last = liar.asked[-1]
    assert (last.method, last.headers["content-length"]) == ("PUT", str(SIZE))
    assert last.path == f"/up?state=1&digest={digest_of(data)}"


def put_image(registry: Registry, repo: Repository, tag: Tag) -> bytes:
    layer = secrets.token_bytes(2000)
    rootfs = {"type": "layers", "diff_ids": [str(digest_of(layer))]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    manifest = make_manifest(
        config=put_bytes(registry, repo, config, OCI_CONFIG), layers=[put_bytes(registry, repo, layer, OCI_LAYER)]
    )
    registry.put_manifest(repo, tag, manifest.raw, manifest.media_type)
    return manifest.raw


def skopeo(*arguments: str) -> None:
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--preserve-digests", *arguments], check=True, capture_output=True
    )


def test_skopeo_carries_ours_from_a_folder_to_a_registry_and_back(
    real_registries: RealRegistries, tmp_path: Path
) -> None:
    folder = LayoutRegistry(tmp_path)
    repo = Repository(f"test/r{secrets.token_hex(6)}")
    raw = put_image(folder, repo, Tag("one"))
    url = real_registries.address("http").replace("http://", "docker://") + f"/{repo}:one"
    skopeo("--dest-tls-verify=false", f"oci:{tmp_path / repo}:one", url)
    remote = real_registries.client("http")
    assert remote.get_manifest(repo, Tag("one")).raw == raw
    back = Repository("test/back")
    skopeo("--src-tls-verify=false", url, f"oci:{tmp_path / back}:two")
    assert folder.list_tags(back) == (Tag("two"),)
    stored = folder.get_manifest(back, Tag("two"))
    assert stored.raw == raw
    for blob in parse_manifest(stored.raw, stored.media_type).blobs:
        with folder.open_blob(back, blob) as source:
            assert digest_of(source.read()) == blob.digest


def test_every_repository_of_a_folder_is_an_image_layout(tmp_path: Path) -> None:
    folder = LayoutRegistry(tmp_path)
    put_image(folder, REPO, Tag("one"))
    assert json.loads((tmp_path / REPO / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((tmp_path / REPO / "index.json").read_text())
    assert [item["annotations"] for item in index["manifests"]] == [{"org.opencontainers.image.ref.name": "one"}]
    for path in (tmp_path / REPO / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
