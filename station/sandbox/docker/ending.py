"""Did a container come to its own end, or was it ended from outside?

Engines report both with the same exit status: 137 is what ``exit 137`` gives, and what SIGKILL gives, whoever sent it. What
tells them apart was found by trying (the table is in ``docs/design.md``, sandbox): the engine's memory of its own events, the
kernel's count of processes it killed for want of memory, and whether the process is still there at all.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from station.sandbox.docker.processes import dead, visible

KILLED: Final = 137
"""128 + SIGKILL."""
_LOST: Final = 255
"""What an engine reports of a container whose end it did not see: it was restarted, or lost the container's shim."""
_MEMORY: Final = Path("/proc/vmstat")
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_LOG: Final = Path("/dev/kmsg")
_LONGEST_LINE: Final = 1 << 13
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


def killed_for_memory(counters: Path = _MEMORY, boot: Path = _BOOT) -> str:
    """Return since when, and how many processes the kernel of this machine has killed for want of memory.

    The boot it counts from (``random(4)``), and the count (``proc(5)``, vmstat).
    """
    count, since = 0, "?"
    with contextlib.suppress(OSError, ValueError):
        since = boot.read_text(encoding="ascii").strip()
    with contextlib.suppress(OSError, ValueError):
        for line in counters.read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                count = int(line.split()[1])
    return f"{since} {count}"


def machine_out_of_memory(container: str, log: Path = _LOG) -> bool:
    """Whether the kernel says that it killed a process of a container for want of memory elsewhere than in its own limit.

    With control groups of version 2, engines call that ``OOMKilled``, too. The kernel's log tells whose memory ran out, where
    we may read it (root); False otherwise.
    """
    kills = _kills(container, log)
    return bool(kills) and not any(container in limit for limit in kills)


def used_up_its_memory(
    container: str, remembered: Callable[[], Sequence[Mapping[str, object]]], log: Path = _LOG
) -> bool:
    """Whether a container was killed at its own limit, although the engine's report of its end does not say so.

    An engine hears of that and of the end from two sides, and may hear of the end first. The kernel's log tells, where we may
    read it (root), or else the engine's events.
    """
    kills = _kills(container, log)
    if kills:
        return any(container in limit for limit in kills)
    return any(event.get("Action") == "oom" for event in remembered())


def _kills(container: str, log: Path) -> list[str]:
    """Return the groups at whose limits processes of a container were killed; no name stands for all of the machine."""
    told = [line for line in _lines(log) if "oom-kill:" in line and container in _word(line, "task_memcg")]
    return [_word(line, "oom_memcg") for line in told]


def _word(line: str, name: str) -> str:
    return next((part.partition("=")[2] for part in line.split(",") if part.startswith(f"{name}=")), "")


def _lines(log: Path) -> Iterator[str]:
    """Read the kernel's log: one record at a time, until there is none left; records may be overwritten meanwhile."""
    with contextlib.suppress(OSError):
        handle = os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while True:
                with contextlib.suppress(BrokenPipeError):
                    record = os.read(handle, _LONGEST_LINE)
                    if not record:
                        return
                    yield from record.decode("ascii", "replace").splitlines()
        finally:
            os.close(handle)


def vanished(state: Mapping[str, object], url: str, processes: Path = Path("/proc")) -> bool:
    """Whether the process of a container that the engine says is running is not there any more.

    An engine whose containerd was killed goes on saying so for ever. False where the engine's processes cannot be seen.
    """
    pid = state.get("Pid")
    if not isinstance(pid, int) or pid <= 0 or not visible(url):
        return False
    try:
        return dead((processes / str(pid) / "stat").read_bytes())
    except FileNotFoundError:
        return True
    except OSError:
        return False
