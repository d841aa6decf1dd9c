"""Where is the end of what a run printed, and how is it kept within bounds?

In a file of the workroom, which is wiped with it: no log of an engine holds what a run printed, not even after a crash
(attack T20).
"""

from __future__ import annotations

from pathlib import Path

from security.errors import FileMissing
from security.files import PRIVATE_FILE, told


class Printed:
    """Keeps at least the last `most` bytes of what is written to it, and never more than twice as many."""

    def __init__(self, path: Path, most: int) -> None:
        self._path, self._most = path, most
        with told(path):
            path.touch(mode=PRIVATE_FILE)
            self._size = path.stat().st_size

    def write(self, piece: bytes) -> None:
        """Add to the end.

        Raises:
            FileMissing: the workroom is gone; nothing is kept any more.
            DiskFull: no room.
        """
        with told(self._path), self._path.open("r+b") as file:  # never made anew: a wiped room stays wiped
            if self._size + len(piece) > 2 * self._most:
                file.seek(max(0, self._size - self._most))
                piece = (file.read() + piece)[-self._most :]
                file.seek(0)
                file.truncate()
                self._size = 0
            file.seek(self._size)
            file.write(piece)
            self._size += len(piece)


def read_printed(path: Path, limit: int) -> bytes:
    """Return the last `limit` bytes of what a run printed; nothing if it printed nothing."""
    try:
        with told(path), path.open("rb") as source:
            source.seek(max(0, path.stat().st_size - limit))
            return source.read(limit)
    except FileMissing:
        return b""
