"""How is a payload of any size encrypted in constant memory, so that no part of it can be cut, moved or changed?

Source: C2SP age, "Payload": chunks of 64 KiB under ChaCha20-Poly1305, their nonce a counter and a mark on the last (a
variant of STREAM, Hoang, Reyhanitabar, Rogaway and Vizár, 2015). Both directions work on batches of sixteen chunks in
buffers that are allocated once.
"""

from __future__ import annotations

import io
import secrets
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from security.age.header import Header
from security.age.stanza import derive
from security.errors import HeaderInvalid, PayloadBroken
from security.streams import Sink, Source, fill, pour

if TYPE_CHECKING:
    from typing_extensions import Buffer

CHUNK: Final = 1 << 16
"""Plaintext bytes of every chunk but the last, which may have fewer."""

SEALED: Final = CHUNK + 16
"""A whole chunk with its authentication tag."""

NONCE: Final = 16
"""Bytes of the random salt in front of the chunks."""

_BATCH: Final = 16
_FIRST: Final = 2
_MORE: Final = b"\0"
_LAST: Final = b"\1"


class AgeWriter:
    """Encrypts what is written to it. Only `close` completes the file.

    As a context manager it closes after the block, and not if the block raises. It is no ``io`` class on purpose:
    those close themselves when garbage-collected, and would complete an abandoned file.
    """

    def __init__(self, sink: Sink, header: bytes, file_key: bytes) -> None:
        """Write the header to `sink`, which is never closed from here."""
        nonce = secrets.token_bytes(NONCE)
        self._sink, self._cipher, self._counter, self._open = sink, _cipher(file_key, nonce), 0, True
        # Most files are small, and a batch takes a millisecond to be made of zeros, and again to be wiped.
        self._plain, self._sealed, self._filled = memoryview(bytearray(CHUNK)), memoryview(bytearray(SEALED)), 0
        pour(sink, header + nonce)

    def write(self, data: Buffer, /) -> int:
        """Encrypt `data`; it reaches the sink when a batch is full.

        Raises:
            ValueError: the file is finished or abandoned.
        """
        self._need_open()
        left = memoryview(data).cast("B")
        size = len(left)
        while len(left):
            if self._filled == len(self._plain):  # only when more follows: the last chunk must not be empty
                self._flush(last=False)
                self._enlarge()
            count = min(len(left), len(self._plain) - self._filled)
            self._plain[self._filled : self._filled + count] = left[:count]
            self._filled += count
            left = left[count:]
        return size

    def close(self) -> None:
        """Write the last chunk, once."""
        if self._open:
            self._flush(last=True)
            self.abandon()

    def abandon(self) -> None:
        """Abandon the file: what was written never opens as a complete one."""
        self._open = False
        self._plain[:] = bytes(len(self._plain))

    def __enter__(self) -> Self:
        self._need_open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def _need_open(self) -> None:
        if not self._open:
            msg = "this sealed file is already finished"
            raise ValueError(msg)

    def _enlarge(self) -> None:
        if len(self._plain) == CHUNK:
            self._plain[:] = bytes(CHUNK)
            self._plain, self._sealed = memoryview(bytearray(_BATCH * CHUNK)), memoryview(bytearray(_BATCH * SEALED))

    def _flush(self, *, last: bool) -> None:
        taken, made = 0, 0
        while taken < self._filled or (last and self._counter == 0):
            chunk = self._plain[taken : min(taken + CHUNK, self._filled)]
            mark = _LAST if last and taken + len(chunk) == self._filled else _MORE
            nonce = self._counter.to_bytes(11, "big") + mark
            self._counter += 1
            made += self._cipher.encrypt_into(nonce, chunk, None, self._sealed[made : made + len(chunk) + 16])
            taken += len(chunk)
        self._filled = 0
        pour(self._sink, self._sealed[:made])


class AgeReader(io.RawIOBase):
    """Decrypts as it is read, and hands out authenticated bytes only.

    A file is whole when `read` has returned ``b""``: a cut raises before that. `source` is read to its end and never
    closed from here.
    """

    def __init__(self, source: Source, header: Header, beyond: bytes, file_key: bytes, *, batch: int = _BATCH) -> None:
        """Continue after `header`; `beyond` is what was read past its end. `batch` chunks, two or more, are read at once.

        Raises:
            HeaderInvalid: the file ends before its payload starts.
        """
        super().__init__()
        self.stanzas = header.stanzas
        nonce = beyond[:NONCE] + _exactly(source, NONCE - len(beyond[:NONCE]))
        self._source, self._cipher, self._counter = source, _cipher(file_key, nonce), 0
        self._batch, self._held = batch, len(beyond[NONCE:])
        first = max(_FIRST, -(-self._held // SEALED))  # most files are small
        self._sealed = memoryview(bytearray(first * SEALED))
        self._sealed[: self._held] = beyond[NONCE:]
        self._plain, self._from, self._to = memoryview(bytearray(first * CHUNK)), 0, 0
        self._failure: PayloadBroken | None = None
        self._ended = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill `buffer` with plaintext, from chunks that were authenticated whole.

        They are decrypted into another buffer first: a cipher writes a forged chunk before it detects it.

        Raises:
            PayloadBroken: the next chunk was changed, moved, repeated or cut off, or data follows the last one.
        """
        window = memoryview(buffer).cast("B")
        while self._from == self._to and not self._ended and len(window):
            if self._failure is not None:
                raise self._failure
            self._refill()
        count = min(len(window), self._to - self._from)
        window[:count] = self._plain[self._from : self._from + count]
        self._from += count
        return count

    def close(self) -> None:
        """Forget the plaintext that was not read."""
        if not self.closed:
            self._plain[:] = bytes(len(self._plain))
        super().close()

    def _refill(self) -> None:
        """Read a batch and open it, up to its first bad chunk. One whole chunk stays behind: it may be the last."""
        if self._counter and len(self._sealed) < self._batch * SEALED:
            self._enlarge()
        self._held += fill(self._source, self._sealed[self._held :])
        at_end = self._held < len(self._sealed)
        self._from = self._to = taken = 0
        while self._held - taken > SEALED and self._failure is None:
            if not self._opened(self._sealed[taken : taken + SEALED], _MORE):
                self._fail(self._sealed[taken : taken + SEALED])
            taken += SEALED
        left = self._held - taken
        if self._failure is None and at_end:
            self._finish(self._sealed[taken : self._held])
        self._sealed[:left] = bytes(self._sealed[taken : self._held])
        self._held = left

    def _enlarge(self) -> None:
        self._plain[:] = bytes(len(self._plain))
        sealed = memoryview(bytearray(self._batch * SEALED))
        sealed[: self._held] = self._sealed[: self._held]
        self._sealed, self._plain = sealed, memoryview(bytearray(self._batch * CHUNK))

    def _finish(self, chunk: memoryview) -> None:
        if len(chunk) == SEALED - CHUNK and self._counter:
            msg = "last chunk is empty"
            self._failure = PayloadBroken(msg, chunk=self._counter)
        elif self._opened(chunk, _LAST):
            self._ended = True
        else:
            cut = len(chunk) == SEALED and self._opened(chunk, _MORE)
            msg = "sealed file's end is missing" if cut else "sealed file was changed, or its end is missing"
            self._failure = PayloadBroken(msg, chunk=self._counter)

    def _fail(self, chunk: memoryview) -> None:
        msg = (
            "data follows the last chunk of the sealed file"
            if self._opened(chunk, _LAST)
            else "sealed file was changed"
        )
        self._failure = PayloadBroken(msg, chunk=self._counter)

    def _opened(self, chunk: memoryview, mark: bytes) -> bool:
        size = len(chunk) - (SEALED - CHUNK)
        if size < 0:
            return False
        nonce = self._counter.to_bytes(11, "big") + mark
        room = self._plain[self._to : self._to + size]
        try:
            self._cipher.decrypt_into(nonce, chunk, None, room)
        except InvalidTag:
            room[:] = bytes(size)
            return False
        self._counter += 1
        self._to += size
        return True


def _cipher(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(derive(file_key, salt=nonce, info=b"payload"))


def _exactly(source: Source, size: int) -> bytes:
    buffer = bytearray(size)
    if fill(source, memoryview(buffer)) < size:
        msg = "file ends before its payload starts"
        raise HeaderInvalid(msg)
    return bytes(buffer)
