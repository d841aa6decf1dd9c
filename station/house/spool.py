"""Where do ciphertext and signed documents lie, so that an event may refer to them?

Blobs by digest, durable before they are named anywhere; never plaintext. What no visit refers to any more, such as the
leftovers of a crash, is swept by the daemon. It alone writes here (`lock`), but for what an operator adds unswept.

A blob is here before the event that names it, and steps of several visits work at once: what a step has put here, or has
found here and means to use, is held until its event is recorded, and is not swept meanwhile. What a step puts here gets its
name, and is durable, when it is settled: all of it at once, before the event. What has a blob's name is always whole.
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
from security.digest import BUFFER, CheckedReader, Digest, HashingWriter, checked, digest_of
from security.errors import DigestMismatch, FileMissing, Malformed
from security.files import clear_unfinished, locked, locked_if_free, make_folder, sync_folder, told
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
        self._let_go: set[Digest] = set()
        self._spared: set[Digest] | None = None  # what was held at any time since the sweep under way began

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Keep whatever this thread puts or finds here from being swept for as long as the block runs.

        What is put here in the block has to be settled in it, or is gone.
        """
        mine: set[Digest] = set()
        self._thread.mine, self._thread.new = mine, []
        try:
            yield
        finally:
            new: list[_New] = self._thread.new
            self._thread.mine = self._thread.new = None
            for one in new:
                one.discard()
            with self._lock:
                self._held -= Counter(mine)
                self._let_go |= mine

    def let_go(self) -> frozenset[Digest]:
        """Return, once, what steps have held and hold no more: what no event came to name is swept, whoever had sent it."""
        with self._lock:
            found, self._let_go = frozenset(self._let_go), set()
            return found

    def settle(self) -> None:
        """Make durable whatever this thread has put here, under the names of its digests.

        Raises:
            DiskFull: no room.
        """
        new: list[_New] = getattr(self._thread, "new", None) or []
        with told(self.path):
            for one in new:
                one.sync()
            for one in new:
                one.path.replace(self.at(one.digest))
            if new:
                sync_folder(self.path)
        new.clear()

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
        """See `registry.blobs.BlobSink`; durable once it is settled."""
        self._hold(digest)
        if super().has(digest):
            return
        reader, buffer = checked(source, digest, size), memoryview(bytearray(min(BUFFER, size + 1)))
        with self._making(lambda: digest) as out:
            while count := reader.readinto(buffer):
                out.write(buffer[:count])

    def fetch(self, digest: Digest, size: int, rest: Rest) -> None:
        """See `registry.blobs.BlobSink`."""
        self._hold(digest)
        super().fetch(digest, size, rest)

    def keep(self, data: bytes) -> Digest:
        """Keep a small document; durable once it is settled."""
        with self.writing() as writer:
            writer.write(data)
        return digest_of(data)

    @contextlib.contextmanager
    def writing(self) -> Iterator[SpoolWriter]:
        """Write a blob whose digest is not known before its end.

        After the block it is told by `SpoolWriter.blob`, and durable once it is settled; if the block raises, nothing is.

        Raises:
            DiskFull: no room; nothing is left behind.
        """
        made: list[SpoolWriter] = []
        with self._making(lambda: made[0].blob.digest) as out:
            made.append(SpoolWriter(out))
            yield made[0]

    @contextlib.contextmanager
    def _making(self, name: Callable[[], Digest]) -> Iterator[BinaryIO]:
        """Write a file that is to have a name known at its end; outside `holding` it is settled at once."""
        make_folder(self.path)
        with told(self.path):
            handle, path = tempfile.mkstemp(dir=self.path, prefix=".new.", suffix=".part")
        out = open(handle, "wb")  # noqa: PTH123, SIM115 - a file descriptor; open until it is settled
        new = _New(out, Path(path))
        try:
            with told(self.path):
                yield out
                out.flush()
            new.digest = name()
            self._hold(new.digest)
            if getattr(self._thread, "new", None) is not None:
                self._thread.new.append(new)
                return
            self._thread.new = [new]
            try:
                self.settle()
            finally:
                self._thread.new = None
        except BaseException:
            new.discard()
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

    def sweep(
        self, references: Callable[[], Collection[Digest]], *, among: Collection[Digest] | None = None
    ) -> tuple[Blob, ...]:
        """Remove every blob, or of those in `among`, that nothing refers to and no step holds; return what was removed.

        `references` is asked once it is known what is held: what is recorded and let go of later is spared all the same.
        """
        if not self.path.is_dir():
            return ()
        with self._lock:
            self._spared = set(self._held)
        try:
            swept = []
            with told(self.path):
                there = self.path.iterdir() if among is None else filter(Path.is_file, map(self.at, among))
                found = sorted(path for path in there if _NAME.fullmatch(path.name))
                kept = references()
                for path in found:
                    digest = Digest.of_hex(path.name)
                    if digest not in kept and (size := self._remove(path, digest)) is not None:
                        swept.append(Blob(digest=digest, size=size))
                if swept:
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
        clear_unfinished(self.path, _UNFINISHED)


class _New:
    """A file that is written and has not its name yet."""

    digest: Digest

    def __init__(self, out: BinaryIO, path: Path) -> None:
        self._out, self.path = out, path

    def sync(self) -> None:
        """Make its bytes durable."""
        if not self._out.closed:
            os.fsync(self._out.fileno())
            self._out.close()

    def discard(self) -> None:
        """Remove it, if it has not got its name. What a full or failing disk keeps of it goes at the next start."""
        with contextlib.suppress(OSError):  # what could not be written is tried once more when it is closed
            self._out.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


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
