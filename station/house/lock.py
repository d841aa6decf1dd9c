"""Is another daemon working on this state folder?"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from security.files import PRIVATE_FILE, make_folder, told
from station.errors import StationBusy


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold the state folder for as long as the block runs; the kernel lets go when the process ends, however it ends.

    The lock belongs to the open file, not to its name, and the file is never removed: removing it would let two
    processes hold two different files of the same name. Its content, the holder's process id, is only for people.

    Raises:
        StationBusy: another process holds it.
    """
    path = make_folder(folder) / "lock"
    with told(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or None
            msg = "another daemon works on this state folder"
            raise StationBusy(
                msg, folder=folder, process=holder, hint="stop it first, or use another folder"
            ) from error
        with told(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(handle)


def held(folder: Path) -> bool:
    """Whether a daemon holds the state folder now. Asks the kernel's list: trying the lock would get in a daemon's way."""
    try:
        number = (folder / "lock").stat().st_ino
        with Path("/proc/locks").open(encoding="ascii") as locks:
            return any("FLOCK" in line and f":{number} " in line for line in locks)
    except OSError:
        return False
