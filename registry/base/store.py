"""How is a base image published in a registry and fetched from it?

A base image is an ordinary OCI image in the repository ``base/<name>``, named by digest everywhere (attacks T12, T13).
An image saved by an engine is normalised, so that everyone who publishes it gets the same digest: the config is kept as
it is, the layers are compressed with fixed settings. (The output of zlib may differ between versions; the image id does
not.) An image layout without an engine's ``manifest.json`` is published unchanged, under the digest it has.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast

from registry.base.archive import MAX_IMAGE, SavedImage, from_folder, from_stream
from registry.check import put_bytes, read_blob
from registry.errors import RegistryMisbehaved
from registry.names import Repository, Tag
from registry.oci import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    OciManifest,
    make_manifest,
    parse_index,
    parse_manifest,
)
from registry.port import Progress, Registry
from security.digest import BUFFER, Digest, digest_of, digest_stream
from security.encoding import Fields, parse_json
from security.errors import BudgetExceeded, DigestMismatch, InvalidInput, MalformedArtifact, MalformedStatement
from security.files import told
from security.streams import fill

_LEVEL: Final = 3  # of 9: a third of the time of level 6, for a tenth more bytes
_GZIP_MAGIC: Final = b"\x1f\x8b"
_MAX_CONFIG: Final = 1 << 20
_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_LAYERS: Final = frozenset({OCI_LAYER, OCI_LAYER_GZIP, DOCKER_LAYER_GZIP})


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseLayer:
    """A layer: its blob in the registry, and the digest of its uncompressed tar as the config names it."""

    descriptor: Descriptor
    diff_id: Digest
    open: Callable[[], BinaryIO] = field(repr=False)
    """Opens the stored, possibly compressed bytes as a digest-checked reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """A base image fetched by digest. Manifest and config are verified; layers are verified while they are read."""

    manifest: OciManifest
    config: bytes = field(repr=False)
    layers: tuple[BaseLayer, ...]

    @property
    def image_id(self) -> Digest:
        """The digest of the config: the id of the image in engines with the classic image store."""
        return self.manifest.config.digest


def base_repository(name: str) -> Repository:
    """Return the repository of the base images called `name`."""
    return Repository(f"base/{name}")


def fetch_base(registry: Registry, repo: Repository, digest: Digest, *, limit: int = MAX_IMAGE) -> BaseImage:
    """Fetch a base image's manifest and config; the layers are opened by the caller.

    Raises:
        MalformedArtifact: it is not an image with plain or gzip layers that match its config.
        BudgetExceeded: its layers together exceed `limit` bytes.
        RegistryMisbehaved: bytes from the registry do not match their digest, here or while a layer is read.
    """
    with _registry_to_blame(digest):
        return _fetch(registry, repo, digest, limit)


def _fetch(registry: Registry, repo: Repository, digest: Digest, limit: int) -> BaseImage:
    stored = registry.get_manifest(repo, digest)
    manifest = parse_manifest(stored.raw, stored.media_type)
    _check_kinds(manifest)
    size = sum(layer.size for layer in manifest.layers)
    if size > limit:
        msg = "base image is larger than allowed"
        raise BudgetExceeded(msg, digest=digest, size=size, limit=limit)
    config = read_blob(registry, repo, manifest.config, limit=_MAX_CONFIG)
    layers = tuple(
        BaseLayer(descriptor=layer, diff_id=diff_id, open=partial(_open_layer, registry, repo, layer))
        for layer, diff_id in zip(manifest.layers, _diff_ids(config, len(manifest.layers)), strict=True)
    )
    return BaseImage(manifest=manifest, config=config, layers=layers)


@contextlib.contextmanager
def _registry_to_blame(digest: Digest) -> Iterator[None]:
    """Blame wrong bytes on the registry: neither the train that needs them nor whoever named the digest is at fault."""
    try:
        yield
    except DigestMismatch as error:
        msg = "bytes of a base image from the registry do not match their digest"
        raise RegistryMisbehaved(msg, digest=digest.short) from error


def _open_layer(registry: Registry, repo: Repository, layer: Descriptor) -> BinaryIO:
    with _registry_to_blame(layer.digest):
        return cast("BinaryIO", _Layer(cast("BinaryIO", registry.open_blob(repo, layer)), layer))


class _Layer(io.RawIOBase):
    """Reads a layer and verifies it on the way."""

    def __init__(self, source: BinaryIO, layer: Descriptor) -> None:
        super().__init__()
        self._source, self._layer = source, layer

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer`.

        Raises:
            RegistryMisbehaved: at the end, or as soon as more bytes arrive than announced.
        """
        with _registry_to_blame(self._layer.digest):
            try:
                return fill(self._source, memoryview(buffer).cast("B"))
            except BudgetExceeded as error:
                msg = "bytes do not match their digest"
                raise DigestMismatch(msg, size=self._layer.size) from error

    def close(self) -> None:
        """Close the source too."""
        if not self.closed:
            self._source.close()
        super().close()


def push_base(
    registry: Registry, repo: Repository, source: BinaryIO, *, room: Path, progress: Progress | None = None
) -> Digest:
    """Publish an image from a stream of ``docker save`` or an archived image layout; return its manifest's digest.

    `room` is a folder with space for two copies of the image; it is left as it was.

    Raises:
        ArchiveRejected, MalformedArtifact: it is not exactly one image.
        DigestMismatch: a layer does not match the config.
    """
    with told(room), tempfile.TemporaryDirectory(dir=room, prefix="image-") as folder:
        inner = Path(folder)
        saved, spool = inner / "saved", inner / "layer"
        saved.mkdir()
        return _push(registry, repo, from_stream(source, saved), spool, progress)


def push_base_folder(
    registry: Registry, repo: Repository, folder: Path, *, room: Path, progress: Progress | None = None
) -> Digest:
    """Publish the image in an unpacked image layout; see `push_base`."""
    with told(room), tempfile.TemporaryDirectory(dir=room, prefix="image-") as inner:
        return _push(registry, repo, from_folder(folder), Path(inner) / "layer", progress)


def _push(registry: Registry, repo: Repository, image: SavedImage, spool: Path, progress: Progress | None) -> Digest:
    if image.has("manifest.json"):
        manifest = _push_saved(registry, repo, image, spool, progress)
    elif image.has("index.json"):
        manifest = _push_layout(registry, repo, image, progress)
    else:
        msg = "neither a saved image nor an image layout"
        raise InvalidInput(msg, hint="docker save IMAGE writes one")
    # tagged with its own digest: a registry's garbage collection may remove untagged manifests
    return registry.put_manifest(repo, Tag(manifest.digest.hex), manifest.raw, manifest.media_type)


def _push_saved(
    registry: Registry, repo: Repository, image: SavedImage, spool: Path, progress: Progress | None
) -> OciManifest:
    config_name, layer_names = _saved_parts(image)
    config = image.read(config_name)
    diff_ids = _diff_ids(config, len(layer_names))
    layers: list[Descriptor] = []
    for name, diff_id in zip(layer_names, diff_ids, strict=True):
        with spool.open("wb") as out:
            _compress(image.path(name), diff_id, out)
        with spool.open("rb") as packed:
            digest, size = digest_stream(packed)
        layers.append(Descriptor(media_type=OCI_LAYER_GZIP, digest=digest, size=size))
        registry.put_blob(repo, layers[-1], partial(_open_at, spool), progress)
    return make_manifest(config=put_bytes(registry, repo, config, OCI_CONFIG), layers=layers)


def _push_layout(registry: Registry, repo: Repository, image: SavedImage, progress: Progress | None) -> OciManifest:
    entries = [entry for entry in parse_index(image.read("index.json")) if entry.media_type == OCI_MANIFEST]
    if len({entry.digest for entry in entries}) != 1:
        msg = "image layout does not contain exactly one image"
        raise MalformedArtifact(msg, images=len(entries), hint="copy one image for one platform: skopeo copy")
    raw = image.read(_blob_name(entries[0].digest))
    if digest_of(raw) != entries[0].digest:
        msg = "manifest does not match the index"
        raise DigestMismatch(msg, expected=entries[0].digest, found=digest_of(raw))
    manifest = parse_manifest(raw, OCI_MANIFEST)
    _check_kinds(manifest)
    _diff_ids(image.read(_blob_name(manifest.config.digest)), len(manifest.layers))
    for blob in manifest.blobs:
        registry.put_blob(repo, blob, partial(_open_at, image.path(_blob_name(blob.digest))), progress)
    return manifest


def _check_kinds(manifest: OciManifest) -> None:
    kinds = {layer.media_type for layer in manifest.layers}
    if manifest.config.media_type not in _CONFIGS or not kinds <= _LAYERS:
        msg = "not an image with plain or gzip layers"
        raise MalformedArtifact(msg, config=manifest.config.media_type, layers=sorted(kinds - _LAYERS))


def _saved_parts(image: SavedImage) -> tuple[str, tuple[str, ...]]:
    """Read the list that engines write: one entry per image, with the names of its config and its layers."""
    try:
        images = Fields({"images": parse_json(image.read("manifest.json"))}, "manifest.json").objects("images", most=99)
        if len(images) != 1:
            msg = "archive does not contain exactly one image"
            raise MalformedArtifact(msg, images=len(images), hint="docker save with one image")
        return images[0].text("Config"), images[0].texts("Layers", least=1)
    except MalformedStatement as error:
        msg = "invalid list of images"
        raise MalformedArtifact(msg, hint=error.hint, **error.fields) from error


def _diff_ids(config: bytes, expected: int) -> tuple[Digest, ...]:
    try:
        rootfs = Fields(parse_json(config), "config").fields("rootfs")
        rootfs.constant("type", "layers")
        found = tuple(Digest(text) for text in rootfs.texts("diff_ids"))
    except MalformedStatement as error:
        msg = "invalid config of an image"
        raise MalformedArtifact(msg, hint=error.hint, **error.fields) from error
    if len(found) != expected:
        msg = "number of layers differs from the config"
        raise MalformedArtifact(msg, layers=expected, config=len(found))
    return found


def _compress(path: Path, diff_id: Digest, out: BinaryIO) -> None:
    hasher = hashlib.sha256()
    with path.open("rb") as raw:
        packed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        source = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw
        with gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=_LEVEL, mtime=0) as sink:
            try:
                while piece := source.read(BUFFER):
                    hasher.update(piece)
                    sink.write(piece)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                msg = "layer is damaged"
                raise MalformedArtifact(msg, diff_id=diff_id) from error
    found = Digest.of_hex(hasher.hexdigest())
    if found != diff_id:
        msg = "layer does not match the config"
        raise DigestMismatch(msg, expected=diff_id, found=found)


def _blob_name(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"


def _open_at(path: Path, offset: int) -> BinaryIO:
    with told(path):
        source = path.open("rb")
    source.seek(offset)
    return source
