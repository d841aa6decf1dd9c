"""How does a sealed file travel where only text can?

Source: C2SP age, "ASCII armor": strict PEM (RFC 7468, figure 3), with LF or CRLF. Blank lines around it are accepted,
anything else is not: text must not hide beside what is authenticated.
"""

from __future__ import annotations

import binascii
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from security.errors import ArmorInvalid
from security.streams import Sink, Source, pour

if TYPE_CHECKING:
    from typing_extensions import Buffer

_BEGIN: Final = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END: Final = b"-----END AGE ENCRYPTED FILE-----"
_BYTES: Final = 48
_COLUMNS: Final = 64
_BLANK: Final = 1024  # most white space before and after, as in the reference implementation


def dearmor(source: Source) -> io.RawIOBase:
    """Return a reader of what is inside the armor. It does not close `source`.

    While it is read:

    Raises:
        ArmorInvalid: not armor, not in its one strict form, or followed by data.
    """
    return _Dearmored(_lines(source))


@contextmanager
def armored(sink: Sink) -> Iterator[Sink]:
    """Put armor around what is written in the block. No end line is written if the block raises."""
    pour(sink, _BEGIN + b"\n")
    wrapper = _Armored(sink)
    yield wrapper
    wrapper.flush_rest()
    pour(sink, _END + b"\n")


class _Armored:
    def __init__(self, sink: Sink) -> None:
        self._sink, self._pending = sink, bytearray()

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data).cast("B")
        self._pending += view
        whole = len(self._pending) - len(self._pending) % _BYTES
        self._emit(whole)
        return len(view)

    def flush_rest(self) -> None:
        self._emit(len(self._pending))

    def _emit(self, size: int) -> None:
        ready = bytes(self._pending[:size])
        del self._pending[:size]
        pour(self._sink, b"".join(binascii.b2a_base64(ready[at : at + _BYTES]) for at in range(0, size, _BYTES)))


class _Dearmored(io.RawIOBase):
    def __init__(self, lines: Iterator[bytes]) -> None:
        super().__init__()
        self._data, self._pending = _decoded(lines), b""
        self._failure: ArmorInvalid | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        window = memoryview(buffer).cast("B")
        if self._failure is not None:
            raise self._failure  # again: after an error, an end of file must never look like success
        if not self._pending:
            try:
                self._pending = next(self._data, b"")
            except ArmorInvalid as error:
                self._failure = error
                raise
        count = min(len(window), len(self._pending))
        window[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count


def _decoded(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of each line; then check that it is the end."""
    if _after_blanks(lines) != _BEGIN:
        msg = "not an armored age file"
        raise ArmorInvalid(msg)
    size = _BYTES
    for line in lines:
        if line == _END:
            break
        data = _decode(line)
        if size < _BYTES or not data:
            msg = "armor has a short line before its end"
            raise ArmorInvalid(msg)
        size = len(data)
        yield data
    else:
        msg = "armor has no end line"
        raise ArmorInvalid(msg)
    if _after_blanks(lines) is not None:
        msg = "data follows the armor"
        raise ArmorInvalid(msg)


def _after_blanks(lines: Iterator[bytes]) -> bytes | None:
    seen = 0
    for line in lines:
        if line.strip(b" \t\r"):
            return line
        seen += len(line) + 1
        if seen > _BLANK:
            msg = "too much white space around the armor"
            raise ArmorInvalid(msg)
    return None


def _decode(line: bytes) -> bytes:
    try:
        data = binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error as error:
        msg = "armor has invalid base64"
        raise ArmorInvalid(msg) from error
    if len(line) > _COLUMNS or binascii.b2a_base64(data, newline=False) != line:
        msg = "armor has a line that is too long, or non-canonical base64"
        raise ArmorInvalid(msg)
    return data


def _lines(source: Source) -> Iterator[bytes]:
    """Yield lines without their LF or CRLF; none may be longer than the white space allowed."""
    held = b""
    while piece := source.read(1 << 14):
        *whole, held = (held + piece).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
        if len(held) > _BLANK:
            break
    if held:
        yield held.removesuffix(b"\r")
