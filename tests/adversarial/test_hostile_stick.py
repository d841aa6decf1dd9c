"""What can a hostile image-layout folder, say on a USB stick, do to whoever mounts it? (T14, T15)"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from registry.errors import RegistryIndexUnreadable, RegistryMisbehaved, RegistryUnavailable
from registry.layout import LayoutRegistry
from registry.names import Repository, Tag
from registry.oci import EMPTY, EMPTY_BYTES, OCI_MANIFEST, Descriptor, make_manifest
from security.digest import digest_of
from security.errors import BudgetExceeded, DigestMismatch, FileMissing, PhtError

REPO = Repository("mailbox/hospital-a")
DATA = b"sealed state"
BLOB = Descriptor(media_type="application/octet-stream", digest=digest_of(DATA), size=len(DATA))
MANIFEST = make_manifest(config=EMPTY, layers=[BLOB])


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    registry = LayoutRegistry(folder)
    registry.put_blob(REPO, EMPTY, lambda offset: io.BytesIO(EMPTY_BYTES[offset:]))
    registry.put_blob(REPO, BLOB, lambda offset: io.BytesIO(DATA[offset:]))
    registry.put_manifest(REPO, Tag("t"), MANIFEST.raw, OCI_MANIFEST)
    return folder


def blob_path(stick: Path) -> Path:
    return stick / REPO / "blobs" / "sha256" / BLOB.digest.hex


def read(stick: Path) -> bytes:
    with LayoutRegistry(stick).open_blob(REPO, BLOB) as source:
        return source.read()


def write(stick: Path, data: bytes = b"new") -> None:
    blob = Descriptor(media_type="application/octet-stream", digest=digest_of(data), size=len(data))
    LayoutRegistry(stick).put_blob(REPO, blob, lambda offset: io.BytesIO(data[offset:]))


def index(stick: Path) -> Path:
    return stick / REPO / "index.json"


def test_t15_blob_with_other_bytes(stick: Path) -> None:
    blob_path(stick).write_bytes(b"x" * len(DATA))
    with pytest.raises(DigestMismatch):
        read(stick)
    blob_path(stick).write_bytes(DATA + b"x")
    with pytest.raises(BudgetExceeded):
        read(stick)


def test_t15_blob_that_is_a_link(stick: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(DATA)
    blob_path(stick).unlink()
    blob_path(stick).symlink_to(tmp_path / "secret")
    with pytest.raises(RegistryMisbehaved) as caught:
        read(stick)
    assert caught.value.code == "registry.misbehaved"
    assert not LayoutRegistry(stick).has_blob(REPO, BLOB.digest)


def test_t15_blob_that_is_a_pipe_does_not_block(stick: Path) -> None:
    blob_path(stick).unlink()
    os.mkfifo(blob_path(stick))
    with pytest.raises(RegistryMisbehaved):
        read(stick)


@pytest.mark.parametrize(
    "where", ["mailbox", "mailbox/hospital-a", "mailbox/hospital-a/blobs", "mailbox/hospital-a/blobs/sha256"]
)
def test_t15_folder_that_is_a_link_is_not_written_through(stick: Path, tmp_path: Path, where: str) -> None:
    victim = tmp_path / "victim"
    (stick / where).rename(victim)
    (stick / where).symlink_to(victim)
    before = sorted(path.name for path in victim.rglob("*"))
    with pytest.raises(RegistryMisbehaved):
        write(stick)
    assert sorted(path.name for path in victim.rglob("*")) == before


@pytest.mark.parametrize(("name", "error"), [(".lock", FileMissing), ("index.json", RegistryMisbehaved)])
def test_t15_file_that_is_a_link_is_not_written_through(
    stick: Path, tmp_path: Path, name: str, error: type[PhtError]
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(index(stick).read_bytes())
    before = victim.read_bytes()
    (stick / REPO / name).unlink()
    (stick / REPO / name).symlink_to(victim)
    with pytest.raises(error):
        LayoutRegistry(stick).put_manifest(REPO, Tag("u"), MANIFEST.raw, OCI_MANIFEST)
    assert victim.read_bytes() == before


def test_t15_tag_that_looks_like_a_digest_does_not_answer_for_it(stick: Path) -> None:
    asked = digest_of(b"another")
    document = json.loads(index(stick).read_text())
    document["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": str(asked)}
    index(stick).write_text(json.dumps(document))
    with pytest.raises(PhtError) as caught:
        LayoutRegistry(stick).get_manifest(REPO, asked)
    assert caught.value.code == "registry.not-found"
    assert LayoutRegistry(stick).list_tags(REPO) == ()


def test_t14_one_tag_for_two_manifests(stick: Path) -> None:
    other = make_manifest(config=EMPTY, layers=[])
    document = json.loads(index(stick).read_text())
    document["manifests"].append(document["manifests"][0] | {"digest": str(other.digest), "size": len(other.raw)})
    index(stick).write_text(json.dumps(document))
    with pytest.raises(RegistryMisbehaved):
        LayoutRegistry(stick).get_manifest(REPO, Tag("t"))


def test_t14_manifest_of_another_size(stick: Path) -> None:
    document = json.loads(index(stick).read_text())
    document["manifests"][0]["size"] -= 1
    index(stick).write_text(json.dumps(document))
    with pytest.raises(DigestMismatch):
        LayoutRegistry(stick).get_manifest(REPO, Tag("t"))
    document["manifests"][0]["size"] = 1 << 40
    index(stick).write_text(json.dumps(document))
    with pytest.raises(RegistryMisbehaved):
        LayoutRegistry(stick).get_manifest(REPO, Tag("t"))


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"schemaVersion":2}', b'{"schemaVersion":2,"manifests":[],"layers":[]}'])
def test_t14_index_that_is_none(stick: Path, raw: bytes) -> None:
    index(stick).write_bytes(raw)
    with pytest.raises(RegistryIndexUnreadable):
        LayoutRegistry(stick).list_tags(REPO)


@pytest.mark.parametrize("taken", [0, len(DATA)])
def test_t25_a_stick_pulled_out_while_it_is_read(stick: Path, taken: int) -> None:
    with LayoutRegistry(stick).open_blob(REPO, BLOB) as source:
        assert source.read(taken) == DATA[:taken]
        (number,) = [int(one.name) for one in Path("/proc/self/fd").iterdir() if one.resolve() == blob_path(stick)]
        away = os.open("/dev/null", os.O_WRONLY)
        os.dup2(away, number)  # what was open cannot be read any more
        os.close(away)
        with pytest.raises(RegistryUnavailable) as caught:
            source.read(1)
    assert caught.value.code == "registry.unavailable"


def test_t25_a_folder_whose_paths_the_system_does_not_take(tmp_path: Path) -> None:
    """What the system says about a path is told as an error of ours, whatever it is."""
    deep = tmp_path
    while (room := 4090 - len(str(deep)) - 1) > 0:
        deep /= "d" * min(room, 200)
    deep.mkdir(parents=True)
    registry = LayoutRegistry(deep)
    for act in (
        lambda: registry.has_blob(REPO, BLOB.digest),
        lambda: registry.open_blob(REPO, BLOB),
        lambda: registry.list_tags(REPO),
        lambda: registry.get_manifest(REPO, Tag("t")),
        lambda: registry.delete_manifest(REPO, BLOB.digest),
        lambda: registry.put_blob(REPO, BLOB, lambda offset: io.BytesIO(DATA[offset:])),
    ):
        with pytest.raises(PhtError):
            act()
