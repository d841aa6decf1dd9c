"""Did a container come to its own end, or was it ended from outside?

Engines report both with the same exit status: 137 is what ``exit 137`` gives, and what SIGKILL gives, whoever sent it. What
tells them apart was found by trying (the table is in ``docs/design.md``, sandbox): the engine's memory of its own events, the
kernel's count of processes it killed for want of memory, and whether the process is still there at all.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

KILLED: Final = 137
"""128 + SIGKILL."""
_LOST: Final = 255
"""What an engine reports of a container whose end it did not see: it was restarted, or lost the container's shim."""
_MEMORY: Final = Path("/proc/vmstat")
_SETTLES: Final = 2.0
"""Seconds within which an engine remembers an end that it reports."""


def ended_from_outside(remembered: Callable[[], Sequence[Mapping[str, object]]], code: int) -> bool:
    """Whether something other than the program ended a container with this exit status, as far as the engine remembers.

    The engine keeps its last events in memory; `remembered` asks for the container's. An end that it saw is one of them, with
    the status that the container's shim told; a shim that was killed tells 255, and the state says 137. A kill through the
    engine is another. An engine that was restarted remembers neither.
    """
    until = time.monotonic() + _SETTLES
    while True:
        killed, told = _read(remembered())
        if killed:
            return code != 0
        if told is not None or code not in {KILLED, _LOST} or time.monotonic() > until:
            break
        time.sleep(0.05)
    return code in {KILLED, _LOST} and told != code


def _read(events: Sequence[Mapping[str, object]]) -> tuple[bool, int | None]:
    """Return whether a kill was asked for, and the exit status of the last end."""
    killed, code = False, None
    for event in events:
        actor = event.get("Actor")
        about = actor.get("Attributes") if isinstance(actor, dict) else None
        if event.get("Action") == "kill":
            killed = True
        elif event.get("Action") == "die" and isinstance(about, dict) and str(about.get("exitCode")).isdigit():
            code = int(about["exitCode"])
    return killed, code


def killed_for_memory(counters: Path = _MEMORY) -> int:
    """Return how many processes the kernel of this machine has killed for want of memory (``proc(5)``, vmstat)."""
    with contextlib.suppress(OSError, ValueError):
        for line in counters.read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def vanished(state: Mapping[str, object], url: str, processes: Path = Path("/proc")) -> bool:
    """Whether the process of a container that the engine says is running is not there any more.

    An engine whose containerd was killed goes on saying so for ever. False where the engine's processes cannot be seen.
    """
    pid = state.get("Pid")
    if not isinstance(pid, int) or pid <= 0 or not _same_processes(url):
        return False
    try:
        about = (processes / str(pid) / "stat").read_bytes()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return about.rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"])


def _same_processes(url: str) -> bool:
    """Whether whoever listens at the engine's socket counts processes as we do: elsewhere, the kernel tells us 0."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(url.removeprefix("unix://"))
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[0])
