"""What are these bytes called, and are they the bytes that were announced?

Digests are those of the OCI image specification 1.1 (descriptor, "Digests"); only SHA-256 is accepted.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Final, Self, cast

from security.errors import BudgetExceeded, DigestMismatch, MalformedStatement
from security.streams import Sink, pour

if TYPE_CHECKING:
    from typing_extensions import Buffer

BUFFER = 1 << 20


class Digest(str):
    """``sha256:`` and 64 lower-case hexadecimal digits."""

    __slots__ = ()
    PATTERN: ClassVar[str] = "sha256:[0-9a-f]{64}"
    SAYS: ClassVar[str] = "a sha256 digest"
    _FORM: ClassVar[re.Pattern[str]] = re.compile(PATTERN)

    def __new__(cls, text: str) -> Self:
        """Parse, or raise `MalformedStatement`."""
        if cls._FORM.fullmatch(text) is None:
            msg = f"not {cls.SAYS}"
            raise MalformedStatement(msg, value=repr(text)[:90])
        return super().__new__(cls, text)

    @classmethod
    def of_hex(cls, digits: str) -> Self:
        """Make a digest from its 64 hexadecimal digits."""
        return cls("sha256:" + digits)

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits."""
        return self[7:]

    @property
    def short(self) -> str:
        """The first twelve digits, for people."""
        return self[7:19]

    def __repr__(self) -> str:
        return f"Digest({str(self)!r})"


def digest_of(data: bytes | bytearray | memoryview) -> Digest:
    """Return the digest of bytes held in memory."""
    return Digest.of_hex(hashlib.sha256(data).hexdigest())


def digest_stream(source: BinaryIO) -> tuple[Digest, int]:
    """Read `source` to its end through one reused buffer; return its digest and its size in bytes."""
    hasher, size = _read_through(source)
    return Digest.of_hex(hasher.hexdigest()), size


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The front of some bytes, of which only the size and the hash are kept: what follows can be checked without it."""

    size: int
    hasher: hashlib._Hash = field(repr=False, compare=False)

    @classmethod
    def of(cls, source: BinaryIO) -> Self:
        """Read `source` to its end."""
        hasher, size = _read_through(source)
        return cls(size=size, hasher=hasher)


NOTHING: Final = Prefix(size=0, hasher=hashlib.sha256())


class CheckedReader(io.RawIOBase):
    """Reads `source`, and raises at its end if the digest or size is not the announced one.

    Both are those of the whole: of the prefix that `source` comes `after`, and of `source`. What has been read before the end is not yet checked: a caller must not act on it until `read` has returned
    ``b""``. Never reads more than one byte past the announced size (attack T15: endless bodies).
    """

    def __init__(self, source: BinaryIO, expected: Digest, size: int, after: Prefix = NOTHING) -> None:
        super().__init__()
        self._source, self._expected, self._size = source, expected, size
        self._seen, self._hasher, self._done = after.size, after.hasher.copy(), False
        self._failure: DigestMismatch | BudgetExceeded | None = None

    def readable(self) -> bool:
        """Return true."""
        return True

    @property
    def announced(self) -> tuple[Digest, int]:
        """The digest and the size that are checked."""
        return self._expected, self._size

    @property
    def complete(self) -> bool:
        """Whether the end was reached and everything agreed."""
        return self._done

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer`. After an error it raises again: an end of file must never look like success.

        Raises:
            DigestMismatch: at the end, if the bytes are not the announced ones.
            BudgetExceeded: as soon as there are more of them than announced.
        """
        if self._failure is not None:
            raise self._failure
        window = memoryview(buffer).cast("B")
        if self._done or not len(window):
            return 0
        room = min(len(window), self._size - self._seen)
        if room == 0:
            if self._source.read(1):
                msg = "more bytes than announced"
                self._failure = BudgetExceeded(msg, digest=self._expected, size=self._size)
                raise self._failure
            self._finish()
            return 0
        count = _readinto(self._source, window[:room])
        if count == 0:
            self._finish()
            return 0
        self._hasher.update(window[:count])
        self._seen += count
        return count

    def _finish(self) -> None:
        found = Digest.of_hex(self._hasher.hexdigest())
        if self._seen != self._size or found != self._expected:
            msg = "bytes do not have the announced digest and size"
            self._failure = DigestMismatch(msg, expected=self._expected, found=found, size=self._size, read=self._seen)
            raise self._failure
        self._done = True

    def close(self) -> None:
        """Close the source too."""
        if not self.closed:
            self._source.close()
        super().close()


def checked(source: BinaryIO | CheckedReader, expected: Digest, size: int) -> CheckedReader:
    """Return a reader of `source` that checks it: `source` itself if it is one that checks just this already."""
    if isinstance(source, CheckedReader) and source.announced == (expected, size):
        return source
    return CheckedReader(cast("BinaryIO", source), expected, size)


class HashingWriter:
    """Passes on what is written to it, and knows its digest and size."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._hasher, self.size = sink, hashlib.sha256(), 0

    def write(self, data: Buffer, /) -> int:
        """Write all of `data`."""
        pour(self._sink, data)
        self._hasher.update(data)
        written = memoryview(data).nbytes
        self.size += written
        return written

    @property
    def digest(self) -> Digest:
        """The digest of what has been written so far."""
        return Digest.of_hex(self._hasher.hexdigest())


def hashing(sink: Sink) -> HashingWriter:
    """Return a writer to `sink` that knows what it has passed on: `sink` itself if it is one, and is still new."""
    return sink if isinstance(sink, HashingWriter) and not sink.size else HashingWriter(sink)


def _read_through(source: BinaryIO) -> tuple[hashlib._Hash, int]:
    hasher, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(BUFFER))
    while count := _readinto(source, buffer):
        hasher.update(buffer[:count])
        size += count
    return hasher, size


def _readinto(source: BinaryIO, buffer: memoryview) -> int:
    into = getattr(source, "readinto", None)
    if into is not None:
        return int(into(buffer) or 0)
    data = source.read(len(buffer))
    buffer[: len(data)] = data
    return len(data)
