"""Which arrivals does a station know to come, and how often does it ask for them?

A train of several stops here comes back under a name that is known. It is asked for by that name, a few times a second at first
and less often the longer it takes, so that a round is not as slow as the looks through the whole mailbox. What is not here by
then is found by those.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Final

from registry.names import Tag

FIRST: Final = timedelta(seconds=0.1)
SHARE: Final = 8
"""What has been waited for is looked at again after an eighth of that time: nobody waits longer than that in vain."""
MOST: Final = 64
"""Names that are asked for; of more, those that have been waited for longest are left to the looks through the mailbox."""
MOST_KNOWN: Final = 4096
"""Names that are remembered, whether asked for or not."""


class Expected:
    """The names of trains that are to come, since when each is waited for, and when each is asked for next."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited: dict[Tag, tuple[datetime, datetime]] = {}
        self._known: dict[Tag, None] = {}

    def add(self, tag: Tag, now: datetime) -> None:
        """Expect an arrival from now on."""
        with self._lock:
            self._waited.pop(tag, None)
            self._waited[tag] = (now, now + FIRST)
            while len(self._waited) > MOST:
                del self._waited[next(iter(self._waited))]
            self._known.pop(tag, None)
            self._known[tag] = None
            while len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]

    def knows(self, tag: str) -> bool:
        """Whether this is the name of a train that was under way here: it does not stand behind those that only begin."""
        with self._lock:
            return tag in self._known

    def due(self, now: datetime, longest: timedelta) -> tuple[Tag, ...]:
        """Return what is to be asked for now; what would be asked for less often than every `longest` is expected no more."""
        with self._lock:
            found = [tag for tag, (since, then) in self._waited.items() if then <= now or now < since]
            for tag in found:
                since, _ = self._waited[tag]
                pause = max(FIRST, (now - since) / SHARE)
                if pause >= longest or now < since:
                    del self._waited[tag]
                else:
                    self._waited[tag] = (since, now + pause)
            return tuple(found)

    def seen(self, tag: Tag) -> None:
        """Note that an arrival has come."""
        with self._lock:
            self._waited.pop(tag, None)

    @property
    def next_time(self) -> datetime | None:
        """When something is to be asked for next."""
        with self._lock:
            return min((then for _, then in self._waited.values()), default=None)
