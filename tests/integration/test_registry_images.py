"""Does a base image come out of a registry as it went in, whatever wrote it, and is a poisoned one refused?"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from registry.base.store import BaseImage, base_repository, fetch_base, push_base, push_base_folder
from registry.check import put_bytes
from registry.errors import RegistryMisbehaved
from registry.layout import LayoutRegistry
from registry.memory import MemoryRegistry
from registry.names import Repository, Tag
from registry.oci import OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, Descriptor, make_manifest, print_index
from security.digest import Digest, digest_of
from security.errors import ArchiveRejected, BudgetExceeded, DigestMismatch, InvalidInput, MalformedArtifact, PhtError
from tests.support.engine import Engine
from tests.support.registries import RealRegistries

REPO = base_repository("debian")
LAYERS = (b"first layer " * 500, b"second layer " * 500)


def config_of(*layers: bytes) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [str(digest_of(layer)) for layer in layers]}
    return json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": []}, "rootfs": rootfs}).encode()


CONFIG = config_of(*LAYERS)


def tar_of(files: Mapping[str, bytes], *others: tarfile.TarInfo) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in others:
            tar.addfile(member)
    out.seek(0)
    return out


def saved(config: bytes = CONFIG, layers: tuple[bytes, ...] = LAYERS, **changes: Any) -> dict[str, bytes]:
    """What ``docker save`` writes with the classic image store."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    files = dict(zip(names, layers, strict=True))
    listed = {"Config": "config.json", "RepoTags": ["x:y"], "Layers": names} | changes
    return files | {"config.json": config, "manifest.json": json.dumps([listed]).encode()}


def layout(config: bytes = CONFIG, layers: tuple[bytes, ...] = LAYERS, images: int = 1) -> dict[str, bytes]:
    """What ``skopeo copy`` writes into an archive."""
    blobs = {digest_of(data): data for data in (config, *layers)}
    manifests = []
    for number in range(images):
        manifest = make_manifest(
            config=_descriptor(config, OCI_CONFIG),
            layers=[_descriptor(layer, OCI_LAYER) for layer in layers],
            annotations={"number": str(number)},
        )
        blobs[manifest.digest] = manifest.raw
        manifests.append(manifest.descriptor)
    files = {f"blobs/sha256/{digest.hex}": data for digest, data in blobs.items()}
    return files | {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": print_index(manifests)}


def _descriptor(data: bytes, kind: str) -> Descriptor:
    return Descriptor(media_type=kind, digest=digest_of(data), size=len(data))


def plain_layers(image: BaseImage) -> tuple[bytes, ...]:
    found = []
    for layer in image.layers:
        with layer.open() as source:
            data = source.read()
        found.append(gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data)
    return tuple(found)


def test_saved_image(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    digest = push_base(registry, REPO, tar_of(saved()), room=tmp_path)
    image = fetch_base(registry, REPO, digest)
    assert image.manifest.digest == digest
    assert image.image_id == digest_of(CONFIG)
    assert image.config == CONFIG
    assert plain_layers(image) == LAYERS
    assert [layer.diff_id for layer in image.layers] == [digest_of(layer) for layer in LAYERS]
    assert registry.list_tags(REPO) == (Tag(digest.hex),)
    assert list(tmp_path.iterdir()) == []


def test_same_image_same_digest_whatever_the_engine_wrote(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    link = tarfile.TarInfo("1/layer.tar")
    link.type, link.linkname = tarfile.SYMTYPE, "../other/layer.tar"
    linked = saved()
    linked["other/layer.tar"] = linked.pop("1/layer.tar")
    packed = saved() | {f"{number}/layer.tar": gzip.compress(layer) for number, layer in enumerate(LAYERS)}
    ways = [
        tar_of(saved()),
        tar_of(linked, link),
        tar_of(packed),
        io.BytesIO(gzip.compress(tar_of(saved()).getvalue())),
    ]
    ways.append(tar_of(saved() | layout()))
    assert len({push_base(registry, REPO, source, room=tmp_path) for source in ways}) == 1


def test_image_layout_keeps_its_digest(tmp_path: Path) -> None:
    files = layout()
    folder, room = tmp_path / "layout", tmp_path / "room"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    room.mkdir()
    wanted = Digest(json.loads(files["index.json"])["manifests"][0]["digest"])
    registry = MemoryRegistry()
    assert push_base(registry, REPO, tar_of(files), room=room) == wanted
    assert push_base_folder(registry, REPO, folder, room=room) == wanted
    assert plain_layers(fetch_base(registry, REPO, wanted)) == LAYERS


@pytest.mark.parametrize(
    ("files", "refusal"),
    [
        (saved(layers=(LAYERS[0], b"other")), DigestMismatch),
        (saved(layers=LAYERS[:1]), MalformedArtifact),
        (saved(config=b"{}"), MalformedArtifact),
        (saved(Layers=["../../etc/passwd", "1/layer.tar"]), MalformedArtifact),
        (saved(Config="/etc/passwd"), MalformedArtifact),
        (saved() | {"manifest.json": b"[]"}, MalformedArtifact),
        (saved() | {"manifest.json": b"[{},{}]"}, MalformedArtifact),
        (saved() | {"0/layer.tar": gzip.compress(LAYERS[0])[:-9]}, MalformedArtifact),
        (layout(images=2), MalformedArtifact),
        (layout(layers=LAYERS[:1]), MalformedArtifact),
        (layout() | {f"blobs/sha256/{digest_of(LAYERS[0]).hex}": b"x" * len(LAYERS[0])}, DigestMismatch),
        ({"hello": b"world"}, InvalidInput),
    ],
)
def test_image_that_does_not_fit_together(files: dict[str, bytes], refusal: type[PhtError], tmp_path: Path) -> None:
    registry = MemoryRegistry()
    with pytest.raises(refusal):
        push_base(registry, REPO, tar_of(files), room=tmp_path)
    assert registry.list_tags(REPO) == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"not a tar" * 1000, tar_of(saved()).getvalue()[:3000]])
def test_no_archive(data: bytes, tmp_path: Path) -> None:
    with pytest.raises((ArchiveRejected, InvalidInput, MalformedArtifact)):
        push_base(MemoryRegistry(), REPO, io.BytesIO(data), room=tmp_path)


def test_devices_and_escapes_in_an_archive(tmp_path: Path) -> None:
    device = tarfile.TarInfo("null")
    device.type = tarfile.CHRTYPE
    with pytest.raises(ArchiveRejected):
        push_base(MemoryRegistry(), REPO, tar_of(saved(), device), room=tmp_path)
    room = tmp_path / "a" / "b"
    room.mkdir(parents=True)
    link = tarfile.TarInfo("config.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    escaping = saved() | {"../../escaped": b"x", "/escaped": b"y"}
    del escaping["config.json"]
    with pytest.raises(MalformedArtifact):
        push_base(MemoryRegistry(), REPO, tar_of(escaping, link), room=room)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b"]


def test_base_that_is_too_large_or_no_image(tmp_path: Path) -> None:
    registry = MemoryRegistry()
    digest = push_base(registry, REPO, tar_of(saved()), room=tmp_path)
    with pytest.raises(BudgetExceeded):
        fetch_base(registry, REPO, digest, limit=10)
    config = put_bytes(registry, REPO, CONFIG, OCI_CONFIG)
    layer = put_bytes(registry, REPO, LAYERS[0], "application/vnd.oci.image.layer.v1.tar+zstd")
    for manifest in (
        make_manifest(config=config, layers=[layer, layer]),
        make_manifest(config=config, layers=[_descriptor(LAYERS[0], OCI_LAYER_GZIP)]),
        make_manifest(config=layer, layers=[]),
    ):
        registry.put_manifest(REPO, Tag("odd"), manifest.raw, manifest.media_type)
        with pytest.raises(MalformedArtifact) as caught:
            fetch_base(registry, REPO, manifest.digest)
        assert caught.value.code == "malformed.artifact"


def test_image_of_a_real_engine_through_a_real_registry(
    engine: Engine, real_registries: RealRegistries, tmp_path: Path
) -> None:
    with contextlib.closing(engine.client()) as client:
        content = tar_of({"etc/hello": b"hello"})
        image_id = json.loads(client.import_image_from_data(content.getvalue(), repository="pht-test-base", tag="t"))[
            "status"
        ]
        command = ["docker", "--host", engine.url, "save", "pht-test-base:t"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            registry = real_registries.client("http")
            digest = push_base(registry, REPO, cast("BinaryIO", process.stdout), room=tmp_path)
        assert process.returncode == 0
        client.remove_image("pht-test-base:t", force=True)
    image = fetch_base(registry, REPO, digest)
    assert image.image_id == image_id
    with tarfile.open(fileobj=io.BytesIO(plain_layers(image)[0])) as tar:
        hello = tar.extractfile("etc/hello")
        assert hello is not None
        assert hello.read() == b"hello"
    url = real_registries.address("http").replace("http://", "docker://") + f"/{REPO}@{digest}"
    subprocess.run(
        ["skopeo", "--insecure-policy", "inspect", "--tls-verify=false", url], check=True, capture_output=True
    )


def test_image_layout_folder_is_a_registry_too(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "room").mkdir()
    registry = LayoutRegistry(tmp_path / "registry")
    digest = push_base(registry, Repository("base/x"), tar_of(saved()), room=tmp_path / "room")
    assert plain_layers(fetch_base(registry, Repository("base/x"), digest)) == LAYERS


@pytest.mark.parametrize("which", ["manifest", "config", "layer"])
@pytest.mark.parametrize("change", ["other", "shorter", "longer"])
def test_t15_other_bytes_of_an_approved_base_are_the_registrys_fault(tmp_path: Path, which: str, change: str) -> None:
    """Told as anything else, a registry could have a station refuse an honest train for good."""
    (tmp_path / "registry").mkdir()
    (tmp_path / "room").mkdir()
    registry = LayoutRegistry(tmp_path / "registry")
    digest = push_base(registry, REPO, tar_of(saved()), room=tmp_path / "room")
    image = fetch_base(registry, REPO, digest)
    spoiled = {"manifest": digest, "config": image.image_id, "layer": image.layers[1].descriptor.digest}[which]
    path = tmp_path / "registry" / REPO / "blobs" / "sha256" / spoiled.hex
    data = path.read_bytes()
    path.write_bytes({"other": b"x" + data[1:], "shorter": data[:-1], "longer": data + b"x"}[change])
    with pytest.raises(RegistryMisbehaved) as caught:
        plain_layers(fetch_base(registry, REPO, digest))
    assert caught.value.code == "registry.misbehaved"
