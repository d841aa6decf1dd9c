"""What does a program, or a function in a process of its own, take: time, processor, memory?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process and its children took. `seconds` by the clock, `processor` seconds, peak `memory` in bytes."""

    seconds: float
    processor: float
    memory: int
    printed: str


_LAUNCHER: Final = """
import os, sys, time
begun = time.perf_counter()
child = os.fork()
if not child:
    os.execvp(sys.argv[2], sys.argv[2:])
_, status, taken = os.wait4(child, 0)
seconds = time.perf_counter() - begun
os.write(int(sys.argv[1]), f"{status} {seconds} {taken.ru_utime + taken.ru_stime} {taken.ru_maxrss}".encode())
"""
"""Linux counts what a process held before `exec` as its own, too, so a program is started by one that holds next to nothing."""


def program(arguments: Sequence[str], *, given: str = "", environment: Mapping[str, str] | None = None) -> Usage:
    """Run a program to its end.

    Raises:
        RuntimeError: it failed; what it wrote to its standard error is in the message.
    """
    told, tell = os.pipe()
    with open(told, "rb") as report:  # noqa: PTH123 - a descriptor
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(tell), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                pass_fds=[tell],
            )
        finally:
            os.close(tell)
        printed, wrong = process.communicate(given)
        fields = report.read().split()
    if process.returncode or not fields or int(fields[0]):
        code = os.waitstatus_to_exitcode(int(fields[0])) if fields else process.returncode
        msg = f"{arguments[0]} ended with {code}: {wrong[-2000:]}"
        raise RuntimeError(msg)
    return Usage(seconds=float(fields[1]), processor=float(fields[2]), memory=int(fields[3]) * 1024, printed=printed)


def function(name: str, *arguments: str) -> Usage:
    """Call ``module:function`` of this package with texts, in a Python of its own: its peak memory is nobody else's."""
    module, _, called = name.partition(":")
    code = f"import sys; from bench.{module} import {called}; print({called}(*sys.argv[1:]) or '')"
    return program([sys.executable, "-c", code, *arguments])
