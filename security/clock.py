"""What time is it, and how does time pass?

Whatever decides takes ``now`` as an argument. Only what lives in time has a clock: the command line, the daemon and a
rehearsal.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time, and lets it pass."""

    def now(self) -> datetime:
        """Return the time, aware and in UTC. It may be set back between two calls."""
        ...

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        """Let `seconds` pass, or less if `stop` is set before or meanwhile; return whether it is set."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """See `Clock`."""
        return datetime.now(UTC)

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        """See `Clock`."""
        return (stop or threading.Event()).wait(max(0.0, seconds))
