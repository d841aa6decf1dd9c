"""How does a blob reach a registry, even if the connection breaks?

Distribution specification 1.1, "Pushing blobs": small ones in one request, large ones in chunks. After a break, the
upload's status says where to resume. Some registries forget an upload when a chunk is cut short: then it starts again.
Others do not support chunks: then the blob goes in one request.
"""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from registry.errors import ForeignUpload, NotInRegistry, RegistryDenied, RegistryMisbehaved
from registry.http.answers import Answer, redacted, resolved
from registry.http.auth import Scopes
from registry.http.request import Http
from registry.oci import Descriptor
from registry.port import OpenAt, Progress
from security.errors import DigestMismatch, FileMissing

CHUNK: Final = 16 << 20
"""Bytes of an upload's first chunk, and of all after a break. Else each that came makes the next one twice as large: some
registries take as long to end a chunk as to receive it."""
_LARGEST: Final = 256 << 20
_OCTETS: Final = "application/octet-stream"
_OUT_OF_ORDER: Final = 416
_TOO_LARGE: Final = 413
_DONE: Final = frozenset({201, 202, 204})
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,15})")


class Upload:
    """One blob on its way into one repository.

    After a failure `location` says where another attempt can resume; None if it must start again.
    """

    def __init__(
        self,
        http: Http,
        *,
        path: str,
        scopes: Scopes,
        blob: Descriptor,
        open_at: OpenAt,
        progress: Progress | None,
        location: str | None,
    ) -> None:
        self._http, self._path, self._scopes, self._blob = http, path, scopes, blob
        self._source = _Source(open_at, blob.size, progress)
        self.location, self._largest = location, _LARGEST if location is None else CHUNK

    def run(self) -> None:
        """Upload the blob.

        Raises:
            DigestMismatch: the bytes of the source do not match the descriptor.
            ForeignUpload: the registry directs them to another origin.
        """
        try:
            if not self._resume():
                self._begin()
                self._whole() if self._blob.size <= CHUNK else self._chunks(0)
        except BaseException:
            self._source.take_back()
            raise
        finally:
            self._source.close()

    def _resume(self) -> bool:
        offset = 0 if self.location is None else self._status(self.location)
        if offset == 0:
            return False
        try:
            self._chunks(offset)
        except (DigestMismatch, NotInRegistry):
            # The remains of the broken attempt may be to blame, or the registry still received them when it told where
            # to go on, and has given the upload up: start again.
            return False
        except RegistryMisbehaved as error:
            if (
                error.fields.get("status") != _OUT_OF_ORDER
            ):  # distribution 1.1: the registry has another number of bytes
                raise
            return False
        return True

    def _begin(self) -> None:
        self.location = None
        answer = self._http.send("POST", self._http.url(self._path), scopes=self._scopes, expect={202})
        self.location = self._next(answer)

    def _whole(self) -> None:
        location, self.location = str(self.location), None
        self._put(location, self._blob.size)

    def _chunks(self, offset: int) -> None:
        chunk = CHUNK
        while offset < self._blob.size:
            size = min(chunk, self._blob.size - offset)
            try:
                answer = self._patch(str(self.location), offset, size)
            except (NotInRegistry, RegistryDenied, RegistryMisbehaved) as error:
                if chunk > CHUNK and error.fields.get("status") == _TOO_LARGE:  # for a proxy on the way
                    chunk = self._largest = chunk // 2
                    continue
                if offset:
                    raise
                self._begin()  # a registry that does not support chunks
                self._whole()
                return
            self.location = self._next(answer)
            received = _received(answer)
            if received is not None and not offset < received <= offset + size:
                msg = "registry reports a wrong number of received bytes"
                raise RegistryMisbehaved(msg, sent=offset + size, received=received)
            offset = offset + size if received is None else received
            chunk = min(2 * chunk, self._largest)
        self._put(str(self.location), 0)
        self.location = None

    def _patch(self, location: str, offset: int, size: int) -> Answer:
        return self._http.send(
            "PATCH",
            location,
            scopes=self._scopes,
            expect=_DONE,
            headers={"Content-Type": _OCTETS, "Content-Range": f"{offset}-{offset + size - 1}"},
            payload=lambda: self._source.piece(offset, size),
        )

    def _put(self, location: str, size: int) -> None:
        if size == 0:
            self._source.piece(self._blob.size, 0).read()  # nothing may follow
        answer = self._http.send(
            "PUT",
            f"{location}{'&' if '?' in location else '?'}digest={self._blob.digest}",
            scopes=self._scopes,
            expect=_DONE,
            headers={"Content-Type": _OCTETS},
            payload=(lambda: self._source.piece(0, size)) if size else None,
        )
        confirmed = answer.headers.get("docker-content-digest", self._blob.digest)
        if confirmed != self._blob.digest:
            msg = "registry confirmed a different digest than was uploaded"
            raise RegistryMisbehaved(msg, url=redacted(answer.url), digest=self._blob.digest)

    def _status(self, location: str) -> int:
        try:
            answer = self._http.send("GET", location, scopes=self._scopes, expect={204})
        except (NotInRegistry, RegistryMisbehaved):
            return 0
        self.location = self._next(answer)
        received = _received(answer)
        # "0-0" means one byte or none: ambiguous, and not worth resuming
        return received if received is not None and 1 < received <= self._blob.size else 0

    def _next(self, answer: Answer) -> str:
        """Return where the upload continues: on the registry's own origin, or not at all (attack T15)."""
        target = resolved(answer.url, answer.headers.get("location"))
        if not self._http.origin.holds(target):
            msg = "upload was directed to another origin"
            raise ForeignUpload(msg, registry=self._http.origin, target=redacted(target))
        return target


def _received(answer: Answer) -> int | None:
    found = _RANGE.fullmatch(answer.headers.get("range", ""))
    return None if found is None else int(found[1]) + 1


class _Source:
    """The bytes of a blob, from any offset, as often as needed. Refuses more or fewer than announced."""

    def __init__(self, open_at: OpenAt, size: int, progress: Progress | None) -> None:
        self._open_at, self._size, self._progress = open_at, size, progress
        self._stream: BinaryIO | None = None
        self._at = self._told = 0

    def piece(self, offset: int, size: int) -> _Piece:
        """Return `size` bytes from `offset` on, as a request's body."""
        if self._stream is None or self._at != offset:
            self.close()
            self._stream, self._at = self._open_at(offset), offset
        return _Piece(self, size)

    def read(self, count: int) -> bytes:
        """Read up to `count` bytes, all of which must be there."""
        data = b""
        if self._stream is not None:
            try:
                data = self._stream.read(count)
                more = self._at + len(data) == self._size and self._stream.read(1) != b""
            except OSError as error:
                msg = "cannot read what is to be uploaded"
                raise FileMissing(msg, reason=error.strerror) from error
            if more or len(data) < min(count, 1):
                msg = "number of bytes differs from the descriptor"
                raise DigestMismatch(msg, size=self._size)
        self._at += len(data)
        if self._progress is not None and self._at != self._told:
            self._progress(self._at - self._told)
        self._told = self._at
        return data

    def take_back(self) -> None:
        """Take back the reported progress, since the attempt failed."""
        if self._progress is not None and self._told:
            self._progress(-self._told)
        self._told = 0

    def close(self) -> None:
        """Close the stream; `piece` opens another."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class _Piece:
    """A part of a source as a request's body; see `registry.http.wire.Payload`."""

    def __init__(self, source: _Source, size: int) -> None:
        self._source, self._size, self._left = source, size, size

    def __len__(self) -> int:
        return self._size

    def read(self, count: int = -1, /) -> bytes:
        """Read on."""
        data = self._source.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(data)
        return data
