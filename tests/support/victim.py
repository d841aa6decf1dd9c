"""An engine of one's own whose parts a test kills: itself, its containerd, the shims, the runs' processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from docker.errors import DockerException

from security.digest import Digest
from station.sandbox.docker.engine import DockerSandbox
from station.sandbox.order import RunOrder
from tests.support.engine import PATIENCE, Engine, private_engine, reach
from tests.support.images import base_of, busybox_layer
from tests.support.runs import Room


@dataclass
class Victim:
    """An engine of one's own, which may be killed and started again."""

    engine: Engine
    sandbox: DockerSandbox
    image: Digest
    folder: Path
    command: list[str]
    pid: int
    again: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def order(self, room: Path, script: str, **limits: int) -> RunOrder:
        return Room(path=room).order(("sh", "-c", script), image=self.image, limits=limits)

    def init(self, name: str) -> int:
        with contextlib.closing(self.engine.client()) as client:
            pid = client.inspect_container(name)["State"]["Pid"]
        assert isinstance(pid, int)
        return pid

    def container(self, name: str) -> str:
        with contextlib.closing(self.engine.client()) as client:
            return str(client.inspect_container(name)["Id"])

    def notes(self, container: str) -> Path:
        """Where containerd notes which shim looks after a container."""
        return self.folder / "exec" / "containerd" / "daemon" / "io.containerd.runtime.v2.task" / "moby" / container

    def parts(self, *, shims: bool) -> list[int]:
        """The processes of this engine's containerd, or those that look after its containers."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (place / "cmdline").read_text(errors="replace").split("\0")
                ours = any(str(self.folder) in word for word in words)
                if ours and Path(words[0]).name == ("containerd-shim-runc-v2" if shims else "containerd"):
                    found.append(int(place.name))
        return found

    def kill(self, *pids: int) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_engine(self) -> None:
        """Kill dockerd and the containerd that it started."""
        self.kill(self.pid, *self.parts(shims=False))
        if self.again:
            self.again[-1].wait()
        else:
            os.waitpid(self.pid, 0)

    def start_engine(self) -> None:
        for stale in (self.folder / "pid", self.folder / "exec" / "containerd" / "containerd.pid"):
            stale.unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.again.append(subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True))
        self.pid = self.again[-1].pid
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(DockerException, OSError):
                reach(self.engine.url)
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text(errors="replace")[-2000:])

    def close(self) -> None:
        with contextlib.suppress(DockerException, OSError), contextlib.closing(self.engine.client()) as client:
            for one in client.containers(all=True):
                client.remove_container(one["Id"], force=True)
        for one in self.again:
            one.terminate()
            one.wait()
        self.kill(*self.parts(shims=True), *self.parts(shims=False))


def victim(*options: str) -> Iterator[Victim]:
    with private_engine(*options) as engine:
        sandbox = engine.sandbox()
        folder = Path(engine.url.removeprefix("unix://")).parent
        pid = int((folder / "pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
        image = sandbox.prepare(base_of(busybox_layer()))
        one = Victim(engine=engine, sandbox=sandbox, image=image, folder=folder, command=command, pid=pid)
        try:
            yield one
        finally:
            one.close()


def holds(path: Path, word: bytes) -> bool:
    """Whether a file, of any size, holds a word."""
    with path.open("rb") as source:
        before = b""
        while piece := source.read(1 << 20):
            if word in before + piece:
                return True
            before = piece[-len(word) :]
    return False
