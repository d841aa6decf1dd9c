"""How often was a passphrase stretched? Counted where the work is done: in calls of the library's scrypt."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt


@dataclass
class Stretchings:
    """How many there were so far."""

    number: int = 0


@contextlib.contextmanager
def counted() -> Iterator[Stretchings]:
    """Count those of this thread."""
    found = Stretchings()

    def look(_frame: FrameType, event: str, called: object) -> None:
        if event == "c_call" and isinstance(getattr(called, "__self__", None), Scrypt):
            found.number += called.__name__ == "derive"  # type: ignore[attr-defined] # a method

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(before)
