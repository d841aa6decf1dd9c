"""How is a train rehearsed where there is no container engine?

As a plain process of the scientist: on their own machine, with their own code and sample data. Nothing keeps it
from the network or from their files, and `ProcessSandbox.sealed` says so; a station never uses it. The folders are
where they are, so a program finds them by ``PHT_CODE``, ``PHT_DATA``, ``PHT_STATE`` and ``PHT_CONTEXT``; the same paths
in its command are translated.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from security.digest import Digest
from security.files import make_folder, told
from station.check import CheckResult
from station.errors import RunFailed, SandboxUnfit
from station.sandbox.image import BaseImage
from station.sandbox.order import CODE, CONTEXT, DATA, IN, KEEP, STATE, TMP, RunOrder
from station.sandbox.port import Absent, Ended, Running, Sight

_HINT: Final = "rehearse with a container engine before you submit; stations run nothing without one"


@dataclass(slots=True, kw_only=True)
class _Run:
    order: RunOrder
    process: subprocess.Popen[bytes]
    started: datetime
    finished: datetime | None = None


class ProcessSandbox:
    """Runs orders as processes. ``room`` is a folder for their temporary files; ``path`` is where programs are looked for."""

    def __init__(self, *, room: Path, path: str) -> None:
        self._room = room
        self._path = path
        self._runs: dict[str, _Run] = {}

    @property
    def sealed(self) -> bool:
        """False: a plain process can do whatever its user can."""
        return False

    @property
    def profile(self) -> str:
        """A name for orders and journey entries."""
        return "process-v1"

    def prepare(self, base: BaseImage) -> Digest:
        """Return the image's digest. It is not used: programs are those of this machine."""
        return base.digest

    def start(self, order: RunOrder) -> None:
        """Start the process, unless this sandbox has already started it."""
        if order.profile != self.profile:
            msg = "the run was ordered for another sandbox profile"
            raise SandboxUnfit(msg, ordered=order.profile, here=self.profile)
        known = self._runs.get(order.name)
        if known is not None and known.order == order:
            return
        self.remove(order.name)
        places = self._furnish(order)
        variables = {name: _translated(value, places) for name, value in order.variables.items()}
        code = order.source(CODE)
        with told(code), order.printed.open("wb") as output:
            code.stat()  # so that a missing folder is not taken for a missing program
            try:
                process = subprocess.Popen(  # noqa: S603 - running the scientist's own command is the purpose
                    [_translated(word, places) for word in order.command],
                    cwd=code,
                    env={**variables, "PATH": self._path},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                msg = "the command cannot be started on this machine"
                raise RunFailed(msg) from error
        self._runs[order.name] = _Run(order=order, process=process, started=datetime.now(UTC))
        _limit(process.pid, order)

    def look(self, name: str) -> Sight:
        """Say how the process is doing; a signal counts as 128 and its number, as in a shell."""
        run = self._runs.get(name)
        if run is None:
            return Absent()
        code = run.process.poll()
        if code is None:
            return Running(since=run.started)
        if run.finished is None:
            run.finished = datetime.now(UTC)
        return Ended(
            exit_code=code if code >= 0 else 128 - code,
            out_of_memory=False,
            killed=code == -signal.SIGKILL,
            started=run.started,
            finished=run.finished,
        )

    def stop(self, name: str) -> None:
        """Kill the process and those it has started, as far as they stayed in its group."""
        run = self._runs.get(name)
        if run is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()

    def remove(self, name: str) -> None:
        """Kill the run, and delete its temporary files."""
        self.stop(name)
        self._runs.pop(name, None)
        shutil.rmtree(self._folder(name), ignore_errors=True)

    def listen(self, order: RunOrder) -> None:
        """Do nothing: the process writes to the file itself."""

    def leftovers(self, house: str) -> tuple[str, ...]:
        """Return the runs of this sandbox; those of an earlier sandbox ended with it."""
        return tuple(sorted(name for name, run in self._runs.items() if run.order.house == house))

    def logged(self, house: str) -> tuple[str, ...]:
        """Return none: a process writes to the file of its order only."""
        del house
        return ()

    def doctor(self, base: BaseImage | None) -> tuple[CheckResult, ...]:
        """Say that this is not a sandbox."""
        del base  # there is nothing to try
        return (CheckResult(name="engine", ok=False, detail="none: a plain process, kept from nothing", hint=_HINT),)

    def _folder(self, name: str) -> Path:
        return self._room / name

    def _furnish(self, order: RunOrder) -> dict[str, str]:
        """Make the run's folders, and return where the paths of the sandbox are on this machine."""
        folder = self._folder(order.name)
        data, temporary = make_folder(folder / "data"), make_folder(folder / "tmp")
        with told(data):
            for mount in order.mounts:
                if mount.target.startswith(f"{DATA}/"):
                    name = mount.target.removeprefix(f"{DATA}/")
                    (data / name).symlink_to(mount.source.absolute(), target_is_directory=True)
        return {
            CODE: str(order.source(CODE).absolute()),
            CONTEXT: str(order.source(CONTEXT).absolute()),
            DATA: str(data.absolute()),
            IN: str(order.source(IN).absolute()),
            KEEP: str(order.keep.absolute()),
            STATE: str(order.state.absolute()),
            TMP: str(temporary.absolute()),
        }


def _translated(word: str, places: dict[str, str]) -> str:
    for inside, here in places.items():
        if word == inside or word.startswith(inside + "/"):
            return here + word[len(inside) :]
    return word


def _limit(pid: int, order: RunOrder) -> None:
    """Set the limits a kernel keeps for single processes. Some are a moment late: this is a rehearsal."""
    limits = order.limits
    with contextlib.suppress(ProcessLookupError):
        for kind, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, limits.file_bytes),
        ):
            resource.prlimit(pid, kind, (value, value))
