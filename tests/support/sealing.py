"""Sealed bytes and archives for tests: whole, and spoiled."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from security.age import Identity, Recipient, Unwrapper, decrypt, encrypt
from security.archive import Budget, Member, Unpacked, pack, padme, unpack
from security.digest import Digest
from security.ustar import BLOCK, END, Entry, filler, write_header

ROOMY = Budget(total_bytes=1 << 30, member_bytes=1 << 30, members=1000)


def seal(plaintext: bytes, *recipients: Recipient) -> bytes:
    """Return an age file."""
    sink = io.BytesIO()
    with encrypt(sink, recipients) as sealed:
        sealed.write(plaintext)
    return sink.getvalue()


def open_seal(sealed: bytes, *identities: Unwrapper) -> bytes:
    """Return what is in an age file, read in one go."""
    return decrypt(io.BytesIO(sealed), identities).readall()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came out of an age file, and what it ended with."""

    released: bytes
    error: Exception | None


def judge(sealed: bytes, *identities: Identity, piece: int = 4000) -> Verdict:
    """Read an age file piece by piece until it ends, well or not."""
    released = bytearray()
    try:
        reader = decrypt(io.BytesIO(sealed), identities)
        while data := reader.read(piece):
            released += data
    except Exception as error:  # noqa: BLE001 - the caller asserts which
        return Verdict(released=bytes(released), error=error)
    return Verdict(released=bytes(released), error=None)


def member(path: str, data: bytes, *, executable: bool = False) -> Member:
    """Return a file in memory."""
    return Member(path=path, size=len(data), executable=executable, open=lambda: io.BytesIO(data))


def archive_of(files: Mapping[str, bytes], meta: bytes | None = None) -> bytes:
    """Pack files in memory."""
    sink = io.BytesIO()
    pack(sink, meta, [member(path, data) for path, data in files.items()])
    return sink.getvalue()


def entry(path: str, data: bytes = b"", *, change: Callable[[bytearray], None] | None = None) -> bytes:
    """Return one entry of an archive, its header changed, and with a right checksum again."""
    header = bytearray(write_header(Entry(path="x", size=len(data), mode=0o644, folder=False)))
    header[:100] = path.encode("utf-8", "surrogateescape").ljust(100, b"\0")
    if change is not None:
        change(header)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + filler(len(data))


def whole(*entries: bytes) -> bytes:
    """Return an archive of entries, ended and padded as it should be."""
    body = b"".join(entries) + END
    return body.ljust(max(16 << 10, padme(len(body))), b"\0")


def unpacked(
    archive: bytes,
    into: Path,
    *,
    budget: Budget = ROOMY,
    check_meta: Callable[[bytes], None] | None = None,
    content: list[Digest] | None = None,
) -> Unpacked:
    """Unpack an archive in memory; put the digest of its content into a list."""
    hasher = hashlib.sha256()
    found = unpack(io.BytesIO(archive), into=into, budget=budget, check_meta=check_meta, witness=hasher.update)
    if content is not None:
        content.append(Digest.of_hex(hasher.hexdigest()))
    return found


def files_below(folder: Path) -> Sequence[str]:
    """Return everything there is below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


__all__ = [
    "BLOCK",
    "ROOMY",
    "Verdict",
    "archive_of",
    "entry",
    "files_below",
    "judge",
    "member",
    "open_seal",
    "seal",
    "unpacked",
    "whole",
]
