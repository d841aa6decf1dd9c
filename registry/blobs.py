"""Where are blobs kept on this side of a registry?

In a folder of files named by their digest: ciphertext and signed documents only, never plaintext.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Protocol

from security.digest import BUFFER, CheckedReader, Digest, digest_of
from security.errors import DigestMismatch, FileMissing
from security.files import make_folder, told, writing


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
        checked = CheckedReader(source, digest, size)
        buffer = memoryview(bytearray(BUFFER))
        with writing(self.at(digest)) as out:
            while count := checked.readinto(buffer):
                out.write(buffer[:count])

    def drop(self, digest: Digest) -> None:
        """Remove a blob; it may be absent."""
        self.at(digest).unlink(missing_ok=True)


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
