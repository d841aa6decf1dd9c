"""What does the consortium's directory say now, and does it come from the consortium?

The directory is a TUF repository (specification 1.0.34) with consistent snapshots. Metadata and targets lie in one flat
name space of names that are also valid OCI tags (``1.root.json``, ``timestamp.json``,
``<sha256>.party.hospital-a.json``), so that a registry, a folder or a web server can hold it. `tuf.ngclient` verifies:
signatures and thresholds, expiry, versions against those seen before, hashes and lengths. What it has verified is kept
in a cache folder, which is where the protection against rollback comes from: each participant keeps its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from security.digest import digest_of
from security.directory.documents import MAX_DOCUMENT, parse_trust
from security.directory.trust import DirectoryVersion, TrustStore
from security.errors import (
    BudgetExceeded,
    DirectoryExpired,
    DirectoryRejected,
    DirectoryRolledBack,
    DirectoryUnavailable,
    Malformed,
    NotPinned,
    NotPublished,
    Refused,
)
from security.files import locked, make_folder, read_file, sync_folder, told, write_file
from security.keys.keyset import confirms, spell

if TYPE_CHECKING:
    from tuf.ngclient import Updater

MAX_METADATA: Final = 5_000_000
MAX_ROOT: Final = 512_000
MAX_DOCUMENTS: Final = 4096
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


class DirectorySource(Protocol):
    """Where a directory is read from. Nothing it returns is believed."""

    def read(self, name: str, limit: int) -> bytes:
        """Return a file of at most `limit` bytes.

        Raises:
            NotPublished: there is no such file.
            DirectoryUnavailable: the place cannot be reached.
            BudgetExceeded: the file is longer.
        """


class DirectorySink(Protocol):
    """Where a directory is written to."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file, replacing an older one of that name; durable when it returns."""


class FolderDirectory:
    """A directory in a folder, which a web server can publish as it is, or a USB stick carry."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, name: str, limit: int) -> bytes:
        """Return a file of at most `limit` bytes; see `DirectorySource`."""
        if not self._path.is_dir():
            msg = "the directory's folder does not exist"
            hint = "is this the right folder, whole, and is what it is on mounted?"
            raise DirectoryUnavailable(msg, path=self._path, hint=hint)
        try:
            handle = os.open(self._path / checked_name(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:  # a pipe or a device on a stick must not block
                plain = stat.S_ISREG(os.fstat(handle).st_mode)
                data = _read_up_to(handle, limit + 1) if plain else None
            finally:
                os.close(handle)
        except FileNotFoundError as error:
            msg = "no such file in the directory"
            raise NotPublished(msg, name=name, path=self._path) from error
        except OSError as error:
            msg = "the directory cannot be read"
            raise DirectoryUnavailable(msg, name=name, path=self._path, reason=error.strerror) from error
        if data is None:
            msg = "not a regular file in the directory"
            raise DirectoryUnavailable(msg, name=name, path=self._path)
        if len(data) > limit:
            msg = "a file of the directory is too long"
            raise BudgetExceeded(msg, name=name, limit=limit)
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file; see `DirectorySink`."""
        make_folder(self._path, mode=0o755)
        write_file(self._path / checked_name(name), data, mode=0o644)


def _read_up_to(handle: int, most: int) -> bytes:
    with open(handle, "rb", closefd=False) as source:
        return source.read(most)


def checked_name(name: str) -> str:
    """Return `name` if it can name a file of a directory.

    Raises:
        NotPublished: it cannot, so there is no such file.
    """
    if _NAME.fullmatch(name) is None:
        msg = "not a name that a file of a directory can have"
        raise NotPublished(msg, name=name[:130])
    return name


class Durable:
    """Makes the versions last seen survive a power cut: without them an older directory would pass (attack T21).

    Who reads a directory again and again keeps one of these: files that are still those it made durable need it no more.
    """

    def __init__(self) -> None:
        self._files: frozenset[tuple[str, int, int]] = frozenset()

    def make(self, cache: Path) -> None:
        """Make durable what is in the cache now."""
        names = [f"{kind.type}.json" for kind in (Timestamp, Snapshot, Targets)]
        facts = [(name, (cache / name).stat()) for name in names]
        files = frozenset((name, about.st_ino, about.st_mtime_ns) for name, about in facts)
        if files == self._files:
            return
        for name in names:
            handle = os.open(cache / name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(cache)
        self._files = files


def load_trust(
    source: DirectorySource, cache: Path, root: bytes, now: datetime, durable: Durable | None = None
) -> TrustStore:
    """Fetch, verify and read the directory, starting from the pinned `root`.

    `cache` is this participant's own folder; a second process waits until the first is done with it. Metadata is judged
    by this machine's clock (ngclient reads it) and by `now`: both must find it unexpired.

    Raises:
        NotPinned: `root` is no root metadata.
        NotPublished: there is no directory at that place.
        DirectoryUnavailable: the location is unreachable, or a file the metadata names is missing (as yet).
        DirectoryRolledBack: the version is older than one seen before.
        DirectoryExpired: nothing new for too long.
        DirectoryRejected: anything else that does not verify, is inconsistent, or is not understood by this software.
            No other `Refused` is raised here: whatever is served in place of a directory says nothing about the train
            that is to be judged with it.
    """
    from security.directory.updater import make_updater  # noqa: PLC0415 - slow to import, see there

    def read(name: str) -> bytes:
        return source.read(checked_name(name), MAX_METADATA)

    make_folder(cache / "targets")
    with locked(cache / "lock"), told(cache), explained():
        updater = make_updater(read, cache, check_root(root), most_root=MAX_ROOT, most_targets=MAX_METADATA)
        updater.refresh()
        store = _read(updater, cache)
        (durable or Durable()).make(cache)
    store.check_fresh(now)
    return store


def pin_root(source: DirectorySource, fingerprint: str) -> bytes:
    """Fetch the first root and return it if it has the fingerprint that was read over the phone.

    Raises:
        InvalidInput: `fingerprint` is not in the form of one.
        NotPinned: the root at that location is another one.
        NotPublished, DirectoryUnavailable: there is none.
    """
    raw = first_root(source)
    if not confirms(fingerprint, digest_of(raw)):
        msg = "the root at this location does not have that fingerprint"
        raise NotPinned(
            msg, found=spell(digest_of(raw)), hint="stop here; contact the consortium through another channel"
        )
    return raw


def first_root(source: DirectorySource) -> bytes:
    """Fetch the first root. Trust it only after a person has compared its SHA-256.

    Raises:
        NotPinned: what lies there is no root.
        NotPublished, DirectoryUnavailable: there is none.
    """
    return check_root(source.read("1.root.json", MAX_ROOT))


def check_root(raw: bytes) -> bytes:
    """Return `raw` if it is root metadata, signed as it requires itself.

    Raises:
        NotPinned: it is not.
    """
    try:
        found = Metadata[Root].from_bytes(raw)
        if found.signed.type != Root.type or not found.signed.consistent_snapshot:
            msg = "not the root of a directory"
            raise NotPinned(msg)
        found.signed.verify_delegate(Root.type, found.signed_bytes, found.signatures)
    except tuf_errors.RepositoryError as error:
        msg = "root.json is not signed as it requires itself"
        raise NotPinned(msg) from error
    return raw


def read_root(path: Path) -> bytes:
    """Return the root metadata in a file.

    Raises:
        FileMissing: it cannot be read.
        NotPinned: it is no root metadata; see `check_root`.
    """
    return check_root(read_file(path, limit=MAX_ROOT))


def _read(updater: Updater, cache: Path) -> TrustStore:
    """Read what `refresh` has just verified and kept, and the documents it names."""
    root, targets = _kept(cache, Root), _kept(cache, Targets)
    dated = (root, _kept(cache, Timestamp), _kept(cache, Snapshot), targets)
    documents: dict[str, bytes] = {}
    for name, target in listed(targets).items():
        path = updater.find_cached_target(target) or updater.download_target(target)
        documents[name] = Path(path).read_bytes()
    for old in (cache / "targets").iterdir():
        if old.name not in documents:
            old.unlink()
    return store_of(root, targets, documents, expires=min(one.expires for one in dated))


def listed(targets: Targets) -> Mapping[str, TargetFile]:
    """Return the documents that a verified list names.

    Raises:
        DirectoryRejected: there are too many, or one with an invalid name or size, or the list delegates.
    """
    if targets.delegations is not None or len(targets.targets) > MAX_DOCUMENTS:
        msg = "the directory delegates, or has too many documents"
        raise DirectoryRejected(msg, documents=len(targets.targets))
    for name, target in targets.targets.items():
        if target.length > MAX_DOCUMENT or _NAME.fullmatch(name) is None:
            msg = "the directory has a document with an invalid name or size"
            raise DirectoryRejected(msg, name=name[:80], size=target.length)
    return targets.targets


def store_of(root: Root, targets: Targets, documents: Mapping[str, bytes], *, expires: datetime) -> TrustStore:
    """Return what verified documents say.

    Raises:
        DirectoryRejected: this software does not understand one, or they contradict each other.
    """
    version = DirectoryVersion(root=root.version, targets=targets.version)
    try:
        return parse_trust(documents, version=version, expires=expires)
    except Malformed as error:
        msg = "the directory has a document that this software does not understand"
        raise DirectoryRejected(msg, reason=str(error)) from error


def _kept(cache: Path, kind: type[S]) -> S:
    """Return what ngclient keeps in the cache after it has verified it; we hold the lock."""
    return Metadata[S].from_bytes(read_file(cache / f"{kind.type}.json")).signed


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn the errors of `tuf` into ours."""
    try:
        yield
    except tuf_errors.ExpiredMetadataError as error:
        msg = "the directory has expired"
        raise DirectoryExpired(msg, reason=str(error)) from error
    except tuf_errors.BadVersionNumberError as error:
        msg = "the directory is older than one seen before"
        raise DirectoryRolledBack(msg, reason=str(error)) from error
    except tuf_errors.RepositoryError as error:
        msg = "the directory does not verify"
        raise DirectoryRejected(msg, reason=str(error)) from error
    except tuf_errors.DownloadHTTPError as error:
        name = str(error)
        if name == "timestamp.json":
            msg = "there is no directory at this place"
            raise NotPublished(msg) from error
        msg = "a file that the directory names is missing"
        raise DirectoryUnavailable(msg, name=name) from error
    except tuf_errors.DownloadError as error:
        cause = error.__cause__
        if isinstance(cause, Refused):
            msg = "what is served is not a file of the directory"
            raise DirectoryRejected(msg, hint=cause.hint, reason=str(cause)) from cause
        if isinstance(cause, Exception):  # ours, or a bug of ours: neither says anything about what is published
            raise cause from None
        msg = "a file of the directory is longer than allowed"
        raise DirectoryRejected(msg) from error
