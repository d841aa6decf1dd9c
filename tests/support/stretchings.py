"""How often was a passphrase stretched? Counted where the work is done; what asks for no work, as letters do, is not counted."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from security.age import scrypt


@dataclass
class Stretchings:
    """How many there were so far."""

    number: int = 0


@contextlib.contextmanager
def counted() -> Iterator[Stretchings]:
    """Count those of this thread."""
    found = Stretchings()

    def look(frame: FrameType, event: str, _called: object) -> None:
        if event == "call" and frame.f_code is scrypt._stretch.__code__:  # what is counted
            found.number += frame.f_locals["log_n"] > 1

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(before)
