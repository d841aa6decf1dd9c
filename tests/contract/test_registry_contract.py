"""Does every backing of the registry port behave alike?

One suite, run against memory, an image-layout folder, and a real registry reached in four ways.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from registry.errors import NotInRegistry, RegistryTooLong
from registry.layout import LayoutRegistry
from registry.memory import MemoryRegistry
from registry.names import Repository, Tag
from registry.oci import EMPTY, EMPTY_BYTES, OCI_MANIFEST, Descriptor, OciManifest, make_manifest, parse_manifest
from registry.port import Registry
from registry.retry import RetryingRegistry
from security.digest import Digest, Prefix, digest_of
from security.errors import BudgetExceeded, DigestMismatch, Malformed
from tests.support.registries import RealRegistries

REAL = ("http", "http-prefix", "http-basic", "http-token", "http-tls")
BACKINGS = ("memory", "retry", "layout", *(pytest.param(kind, marks=pytest.mark.registry) for kind in REAL))
OCTETS = "application/octet-stream"
KIND = "application/vnd.pht.test.v1"


@pytest.fixture(params=BACKINGS)
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    if request.param == "memory":
        yield MemoryRegistry()
    elif request.param == "retry":
        yield RetryingRegistry(MemoryRegistry(), sleep=_never)
    elif request.param == "layout":
        yield LayoutRegistry(tmp_path)
    else:
        real: RealRegistries = request.getfixturevalue("real_registries")
        yield real.client(request.param)


def _never(seconds: float) -> None:
    message = f"slept {seconds} seconds without a reason"
    raise AssertionError(message)


@pytest.fixture
def repo() -> Repository:
    return Repository(f"test/r{secrets.token_hex(6)}")


def descriptor_of(data: bytes) -> Descriptor:
    return Descriptor(media_type=OCTETS, digest=digest_of(data), size=len(data))


def opener(data: bytes) -> Callable[[int], BinaryIO]:
    return lambda offset: io.BytesIO(data[offset:])


def put(registry: Registry, repo: Repository, data: bytes) -> Descriptor:
    descriptor = descriptor_of(data)
    registry.put_blob(repo, descriptor, opener(data))
    return descriptor


def put_artifact(registry: Registry, repo: Repository, data: bytes, *references: Tag) -> OciManifest:
    put(registry, repo, EMPTY_BYTES)
    manifest = make_manifest(config=EMPTY, layers=[put(registry, repo, data)], artifact_type=KIND)
    for reference in references or (manifest.digest,):
        registry.put_manifest(repo, reference, manifest.raw, manifest.media_type)
    return manifest


def drain(registry: Registry, repo: Repository, descriptor: Descriptor) -> None:
    with registry.open_blob(repo, descriptor) as source:
        while source.read(1 << 16):
            pass


def test_a_manifest_that_is_longer_than_wanted(registry: Registry, repo: Repository) -> None:
    raw = put_artifact(registry, repo, b"data", Tag("latest")).raw
    for reference in (Tag("latest"), digest_of(raw)):
        assert registry.get_manifest(repo, reference, most=len(raw)).raw == raw
        with pytest.raises(RegistryTooLong):
            registry.get_manifest(repo, reference, most=len(raw) - 1)


def test_blob_comes_back(registry: Registry, repo: Repository) -> None:
    data = secrets.token_bytes(3 << 20)
    descriptor = descriptor_of(data)
    assert not registry.has_blob(repo, descriptor.digest)
    carried: list[int] = []
    registry.put_blob(repo, descriptor, opener(data), carried.append)
    assert sum(carried) == len(data)
    assert registry.has_blob(repo, descriptor.digest)
    with registry.open_blob(repo, descriptor) as source:
        assert source.read() == data


@pytest.mark.parametrize("had", [1, 1000, (3 << 20) - 1, 3 << 20])
def test_rest_of_a_blob_comes_after_what_we_have(registry: Registry, repo: Repository, had: int) -> None:
    data = secrets.token_bytes(3 << 20)
    descriptor = put(registry, repo, data)
    with registry.open_blob(repo, descriptor, Prefix.of(io.BytesIO(data[:had]))) as source:
        assert source.read() == data[had:]
        assert source.complete


def test_rest_does_not_match_what_we_have(registry: Registry, repo: Repository) -> None:
    descriptor = put(registry, repo, secrets.token_bytes(1000))
    with (
        registry.open_blob(repo, descriptor, Prefix.of(io.BytesIO(bytes(500)))) as source,
        pytest.raises(DigestMismatch),
    ):
        source.read()


def test_empty_blob(registry: Registry, repo: Repository) -> None:
    descriptor = put(registry, repo, b"")
    with registry.open_blob(repo, descriptor) as source:
        assert source.read() == b""


def test_large_blob_goes_in_pieces(registry: Registry, repo: Repository) -> None:
    data = hashlib.shake_128(secrets.token_bytes(16)).digest((40 << 20) + 7)
    carried: list[int] = []
    registry.put_blob(repo, descriptor_of(data), opener(data), carried.append)
    assert sum(carried) == len(data)
    with registry.open_blob(repo, descriptor_of(data)) as source:
        assert source.read() == data


def test_putting_twice_reads_nothing_the_second_time(registry: Registry, repo: Repository) -> None:
    data = secrets.token_bytes(1000)
    put(registry, repo, data)

    def unwanted(offset: int) -> BinaryIO:
        raise AssertionError(offset)

    registry.put_blob(repo, descriptor_of(data), unwanted)
    assert registry.has_blob(repo, digest_of(data))


@pytest.mark.parametrize("size", [1000, 20 << 20])
@pytest.mark.parametrize("given", ["other", "short", "long"])
def test_other_bytes_than_announced_are_not_stored(registry: Registry, repo: Repository, size: int, given: str) -> None:
    data = secrets.token_bytes(size)
    wrong = {"other": bytes([data[0] ^ 1]) + data[1:], "short": data[:-1], "long": data + b"x"}[given]
    with pytest.raises(DigestMismatch) as caught:
        registry.put_blob(repo, descriptor_of(data), opener(wrong))
    assert caught.value.code == "digest.mismatch"
    assert not registry.has_blob(repo, digest_of(data))
    assert not registry.has_blob(repo, digest_of(wrong))


def test_missing_blob(registry: Registry, repo: Repository) -> None:
    put(registry, repo, b"something else")
    with pytest.raises(NotInRegistry) as caught:
        registry.open_blob(repo, descriptor_of(b"absent")).close()
    assert caught.value.code == "registry.not-found"
    assert not registry.has_blob(repo, digest_of(b"absent"))


def test_wrong_size_is_refused_while_reading(registry: Registry, repo: Repository) -> None:
    data = secrets.token_bytes(5000)
    put(registry, repo, data)
    for size, refusal in ((4999, BudgetExceeded), (5001, DigestMismatch)):
        lie = Descriptor(media_type=OCTETS, digest=digest_of(data), size=size)
        with pytest.raises((refusal, DigestMismatch)):
            drain(registry, repo, lie)


def test_mount(registry: Registry, repo: Repository) -> None:
    other = Repository(f"{repo}-other")
    data = secrets.token_bytes(100_000)
    put(registry, repo, data)
    assert registry.mount_blob(other, digest_of(data), repo)
    assert registry.has_blob(other, digest_of(data))
    assert registry.mount_blob(other, digest_of(data), repo)
    with registry.open_blob(other, descriptor_of(data)) as source:
        assert source.read() == data


def test_mount_of_what_is_not_there_wants_an_upload(registry: Registry, repo: Repository) -> None:
    other = Repository(f"{repo}-other")
    put(registry, repo, b"x")
    data = secrets.token_bytes(100)
    assert not registry.mount_blob(other, digest_of(data), repo)
    put(registry, other, data)
    assert registry.has_blob(other, digest_of(data))


def test_manifest_by_tag_and_by_digest(registry: Registry, repo: Repository) -> None:
    manifest = put_artifact(registry, repo, b"layer", Tag("one"))
    for reference in (Tag("one"), manifest.digest):
        found = registry.get_manifest(repo, reference)
        assert (found.raw, found.media_type, found.digest) == (manifest.raw, OCI_MANIFEST, manifest.digest)
        parsed = parse_manifest(found.raw, found.media_type)
        assert parsed == manifest
        assert parsed.artifact_type == KIND
    assert registry.list_tags(repo) == (Tag("one"),)


def test_manifest_without_a_tag(registry: Registry, repo: Repository) -> None:
    manifest = put_artifact(registry, repo, b"untagged")
    assert registry.get_manifest(repo, manifest.digest).raw == manifest.raw
    assert registry.list_tags(repo) == ()


def test_tag_moves_and_the_old_one_stays_by_digest(registry: Registry, repo: Repository) -> None:
    first = put_artifact(registry, repo, b"first", Tag("t"))
    second = put_artifact(registry, repo, b"second", Tag("t"))
    assert registry.get_manifest(repo, Tag("t")).digest == second.digest
    assert registry.get_manifest(repo, first.digest).raw == first.raw
    assert registry.list_tags(repo) == (Tag("t"),)


def test_two_tags_of_one_manifest(registry: Registry, repo: Repository) -> None:
    manifest = put_artifact(registry, repo, b"both", Tag("b"), Tag("a"))
    assert registry.list_tags(repo) == (Tag("a"), Tag("b"))
    assert registry.get_manifest(repo, Tag("a")).digest == registry.get_manifest(repo, Tag("b")).digest
    put_artifact(registry, repo, b"another", Tag("a"))
    assert registry.get_manifest(repo, Tag("b")).digest == manifest.digest


def test_missing_manifest_and_repository(registry: Registry, repo: Repository) -> None:
    absent = digest_of(b"absent")
    for reference in (Tag("absent"), absent):
        with pytest.raises(NotInRegistry):
            registry.get_manifest(repo, reference)
    assert registry.list_tags(repo) == ()
    assert not registry.has_blob(repo, absent)
    registry.delete_manifest(repo, absent)
    put_artifact(registry, repo, b"present", Tag("present"))
    with pytest.raises(NotInRegistry):
        registry.get_manifest(repo, Tag("absent"))


def test_manifest_before_its_blobs_is_refused(registry: Registry, repo: Repository) -> None:
    put(registry, repo, EMPTY_BYTES)
    manifest = make_manifest(config=EMPTY, layers=[descriptor_of(b"never uploaded")])
    with pytest.raises(NotInRegistry):
        registry.put_manifest(repo, Tag("early"), manifest.raw, manifest.media_type)
    assert registry.list_tags(repo) == ()


def test_manifest_under_another_digest_is_refused(registry: Registry, repo: Repository) -> None:
    manifest = put_artifact(registry, repo, b"layer")
    with pytest.raises(DigestMismatch):
        registry.put_manifest(repo, digest_of(b"other"), manifest.raw, manifest.media_type)


def test_ambiguous_manifest_is_not_stored(registry: Registry, repo: Repository) -> None:
    manifest = put_artifact(registry, repo, b"layer")
    ambiguous = manifest.raw[:-1] + b',"manifests":[]}'
    with pytest.raises(Malformed):
        registry.put_manifest(repo, Tag("x"), ambiguous, manifest.media_type)
    assert registry.list_tags(repo) == ()


def test_delete_takes_the_tags_along_and_twice_is_fine(registry: Registry, repo: Repository) -> None:
    gone = put_artifact(registry, repo, b"gone", Tag("gone"), Tag("gone-too"))
    kept = put_artifact(registry, repo, b"kept", Tag("kept"))
    registry.delete_manifest(repo, gone.digest)
    registry.delete_manifest(repo, gone.digest)
    assert registry.list_tags(repo) == (Tag("kept"),)
    for reference in (Tag("gone"), gone.digest):
        with pytest.raises(NotInRegistry):
            registry.get_manifest(repo, reference)
    assert registry.get_manifest(repo, Tag("kept")).digest == kept.digest


def test_put_again_after_delete(registry: Registry, repo: Repository) -> None:
    manifest = put_artifact(registry, repo, b"again", Tag("t"))
    registry.delete_manifest(repo, manifest.digest)
    put_artifact(registry, repo, b"again", Tag("t"))
    assert registry.get_manifest(repo, Tag("t")).raw == manifest.raw


def test_deleting_keeps_the_blobs_of_others(registry: Registry, repo: Repository) -> None:
    gone = put_artifact(registry, repo, b"shared", Tag("gone"))
    keeper = make_manifest(config=EMPTY, layers=gone.layers, artifact_type=KIND, annotations={"k": "v"})
    registry.put_manifest(repo, Tag("keeper"), keeper.raw, keeper.media_type)
    registry.delete_manifest(repo, gone.digest)
    with registry.open_blob(repo, keeper.layers[0]) as source:
        assert source.read() == b"shared"


def test_repositories_do_not_see_each_other(registry: Registry, repo: Repository) -> None:
    inner = Repository(f"{repo}/inner")
    put_artifact(registry, inner, b"inner", Tag("t"))
    assert registry.list_tags(repo) == ()
    assert not registry.has_blob(repo, digest_of(b"inner"))
    put_artifact(registry, repo, b"outer", Tag("u"))
    assert registry.list_tags(inner) == (Tag("t"),)


def test_many_writers_lose_nothing(registry: Registry, repo: Repository) -> None:
    # The real registry answers 500 to who looks at a blob while another's link to it is being written: asked again, as ever.
    patient = RetryingRegistry(registry, sleep=time.sleep)

    def write(number: int) -> Digest:
        return put_artifact(patient, repo, f"writer {number}".encode(), Tag(f"t{number:02}")).digest

    with ThreadPoolExecutor(4) as pool:
        digests = list(pool.map(write, range(12)))
    assert registry.list_tags(repo) == tuple(Tag(f"t{number:02}") for number in range(12))
    for number, digest in enumerate(digests):
        assert registry.get_manifest(repo, Tag(f"t{number:02}")).digest == digest


def test_the_time_it_says_is_a_time_of_one_zone_or_none(registry: Registry) -> None:
    told = registry.date()
    assert told is None or told.utcoffset() == timedelta(0)
