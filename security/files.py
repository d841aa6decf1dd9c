"""How is a file written so that it is whole, private and durable, or not there at all?"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from security.errors import DiskFull, DiskReadOnly, FileExists, FileMissing, KeyUnreadable, PhtError, Unavailable

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700

_OWNER_AND_MASK: Final = frozenset({0x01, 0x10})  # tags of entries of an access list, as the kernel keeps it
_NAMED_USER: Final = 0x02
_READ: Final = 0x04


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn the operating system's errors about `path` into ours.

    Raises:
        DiskFull: no space, or the quota is used up.
        DiskReadOnly: nothing can be written to the file system now.
        FileExists: the path already exists.
        FileMissing: the path does not exist, is not readable, or is a folder.
        Unavailable: this machine has no more open files or memory to give now, which says nothing about the path.
    """
    try:
        yield
    except PhtError:
        raise
    except OSError as error:
        raise explain(error, path) from error


_EXPLAINED: Final = {
    errno.ENOSPC: (DiskFull, "the file system is full", "free some space, then repeat the operation"),
    errno.EDQUOT: (DiskFull, "the quota is used up", "free some space, then repeat the operation"),
    errno.EEXIST: (FileExists, "file already exists", "move it away, or choose another name"),
    errno.EACCES: (FileMissing, "permission denied", "check the owner, and which user you are"),
    errno.EPERM: (FileMissing, "permission denied", "check the owner, and which user you are"),
    errno.EMFILE: (
        Unavailable,
        "too many files are open",
        "raise the limit: LimitNOFILE= of the service, or ulimit -n",
    ),
    errno.ENFILE: (Unavailable, "too many files are open on this machine", None),
    errno.ENOMEM: (Unavailable, "no memory is left", None),
    errno.EROFS: (DiskReadOnly, "the file system is read-only", None),
    errno.EISDIR: (FileMissing, "is a folder, not a file", None),
    errno.ENOTDIR: (FileMissing, "is a file, not a folder", None),
    errno.ELOOP: (FileMissing, "is a link, not a file", None),
    errno.ENOENT: (FileMissing, "no such file or folder", None),
}


def explain(error: OSError, path: Path) -> PhtError:
    """Return our error for an operating system error about `path`."""
    kind, message, hint = _EXPLAINED.get(error.errno or 0, (FileMissing, "cannot be read or written", None))
    return kind(message, path=path, hint=hint)


def read_file(path: Path, *, limit: int = 16 << 20) -> bytes:
    """Read a small file whole.

    Raises:
        FileMissing: it does not exist, is not readable, or is larger than `limit` bytes.
    """
    with told(path), path.open("rb") as source:
        data = source.read(limit + 1)
    if len(data) > limit:
        msg = "file is too large"
        raise FileMissing(msg, path=path, limit=limit)
    return data


def read_private(path: Path, *, limit: int = 1 << 20) -> bytes:
    """Read a file that nobody else may read.

    Raises:
        KeyUnreadable: group or others have access, it belongs to another user, or it is not a regular file.

    What systemd hands a service (``LoadCredential=``) may belong to root, with an access list that lets the service in.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)  # a fifo must not block
    except OSError as error:
        if error.errno == errno.ELOOP:
            msg = "not a regular file"
            raise KeyUnreadable(msg, path=path, hint="name the file itself, not a link to it") from error
        raise explain(error, path) from error
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode):
        os.close(handle)
        msg = "not a regular file"
        raise KeyUnreadable(msg, path=path, hint="name a file")
    with open(handle, "rb") as source:  # noqa: PTH123 - opened above, so that it is checked and read as one file
        granted = _granted_to_us_alone(handle)
        if facts.st_mode & 0o077 and not granted:
            msg = "private file is accessible to others"
            raise KeyUnreadable(msg, path=path, mode=f"{facts.st_mode & 0o777:o}", hint=f"chmod 600 {path}")
        if facts.st_uid != os.geteuid() and not (granted and facts.st_uid == 0):
            msg = "private file belongs to another user"
            hint = "use your own file, or run this as its owner"
            raise KeyUnreadable(msg, path=path, owner=facts.st_uid, me=os.geteuid(), hint=hint)
        data = source.read(limit + 1)
    if len(data) > limit:
        msg = "file is too large"
        raise KeyUnreadable(msg, path=path, limit=limit, hint="is it the right file?")
    return data


def _granted_to_us_alone(handle: int) -> bool:
    """Whether an access list (acl(5)) lets its owner and us read a file, and nobody else do anything.

    The mode shows the mask of such a list where the rights of the group would stand.
    """
    try:
        raw = os.getxattr(handle, "system.posix_acl_access")
    except OSError:
        return False
    rights = {
        (tag, who): right for tag, right, who in struct.iter_unpack("<HHI", raw[4:]) if tag not in _OWNER_AND_MASK
    }
    return rights.pop((_NAMED_USER, os.geteuid()), 0) == _READ and not any(rights.values())


def make_folder(path: Path, *, mode: int = PRIVATE_FOLDER) -> Path:
    """Make a folder and its parents; durable when it returns. An existing folder is left as it is.

    Raises:
        FileMissing: the path, or a part of it, is not a folder.
    """
    with told(path):
        if not path.is_dir():
            make_folder(path.parent, mode=mode)
            with contextlib.suppress(FileExistsError):
                path.mkdir(mode=mode)
            if not path.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path))
            sync_folder(path.parent)
    return path


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    _sync(os.open(path, os.O_RDONLY | os.O_DIRECTORY))


def sync_tree(path: Path) -> None:
    """Make everything in a folder durable: the bytes of every file, then the names in each folder."""
    for _, _, files, folder in os.fwalk(path, topdown=False, onerror=_give_up):
        for name in files:
            if stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                _sync(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder))
        os.fsync(folder)


def _give_up(error: OSError) -> NoReturn:
    raise error


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_unfinished(folder: Path, names: re.Pattern[str]) -> None:
    """Remove the files of these names, which interrupted writes left in a folder. Call it only while nothing is written there."""
    if folder.is_dir():
        with told(folder):
            for path in folder.iterdir():
                if names.fullmatch(path.name):
                    path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path, *, mode: int = PRIVATE_FILE, replace: bool = True, durable: bool = True) -> Iterator[BinaryIO]:
    """Write a file that is whole and durable after the block, and does not exist if the block raises.

    ``replace=False`` refuses, at the end and without a race, if the name has been taken in the meantime. What is not
    `durable` is whole for whoever reads it now, and after a power cut whatever the disk had got.

    Raises:
        DiskFull: no space; nothing is left behind.
        FileExists: the name is taken and `replace` is false.
    """
    with told(path):
        if not replace and path.exists():
            raise FileExistsError(errno.EEXIST, "exists", str(path))
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    temporary = Path(name)
    try:
        with told(path), open(handle, "wb") as out:  # noqa: PTH123 - a file descriptor
            os.fchmod(handle, mode)
            yield out
            out.flush()
            if durable:
                os.fsync(out.fileno())
        with told(path):
            if replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)
                temporary.unlink()
            if durable:
                sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_file(
    path: Path, data: bytes, *, mode: int = PRIVATE_FILE, replace: bool = True, durable: bool = True
) -> None:
    """Write a small file atomically and durably; see `writing`."""
    with writing(path, mode=mode, replace=replace, durable=durable) as out:
        out.write(data)


def write_note(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Write a small file that a power cut may empty or take away: for what is not believed after one."""
    with told(path):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(handle, "wb") as out:  # noqa: PTH123 - a file descriptor
            os.fchmod(handle, mode)
            out.write(data)


@contextlib.contextmanager
def locked(path: Path, *, mode: int = PRIVATE_FILE) -> Iterator[None]:
    """Let one process at a time into the block; others wait. The lock ends with the process that holds it.

    The file is created if necessary; its content is left alone, and a link in its place is not followed. It is never
    removed: the lock belongs to the open file, and two processes could then hold two files of the same name.
    """
    with told(path), _opened_for_lock(path, mode) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def locked_if_free(path: Path, *, mode: int = PRIVATE_FILE) -> Iterator[int | None]:
    """Lock like `locked`, but do not wait: yield None if another process holds it, else the handle that does.

    Whichever process inherits the handle holds the lock as well.
    """
    with contextlib.ExitStack() as stack:
        with told(path):
            handle = stack.enter_context(_opened_for_lock(path, mode))
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield handle


@contextlib.contextmanager
def _opened_for_lock(path: Path, mode: int) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        yield handle
    finally:
        os.close(handle)


def expect_new(path: Path) -> None:
    """Check before anything costly, or a question to a person, what `making_folder` checks at its end.

    Raises:
        FileExists: `path` exists, and is not an empty folder, or is the one we are in.
        FileMissing: what it would lie in is not a folder.
    """
    _expect_name(path)
    with told(path):
        nearest = next(parent for parent in path.absolute().parents if parent.exists())
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(nearest))
        if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
            raise FileExistsError(errno.EEXIST, "exists", str(path))


def _expect_name(path: Path) -> None:
    if not path.name:  # only what has a name can be given to another folder
        msg = "this is the folder you are in, and it has to be made as a whole"
        raise FileExists(msg, path=path, hint="name a new folder in it, or go up and name this one if it is empty")


@contextlib.contextmanager
def making_folder(path: Path) -> Iterator[Path]:
    """Make a folder that is complete and durable after the block, and does not exist if the block raises.

    Raises:
        FileExists: `path` exists, and is not an empty folder, or is the one we are in.
    """
    _expect_name(path)
    make_folder(path.parent)
    with told(path):
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part"))
    try:
        yield temporary
        with told(path):
            sync_tree(temporary)
            try:
                temporary.rename(path)
            except OSError as error:
                if error.errno in {errno.ENOTEMPTY, errno.ENOTDIR}:
                    raise explain(FileExistsError(errno.EEXIST, "exists"), path) from error
                raise
            sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
