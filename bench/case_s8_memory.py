"""What do keys cost: stretchings of a passphrase, memory while that goes on, and memory of a daemon afterwards?"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, alternating
from bench.usage import ROOT, function, program
from security.keys.store import create_folder, open_folder, read_folder
from tests.support.desk import HOME, STATION, WITH, furnish
from tests.support.directories import PASSPHRASE

_MIB: Final = 1 << 20
_SCRYPT: Final = "import hashlib; hashlib.scrypt(b'x', salt=b'y', n=1 << 18, r=8, p=1, maxmem=1 << 29)"
_BARE: Final = "one bare `hashlib.scrypt` at 2^18"
_COMMANDS: Final = {
    "station init": ("station", "init", "hospital-b", *STATION),
    "station once": ("station", "once", "hospital-a", *WITH),
    "train submit": ("train", "submit", "my-train", "--again", *HOME, *WITH),
    "keys check": ("keys", "check", "alice/keys", *WITH),
}
_REST: Final = 5.0
_PATIENCE: Final = 60.0


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield the figures. Keys are as strong here as anywhere, other than in tests."""
    desk = bench.folder / "desk"
    desk.mkdir()
    furnish(desk)
    for folder in (desk / "hospital-a" / "keys", desk / "alice" / "keys"):
        _strengthen(folder)
    for name, words in _COMMANDS.items():
        number = int(function("case_s8_memory:stretchings", str(desk), *words).printed.splitlines()[-1])
        yield Figure(what=f"stretchings of `{name}`", value=number, unit="", goal=Goal(most=1, absolute=True))
    command = [sys.executable, str(ROOT / "pht.py"), "keys", "check", str(desk / "alice" / "keys")]
    command += ["--passphrase-file", str(desk / "secret")]
    bare = [sys.executable, "-c", _SCRYPT]
    found = alternating(
        {"pht": lambda: program(command).processor, "bare": lambda: program(bare).processor},
        rounds=2 if bench.quick else 7,
    )
    ours, theirs = found["pht"], found["bare"]
    yield Figure(what="processor of `keys check`", value=ours, unit="s", to=_BARE, ratio=ours / theirs)
    least = program(bare).memory / _MIB
    peak = program(command).memory / _MIB
    yield Figure(what="peak of a command with keys", value=peak, unit="MiB", to=_BARE, ratio=peak / least)
    rest, most = _daemon(desk)
    note = "N = 2^18 and r = 8 take 256 MiB once, and give them back"
    yield Figure(what="peak of a daemon", value=most, unit="MiB", to=_BARE, ratio=most / least, note=note)
    yield Figure(
        what="a daemon after its unlock (VmRSS)",
        value=rest,
        unit="MiB",
        to=_BARE,
        ratio=rest / least,
        goal=Goal(most=96, absolute=True),
    )


def stretchings(folder: str, *words: str) -> int:
    """Type a command in a folder; return how often it stretched a passphrase."""
    import pht  # noqa: PLC0415 - only in a process of its own
    from tests.support.stretchings import counted  # noqa: PLC0415

    os.chdir(folder)
    with counted() as found, contextlib.suppress(SystemExit):
        pht.main(words)
    return found.number


def _strengthen(folder: Path) -> None:
    """Lock keys that were made for tests as everybody's are."""
    secrets, public = open_folder(folder, PASSPHRASE), read_folder(folder)
    shutil.rmtree(folder)
    create_folder(
        folder,
        secrets,
        party=public.party,
        title=public.title,
        roles=public.roles,
        passphrase=PASSPHRASE,
        now=datetime.now(UTC),
    )


def _daemon(desk: Path) -> tuple[float, float]:
    """Return what a daemon holds at rest, and what it held at most, in MiB."""
    health = desk / "hospital-a" / "state" / "health.json"
    health.unlink(missing_ok=True)
    words = ["station", "run", "hospital-a", *WITH]
    with subprocess.Popen(
        [sys.executable, str(ROOT / "pht.py"), *words], cwd=desk, stderr=subprocess.DEVNULL
    ) as daemon:
        try:
            until = time.monotonic() + _PATIENCE
            while not health.exists():
                if daemon.poll() is not None or time.monotonic() > until:
                    msg = "the daemon does not work"
                    raise RuntimeError(msg)
                time.sleep(0.1)
            time.sleep(_REST)
            said = Path(f"/proc/{daemon.pid}/status").read_text()
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(_PATIENCE)
    rest, most = (re.search(rf"^{name}:\s*(\d+) kB", said, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
    if rest is None or most is None:
        raise AssertionError
    return int(rest[1]) / 1024, int(most[1]) / 1024


CASE = Case(id="S8", title="Keys: stretchings and memory", measure=measure)
