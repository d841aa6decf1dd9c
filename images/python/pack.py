"""How is the tar of a root file system turned into an image that every tool reads, without an engine?

`pack.py NAME ROOT.tar IMAGE.tar` writes an OCI image layout (image-spec 1.0) that also carries the `manifest.json` of
`docker save`, as Docker itself writes since version 25: `docker load`, `skopeo` and `pht registry base push` all take it.
The same root file system gives the same bytes. Standard library only.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from typing import IO

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
CHUNK = 1 << 20
LEVEL = 3
"""Of gzip, as `pht registry base push` compresses the layer in any case."""


def digest_of(source: IO[bytes]) -> str:
    """Return the SHA-256 of what remains in a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def compressed(source: IO[bytes]) -> IO[bytes]:
    """Return a temporary file with the gzip form of a file, without name and time, so that it depends on the content only."""
    target = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
    with gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=LEVEL, mtime=0) as sink:
        shutil.copyfileobj(source, sink, CHUNK)
    target.seek(0)
    return target


def as_json(value: object) -> bytes:
    """Serialise a document; the same value always gives the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class Layout:
    """The members of the image, written into one tar as they come."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def member(self, path: str, source: IO[bytes]) -> int:
        """Add a file with fixed owner, mode and time, and return its size."""
        entry = tarfile.TarInfo(path)
        entry.size = source.seek(0, io.SEEK_END)
        source.seek(0)
        self._tar.addfile(entry, source)
        return entry.size

    def blob(self, media_type: str, source: IO[bytes]) -> dict[str, object]:
        """Add a content-addressed file and return its descriptor."""
        source.seek(0)
        digest = digest_of(source)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": self.member(blob_path(digest), source)}


def blob_path(digest: str) -> str:
    """Return where a blob lies in the layout."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def write_image(name: str, root: IO[bytes], target: IO[bytes], made: int) -> str:
    """Write the image and return the digest of its manifest. `made` is in seconds since 1970."""
    diff_id = f"sha256:{digest_of(root)}"
    root.seek(0)
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar, compressed(root) as packed:
        layout = Layout(tar)
        layer = layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", packed)
        created = datetime.fromtimestamp(made, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        image = {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": created,
            "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created": created, "created_by": "images/python/build.sh"}],
        }
        config = layout.blob("application/vnd.oci.image.config.v1+json", io.BytesIO(as_json(image)))
        media_type = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]}
        described = layout.blob(media_type, io.BytesIO(as_json(manifest)))
        named = {**described, "annotations": {"org.opencontainers.image.ref.name": name}}
        layout.member("index.json", io.BytesIO(as_json({"schemaVersion": 2, "manifests": [named]})))
        layout.member("oci-layout", io.BytesIO(as_json({"imageLayoutVersion": "1.0.0"})))
        saved = {
            "Config": blob_path(str(config["digest"])),
            "RepoTags": [f"pht-base/{name}:latest"],
            "Layers": [blob_path(str(layer["digest"]))],
        }
        layout.member("manifest.json", io.BytesIO(as_json([saved])))
    return str(described["digest"])


def main() -> None:
    """Pack the files named on the command line."""
    name, root, target = sys.argv[1:]
    made = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    with open(root, "rb") as source, open(target, "xb") as sink:  # noqa: PTH123 - two plain files
        print(write_image(name, source, sink, made))


if __name__ == "__main__":
    main()
