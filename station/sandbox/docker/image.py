"""How does an approved base image get into the engine without bringing anything but its files?

The publisher's image config could bring ``Entrypoint``, ``Env`` (``LD_PRELOAD``), ``User``, ``Volumes``, ``OnBuild`` or
a ``Healthcheck`` (attack T12). It never reaches the engine: the verified layers are loaded under a config of our own,
whose digest, the image id, is known beforehand.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from security.digest import BUFFER, Digest, digest_of
from security.encoding import dump_json
from security.errors import DigestMismatch
from station.sandbox.image import BaseImage, ImageLayer
from station.sandbox.order import CODE, CONTEXT, DATA, IN, KEEP, STATE, TMP

_BLOCK: Final = 512


def image_config(base: BaseImage) -> bytes:
    """Return the image config that `base` is loaded with: the layers, and not one setting."""
    return dump_json(
        {
            "architecture": base.architecture,
            "config": {},
            "os": "linux",
            "rootfs": {"diff_ids": list(loaded_diff_ids(base)), "type": "layers"},
        }
    )


def loaded_diff_ids(base: BaseImage) -> tuple[Digest, ...]:
    """Return the digests of the layers as loaded: the base's own, and the one with our mount points."""
    return (*base.diff_ids, digest_of(mount_points()))


def image_id(base: BaseImage) -> Digest:
    """Return the id that an engine with the classic image store gives it: the digest of its config."""
    return digest_of(image_config(base))


def engine_name(base: BaseImage) -> str:
    """Return a name for operators, and for finding it in a containerd image store, whose ids are not known beforehand.

    What is found under it is believed only after `mismatches`, and run by id.
    """
    return f"pht/base:{base.digest.hex}"


@cache
def mount_points() -> bytes:
    """Return the topmost layer: the folders of the sandbox, in place of whatever the base has there.

    runc 1.1 gives a tmpfs the mode of the folder it covers, whatever ``mode=`` says, so ``/tmp`` must be open to all;
    and no symbolic link of the base may decide where a mount goes.
    """
    out = io.BytesIO()
    for path, mode in (
        (TMP, 0o1777),
        ("/pht", 0o755),
        (CODE, 0o755),
        (DATA, 0o755),
        (IN, 0o755),
        (KEEP, 0o755),
        (STATE, 0o755),
    ):
        out.write(_header(path[1:] + "/", 0, mode, tarfile.DIRTYPE))
    out.write(_header(CONTEXT[1:], 0, 0o444))
    out.write(bytes(2 * _BLOCK))
    return out.getvalue()


def load_archive(base: BaseImage) -> Iterator[bytes]:
    """Yield the archive for the engine's ``load`` call, layer by layer, through one buffer at a time.

    Raises:
        DigestMismatch: a layer has another size than announced; its own reader raises on other bytes.
    """
    config_name = f"{image_id(base).hex}.json"
    points = mount_points()
    layers = (*base.layers, ImageLayer(size=len(points), open=lambda: io.BytesIO(points)))
    names = [f"layer-{index}.tar" for index in range(len(layers))]
    manifest = [{"Config": config_name, "Layers": names, "RepoTags": [engine_name(base)]}]
    yield from _member(config_name, image_config(base))
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
    if not isinstance(rootfs, dict) or rootfs.get("Layers") != list(loaded_diff_ids(base)):
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
