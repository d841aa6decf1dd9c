"""Do the bytes that are stored or read match their descriptor?"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from registry.names import Reference, Repository
from registry.oci import Descriptor
from registry.port import Registry
from security.digest import BUFFER, NOTHING, CheckedReader, Digest, Prefix, checked, digest_of
from security.errors import BudgetExceeded, DigestMismatch


def open_checked(source: BinaryIO, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
    """Return a reader of `source` that fails at its end unless the bytes, with those they come after, matched."""
    return CheckedReader(source, descriptor.digest, descriptor.size, after)


def checked_pieces(source: BinaryIO | CheckedReader, descriptor: Descriptor) -> Iterator[memoryview]:
    """Yield `source` piece by piece, in one reused buffer. What `open_checked` returned is not checked twice.

    Raises:
        DigestMismatch: after the last piece, if the bytes do not match the descriptor.
    """
    reader = checked(source, descriptor.digest, descriptor.size)
    buffer = memoryview(bytearray(min(BUFFER, descriptor.size + 1)))
    try:
        while count := reader.readinto(buffer):
            yield buffer[:count]
    except BudgetExceeded as error:
        msg = "bytes do not match their digest"
        raise DigestMismatch(msg, expected=descriptor.digest, size=descriptor.size) from error


def expected_digest(raw: bytes, reference: Reference) -> Digest:
    """Return the digest of a manifest.

    Raises:
        DigestMismatch: `reference` is a different digest.
    """
    digest = digest_of(raw)
    if isinstance(reference, Digest) and reference != digest:
        msg = "manifest does not match its digest"
        raise DigestMismatch(msg, expected=reference, found=digest)
    return digest


def read_blob(registry: Registry, repo: Repository, descriptor: Descriptor, *, limit: int) -> bytes:
    """Read a small blob whole.

    Raises:
        BudgetExceeded: its descriptor announces more than `limit` bytes.
        DigestMismatch: it does not match its descriptor.
    """
    if descriptor.size > limit:
        msg = "blob is larger than allowed"
        raise BudgetExceeded(msg, digest=descriptor.digest, size=descriptor.size, limit=limit)
    with registry.open_blob(repo, descriptor) as source:
        return b"".join(bytes(piece) for piece in checked_pieces(source, descriptor))


def put_bytes(registry: Registry, repo: Repository, data: bytes, media_type: str) -> Descriptor:
    """Store bytes from memory as a blob."""
    descriptor = Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))
    registry.put_blob(repo, descriptor, lambda offset: io.BytesIO(data[offset:]))
    return descriptor
