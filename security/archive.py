"""How do files become one stream in one normal form, and how are they safely unpacked again?

Written: a POSIX ustar archive (IEEE 1003.1, pax, "ustar Interchange Format") of plain files, in the order of their
paths, without times or owners, and padded. Read: only that. Each header is written again from what was parsed and must
give the same bytes, so there are no links, devices, sparse files or overrides to abuse (attack T16); budgets are
enforced while reading (attack T17).
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn, Self

from security.digest import BUFFER, Digest
from security.errors import ArchiveRejected, BudgetExceeded
from security.files import told
from security.streams import Sink, Source, fill, pour
from security.ustar import (
    BLOCK,
    END,
    EXECUTABLE,
    META_NAME,
    PATH_BYTES,
    PLAIN,
    Entry,
    Names,
    filler,
    parse_header,
    write_header,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

META_LIMIT: Final = 1 << 16
MAX_MEMBERS: Final = 1 << 18
LEAST: Final = 16 << 10
"""Least size of an archive: every small result looks the same from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file to be packed: its path below the root, with ``/``, its size in bytes, and how to read it."""

    path: str
    size: int
    executable: bool
    open: Callable[[], BinaryIO] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What was written: all bytes, and the digest of the content, which META.json and padding do not change."""

    size: int
    content: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much an archive may hold: bytes of all files, of one, and files and folders together."""

    total_bytes: int
    member_bytes: int
    members: int
    path_bytes: int = PATH_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """What was read: the paths of the files in order, and the bytes in them."""

    files: tuple[str, ...]
    bytes: int


def padme(size: int) -> int:
    """Round a size up so that it reveals at most O(log log size) bits, at a cost of at most 12 %.

    Source: Nikitin, Barman, Lueks, Underwood, Hubaux, Ford, "Reducing Metadata Leakage from Encrypted Files and
    Communication with PURBs" (PETS 2019), algorithm 1.
    """
    exponent = size.bit_length() - 1
    if exponent < 1:
        return size
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask


def members_of(folder: Path, *, most: int = MAX_MEMBERS) -> tuple[Member, ...]:
    """Return the files below a folder, in the order they are packed in. Empty folders are skipped.

    Raises:
        ArchiveRejected: a hard or symbolic link, a device, a pipe, a socket, or a path `pack` would refuse.
        BudgetExceeded: more than `most` files and folders.
    """
    names, found, waiting = Names(most), [], [(folder, "")]
    while waiting:
        at, prefix = waiting.pop()
        with told(at), os.scandir(at) as entries:
            for entry in entries:
                path, facts = prefix + entry.name, entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    names.add_folder(path)
                    waiting.append((Path(entry.path), path + "/"))
                else:
                    names.add_file(path)
                    found.append(_member(Path(entry.path), path, facts))
    return tuple(sorted(found, key=_order))


def pack(sink: Sink, meta: bytes | None, members: Sequence[Member]) -> Packed:
    """Write META.json, if given, and the members, in normal form; each member is opened and read once.

    Raises:
        ArchiveRejected: a path that is not plain, reserved, too long, or repeated; a file that changes meanwhile.
        BudgetExceeded: a file of 8 GiB or more, or a META.json of more than 64 KiB.
    """
    names, hasher, buffer = Names(MAX_MEMBERS), hashlib.sha256(), memoryview(bytearray(BUFFER))
    size = 0

    def put(data: bytes | memoryview) -> None:
        nonlocal size
        hasher.update(data)
        pour(sink, data)
        size += len(data)

    if meta is not None:
        if len(meta) > META_LIMIT:
            msg = "META.json is too long"
            raise BudgetExceeded(msg, bytes=len(meta), limit=META_LIMIT)
        entry = Entry(path=META_NAME, size=len(meta), mode=PLAIN, folder=False)
        put(write_header(entry) + meta + filler(len(meta)))
        hasher = hashlib.sha256()
    for member in sorted(members, key=_order):
        names.add_file(member.path)
        mode = EXECUTABLE if member.executable else PLAIN
        put(write_header(Entry(path=member.path, size=member.size, mode=mode, folder=False)))
        for piece in _pieces_of(member, buffer):
            put(piece)
        put(filler(member.size))
    put(END)
    content = Digest.of_hex(hasher.hexdigest())
    total = _padded(size)
    for at in range(size, total, BUFFER):
        pour(sink, bytes(min(total - at, BUFFER)))
    return Packed(size=total, content=content)


def content_of(members: Sequence[Member]) -> Digest:
    """Return the digest of what `pack` would write of these files: of their paths, modes and bytes.

    Raises:
        ArchiveRejected, BudgetExceeded: see `pack`.
    """
    return pack(_Nowhere(), None, members).content


def unpack(
    source: Source,
    *,
    into: Path,
    budget: Budget,
    check_meta: Callable[[bytes], None] | None,
    witness: Callable[[memoryview], object] | None = None,
) -> Unpacked:
    """Read an archive to its end and write its files below an empty folder.

    `witness` is given the content, piece by piece: its digest is what `pack` returned.

    META.json goes to `check_meta` before anything is written, and nowhere else; with None there must be none. Files
    get mode 0644 or 0755: what keeps them private is `into`. If this raises, `into` holds a part of the archive, which the caller wipes.

    Raises:
        ArchiveRejected: anything but exactly what `pack` writes, and entries for folders.
        BudgetExceeded: more than `budget` allows; raised before it is written.
        FileExists: a name is already taken.
        DiskFull: no room.
    """
    tape = _Tape(source)
    if check_meta is not None:
        check_meta(_read_meta(tape))
    tape.witness = witness
    names, files, total, last = Names(budget.members), [], 0, b""
    with _Tree(into) as tree:
        while (entry := tape.entry(budget.path_bytes)) is not None:
            if entry.spelled <= last:
                msg = "archive is not sorted, or repeats an entry"
                raise ArchiveRejected(msg, path=entry.path)
            last, total = entry.spelled, total + entry.size
            if entry.size > budget.member_bytes or total > budget.total_bytes:
                msg = "archive holds more bytes than allowed"
                raise BudgetExceeded(msg, path=entry.path, bytes=entry.size, total=total, limit=budget.total_bytes)
            if entry.folder:
                names.add_folder(entry.path)
                tree.enter(entry.path)
            else:
                names.add_file(entry.path)
                files.append(entry.path)
                tree.write(entry.path, entry.mode, tape.data(entry.size))
    tape.end()
    return Unpacked(files=tuple(files), bytes=total)


class _Nowhere:
    """A sink that keeps nothing."""

    def write(self, data: Buffer, /) -> int:
        return memoryview(data).nbytes


class _Tape:
    """Reads an archive forward, through one buffer, and never believes a size it cannot follow."""

    def __init__(self, source: Source) -> None:
        self._source, self._buffer, self._read = source, memoryview(bytearray(BUFFER)), 0
        self.witness: Callable[[memoryview], object] | None = None

    def entry(self, path_bytes: int) -> Entry | None:
        """Return the next entry, or None at the end mark."""
        header = bytes(self._take(BLOCK))
        if header == bytes(BLOCK):
            self._need_zeros(self._take(BLOCK))
            return None
        return parse_header(header, path_bytes)

    def data(self, size: int) -> Iterator[memoryview]:
        """Yield the bytes of a file. Each piece is overwritten by the next."""
        left = size
        while left:
            piece = self._take(min(left, len(self._buffer)))
            yield piece
            left -= len(piece)
        self._need_zeros(self._take(-size % BLOCK))

    def end(self) -> None:
        """Check what follows the end mark."""
        self.witness = None
        total = _padded(self._read)
        while self._read < total:
            self._need_zeros(self._take(min(total - self._read, len(self._buffer))))
        if fill(self._source, self._buffer[:1]):
            msg = "archive goes on after its end"
            raise ArchiveRejected(msg, at=self._read)

    def _take(self, size: int) -> memoryview:
        piece = self._buffer[:size]
        if fill(self._source, piece) < size:
            msg = "archive ends early"
            raise ArchiveRejected(msg, at=self._read)
        if self.witness is not None:
            self.witness(piece)
        self._read += size
        return piece

    def _need_zeros(self, piece: memoryview) -> None:
        if piece.tobytes().strip(b"\0"):
            msg = "archive has something where its filling should be"
            raise ArchiveRejected(msg, before=self._read)


class _Tree:
    """Makes files below a folder, each folder on the way opened by its own name, never through a link.

    Entries come in the order of their paths, so each folder is entered once, and must be new then.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._names = root, list[str]()
        with told(root):
            self._handles = [os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(0)
        os.close(self._handles.pop())

    def enter(self, path: str) -> None:
        """Make a folder, and those above it."""
        with told(self._root / path):
            self._at(path.split("/"))

    def write(self, path: str, mode: int, pieces: Iterator[memoryview]) -> None:
        """Make a file of pieces, and the folders above it."""
        *folders, name = path.split("/")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with told(self._root / path):
            handle = os.open(name, flags, 0o600, dir_fd=self._at(folders))
        with open(handle, "wb", buffering=0) as out:  # noqa: PTH123 - a file descriptor
            for piece in pieces:
                with told(self._root / path):
                    pour(out, piece)
            os.fchmod(handle, mode)

    def _at(self, folders: list[str]) -> int:
        shared = 0
        while folders[shared : shared + 1] == self._names[shared : shared + 1] != []:
            shared += 1
        self._leave(shared)
        for name in folders[shared:]:
            above = self._handles[-1]
            os.mkdir(name, 0o700, dir_fd=above)
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
            self._handles.append(handle)
            self._names.append(name)
            os.fchmod(handle, EXECUTABLE)
        return self._handles[-1]

    def _leave(self, depth: int) -> None:
        while len(self._names) > depth:
            self._names.pop()
            os.close(self._handles.pop())


def _read_meta(tape: _Tape) -> bytes:
    entry = tape.entry(len(META_NAME))
    if entry is None or entry.spelled != META_NAME.encode() or entry.mode != PLAIN:
        msg = "archive does not start with META.json"
        raise ArchiveRejected(msg)
    if entry.size > META_LIMIT:
        msg = "META.json is too long"
        raise BudgetExceeded(msg, bytes=entry.size, limit=META_LIMIT)
    return b"".join(map(bytes, tape.data(entry.size)))


def _member(file: Path, path: str, facts: os.stat_result) -> Member:
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
        msg = "not a regular file with one name"
        raise ArchiveRejected(msg, path=path, kind=stat.filemode(facts.st_mode)[0], links=facts.st_nlink)
    return Member(
        path=path,
        size=facts.st_size,
        executable=bool(facts.st_mode & stat.S_IXUSR),
        open=functools.partial(_open_same, file, path, (facts.st_dev, facts.st_ino)),
    )


def _open_same(file: Path, path: str, expected: tuple[int, int]) -> BinaryIO:
    """Open the file that was seen before, not what has been put in its place (a link, for one)."""
    with told(file):
        source = open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0)  # noqa: PTH123, SIM115 - a file descriptor, closed by whoever asked
    facts = os.fstat(source.fileno())
    if (facts.st_dev, facts.st_ino) != expected or facts.st_nlink != 1:
        source.close()
        _changed(path)
    return source


def _pieces_of(member: Member, buffer: memoryview) -> Iterator[memoryview]:
    with member.open() as source:
        left = member.size
        while left:
            count = fill(source, buffer[: min(left, len(buffer))])
            if count == 0:
                _changed(member.path)
            yield buffer[:count]
            left -= count
        if source.read(1):
            _changed(member.path)


def _changed(path: str) -> NoReturn:
    msg = "file changed while it was packed"
    raise ArchiveRejected(msg, path=path)


def _order(member: Member) -> bytes:
    return member.path.encode("utf-8", "surrogatepass")  # odd paths are refused later, with their own error


def _padded(size: int) -> int:
    return max(LEAST, padme(size))
