"""`pht`, but a daemon that is killed at the moments that a file names: right before, or right after, it records an event.

A program of the tests, started in place of `pht.py`. A moment is a line in the file ``doom`` in its home folder, such as
``after signed 7``: when, which event, at which stop. Whoever starts it again finds the line gone, and so do we.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pht
from station.journal.chain import Head
from station.journal.journal import Journal
from station.visit.events import Accepted, ArrivalId, VisitEvent

DOOM = "doom"


def doom(folder: Path) -> list[str]:
    """Return the moments at which the daemon in a folder is still to be killed."""
    path = folder / DOOM
    return path.read_text().splitlines() if path.exists() else []


def set_doom(folder: Path, moments: Sequence[str]) -> None:
    (folder / DOOM).write_text("".join(f"{one}\n" for one in moments))


class Mortal(Journal):
    """A journal that is the end of its process."""

    def append(self, visit: ArrivalId, event: VisitEvent, *, expect: int) -> Head:
        known = self.find(visit)
        accepted = event if isinstance(event, Accepted) else known.accepted if known else None
        stop = accepted.stop if accepted else None
        _die_at(f"before {event.kind} {stop}")
        head = super().append(visit, event, expect=expect)
        _die_at(f"after {event.kind} {stop}")
        return head


def _die_at(moment: str) -> None:
    home = Path(os.environ["HOME"])
    moments = doom(home)
    if moment in moments:
        set_doom(home, [one for one in moments if one != moment])
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    import station.house.assembly

    station.house.assembly.Journal = Mortal  # type: ignore[attr-defined] # in the place of the real one
    pht.start(sys.argv[1:])
