"""How is one entry of an archive spelled, and which paths may it have?

Source: POSIX ustar (IEEE 1003.1, pax, "ustar Interchange Format"), of which one spelling per file is used.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from security.errors import ArchiveRejected, BudgetExceeded

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
FILE: Final = b"0"
FOLDER: Final = b"5"
PLAIN: Final = 0o644
EXECUTABLE: Final = 0o755

META_NAME: Final = "META.json"
"""The name of an archive's first entry; no file may have it."""

PATH_BYTES: Final = 200
"""Longest path in bytes of UTF-8."""

_NAME: Final = 100
_PREFIX: Final = 155
_MAX_SIZE: Final = 8**11 - 1
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # control, formatting, surrogates, line separators
_SIZE = re.compile(rb"[0-7]{11}\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a header says."""

    path: str
    size: int
    mode: int
    folder: bool

    @property
    def spelled(self) -> bytes:
        """The path as the header has it, and as entries are ordered: that of a folder ends with ``/``."""
        return (self.path + "/" * self.folder).encode()


class Names:
    """Paths that are plain, and distinct even on file systems that ignore case or Unicode normal forms."""

    def __init__(self, most: int) -> None:
        self._seen: dict[str, tuple[str, bool]] = {}
        self._most = most

    def add_file(self, path: str) -> None:
        """Take the path of a file, with the folders above it.

        Raises:
            ArchiveRejected: not plain, reserved, or taken.
            BudgetExceeded: too many files and folders.
        """
        self._add(path, folder=False)

    def add_folder(self, path: str) -> None:
        """Take the path of a folder, with those above it. It may have been added before.

        Raises:
            ArchiveRejected: not plain, reserved, or taken by a file or under another spelling.
            BudgetExceeded: too many files and folders.
        """
        self._add(path, folder=True)

    def _add(self, path: str, *, folder: bool) -> None:
        refuse_odd(path)
        parts = path.split("/")
        if parts[0].casefold() == META_NAME.casefold():
            msg = "path is reserved"
            raise ArchiveRejected(msg, path=path)
        for depth in range(1, len(parts)):
            self._take("/".join(parts[:depth]), folder=True)
        self._take(path, folder=folder)
        if len(self._seen) > self._most:
            msg = "too many files and folders"
            raise BudgetExceeded(msg, limit=self._most)

    def _take(self, path: str, *, folder: bool) -> None:
        folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
        known = self._seen.get(folded)
        if known is None:
            self._seen[folded] = path, folder
        elif known != (path, True) or not folder:
            msg = "two paths that some file systems treat as one"
            raise ArchiveRejected(msg, path=path, other=known[0])


def refuse_odd(path: str) -> None:
    """Refuse a path that is not plain.

    Raises:
        ArchiveRejected: absolute, with empty, ``.`` or ``..`` parts, control or formatting characters, backslashes, not
            UTF-8, or too long.
    """
    if (
        not {"", ".", ".."}.isdisjoint(path.split("/"))
        or "\\" in path
        or any(unicodedata.category(letter) in _HIDDEN for letter in path)
    ):
        msg = "path is not plain"
        raise ArchiveRejected(msg, path=ascii(path)[:_NAME])
    if len(path.encode()) > PATH_BYTES:
        msg = "path is too long"
        raise ArchiveRejected(msg, path=path, limit=PATH_BYTES)
    _split(path.encode())


def write_header(entry: Entry) -> bytes:
    """Return the one header for an entry: no times, no owners, no links.

    Raises:
        ArchiveRejected: a path that does not fit.
        BudgetExceeded: a file of 8 GiB or more.
    """
    if entry.size > _MAX_SIZE:
        msg = "file is too large for an archive"
        raise BudgetExceeded(msg, path=entry.path, bytes=entry.size, limit=_MAX_SIZE)
    prefix, name = _split(entry.spelled)
    zero = b"0000000\0"
    front = name.ljust(_NAME, b"\0") + b"%07o\0" % entry.mode + zero + zero + b"%011o\0" % entry.size + b"%011o\0" % 0
    back = (
        (FOLDER if entry.folder else FILE)
        + bytes(100)
        + b"ustar\0"
        + b"00"
        + bytes(64)
        + zero
        + zero
        + prefix.ljust(_PREFIX, b"\0")
        + bytes(12)
    )
    return front + b"%06o\0 " % (sum(front) + sum(back) + 8 * ord(" ")) + back


def parse_header(header: bytes, path_bytes: int) -> Entry:
    """Parse a header, write it again, and compare: nothing else that it says counts.

    Raises:
        ArchiveRejected: a link, a device, an override, an odd path, or another spelling of a plain file.
        BudgetExceeded: a path of more than `path_bytes`.
    """
    kind, size, executable = header[156:157], header[124:136], header[100:108] == b"%07o\0" % EXECUTABLE
    if kind not in {FILE, FOLDER}:
        msg = "archive holds something other than files and folders"
        raise ArchiveRejected(msg, kind=repr(kind))
    name, prefix = header[:_NAME].rstrip(b"\0"), header[345 : 345 + _PREFIX].rstrip(b"\0")
    raw = prefix + b"/" + name if prefix else name
    if len(raw) > path_bytes:
        msg = "path is too long"
        raise BudgetExceeded(msg, bytes=len(raw), limit=path_bytes)
    folder = kind == FOLDER
    try:
        path = raw.removesuffix(b"/").decode() if folder else raw.decode()
    except UnicodeDecodeError as error:
        msg = "path is not UTF-8"
        raise ArchiveRejected(msg) from error
    refuse_odd(path)
    if _SIZE.fullmatch(size) is None or (folder and int(size[:-1], 8)):
        msg = "archive has an entry with a malformed size"
        raise ArchiveRejected(msg, path=path)
    mode = EXECUTABLE if executable or folder else PLAIN
    entry = Entry(path=path, size=int(size[:-1], 8), mode=mode, folder=folder)
    if write_header(entry) != header:
        msg = "archive has a header that is not in normal form"
        raise ArchiveRejected(msg, path=path)
    return entry


def filler(size: int) -> bytes:
    """Return the zeros between a file of that size and the next header."""
    return bytes(-size % BLOCK)


def _split(raw: bytes) -> tuple[bytes, bytes]:
    """Split a path over the two fields of a header, at the first place where the rest fits."""
    if len(raw) <= _NAME:
        return b"", raw
    cut = raw.find(b"/", len(raw) - _NAME - 1, len(raw) - 1)
    if not 0 < cut <= _PREFIX:
        msg = "a part of the path is too long"
        raise ArchiveRejected(msg, path=raw.decode())
    return raw[:cut], raw[cut + 1 :]
