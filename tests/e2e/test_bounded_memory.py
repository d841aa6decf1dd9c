"""A state of 512 MiB is sealed and opened within the memory of a small one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

SIZE = 512 << 20
ALLOWED = 150 << 20


def test_sealing_and_opening_take_constant_memory() -> None:
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.support.heavy", folder, str(SIZE)]
        run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        assert (Path(folder) / "out" / "state").stat().st_size == SIZE
    assert int(run.stdout) < ALLOWED
