"""How can a folder be a registry?

It has one sub-folder per repository, each an OCI image layout of its own (image specification 1.1, "Image Layout"), so
that other tools can read it and a USB stick can carry it. Tags are ``org.opencontainers.image.ref.name``.

Every file appears complete and durable, or not at all. ``index.json`` is replaced under a lock on the file ``.lock``
beside it, so several processes of one user may write at once; readers need no lock and cannot take it, and nobody waits
for it for long. A folder from elsewhere is not trusted: links are not followed, and everything is verified against its
digest. An index that cannot be read (`registry.layout_index`) says nothing about the trains it names: the repository is
unavailable until its operator has mended it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from registry.check import checked_pieces, expected_digest, open_checked
from registry.errors import NotInRegistry, RegistryMisbehaved, RegistryTooLong, RegistryUnavailable
from registry.layout_index import MOST_ENTRIES, REF_NAME, Index, IndexReader, named, printed
from registry.names import Reference, Repository, Tag
from registry.oci import MAX_MANIFEST, Descriptor, parse_manifest
from registry.port import OpenAt, Progress, StoredManifest
from security.digest import NOTHING, CheckedReader, Digest, Prefix, digest_of
from security.encoding import dump_json
from security.errors import FileMissing, InvalidInput
from security.files import locked_if_free, make_folder, sync_folder, told, write_file, writing

if TYPE_CHECKING:
    from typing_extensions import Buffer

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_MARK: Final = dump_json({"imageLayoutVersion": "1.0.0"})
_FILE: Final = 0o644  # nothing in it is secret from those who may enter the folder: states and code are sealed
_FOLDER: Final = 0o755
_LOCK: Final = 0o600  # whoever may open it may lock it: a reader could make every writer wait
_PATIENCE: Final = 20.0  # seconds to wait for the lock: a sweep of many manifests takes some
_AGAIN: Final = 0.02
_CANNOT_LINK: Final = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP}


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep removed: the number of files, and the bytes freed (a file may have other links)."""

    blobs: int
    freed: int


class LayoutRegistry:
    """A `Registry` in the folder `root`, which must exist: a missing mount is not taken for an empty registry.

    A repository takes up to `room` manifests and tags; `patience` is how many seconds a writer waits for its turn.
    """

    def __init__(self, root: Path, *, room: int = MOST_ENTRIES, patience: float = _PATIENCE) -> None:
        self._root, self._room, self._patience = root, room, patience
        self._indexes = IndexReader()

    def has_blob(self, repo: Repository, digest: Digest) -> bool:
        """See `Registry.has_blob`."""
        path = self._blob(repo, digest)
        try:
            return stat.S_ISREG(path.lstat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _away(error, path) from error

    def open_blob(self, repo: Repository, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
        """See `Registry.open_blob`."""
        path = self._blob(repo, descriptor.digest)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError) as error:
            msg = "no such blob"
            raise NotInRegistry(msg, repository=repo, digest=descriptor.digest) from error
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise _away(error, path) from error
            msg = "a link in place of a blob"
            raise RegistryMisbehaved(msg, path=path) from error
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            msg = "not a plain file in place of a blob"
            raise RegistryMisbehaved(msg, path=path)
        source = _File(handle, "rb")
        source.path = path
        source.seek(after.size)
        return open_checked(cast("BinaryIO", source), descriptor, after)

    def put_blob(
        self, repo: Repository, descriptor: Descriptor, open_at: OpenAt, progress: Progress | None = None
    ) -> None:
        """See `Registry.put_blob`."""
        if self.has_blob(repo, descriptor.digest):
            return
        self._prepare(repo)
        with writing(self._blob(repo, descriptor.digest), mode=_FILE) as out, open_at(0) as source:
            for piece in checked_pieces(source, descriptor):
                out.write(piece)
                if progress is not None:
                    progress(len(piece))

    def mount_blob(self, repo: Repository, digest: Digest, source: Repository) -> bool:
        """See `Registry.mount_blob`: a hard link, if the file system supports them."""
        if not self.has_blob(source, digest):
            return False
        self._prepare(repo)
        target = self._blob(repo, digest)
        try:
            os.link(self._blob(source, digest), target, follow_symlinks=False)
        except FileExistsError:
            return True
        except OSError as error:
            if error.errno in _CANNOT_LINK:
                return False
            raise _away(error, target) from error
        sync_folder(target.parent)
        return True

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = MAX_MANIFEST) -> StoredManifest:
        """See `Registry.get_manifest`."""
        found = self._index(repo).find(reference)
        if not found:
            msg = "no such manifest"
            raise NotInRegistry(msg, repository=repo, reference=reference)
        if len(found) > 1:
            msg = "a tag names two manifests"
            raise RegistryMisbehaved(msg, repository=repo, tag=reference)
        return self._stored(repo, *found, most=most)

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        """See `Registry.put_manifest`."""
        digest = expected_digest(raw, reference)
        blobs = parse_manifest(raw, media_type).blobs
        self._prepare(repo)
        with self._alone(repo):
            for blob in blobs:  # not before: a sweep that holds the lock may take away what is not named yet
                if not self.has_blob(repo, blob.digest):
                    msg = "manifest names a blob that does not exist"
                    raise NotInRegistry(msg, repository=repo, digest=blob.digest)
            write_file(self._blob(repo, digest), raw, mode=_FILE)
            bare = Descriptor(media_type=media_type, digest=digest, size=len(raw))
            entries = self._index(repo).entries
            self._write_index(repo, printed(named(entries, bare, reference), before=entries, room=self._room))
        return digest

    def delete_manifest(self, repo: Repository, digest: Digest) -> None:
        """See `Registry.delete_manifest`."""
        if not self._folder(repo).is_dir():
            return
        with self._alone(repo):
            entries = self._index(repo).entries
            left = [entry for entry in entries if entry.digest != digest]
            if len(left) == len(entries):
                return
            self._write_index(repo, printed(left, before=entries, room=self._room))
            path = self._blob(repo, digest)
            with told(path):
                path.unlink(missing_ok=True)

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        """See `Registry.list_tags`. A name that is no tag, as other tools write them, is none of ours and hides no tag."""
        found = []
        for name in {
            entry.annotations[REF_NAME] for entry in self._index(repo).entries if REF_NAME in entry.annotations
        }:
            with contextlib.suppress(InvalidInput):
                found.append(Tag(name))
        return tuple(sorted(found))

    def date(self) -> datetime | None:
        """See `Registry.date`: a folder has no clock."""
        return None

    def repositories(self) -> tuple[Repository, ...]:
        """Return the repositories in the folder, sorted. Links are not followed."""
        found = []
        for folder, below, files in os.walk(self._mounted()):
            below[:] = [name for name in below if name != "blobs"]
            if "oci-layout" in files:
                with contextlib.suppress(InvalidInput):  # a layout of another tool, under a name of its own
                    found.append(Repository(Path(folder).relative_to(self._root).as_posix()))
        return tuple(sorted(found))

    def sweep(self, repo: Repository, *, before: datetime) -> Swept:
        """Remove unreferenced blobs and unfinished files that are older than `before`.

        Newer ones may belong to a train whose manifest is yet to arrive.

        Raises:
            Malformed, DigestMismatch, RegistryUnavailable: a manifest or the index cannot be read, so that references
                are unknown; nothing is removed.
        """
        folder = self._blob(repo, digest_of(b"")).parent
        count = freed = 0
        with self._alone(repo):
            kept = set()
            for entry in self._index(repo).entries:
                stored = self._stored(repo, entry)
                kept |= {
                    entry.digest.hex,
                    *(one.digest.hex for one in parse_manifest(stored.raw, stored.media_type).blobs),
                }
            with told(folder):
                for path in sorted(folder.iterdir()):
                    state = path.lstat()
                    ours = _HEX.fullmatch(path.name) is not None or path.suffix == ".part"
                    # a mount is a hard link: it sets ctime and leaves mtime
                    if not ours or path.name in kept or max(state.st_mtime, state.st_ctime) >= before.timestamp():
                        continue
                    path.unlink()
                    count += 1
                    freed += state.st_size if state.st_nlink == 1 else 0
        return Swept(blobs=count, freed=freed)

    def _stored(self, repo: Repository, entry: Descriptor, *, most: int = MAX_MANIFEST) -> StoredManifest:
        if entry.size > most:
            msg = "manifest is too large"
            raise RegistryTooLong(msg, repository=repo, digest=entry.digest, size=entry.size)
        with self.open_blob(repo, entry) as source:
            raw = b"".join(bytes(piece) for piece in checked_pieces(source, entry))
        return StoredManifest(raw=raw, media_type=entry.media_type, digest=entry.digest)

    def _mounted(self) -> Path:
        if not self._root.is_dir():
            if self._root.exists():
                msg = "a registry in a folder cannot be a file"
                raise FileMissing(msg, path=self._root, hint="name a folder: layout:/FOLDER")
            msg = "the registry's folder is not there"
            raise RegistryUnavailable(msg, path=self._root, hint=f"mount it, or make it: mkdir {self._root}")
        return self._root

    def _folder(self, repo: Repository) -> Path:
        folder = self._mounted()
        for component in repo.split("/"):
            folder /= component
            if _is_link(folder):  # a stick could carry one, to make us write where it points
                msg = "a link in place of a repository"
                raise RegistryMisbehaved(msg, path=folder)
        return folder

    def _blob(self, repo: Repository, digest: Digest) -> Path:
        blobs = self._folder(repo) / "blobs"
        if _is_link(blobs) or _is_link(blobs / "sha256"):
            msg = "a link in place of a repository"
            raise RegistryMisbehaved(msg, path=blobs)
        return blobs / "sha256" / digest.hex

    def _prepare(self, repo: Repository) -> None:
        folder = self._folder(repo)
        make_folder(folder / "blobs" / "sha256", mode=_FOLDER)
        if not (folder / "oci-layout").exists():
            with self._alone(repo):
                if not (folder / "index.json").exists():
                    self._write_index(repo, printed((), before=(), room=self._room))
                write_file(folder / "oci-layout", _MARK, mode=_FILE)

    @contextlib.contextmanager
    def _alone(self, repo: Repository) -> Iterator[None]:
        """Write alone.

        Raises:
            RegistryUnavailable: somebody else has held the lock for too long.
        """
        path, until = self._folder(repo) / ".lock", time.monotonic() + self._patience
        while True:
            with locked_if_free(path, mode=_LOCK) as handle:
                if handle is not None:
                    with contextlib.suppress(OSError):  # it came with the folder, from somebody else
                        os.fchmod(handle, _LOCK)
                    yield
                    return
            if time.monotonic() > until:
                msg = "another process does not let go of the registry's folder"
                raise RegistryUnavailable(msg, path=path, hint=f"which one: fuser {path}")
            time.sleep(_AGAIN)

    def _index(self, repo: Repository) -> Index:
        return self._indexes.read(self._folder(repo) / "index.json")

    def _write_index(self, repo: Repository, raw: bytes) -> None:
        write_file(self._folder(repo) / "index.json", raw, mode=_FILE)


class _File(io.FileIO):
    """A file whose medium may be removed, or fail, while it is read."""

    path: Path

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer`.

        Raises:
            RegistryUnavailable: it can no longer be read.
        """
        try:
            return super().readinto(buffer) or 0
        except OSError as error:
            raise _away(error, self.path) from error

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes; see `readinto`."""
        try:
            return super().read(size) or b""
        except OSError as error:
            raise _away(error, self.path) from error


def _is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError as error:
        raise _away(error, path) from error


def _away(error: OSError, path: Path) -> RegistryUnavailable:
    msg = "the registry's folder cannot be used"
    return RegistryUnavailable(msg, path=path, reason=error.strerror)
