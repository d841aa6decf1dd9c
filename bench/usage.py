"""What does a program, or a function in a process of its own, take: time, processor, memory?"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process and its children took. `seconds` by the clock, `processor` seconds, peak `memory` in bytes."""

    seconds: float
    processor: float
    memory: int
    printed: str


def program(arguments: Sequence[str], *, given: str = "", environment: Mapping[str, str] | None = None) -> Usage:
    """Run a program to its end.

    Raises:
        RuntimeError: it failed; what it wrote to its standard error is in the message.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError
    process.stdin.write(given)
    process.stdin.close()
    printed, wrong = process.stdout.read(), process.stderr.read()
    _, status, taken = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{arguments[0]} ended with {process.returncode}: {wrong[-2000:]}"
        raise RuntimeError(msg)
    return Usage(
        seconds=seconds, processor=taken.ru_utime + taken.ru_stime, memory=taken.ru_maxrss * 1024, printed=printed
    )


def function(name: str, *arguments: str) -> Usage:
    """Call ``module:function`` of this package with texts, in a Python of its own: its peak memory is nobody else's."""
    module, _, called = name.partition(":")
    code = f"import sys; from bench.{module} import {called}; print({called}(*sys.argv[1:]) or '')"
    return program([sys.executable, "-c", code, *arguments])
