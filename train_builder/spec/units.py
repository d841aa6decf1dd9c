"""How many bytes is ``256MiB``, and how long is ``14d``?"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Final

from security.errors import InvalidInput

_BYTES: Final = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?) ?([KMGT]i?B|B)", re.ASCII)
_DURATION = re.compile(r"([1-9][0-9]{0,8}) ?(s|min|h|d)", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``200KB`` (thousands) or ``256MiB`` (1024s).

    Raises:
        InvalidInput: not a size, or not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text)
    size = Decimal(match[1]) * _BYTES[match[2]] if match else Decimal("0.5")
    if size != int(size):
        msg = "not a size, such as 200KB or 256MiB"
        raise InvalidInput(msg, value=repr(text)[:40])
    return int(size)


def parse_duration(text: str) -> timedelta:
    """Return the duration of a text such as ``30s``, ``5min``, ``2h`` or ``14d``.

    Raises:
        InvalidInput: not a duration.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        msg = "not a duration, such as 30s, 5min, 2h or 14d"
        raise InvalidInput(msg, value=repr(text)[:40])
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def show_size(count: int) -> str:
    """Return a number of bytes for people: ``1.5 MiB``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        size = count / _BYTES[unit]
        if size >= 1:
            return f"{size:.0f} {unit}" if size == int(size) else f"{size:.1f} {unit}"
    return f"{count} bytes"


def show_duration(span: timedelta) -> str:
    """Return a duration for people, in the largest unit that says something: ``3 min``, ``2 days``."""
    seconds = max(0, int(span.total_seconds()))
    for unit, length, plural in (("day", 86400, "days"), ("h", 3600, "h"), ("min", 60, "min")):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit if count == 1 else plural}"
    return f"{seconds} s"
