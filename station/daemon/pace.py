"""How does time pass for a daemon, and on what terms does it work?"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from security.clock import Clock
from station.house.capacity import Capacity
from station.house.config import Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How time passes: `clock` tells it and lets it pass, `stop` is set by whoever wants the daemon to end.

    `poll_seconds` is how often the mailbox is looked into. `grace_seconds` is for steps that are being taken when the
    daemon is asked to stop; what is cut off then is done again by the next one.
    """

    clock: Clock
    poll_seconds: float
    grace_seconds: float = 30.0
    stop: threading.Event = field(default_factory=threading.Event)
    awake: threading.Event = field(default_factory=threading.Event)

    def end(self) -> None:
        """Let the daemon end after the steps it is taking."""
        self.stop.set()
        self.awake.set()

    def sleep(self, seconds: float) -> None:
        """Wait until a job is finished or the daemon is asked to stop, but no longer than this."""
        self.clock.wait(seconds, self.awake)
        self.awake.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator allows: how much runs may take up, and how long what is over is kept."""

    capacity: Capacity
    retention: Retention = field(default_factory=Retention)
