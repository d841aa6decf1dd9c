"""Where is a bucket, and what of it is a table?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from security.digest import digest_of
from security.encoding import dump_json
from station.errors import DataSourceUnavailable

TIMEOUT: Final = 600
REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Where a bucket is, and how it is reached. `prefix` is empty or ends with a slash; seconds are for each answer.

    The first line of the private `keys_file` is the access key, the second the secret key.
    """

    endpoint: str
    name: str
    keys_file: Path
    prefix: str = ""
    region: str = REGION
    ca_file: Path | None = None
    seconds: int = TIMEOUT

    @property
    def reads(self) -> tuple[Path, ...]:
        """See `TableSource.reads`."""
        return (*([self.ca_file] if self.ca_file else []), *self.secrets)

    @property
    def secrets(self) -> tuple[Path, ...]:
        """See `TableSource.secrets`."""
        return (self.keys_file,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An object, and what tells one state of it from another."""

    key: str
    size: int
    etag: str
    changed: str


def matching(found: Sequence[Listed], prefix: str, pattern: str) -> tuple[Listed, ...]:
    """Return the objects below a prefix that match a pattern as files in a folder would, in order of their keys."""
    parts = pattern.split("/")
    fitting = (one for one in found if _fits(one.key.removeprefix(prefix).split("/"), parts))
    return tuple(sorted(fitting, key=lambda one: one.key))


def _fits(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[skipped:], pattern[1:]) for skipped in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def version_of(found: Sequence[Listed]) -> str:
    """Return what people call this state of some objects: it tells nothing of their keys."""
    digest = digest_of(dump_json([[one.key, one.etag, one.size] for one in found]))
    newest = max(one.changed for one in found)
    return f"snapshot {digest.short} of {len(found)} {'object' if len(found) == 1 else 'objects'}, newest of {newest}"


def changed(name: str) -> DataSourceUnavailable:
    """Return the error about a bucket that is not what it was."""
    msg = "a bucket changed while it was read"
    return DataSourceUnavailable(msg, data=name, hint="the train waits, and it is read again")
