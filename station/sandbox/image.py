"""How does an approved base image get into the engine without bringing anything but its files?

The publisher's image config could bring ``Entrypoint``, ``Env`` (``LD_PRELOAD``), ``User``, ``Volumes``, ``OnBuild`` or
a ``Healthcheck`` (attack T12). It never reaches the engine: the verified layers are loaded under a config of our own,
whose digest, the image id, is known beforehand.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, Final

from security.digest import BUFFER, Digest, digest_of
from security.encoding import dump_json
from security.errors import DigestMismatch
from station.sandbox.order import CODE, CONTEXT, DATA, STATE, TMP

_BLOCK: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLayer:
    """One layer of a base image as it is stored: a tar, plain or compressed as the engine understands it.

    ``open`` gives its ``size`` bytes, through a reader that checks them as they are read.
    """

    size: int
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """A base image whose manifest, config and layers were verified against the approved ``digest``.

    ``diff_ids`` are the digests of the uncompressed layers (OCI image specification 1.1, config, ``rootfs``), in the
    order of ``layers``; ``architecture`` is a Go name such as ``amd64``.
    """

    digest: Digest
    diff_ids: tuple[Digest, ...]
    layers: tuple[ImageLayer, ...]
    architecture: str

    @property
    def all_diff_ids(self) -> tuple[Digest, ...]:
        """The digests of the layers as loaded: the base's own, and the one with our mount points."""
        return (*self.diff_ids, digest_of(mount_points()))

    @property
    def config(self) -> bytes:
        """The image config it is loaded with: the layers, and not one setting."""
        return dump_json(
            {
                "architecture": self.architecture,
                "config": {},
                "os": "linux",
                "rootfs": {"diff_ids": list(self.all_diff_ids), "type": "layers"},
            }
        )

    @property
    def image_id(self) -> Digest:
        """The id an engine with the classic image store gives it: the digest of `config`."""
        return digest_of(self.config)

    @property
    def engine_name(self) -> str:
        """A name for operators, and to find it in a containerd image store, whose ids are not known beforehand.

        What is found under it is believed only after `mismatches`, and run by id.
        """
        return f"pht/base:{self.digest.hex}"


@cache
def mount_points() -> bytes:
    """Return the topmost layer: the folders of the sandbox, in place of whatever the base has there.

    runc 1.1 gives a tmpfs the mode of the folder it covers, whatever ``mode=`` says, so ``/tmp`` must be open to all;
    and no symbolic link of the base shall decide where a mount goes.
    """
    out = io.BytesIO()
    for path, mode in ((TMP, 0o1777), ("/pht", 0o755), (CODE, 0o755), (DATA, 0o755), (STATE, 0o755)):
        out.write(_header(path[1:] + "/", 0, mode, tarfile.DIRTYPE))
    out.write(_header(CONTEXT[1:], 0, 0o444))
    out.write(bytes(2 * _BLOCK))
    return out.getvalue()


def load_archive(base: BaseImage) -> Iterator[bytes]:
    """Yield the archive for the engine's ``load`` call, layer by layer, through one buffer at a time.

    Raises:
        DigestMismatch: a layer has another size than announced; its own reader raises on other bytes.
    """
    config_name = f"{base.image_id.hex}.json"
    points = mount_points()
    layers = (*base.layers, ImageLayer(size=len(points), open=lambda: io.BytesIO(points)))
    names = [f"layer-{index}.tar" for index in range(len(layers))]
    manifest = [{"Config": config_name, "Layers": names, "RepoTags": [base.engine_name]}]
    yield from _member(config_name, base.config)
    for name, layer in zip(names, layers, strict=True):
        yield _header(name, layer.size, 0o644)
        yield from _bytes_of(layer)
        yield bytes(-layer.size % _BLOCK)
    yield from _member("manifest.json", dump_json(manifest))
    yield bytes(2 * _BLOCK)


def mismatches(base: BaseImage, inspected: Mapping[str, object]) -> tuple[str, ...]:
    """Return where an image of the engine, as inspected, is not `base` as we load it; nothing if it is."""
    rootfs = inspected.get("RootFS")
    config = inspected.get("Config") or {}
    found = []
    if not isinstance(rootfs, dict) or rootfs.get("Layers") != list(base.all_diff_ids):
        found.append("RootFS.Layers")
    if inspected.get("Architecture") != base.architecture:
        found.append("Architecture")
    if not isinstance(config, dict):
        found.append("Config")
    else:
        found.extend(f"Config.{name}" for name, value in sorted(config.items()) if value)
    return tuple(found)


def _member(name: str, data: bytes) -> Iterator[bytes]:
    yield _header(name, len(data), 0o644) + data + bytes(-len(data) % _BLOCK)


def _header(name: str, size: int, mode: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type = size, mode, kind
    return info.tobuf(tarfile.GNU_FORMAT)  # layers may be larger than ustar can say


def _bytes_of(layer: ImageLayer) -> Iterator[bytes]:
    seen = 0
    with layer.open() as source:
        while chunk := source.read(BUFFER):
            seen += len(chunk)
            if seen > layer.size:
                break
            yield chunk
    if seen != layer.size:
        msg = "layer has another size than announced"
        raise DigestMismatch(msg, size=layer.size)
