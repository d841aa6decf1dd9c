"""A clock for tests: it stands still until somebody sets it, or waits."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass
class SetClock:
    """A `Clock` that shows what it was set to; waiting sets it on."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        if stop is not None and stop.is_set():
            return True
        self.at += timedelta(seconds=max(0.0, seconds))
        return False
