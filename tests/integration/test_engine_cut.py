"""A real engine whose parts are killed under a run, and what it keeps of what the run printed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from docker.errors import DockerException

from security.digest import Digest
from station.errors import LimitExceeded, RunFailed, RunInterrupted, RunPaused
from station.sandbox.docker.engine import DockerSandbox
from station.sandbox.order import RunOrder
from station.sandbox.port import Ended, Running
from station.sandbox.printed import read_printed
from station.sandbox.watch import watch
from tests.support.engine import PATIENCE, Engine, private_engine, reach
from tests.support.images import base_of, busybox_layer
from tests.support.runs import Room, ended

pytestmark = pytest.mark.engine
CANARY = "canary-2f81aa"


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

    def init(self, order: RunOrder) -> int:
        with contextlib.closing(self.engine.client()) as client:
            pid = client.inspect_container(order.name)["State"]["Pid"]
        assert isinstance(pid, int)
        return pid

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


@pytest.fixture(scope="module")
def plain() -> Iterator[Victim]:
    yield from victim()


@pytest.fixture(scope="module")
def lasting() -> Iterator[Victim]:
    """An engine whose containers go on without it."""
    yield from victim("--live-restore")


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 137", 137),
        ("sh -c 'kill -9 $$'; exit $?", 137),
        ("sleep 1; exit 137", 137),
        ("exit 255", 255),
        ("sleep 1; exit 3", 3),
    ],
)
def test_t25_a_run_that_ends_by_its_own_hand_has_failed(plain: Victim, tmp_path: Path, script: str, code: int) -> None:
    order = plain.order(tmp_path / "room", script)
    plain.sandbox.start(order)
    found = ended(plain.sandbox, order.name)
    assert (found.exit_code, found.killed) == (code, False)
    with pytest.raises(RunFailed):
        watch(plain.sandbox, order, now=datetime.now(UTC), spoiled=set())
    afterwards = plain.engine.sandbox().look(order.name)  # a station that was restarted says the same
    assert isinstance(afterwards, Ended)
    assert not afterwards.killed


def test_t25_a_run_that_uses_up_its_memory_has_exceeded_it(plain: Victim, tmp_path: Path) -> None:
    order = plain.order(tmp_path / "room", "a=x; while true; do a=$a$a$a$a; done", memory_bytes=32 << 20)
    plain.sandbox.start(order)
    ended(plain.sandbox, order.name)
    with pytest.raises(LimitExceeded):
        watch(plain.sandbox, order, now=datetime.now(UTC), spoiled=set())


def _engine_and_everything(one: Victim, order: RunOrder) -> None:
    init = one.init(order)
    shims = one.parts(shims=True)
    one.kill_engine()
    one.kill(*shims, init)
    one.start_engine()


def _engine(one: Victim, order: RunOrder) -> None:
    del order
    one.kill_engine()
    one.start_engine()


def _engine_in_good_order(one: Victim, order: RunOrder) -> None:
    del order
    os.kill(one.pid, signal.SIGTERM)
    one.again[-1].wait() if one.again else os.waitpid(one.pid, 0)
    one.start_engine()


def _shim(one: Victim, order: RunOrder) -> None:
    del order
    one.kill(*one.parts(shims=True))


def _through_the_engine(one: Victim, order: RunOrder) -> None:
    with contextlib.closing(one.engine.client()) as client:
        client.kill(order.name)


@pytest.mark.parametrize("cut", [_through_the_engine, _shim, _engine, _engine_in_good_order, _engine_and_everything])
def test_t25_a_run_that_was_ended_from_outside_is_a_lost_one(
    plain: Victim, tmp_path: Path, cut: Callable[[Victim, RunOrder], None]
) -> None:
    order = plain.order(tmp_path / "room", "sleep 600")
    plain.sandbox.start(order)
    assert isinstance(watch(plain.sandbox, order, now=datetime.now(UTC), spoiled=set()), Running)
    cut(plain, order)
    assert ended(plain.sandbox, order.name).killed
    with pytest.raises(RunInterrupted):
        watch(plain.sandbox, order, now=datetime.now(UTC), spoiled=set())
    with pytest.raises(RunInterrupted):  # and for a station that was killed together with it
        watch(plain.engine.sandbox(), order, now=datetime.now(UTC), spoiled=set())
    plain.sandbox.remove(order.name)


def test_t25_a_paused_run_is_seen_and_can_be_stopped(plain: Victim, tmp_path: Path) -> None:
    order = plain.order(tmp_path / "room", "sleep 600")
    plain.sandbox.start(order)
    with contextlib.closing(plain.engine.client()) as client:
        client.pause(order.name)
        with pytest.raises(RunPaused):
            watch(plain.sandbox, order, now=datetime.now(UTC), spoiled=set())
        client.unpause(order.name)
        assert watch(plain.sandbox, order, now=datetime.now(UTC), spoiled=set()) == plain.sandbox.look(order.name)
        client.pause(order.name)
    plain.sandbox.stop(order.name)
    found = plain.sandbox.look(order.name)
    assert isinstance(found, Ended)
    assert found.killed
    plain.sandbox.remove(order.name)


def test_t25_a_run_whose_end_the_engine_missed_is_known_within_a_minute(plain: Victim, tmp_path: Path) -> None:
    sandbox = DockerSandbox(url=plain.engine.url, missing_seconds=1)  # 20 at a hospital
    order = plain.order(tmp_path / "room", "sleep 600")
    sandbox.start(order)
    init = plain.init(order)
    plain.kill(*plain.parts(shims=False), *plain.parts(shims=True), init)
    before = time.monotonic()
    found = ended(sandbox, order.name)
    assert found.killed
    assert time.monotonic() - before < 40
    with contextlib.closing(plain.engine.client()) as client:
        assert client.inspect_container(order.name)["State"]["Running"]  # so says the engine
    sandbox.remove(order.name)
    assert order.name not in sandbox.leftovers(order.house)


# --- What a run printed


def kept_by(one: Victim) -> list[Path]:
    """The files of an engine that hold what a run printed. Not those a run can see: layers and its own mounts."""
    found = []
    for path in (one.folder / "data").rglob("*"):
        with contextlib.suppress(OSError):
            asked = path.name in {"config.v2.json", "meta.db"}  # they hold the command, which is no output
            if not asked and path.is_file() and path.stat().st_size < 1 << 22 and CANARY.encode() in path.read_bytes():
                found.append(path)
    return found


def test_t20_no_file_of_the_engine_holds_what_a_run_printed(plain: Victim, tmp_path: Path) -> None:
    order = plain.order(tmp_path / "room", 'cat "$PHT_DATA/patients/patients.csv"; sleep 600')
    (order.source("/pht/data/patients") / "patients.csv").write_text(CANARY * 10_000)
    plain.sandbox.start(order)
    deadline = time.monotonic() + PATIENCE
    while not read_printed(order.printed, 1 << 20).endswith(CANARY.encode()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert kept_by(plain) == []
    plain.kill_engine()  # in the middle of it, so that it tidies nothing
    assert kept_by(plain) == []
    plain.start_engine()
    plain.sandbox.remove(order.name)
    assert kept_by(plain) == []


def test_t25_a_run_goes_on_where_nobody_listens(plain: Victim, tmp_path: Path) -> None:
    script = (
        'while [ ! -e "$PHT_STATE/go" ]; do sleep 0.1; done; dd if=/dev/zero bs=64k count=100 2> /dev/null; echo over'
    )
    order = plain.order(tmp_path / "room", script)
    program = (
        "import json, sys, os; sys.path.insert(0, os.getcwd())\n"
        "from pathlib import Path\n"
        "from station.sandbox.docker.listen import _attach\n"
        f"_attach({plain.engine.url!r}, '1.41', {order.name!r}); print('on', flush=True); sys.stdin.read()\n"
    )
    plain.sandbox.start(order)
    with subprocess.Popen(  # a second listener that reads nothing, as a station that was stopped
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as deaf:
        assert deaf.stdout is not None
        assert deaf.stdout.readline() == "on\n"
        deaf.kill()
    (order.state / "go").touch()
    found = ended(plain.sandbox, order.name)
    assert found.exit_code == 0
    assert read_printed(order.printed, 5) == b"over\n"


def test_t25_a_run_outlives_its_engine_and_its_station_at_a_full_pipe(lasting: Victim, tmp_path: Path) -> None:
    script = (
        'while [ ! -e "$PHT_STATE/go" ]; do sleep 0.1; done; dd if=/dev/zero bs=64k count=100 2> /dev/null; echo over'
    )
    order = lasting.order(tmp_path / "room", script)
    lasting.sandbox.start(order)
    lasting.kill_engine()
    (order.state / "go").touch()
    time.sleep(1)  # the pipe is full long before
    lasting.start_engine()
    again = lasting.engine.sandbox()  # a station that was started anew
    again.listen(order)
    found = ended(again, order.name)
    assert (found.exit_code, found.killed) == (0, False)
    assert order.printed.stat().st_size <= 2 * order.limits.output_bytes


def test_t20_a_station_that_was_started_anew_hears_the_rest(plain: Victim, tmp_path: Path) -> None:
    script = 'echo first; while [ ! -e "$PHT_STATE/go" ]; do sleep 0.1; done; echo last'
    order = plain.order(tmp_path / "room", script)
    plain.sandbox.start(order)
    again = plain.engine.sandbox()
    assert isinstance(watch(again, order, now=datetime.now(UTC), spoiled=set()), Running)
    (order.state / "go").touch()
    ended(again, order.name)
    assert read_printed(order.printed, 100).endswith(b"last\n")
    assert json.dumps(plain.sandbox.leftovers("pht-test"))
