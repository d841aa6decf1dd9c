"""Base images for tests: a static busybox (Debian: busybox-static) and whatever an attacker adds to it."""

from __future__ import annotations

import io
import json
import platform
import shutil
import tarfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from security.digest import digest_of
from station.sandbox.docker.image import engine_name
from station.sandbox.image import BaseImage, ImageLayer

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
APPLETS = [
    "cat",
    "chmod",
    "chown",
    "cp",
    "dd",
    "echo",
    "env",
    "find",
    "head",
    "id",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mknod",
    "mount",
    "nc",
    "ping",
    "ps",
    "rm",
    "sh",
    "sleep",
    "su",
    "tail",
    "test",
    "touch",
    "true",
    "umount",
    "uname",
    "wc",
    "wget",
]
PASSWD = b"root::0:0:root:/:/bin/sh\nnobody:x:65532:65532:nobody:/:/bin/sh\n"

Member = tuple[tarfile.TarInfo, bytes]


def folder(name: str, mode: int = 0o755) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    return info, b""


def file(name: str, data: bytes, mode: int = 0o644) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    return info, data


def link(name: str, target: str) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info, b""


def layer_of(members: Iterable[Member]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def busybox() -> bytes:
    found = shutil.which("busybox", path="/bin:/usr/bin:/usr/local/bin")
    assert found is not None, "the tests need a static busybox: apt-get install busybox-static"
    return Path(found).read_bytes()


def busybox_layer(*more: Member) -> bytes:
    return layer_of(
        (
            *(folder(name) for name in ("bin", "etc")),
            folder("tmp", 0o1777),
            file("bin/busybox", busybox(), 0o755),
            *(link(f"bin/{name}", "busybox") for name in APPLETS),
            file("etc/passwd", PASSWD),
            *more,
        )
    )


def base_of(*layers: bytes) -> BaseImage:
    return BaseImage(
        digest=digest_of(b"manifest of " + b"".join(digest_of(layer).encode() for layer in layers)),
        diff_ids=tuple(digest_of(layer) for layer in layers),
        layers=tuple(ImageLayer(size=len(layer), open=_reader(layer)) for layer in layers),
        architecture=ARCHITECTURES[platform.machine()],
    )


def _reader(data: bytes) -> Callable[[], BinaryIO]:
    return partial(io.BytesIO, data)


def archive_of(base: BaseImage, config: bytes) -> bytes:
    """An archive for the engine's ``load``, of the same layers and name as `base`, under a config of the attacker's."""
    layers = [layer.open().read() for layer in base.layers]
    manifest = [
        {"Config": "c.json", "RepoTags": [engine_name(base)], "Layers": [f"{n}.tar" for n in range(len(layers))]}
    ]
    return layer_of(
        (
            file("c.json", config),
            *(file(f"{n}.tar", layer) for n, layer in enumerate(layers)),
            file("manifest.json", json.dumps(manifest).encode()),
        )
    )
