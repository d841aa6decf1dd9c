"""What does a script of an example say, and how does it end?

It is run in this process: what it imports to check a result takes a second, every time that a process of its own begins.
"""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

EXAMPLES: Final = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a script printed, and its exit status."""

    status: int
    out: str


def script(path: Path, *words: object) -> Said:
    """Run a script of an example with these words. What it adds to the path, and takes from its folder, is gone afterwards."""
    out, status = io.StringIO(), 0
    with contextlib.redirect_stdout(out), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(path), *map(str, words)])
        patch.setattr(sys, "path", [*sys.path])
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    for name, module in [*sys.modules.items()]:
        if EXAMPLES in Path(getattr(module, "__file__", None) or "/").parents:
            del sys.modules[name]
    return Said(status=status, out=out.getvalue())
