"""Where do ciphertext and signed documents lie, so that an event may refer to them?

Blobs by digest, durable before they are named anywhere; never plaintext. What no visit refers to any more, such as the
leftovers of a crash, is swept by the daemon. It alone writes here (`lock`), but for what an operator adds unswept.

A blob is here before the event that names it, and steps of several visits work at once: what a step has put here, or has
found here and means to use, is held until its event is recorded, and is not swept meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

from registry.blobs import BEGUN, BlobFolder, Rest, read_document
from security.digest import CheckedReader, Digest, HashingWriter, digest_of
from security.errors import DigestMismatch, FileMissing, Malformed
from security.files import locked, locked_if_free, make_folder, sync_folder, told
from station.errors import SpoolDamaged
from station.visit.events import Blob

_NAME = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = re.compile(r"\..*\.part")


class Spool(BlobFolder):
    """The spool of one station: a `registry.blobs.BlobSource` and `BlobSink` that can also name what it is given."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock, self._thread = threading.Lock(), threading.local()
        self._held: Counter[Digest] = Counter()
        self._spared: set[Digest] | None = None  # what was held at any time since the sweep under way began

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Keep whatever this thread puts or finds here from being swept for as long as the block runs."""
        mine: set[Digest] = set()
        self._thread.mine = mine
        try:
            yield
        finally:
            self._thread.mine = None
            with self._lock:
                self._held -= Counter(mine)

    def _hold(self, digest: Digest) -> None:
        mine: set[Digest] | None = getattr(self._thread, "mine", None)
        if mine is None or digest in mine:
            return
        mine.add(digest)
        with self._lock:
            self._held[digest] += 1
            if self._spared is not None:
                self._spared.add(digest)

    def has(self, digest: Digest) -> bool:
        """See `registry.blobs.BlobSink`."""
        self._hold(digest)
        return super().has(digest)

    def put(self, digest: Digest, size: int, source: BinaryIO) -> None:
        """See `registry.blobs.BlobSink`."""
        self._hold(digest)
        super().put(digest, size, source)

    def fetch(self, digest: Digest, size: int, rest: Rest) -> None:
        """See `registry.blobs.BlobSink`."""
        self._hold(digest)
        super().fetch(digest, size, rest)

    def keep(self, data: bytes) -> Digest:
        """Keep a small document; durable when this returns."""
        with self.writing() as writer:
            writer.write(data)
        return digest_of(data)

    @contextlib.contextmanager
    def writing(self) -> Iterator[SpoolWriter]:
        """Write a blob whose digest is not known before its end.

        After the block it is there, durable, and told by `SpoolWriter.blob`; if the block raises, nothing is.

        Raises:
            DiskFull: no room; nothing is left behind.
        """
        make_folder(self.path)
        with told(self.path):
            handle, name = tempfile.mkstemp(dir=self.path, prefix=".new.", suffix=".part")
        temporary = Path(name)
        try:
            with told(self.path), open(handle, "wb") as out:  # noqa: PTH123 - a file descriptor
                writer = SpoolWriter(out)
                yield writer
                out.flush()
                os.fsync(out.fileno())
            self._hold(writer.blob.digest)
            with told(self.path):
                temporary.replace(self.at(writer.blob.digest))
                sync_folder(self.path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def read(self, blob: Blob) -> BinaryIO:
        """Open a blob that an event names, checked as it is read.

        Raises:
            SpoolDamaged: here, if it is missing; at its end, if its bytes are others than were recorded.
        """
        try:
            return cast("BinaryIO", _SpoolReader(self.open(blob.digest), blob.digest, blob.size))
        except FileMissing as error:
            raise _damaged(blob.digest) from error

    def document(self, digest: Digest, *, limit: int) -> bytes:
        """Read a small blob that an event names, whole.

        Raises:
            SpoolDamaged: it is missing, larger than `limit` bytes, or its bytes are others than were recorded.
        """
        try:
            return read_document(self, digest, limit=limit)
        except (FileMissing, DigestMismatch) as error:
            raise _damaged(digest) from error

    @contextlib.contextmanager
    def unswept(self) -> Iterator[None]:
        """Keep other processes out of this block for as long as it runs: a blob may be kept here before it is named."""
        make_folder(self.path)
        with locked(self.path / ".sweeping"):
            yield

    def sweep(self, references: Callable[[], Collection[Digest]]) -> tuple[Blob, ...]:
        """Remove every blob that nothing refers to and no step holds; return what was removed.

        `references` is asked once it is known what is held: what is recorded and let go of later is spared all the same.
        """
        if not self.path.is_dir():
            return ()
        with self._lock:
            self._spared = set(self._held)
        try:
            swept = []
            with told(self.path):
                found = sorted(path for path in self.path.iterdir() if _NAME.fullmatch(path.name))
                kept = references()
                for path in found:
                    digest = Digest.of_hex(path.name)
                    if digest not in kept and (size := self._remove(path, digest)) is not None:
                        swept.append(Blob(digest=digest, size=size))
                sync_folder(self.path)
            return tuple(swept)
        finally:
            with self._lock:
                self._spared = None

    def blobs(self) -> tuple[Blob, ...]:
        """Return everything that is kept here."""
        if not self.path.is_dir():
            return ()
        with told(self.path):
            found = [path for path in sorted(self.path.iterdir()) if _NAME.fullmatch(path.name)]
            return tuple(Blob(digest=Digest.of_hex(path.name), size=path.stat().st_size) for path in found)

    def unreferenced(self, references: Collection[Digest]) -> tuple[Blob, ...]:
        """Return every blob outside `references`."""
        return tuple(blob for blob in self.blobs() if blob.digest not in references)

    def _remove(self, path: Path, digest: Digest) -> int | None:
        with self._lock:
            if self._spared is None or digest in self._spared:
                return None
            size = path.stat().st_size
            path.unlink()
            return size

    def clear_abandoned(self, before: datetime) -> None:
        """Remove parts of blobs that nobody has gone on fetching since `before`: the visit may be over, or its train gone."""
        if not self.path.is_dir():
            return
        with told(self.path):
            parts = [one for one in self.path.iterdir() if one.name.endswith(BEGUN)]
        for part in parts:
            with locked_if_free(part) as handle:
                if handle is not None and os.fstat(handle).st_mtime < before.timestamp():
                    part.unlink(missing_ok=True)

    def clear_unfinished(self) -> None:
        """Remove what interrupted writes left, but for what `fetch` goes on with. Call it only while nothing is written."""
        if self.path.is_dir():
            with told(self.path):
                for path in self.path.iterdir():
                    if _UNFINISHED.fullmatch(path.name):
                        path.unlink()


class SpoolWriter(HashingWriter):
    """Takes the bytes of one blob."""

    @property
    def blob(self) -> Blob:
        """What has been written so far."""
        return Blob(digest=self.digest, size=self.size)


class _SpoolReader(CheckedReader):
    """The same check with another verdict: damage on our own disk is not the sender's fault."""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # as in `CheckedReader`
        try:
            return super().readinto(buffer)
        except (DigestMismatch, Malformed) as error:
            msg = "a file in the spool was changed"
            raise SpoolDamaged(msg) from error


def _damaged(digest: Digest) -> SpoolDamaged:
    msg = "a file in the spool is missing or was changed"
    return SpoolDamaged(msg, digest=digest.short, hint="restore the spool from a backup, or refuse the visit")
