"""How does a sender know that what it put into a mailbox is there?

It asks for what it put. Whoever it is for may have taken it by then, and removed it: that is not told apart from a registry that
loses what it accepts, so it is put there again, a few times. A party that has taken it already knows it, and removes it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, Final

from registry.artifact import Artifact
from registry.blobs import BlobSource
from registry.check import put_bytes
from registry.errors import NotInRegistry, RegistryMisbehaved
from registry.names import Repository, Tag
from registry.oci import EMPTY_BYTES, OCI_EMPTY, OCI_MANIFEST
from registry.port import Registry
from security.digest import Digest

TIMES: Final = 3


def publish(registry: Registry, artifact: Artifact, repo: Repository, tag: Tag) -> Digest:
    """Put the manifest of an artifact into a repository under a tag; its parts are there already.

    Raises:
        RegistryMisbehaved: the registry accepted the manifest but does not have it, each time.
    """
    for _ in range(TIMES):
        if _put(registry, artifact, repo, tag):
            return artifact.manifest.digest
    msg = "registry does not have the manifest it accepted"
    raise RegistryMisbehaved(msg, repository=repo, tag=tag)


def reader_of(blobs: BlobSource, digest: Digest) -> Callable[[int], BinaryIO]:
    """Return what opens a blob at an offset, for an upload."""

    def open_at(offset: int) -> BinaryIO:
        source = blobs.open(digest)
        source.seek(offset)
        return source

    return open_at


def _put(registry: Registry, artifact: Artifact, repo: Repository, tag: Tag) -> bool:
    raw = artifact.manifest.raw
    try:
        registry.put_manifest(repo, tag, raw, OCI_MANIFEST)
    except NotInRegistry:  # the empty config, as a rule: it is in every mailbox that was used before
        put_bytes(registry, repo, EMPTY_BYTES, OCI_EMPTY)
        registry.put_manifest(repo, tag, raw, OCI_MANIFEST)
    try:
        return registry.get_manifest(repo, artifact.manifest.digest).raw == raw
    except NotInRegistry:
        return False
