"""How are the bytes of an image archive read, packed or not, without taking more memory than they deserve?

A few hundred kilobytes unpack to gigabytes. `tarfile` reads what describes a member (long names, PAX records, maps of
sparse files) into memory, whatever size it claims; so between two pieces of members' content, no more is handed out than
any description needs.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from security.digest import BUFFER
from security.errors import ArchiveRejected, BudgetExceeded
from security.streams import Source

MOST_AT_ONCE: Final = 2 * BUFFER
"""Bytes between two calls of `ImageStream.go_on`: a piece of content, or a member's description."""
_LZMA_MEMORY: Final = 128 << 20  # xz -9 needs 65 MiB
_PACKED: Final = 64 << 10
_GZIP: Final = 31  # zlib's name for a gzip header and the largest window


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """`zlib` with the interface of `bz2` and `lzma`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=_GZIP)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail and not self._full

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length
        return out


_FORMATS: Final[tuple[tuple[bytes, Callable[[], _Unpacker]], ...]] = (
    (b"\x1f\x8b", _Gzip),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)),
)


class ImageStream:
    """The unpacked bytes of an archive, for `tarfile`."""

    def __init__(self, source: Source) -> None:
        self._source, self._ended = source, False
        self._packed = self._more(6)
        self._make = next((make for magic, make in _FORMATS if self._packed.startswith(magic)), None)
        self._unpacker = None if self._make is None else self._make()
        self._left = MOST_AT_ONCE

    def go_on(self) -> None:
        """Allow for the next piece."""
        self._left = MOST_AT_ONCE

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, and none at the end.

        Raises:
            ArchiveRejected: what is packed is damaged, or cut off.
            BudgetExceeded: more was asked for than any member's description needs.
        """
        try:
            data = self._plain(size) if self._unpacker is None else self._unpacked(size)
        except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            msg = "not an image archive, or damaged"
            raise ArchiveRejected(msg, hint="docker save IMAGE writes one") from error
        self._left -= len(data)
        if self._left < 0:
            msg = "a member of an image archive has a description larger than allowed"
            raise BudgetExceeded(msg, limit=MOST_AT_ONCE)
        return data

    def _plain(self, size: int) -> bytes:
        if self._packed:
            data, self._packed = self._packed[:size], self._packed[size:]
            return data
        return self._source.read(size) or b""

    def _unpacked(self, size: int) -> bytes:
        while True:
            if self._unpacker is None or self._make is None:
                return b""
            if self._unpacker.eof:  # another may follow, as after pigz; zeros are padding
                rest = (self._unpacker.unused_data or self._more(_PACKED)).lstrip(b"\0")
                if not rest:
                    return b""
                self._unpacker, self._packed = self._make(), rest
            data, self._packed = self._packed, b""
            if not data and self._unpacker.needs_input:
                data = self._more(_PACKED)
                if not data:
                    raise EOFError
            out = self._unpacker.decompress(data, size)
            if out:
                return out

    def _more(self, least: int) -> bytes:
        """Return `least` bytes, or fewer at the end."""
        found = b""
        while len(found) < least and (piece := self._source.read(least - len(found))):
            found += piece
        return found
