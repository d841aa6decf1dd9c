"""What does somebody see who sits at a terminal?"""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def at_a_terminal(
    *words: object,
    typed: str | None = None,
    folder: Path | None = None,
    program: tuple[str, ...] = (str(ROOT / "pht.py"),),
) -> tuple[int, str]:
    """Run `pht` at a terminal; return its status and the screen, with what moves on it.

    With `typed`, somebody waits to be asked, and types that line.
    """
    ours, theirs = pty.openpty()
    command = [sys.executable, *program, *map(str, words)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "TERM": "xterm"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder, start_new_session=True
    ) as process:
        os.close(theirs)
        screen = b""
        if typed is not None:
            while not screen.rstrip().endswith((b":", b"]")):
                screen += os.read(ours, 4096)
            os.write(ours, typed.encode() + b"\n")
        with contextlib.suppress(OSError):  # Linux says EIO when the last writer has gone
            while more := os.read(ours, 4096):
                screen += more
        status = process.wait(timeout=60)
    os.close(ours)
    return status, screen.decode()
