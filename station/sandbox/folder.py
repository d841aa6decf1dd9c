"""How much has a run written to its state folder, and who owns the folder?

The run writes to the folder while the station looks, and may swap a name for a link at any moment. So everything goes
through directory handles, and no link is ever followed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from security.errors import DiskFull
from security.files import told
from station.errors import OutputExceeded, RunFailed
from station.sandbox.order import RunLimits

_DEEPEST: Final = 64  # an archive's paths have at most 200 bytes; more levels than this are an attack
_ENTRY: Final = 64 << 10  # what an entry may occupy beyond the bytes in it
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUse:
    """What is in a state folder: the ``bytes`` of all files, and the number of files, folders and links."""

    bytes: int
    files: int


def measure(folder: Path, limits: RunLimits) -> StateUse:
    """Measure what is in `folder`, and stop at the first limit that is exceeded.

    The bytes of files are what a train declares, so just those are held against its limit. What they occupy may be twice as
    much, which is what a run is granted of the disk, and a block for each entry: a file's last block is rarely full, and
    file systems keep some for what may come. Blocks without bytes are bounded by that (attack T19).

    Raises:
        OutputExceeded: too many bytes or entries, or folders nested too deeply.
        RunFailed: a folder the station cannot read.
        DiskFull: the file system has less free space than the limits keep in reserve. Files that were unlinked and are
            still open show nowhere else.
    """
    size = occupied = files = 0
    with told(folder):
        room = os.statvfs(folder)
        if room.f_bavail * room.f_frsize < limits.disk_reserve_bytes:
            msg = "the run is filling up the file system"
            raise DiskFull(msg, reserve=limits.disk_reserve_bytes)
        for facts in _entries(folder):
            files += 1
            if not stat.S_ISDIR(facts.st_mode):
                size += facts.st_size
            occupied += facts.st_blocks * 512
            if files > limits.state_files:
                msg = "too many files in the state"
                raise OutputExceeded(msg, limit=limits.state_files)
            if size > limits.state_bytes:
                msg = "too many bytes in the state"
                raise OutputExceeded(msg, limit=limits.state_bytes)
            if occupied > 2 * limits.state_bytes + files * _ENTRY:
                msg = "the state occupies more of the disk than its files need"
                raise OutputExceeded(msg, limit=limits.state_bytes)
    return StateUse(bytes=size, files=files)


def read_only(folder: Path) -> bool:
    """Whether nothing can be written to the file system a folder is on; False if the folder is gone."""
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except FileNotFoundError:
        return False


def hand_over(path: Path, uid: int, gid: int) -> None:
    """Give a file, or a folder and everything in it, to the user a run runs as. Only root can, and only root needs to."""
    if os.geteuid() != 0:
        return
    with told(path):
        os.chown(path, uid, gid, follow_symlinks=False)
        for _, folders, files, handle in os.fwalk(path):  # nothing, for a file
            for name in (*folders, *files):
                os.chown(name, uid, gid, dir_fd=handle, follow_symlinks=False)


def _entries(folder: Path) -> Iterator[os.stat_result]:
    try:
        handle = os.open(folder, _FOLDER)
    except PermissionError as error:
        raise _closed() from error
    with _closing(handle):
        yield from _below(handle, 1)


def _below(handle: int, depth: int) -> Iterator[os.stat_result]:
    with os.scandir(handle) as found:
        for entry in found:
            with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                try:
                    facts = os.stat(entry.name, dir_fd=handle, follow_symlinks=False)
                except PermissionError as error:  # a folder that may be listed, but not searched
                    raise _closed() from error
                yield facts
                if stat.S_ISDIR(facts.st_mode):
                    yield from _inside(handle, entry.name, depth)


def _inside(handle: int, name: str, depth: int) -> Iterator[os.stat_result]:
    if depth >= _DEEPEST:
        msg = "the folders of the state are nested too deeply"
        raise OutputExceeded(msg, limit=_DEEPEST)
    try:
        below = os.open(name, _FOLDER, dir_fd=handle)
    except PermissionError as error:
        raise _closed() from error
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:  # swapped since it was listed
            return
        raise
    with _closing(below):
        yield from _below(below, depth + 1)


def _closed() -> RunFailed:
    msg = "the station cannot read a folder of the state"
    return RunFailed(msg, hint="let the analysis leave its folders readable: no chmod below /pht/state")


@contextlib.contextmanager
def _closing(handle: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(handle)
