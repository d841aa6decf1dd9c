"""What does everybody else know of a registry?

Backings: `registry.memory`, `registry.layout`, `registry.http.remote`; `registry.retry` wraps any of them. All pass
one contract suite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeAlias

from registry.names import Reference, Repository, Tag
from registry.oci import Descriptor
from security.digest import Digest

OpenAt: TypeAlias = Callable[[int], BinaryIO]
"""Opens the same bytes again, from an offset: what an interrupted upload needs to go on."""

Progress: TypeAlias = Callable[[int], None]
"""Is told how many bytes were carried since the last call; negative if some must be carried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """The bytes a registry gave, the type it gave them, and their digest as computed from them."""

    raw: bytes
    media_type: str
    digest: Digest


class Registry(Protocol):
    """Repositories of blobs and manifests.

    Every method may raise `RegistryUnavailable` (try again), `RegistryDenied` (the operator must act) or
    `RegistryMisbehaved` (never believe it).
    """

    def has_blob(self, repo: Repository, digest: Digest) -> bool:
        """Whether the blob is there."""

    def open_blob(self, repo: Repository, descriptor: Descriptor) -> BinaryIO:
        """Return a reader that checks digest and size as it is read; see `security.digest.CheckedReader`.

        Raises:
            NotInRegistry: there is no such blob.
        """

    def put_blob(
        self, repo: Repository, descriptor: Descriptor, open_at: OpenAt, progress: Progress | None = None
    ) -> None:
        """Store a blob. Does nothing if it is there; called again after a failure, goes on where it broke off.

        Raises:
            DigestMismatch: `open_at` gave other bytes than the descriptor announces.
        """

    def mount_blob(self, repo: Repository, digest: Digest, source: Repository) -> bool:
        """Make a blob of `source` appear in `repo` without carrying it; false if it must be uploaded instead."""

    def get_manifest(self, repo: Repository, reference: Reference) -> StoredManifest:
        """Return a manifest. After a look-up by tag, go on by digest only (attack T13).

        Raises:
            NotInRegistry: there is no such manifest.
            DigestMismatch: the registry gave another one than was asked for.
        """

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        """Store a manifest, durably, under its digest and, if `reference` is a tag, under that name.

        Raises:
            NotInRegistry: a blob it names is not there; blobs come first.
            DigestMismatch: `reference` is a digest, and not that of `raw`.
        """

    def delete_manifest(self, repo: Repository, digest: Digest) -> None:
        """Remove a manifest and the tags that name it. It is fine if it is not there. Blobs stay.

        Raises:
            RegistryDenied: this registry does not delete.
        """

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        """Return the tags, sorted; none for a repository nobody has written to."""
