"""Is another daemon working on this state folder?"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from security.files import locked_if_free, make_folder, read_file, told
from station.errors import StationBusy

_MOST_BYTES: Final = 1 << 10


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold the state folder for as long as the block runs; the kernel lets go when the process ends, however it ends.

    What the file holds, the process id of the holder, is only for people.

    Raises:
        StationBusy: another process holds it.
    """
    path = make_folder(folder) / "lock"
    with locked_if_free(path) as handle:
        if handle is None:
            holder = read_file(path, limit=_MOST_BYTES).decode("ascii", "replace").strip() or None
            msg = "another daemon works on this state folder"
            raise StationBusy(msg, folder=folder, process=holder, hint="stop it first, or use another folder")
        with told(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, b"%d\n" % os.getpid(), 0)
        yield


def held(folder: Path) -> bool:
    """Whether a daemon holds the state folder now. Asks the kernel's list: trying the lock would get in a daemon's way."""
    try:
        number = (folder / "lock").stat().st_ino
        with Path("/proc/locks").open(encoding="ascii") as locks:
            return any("FLOCK" in line and f":{number} " in line for line in locks)
    except OSError:
        return False
