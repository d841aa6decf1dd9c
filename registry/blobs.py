"""Where are blobs kept on this side of a registry?

In a folder of files named by their digest: ciphertext and signed documents only, never plaintext.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, Protocol, TypeAlias, cast

from registry.errors import RegistryUnavailable
from security.digest import BUFFER, NOTHING, CheckedReader, Digest, Prefix, checked, digest_of
from security.errors import BudgetExceeded, DigestMismatch, FileMissing
from security.files import locked_if_free, make_folder, sync_folder, told, writing
from security.streams import pour

BEGUN: Final = ".begun"
"""How the name of a part ends."""

Rest: TypeAlias = Callable[[Prefix], CheckedReader]
"""Opens what comes after a part of a blob; see `registry.port.Registry.open_blob`."""


class BlobSource(Protocol):
    """Returns blobs by digest."""

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading. The caller verifies the content before acting on it.

        Raises:
            FileMissing: it is not there.
        """


class BlobSink(Protocol):
    """Stores blobs by digest."""

    def has(self, digest: Digest) -> bool:
        """Whether the blob is there, complete."""

    def put(self, digest: Digest, size: int, source: BinaryIO) -> None:
        """Store a blob: verified while it is written, durable when this returns, absent if it raises.

        Raises:
            DigestMismatch, BudgetExceeded: the bytes do not match digest and size.
        """

    def fetch(self, digest: Digest, size: int, rest: Rest) -> None:
        """Store a large blob like `put`. After a break the part that came is kept, and the next call asks for the rest.

        Raises:
            RegistryUnavailable: the rest has yet to come.
            DigestMismatch, BudgetExceeded: the bytes do not match digest and size.
        """


class BlobFolder:
    """A content-addressed folder: a `BlobSource` and a `BlobSink`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def at(self, digest: Digest) -> Path:
        """Return the path of a blob, whether it is there or not."""
        return self.path / digest.hex

    def has(self, digest: Digest) -> bool:
        """See `BlobSink`."""
        return self.at(digest).is_file()

    def open(self, digest: Digest) -> BinaryIO:
        """See `BlobSource`."""
        path = self.at(digest)
        with told(path):
            return path.open("rb")

    def size(self, digest: Digest) -> int:
        """Return a blob's size in bytes.

        Raises:
            FileMissing: it is not there.
        """
        path = self.at(digest)
        with told(path):
            return path.stat().st_size

    def put(self, digest: Digest, size: int, source: BinaryIO) -> None:
        """See `BlobSink`."""
        if self.has(digest):
            return
        make_folder(self.path)
        with writing(self.at(digest)) as out:
            _copy(checked(source, digest, size), out)

    def fetch(self, digest: Digest, size: int, rest: Rest) -> None:
        """See `BlobSink`. The part lies beside the blobs, and whoever writes it has locked it."""
        if self.has(digest):
            return
        make_folder(self.path)
        part = self.path / f".{digest.hex}{BEGUN}"
        with locked_if_free(part) as handle:
            if handle is not None and _names(part, handle):
                with open(handle, "r+b", buffering=0, closefd=False) as out:
                    self._go_on(part, cast("BinaryIO", out), digest, size, rest)
                return
        with rest(NOTHING) as source:  # somebody else fetches it: each on its own, and the last one's stays
            self.put(digest, size, cast("BinaryIO", source))

    def _go_on(self, part: Path, out: BinaryIO, digest: Digest, size: int, rest: Rest) -> None:
        try:
            with told(part):
                after = Prefix.of(out)
                try:
                    _write_rest(out, after if after.size < size else NOTHING, rest)
                except (DigestMismatch, BudgetExceeded):
                    if not after.size:
                        raise
                    _write_rest(out, NOTHING, rest)  # what lay there may be to blame: a crash can leave zeros
                os.fsync(out.fileno())
                part.replace(self.at(digest))
                sync_folder(self.path)
        except RegistryUnavailable:
            raise
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def drop(self, digest: Digest) -> None:
        """Remove a blob; it may be absent.

        Raises:
            DiskReadOnly: nothing can be removed now.
        """
        with told(self.path):
            self.at(digest).unlink(missing_ok=True)


def _write_rest(out: BinaryIO, after: Prefix, rest: Rest) -> None:
    with rest(after) as source:
        out.truncate(after.size)
        out.seek(after.size)
        _copy(source, out)


def _copy(source: CheckedReader, out: BinaryIO) -> None:
    buffer = memoryview(bytearray(BUFFER))
    while count := source.readinto(buffer):
        pour(out, buffer[:count])


def _names(path: Path, handle: int) -> bool:
    """Whether a path names the open file: whoever had locked it may have moved it away."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def read_document(source: BlobSource, digest: Digest, *, limit: int) -> bytes:
    """Read a small blob whole, and verify it.

    Raises:
        FileMissing: it is not there or larger than `limit` bytes.
        DigestMismatch: it is damaged.
    """
    with source.open(digest) as opened:
        data = opened.read(limit + 1)
    if len(data) > limit:
        msg = "blob is too large for a document"
        raise FileMissing(msg, digest=digest.short, limit=limit)
    if digest_of(data) != digest:
        msg = "blob is damaged"
        raise DigestMismatch(msg, digest=digest.short)
    return data
