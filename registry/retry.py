"""When is a request to a registry retried, and after how long?

The error says whether: only `Unavailable` is retried. The wait doubles, or is longer if the registry asked for it,
within bounds. Every method of the port is safe to repeat. A list that took too long is not asked for again at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, TypeVar

from registry.errors import RegistryListSlow
from registry.names import Reference, Repository, Tag
from registry.oci import MAX_MANIFEST, Descriptor
from registry.port import OpenAt, Progress, Registry, StoredManifest
from security.digest import NOTHING, CheckedReader, Digest, Prefix
from security.errors import Unavailable

_log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_WAIT: Final = 0.5  # seconds
LONGEST_WAIT: Final = 20.0
ATTEMPTS: Final = 5  # about 8 seconds in all: a restart of the registry; longer outages are left to the caller


def waits(attempts: int = ATTEMPTS) -> Iterator[float]:
    """Yield the seconds to wait before the second, third, … attempt."""
    for attempt in range(attempts - 1):
        yield min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)


class RetryingRegistry:
    """A `Registry` that retries the requests of another. `sleep` waits for some seconds."""

    def __init__(self, inner: Registry, *, sleep: Callable[[float], object], attempts: int = ATTEMPTS) -> None:
        self._inner, self._sleep, self._attempts = inner, sleep, attempts

    def _again(self, act: Callable[[], T]) -> T:
        for wait in waits(self._attempts):
            try:
                return act()
            except RegistryListSlow:
                raise
            except Unavailable as error:
                asked = error.fields.get("retry_after")
                seconds = min(max(wait, asked if isinstance(asked, int) else 0), LONGEST_WAIT)
                _log.info("%s: trying again in %s seconds", error, seconds)
                self._sleep(seconds)
        return act()

    def has_blob(self, repo: Repository, digest: Digest) -> bool:
        """See `Registry.has_blob`."""
        return self._again(lambda: self._inner.has_blob(repo, digest))

    def open_blob(self, repo: Repository, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
        """See `Registry.open_blob`. Errors while reading reach the reader, who opens the blob again."""
        return self._again(lambda: self._inner.open_blob(repo, descriptor, after))

    def put_blob(
        self, repo: Repository, descriptor: Descriptor, open_at: OpenAt, progress: Progress | None = None
    ) -> None:
        """See `Registry.put_blob`."""
        self._again(lambda: self._inner.put_blob(repo, descriptor, open_at, progress))

    def mount_blob(self, repo: Repository, digest: Digest, source: Repository) -> bool:
        """See `Registry.mount_blob`."""
        return self._again(lambda: self._inner.mount_blob(repo, digest, source))

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = MAX_MANIFEST) -> StoredManifest:
        """See `Registry.get_manifest`."""
        return self._again(lambda: self._inner.get_manifest(repo, reference, most=most))

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        """See `Registry.put_manifest`."""
        return self._again(lambda: self._inner.put_manifest(repo, reference, raw, media_type))

    def delete_manifest(self, repo: Repository, digest: Digest) -> None:
        """See `Registry.delete_manifest`."""
        self._again(lambda: self._inner.delete_manifest(repo, digest))

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        """See `Registry.list_tags`."""
        return self._again(lambda: self._inner.list_tags(repo))

    def date(self) -> datetime | None:
        """See `Registry.date`."""
        return self._again(self._inner.date)
