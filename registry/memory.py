"""How does a registry in memory behave like the others?"""

from __future__ import annotations

import io
import threading
from datetime import datetime

from registry.check import checked_pieces, expected_digest, open_checked
from registry.errors import NotInRegistry, RegistryTooLong
from registry.names import Reference, Repository, Tag
from registry.oci import MAX_MANIFEST, Descriptor, parse_manifest
from registry.port import OpenAt, Progress, StoredManifest
from security.digest import NOTHING, CheckedReader, Digest, Prefix


class MemoryRegistry:
    """A `Registry` for rehearsals and tests. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blobs: dict[Repository, dict[Digest, bytes]] = {}
        self._manifests: dict[Repository, dict[Digest, StoredManifest]] = {}
        self._tags: dict[Repository, dict[Tag, Digest]] = {}

    def has_blob(self, repo: Repository, digest: Digest) -> bool:
        """See `Registry.has_blob`."""
        with self._lock:
            return digest in self._blobs.get(repo, {})

    def open_blob(self, repo: Repository, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
        """See `Registry.open_blob`."""
        with self._lock:
            data = self._blobs.get(repo, {}).get(descriptor.digest)
        if data is None:
            msg = "no such blob"
            raise NotInRegistry(msg, repository=repo, digest=descriptor.digest)
        return open_checked(io.BytesIO(data[after.size :]), descriptor, after)

    def put_blob(
        self, repo: Repository, descriptor: Descriptor, open_at: OpenAt, progress: Progress | None = None
    ) -> None:
        """See `Registry.put_blob`."""
        if self.has_blob(repo, descriptor.digest):
            return
        held = io.BytesIO()
        with open_at(0) as source:
            for piece in checked_pieces(source, descriptor):
                held.write(piece)
                if progress is not None:
                    progress(len(piece))
        with self._lock:
            self._blobs.setdefault(repo, {})[descriptor.digest] = held.getvalue()

    def mount_blob(self, repo: Repository, digest: Digest, source: Repository) -> bool:
        """See `Registry.mount_blob`."""
        with self._lock:
            data = self._blobs.get(source, {}).get(digest)
            if data is not None:
                self._blobs.setdefault(repo, {})[digest] = data
        return data is not None

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = MAX_MANIFEST) -> StoredManifest:
        """See `Registry.get_manifest`."""
        with self._lock:
            digest = reference if isinstance(reference, Digest) else self._tags.get(repo, {}).get(reference)
            found = self._manifests.get(repo, {}).get(digest) if digest is not None else None
        if found is None:
            msg = "no such manifest"
            raise NotInRegistry(msg, repository=repo, reference=reference)
        if len(found.raw) > most:
            msg = "manifest is too large"
            raise RegistryTooLong(msg, repository=repo, digest=found.digest, size=len(found.raw))
        return found

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        """See `Registry.put_manifest`."""
        digest = expected_digest(raw, reference)
        manifest = parse_manifest(raw, media_type)
        with self._lock:
            for blob in manifest.blobs:
                if blob.digest not in self._blobs.get(repo, {}):
                    msg = "manifest names a blob that does not exist"
                    raise NotInRegistry(msg, repository=repo, digest=blob.digest)
            stored = StoredManifest(raw=raw, media_type=media_type, digest=digest)
            self._manifests.setdefault(repo, {})[digest] = stored
            if isinstance(reference, Tag):
                self._tags.setdefault(repo, {})[reference] = digest
        return digest

    def delete_manifest(self, repo: Repository, digest: Digest) -> None:
        """See `Registry.delete_manifest`."""
        with self._lock:
            self._manifests.get(repo, {}).pop(digest, None)
            tags = self._tags.get(repo, {})
            for tag in [tag for tag, named in tags.items() if named == digest]:
                del tags[tag]

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        """See `Registry.list_tags`."""
        with self._lock:
            return tuple(sorted(self._tags.get(repo, {})))

    def date(self) -> datetime | None:
        """See `Registry.date`: it has no clock."""
        return None
