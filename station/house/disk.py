"""Is what lies in a folder gone, or unreadable, when the machine is switched off?

Asked of Linux: which file system the folder is on (``proc(5)``, ``/proc/pid/mountinfo``), and whether its block device,
or one below it, is encrypted (the device-mapper's own name for it begins with ``CRYPT-``). What a file system, a virtual
machine's host or a disk encrypts by itself is not seen from here.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Final

from security.errors import FileMissing
from security.files import read_file

MOUNTS: Final = Path("/proc/self/mountinfo")
DEVICES: Final = Path("/sys/dev/block")
_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_MOST_BELOW: Final = 32


class Rest(StrEnum):
    """Where a folder's files are while they are not in use."""

    MEMORY = "in memory"
    ENCRYPTED = "on an encrypted disk"
    PLAIN = "on an unencrypted disk, as far as can be seen"


def at_rest(folder: Path, *, mounts: Path = MOUNTS, devices: Path = DEVICES) -> Rest:
    """Tell where the files of a folder that exists are kept."""
    try:
        table = read_file(mounts).decode("utf-8", "surrogateescape")
    except FileMissing:
        return Rest.PLAIN
    device, kind, source = _mount_of(folder.resolve(), table)
    if kind in _MEMORY:
        return Rest.MEMORY
    if device.startswith("0:"):  # a file system without a device number of its own, such as btrfs, names its source
        device = _number_of(Path(source)) or device
    return Rest.ENCRYPTED if _encrypted(devices / device) else Rest.PLAIN


def _mount_of(folder: Path, table: str) -> tuple[str, str, str]:
    """Return the device number, kind and source of the file system a folder is on; the last mount on a place counts."""
    found, depth = ("", "", ""), -1
    for line in table.splitlines():
        left, dash, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if not dash or len(before) < 5 or len(after) < 2:  # noqa: PLR2004 - as proc(5) counts them
            continue
        place = Path(_unescaped(before[4]))
        if folder.is_relative_to(place) and len(place.parts) >= depth:
            found, depth = (before[2], after[0], _unescaped(after[1])), len(place.parts)
    return found


def _unescaped(text: str) -> str:
    for written, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(written, meant)
    return text


def _number_of(path: Path) -> str | None:
    try:
        number = path.stat().st_rdev
    except OSError:
        return None
    return f"{os.major(number)}:{os.minor(number)}" if number else None


def _encrypted(device: Path) -> bool:
    """Whether a block device is encrypted, or every device it lies on is: a volume group of encrypted disks."""
    waiting = [device]
    for _ in range(_MOST_BELOW):
        if not waiting:
            return True
        one = waiting.pop()
        if _mapped(one).startswith("CRYPT-"):
            continue
        below = sorted((one / "slaves").iterdir()) if (one / "slaves").is_dir() else []
        if not below:
            return False
        waiting += below
    return False


def _mapped(device: Path) -> str:
    path = device / "dm" / "uuid"
    return path.read_text("ascii", "replace") if path.is_file() else ""
