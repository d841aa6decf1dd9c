"""Which processes of a container live, whatever the engine says of it?

The kernel keeps a container's processes in control groups whose paths hold the container's id (version 1 and 2, whoever
manages them). No process gets out of them, and ``/proc`` tells them to everybody, so nothing that the engine has
forgotten, and nothing that a run does, hides one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROCESSES: Final = Path("/proc")


def living(container: str, processes: Path = _PROCESSES) -> tuple[int, ...]:
    """Return the processes of a container, by its id."""
    found = (one for one in processes.iterdir() if one.name.isdigit())
    return tuple(sorted(int(one.name) for one in found if _belongs(one, container)))


def end(container: str, seconds: float) -> tuple[int, ...]:
    """Kill the processes of a container and wait until they are gone; return those that are not after so many seconds."""
    until = time.monotonic() + seconds
    while (left := living(container)) and time.monotonic() < until:
        for process in left:
            _kill(process, container)
        time.sleep(0.02)
    return left


def visible(url: str) -> bool:
    """Whether whoever listens at the engine's socket counts processes as we do: elsewhere, the kernel tells us 0."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(url.removeprefix("unix://"))
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[0])


def dead(about: bytes) -> bool:
    """Whether a ``stat`` of ``/proc`` is that of a process, or thread, that has ended and was not yet waited for."""
    return about.rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"])


def _belongs(process: Path, container: str) -> bool:
    """Whether a thread of it does: a program may end its first one, of which the kernel then tells no group, and go on."""
    return any(container.encode("ascii") in group and not dead(about) for group, about in _threads(process))


def _threads(process: Path) -> Iterator[tuple[bytes, bytes]]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in (process / "task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield (thread / "cgroup").read_bytes(), (thread / "stat").read_bytes()


def _kill(process: int, container: str) -> None:
    """Kill a process if it is still the one that was found: its number may be another's by now."""
    with contextlib.suppress(OSError):  # gone, or not ours to kill: either shows in who is left
        handle = os.pidfd_open(process)
        try:
            if _belongs(_PROCESSES / str(process), container):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
