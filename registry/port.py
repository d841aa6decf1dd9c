"""What can every registry do?

Backings: `registry.memory`, `registry.layout`, `registry.http.remote`; `registry.retry` wraps any of them. All pass
one contract suite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol, TypeAlias

from registry.names import Reference, Repository, Tag
from registry.oci import MAX_MANIFEST, Descriptor
from security.digest import NOTHING, CheckedReader, Digest, Prefix

OpenAt: TypeAlias = Callable[[int], BinaryIO]
"""Opens the same bytes again, from an offset, so that an interrupted upload can resume."""

Progress: TypeAlias = Callable[[int], None]
"""Called with the number of bytes sent since the last call; negative if some must be sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """The bytes a registry returned, their media type, and the digest computed from them."""

    raw: bytes
    media_type: str
    digest: Digest


class Registry(Protocol):
    """Repositories of blobs and manifests.

    Every method may raise `RegistryUnavailable` (retry), `RegistryDenied` (the operator must act) or
    `RegistryMisbehaved` (the registry violates the protocol; do not retry).
    """

    def has_blob(self, repo: Repository, digest: Digest) -> bool:
        """Whether the blob is there."""

    def open_blob(self, repo: Repository, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
        """Return a reader of what comes `after` a part we have; it verifies digest and size of the whole on the way.

        Raises:
            NotInRegistry: there is no such blob.
        """

    def put_blob(
        self, repo: Repository, descriptor: Descriptor, open_at: OpenAt, progress: Progress | None = None
    ) -> None:
        """Store a blob. Does nothing if it is there; called again after a failure, resumes the upload.

        Raises:
            DigestMismatch: the bytes from `open_at` do not match the descriptor.
        """

    def mount_blob(self, repo: Repository, digest: Digest, source: Repository) -> bool:
        """Make a blob of `source` available in `repo` without a transfer; false if it must be uploaded instead."""

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = MAX_MANIFEST) -> StoredManifest:
        """Return a manifest. After looking one up by tag, use its digest only (attack T13).

        Raises:
            NotInRegistry: there is no such manifest.
            DigestMismatch: it is not the requested one.
            RegistryTooLong: it has more than `most` bytes, which were not read if the registry said so before.
        """

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        """Store a manifest durably under its digest and, if `reference` is a tag, under that name.

        Raises:
            NotInRegistry: a blob it names does not exist; blobs come first.
            DigestMismatch: `reference` is a digest other than that of `raw`.
        """

    def delete_manifest(self, repo: Repository, digest: Digest) -> None:
        """Remove a manifest and the tags that name it; it may be absent. Blobs stay until the registry is swept.

        Raises:
            RegistryDenied: this registry does not allow deletion.
        """

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        """Return the tags, sorted; none for a repository that does not exist."""

    def date(self) -> datetime | None:
        """Return what time the registry says it is; None if it has no clock, or does not say."""
