"""What does the stock `age` program make of our files, and we of its?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

_ON_TERMINAL: Final = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def age(*arguments: str | Path, data: bytes = b"") -> bytes:
    """Run `age`; return its standard output."""
    run = subprocess.run([_program(), *map(str, arguments)], input=data, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def age_on_terminal(*arguments: str | Path, typed: str) -> None:
    """Run `age` where it asks for a passphrase: on a terminal. Its output goes to a file (``-o``)."""
    command = [sys.executable, "-c", _ON_TERMINAL, _program(), *map(str, arguments)]
    run = subprocess.run(command, input=typed.encode(), capture_output=True, check=False, timeout=120)
    assert run.returncode == 0, run.stdout.decode()


def _program() -> str:
    found = shutil.which("age", path=os.environ.get("PATH", os.defpath))
    assert found is not None, "the age program is missing: apt-get install age"
    return found
