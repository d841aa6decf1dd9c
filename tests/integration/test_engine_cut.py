"""A real engine whose parts are killed under a run, and what it keeps of what the run printed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from station.errors import LimitExceeded, RunFailed, RunInterrupted, RunPaused
from station.sandbox.docker.engine import DockerSandbox
from station.sandbox.docker.payload import create_payload
from station.sandbox.docker.processes import living
from station.sandbox.order import RunOrder
from station.sandbox.port import Absent, Ended, Running
from station.sandbox.printed import read_printed
from station.sandbox.watch import watch
from tests.support.engine import PATIENCE
from tests.support.runs import ended
from tests.support.victim import Victim, holds, victim

pytestmark = pytest.mark.engine
CANARY = "canary-2f81aa"
HOG = "a=x; while true; do a=$a$a$a$a; done"


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
    order = plain.order(tmp_path / "room", HOG, memory_bytes=32 << 20)
    plain.sandbox.start(order)
    ended(plain.sandbox, order.name)
    with pytest.raises(LimitExceeded):
        watch(plain.sandbox, order, now=datetime.now(UTC), spoiled=set())


def test_t25_a_run_that_the_kernel_killed_for_others_want_of_memory_is_lost_to_a_new_station_too(
    plain: Victim, tmp_path: Path
) -> None:
    """No engine remembers why: only that the kernel has killed something since the container was made."""
    order, other = plain.order(tmp_path / "a", "sleep 600"), plain.order(tmp_path / "b", HOG, memory_bytes=32 << 20)
    plain.sandbox.start(order)
    plain.sandbox.start(other)
    assert ended(plain.sandbox, other.name).out_of_memory
    plain.kill(plain.init(order.name))
    for station in (plain.sandbox, plain.engine.sandbox()):
        found = ended(station, order.name)
        assert (found.exit_code, found.out_of_memory, found.killed) == (137, False, True)
    for one in (order, other):
        plain.sandbox.remove(one.name)


@pytest.fixture
def crowded() -> Iterator[Victim]:
    """An engine whose containers have 32 MiB of memory together: what has more asks in vain, within its own limit."""
    name = f"pht-test-{os.getpid()}"
    kernel = Path("/sys/fs/cgroup")
    old = (kernel / "memory").is_dir()
    group = (kernel / "memory" if old else kernel) / name
    group.mkdir()
    (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(32 << 20))
    yield from victim(f"--cgroup-parent=/{name}")
    for left in (kernel / name, *kernel.glob(f"*/{name}")):  # not all the tree: others' containers go while one looks
        if left.is_dir():
            left.rmdir()


def test_t25_a_run_for_which_others_left_no_memory_has_not_exceeded_its_own(crowded: Victim, tmp_path: Path) -> None:
    order = crowded.order(tmp_path / "room", HOG, memory_bytes=256 << 20)
    crowded.sandbox.start(order)
    for station in (crowded.sandbox, crowded.engine.sandbox()):
        found = ended(station, order.name)
        assert (found.exit_code, found.out_of_memory, found.killed) == (137, False, True)
    with contextlib.closing(crowded.engine.client()) as client:
        assert client.inspect_container(order.name)["State"]["OOMKilled"]  # so says the engine
    with pytest.raises(RunInterrupted):
        watch(crowded.sandbox, order, now=datetime.now(UTC), spoiled=set())


def _engine_and_everything(one: Victim, order: RunOrder) -> None:
    init = one.init(order.name)
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
    sandbox = plain.engine.sandbox()  # as at a hospital
    order = plain.order(tmp_path / "room", "sleep 600")
    sandbox.start(order)
    init = plain.init(order.name)
    plain.kill(*plain.parts(shims=False), *plain.parts(shims=True), init)
    before = time.monotonic()
    found = ended(sandbox, order.name)
    assert found.killed
    assert time.monotonic() - before < 60
    with contextlib.closing(plain.engine.client()) as client:
        assert client.inspect_container(order.name)["State"]["Running"]  # so says the engine
    sandbox.remove(order.name)
    assert order.name not in sandbox.leftovers(order.house)


def test_t25_a_run_goes_on_without_containerd_and_is_not_blamed_for_an_end_nobody_saw(
    plain: Victim, tmp_path: Path
) -> None:
    sandbox = DockerSandbox(url=plain.engine.url, missing_seconds=1)
    order = plain.order(tmp_path / "room", 'while [ ! -e "$PHT_STATE/go" ]; do sleep 0.1; done; exit 137')
    sandbox.start(order)
    before = plain.parts(shims=False)
    plain.kill(*before)
    assert isinstance(watch(sandbox, order, now=datetime.now(UTC), spoiled=set()), Running)
    (order.state / "go").touch()
    assert ended(sandbox, order.name).killed
    deadline = time.monotonic() + PATIENCE
    while not set(plain.parts(shims=False)) - set(before):  # the engine starts another
        assert time.monotonic() < deadline
        time.sleep(0.1)
    sandbox.remove(order.name)
    assert order.name not in sandbox.leftovers(order.house)


# --- Processes that outlive their container


WRITES = """
word=$(cat "$PHT_DATA/patients/patients.csv")
echo "$word" > /tmp/a; echo "$word" > /dev/shm/a; echo "$word" > "$PHT_STATE/a"
(sleep 600; echo "$word") &
sleep 600
"""


def outliving(one: Victim, room: Path) -> tuple[RunOrder, str, int]:
    """A run whose engine, containerd and shim were killed while its process was not, and the engine is back.

    Its containerd ends the processes of dead shims, as far as it has notes of them; here it has none, as on a ``/run`` that was
    emptied.
    """
    order = one.order(room, WRITES)
    (order.source("/pht/data/patients") / "patients.csv").write_text(CANARY)
    one.sandbox.start(order)
    deadline = time.monotonic() + PATIENCE
    while not (order.state / "a").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    init, container = one.init(order.name), one.container(order.name)
    shims = one.parts(shims=True)
    one.kill_engine()
    one.kill(*shims)
    shutil.rmtree(one.notes(container))
    one.start_engine()
    assert len(living(container)) >= 3
    assert init in living(container)
    return order, container, init


def test_t25_processes_that_outlive_their_engine_and_their_shim_end_with_the_run(plain: Victim, tmp_path: Path) -> None:
    order, container, _ = outliving(plain, tmp_path / "room")
    anew = plain.engine.sandbox()  # the station was killed with them
    assert ended(anew, order.name).killed
    with pytest.raises(RunInterrupted):
        watch(anew, order, now=datetime.now(UTC), spoiled=set())
    anew.remove(order.name)
    assert living(container) == ()
    assert kept_by(plain) == []
    assert order.name not in anew.leftovers(order.house)


def test_t25_nor_do_they_go_on_when_somebody_has_removed_the_container(plain: Victim, tmp_path: Path) -> None:
    order, container, init = outliving(plain, tmp_path / "room")
    with contextlib.closing(plain.engine.client()) as client:
        client.remove_container(order.name)
    assert init in living(container)
    assert isinstance(plain.sandbox.look(order.name), Absent)
    plain.sandbox.remove(order.name)
    assert living(container) == ()


NOT_OURS = """
import os, sys
from station.errors import RunLingers
from station.sandbox.docker.engine import DockerSandbox
os.setuid(65531)
try:
    DockerSandbox(url=sys.argv[1], ending_seconds=0.2).remove(sys.argv[2])
except RunLingers as error:
    print(error.code, error.fields["processes"])
"""


def test_t25_what_this_user_may_not_end_is_told_and_its_container_kept(plain: Victim, tmp_path: Path) -> None:
    order, container, init = outliving(plain, tmp_path / "room")
    (plain.folder / "s").chmod(0o666)
    plain.folder.chmod(0o711)
    code, *numbers = subprocess.run(
        [sys.executable, "-c", NOT_OURS, plain.engine.url, order.name],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.split()
    assert code == "run.lingers"
    assert str(init) in numbers
    assert tuple(map(int, numbers)) == living(container)
    assert order.name in plain.sandbox.leftovers(order.house)  # so that the next try finds them
    plain.sandbox.remove(order.name)
    assert living(container) == ()


# --- What a run printed


def kept_by(one: Victim) -> list[Path]:
    """The files of an engine, its own log among them, that hold what a run read."""
    found = []
    for path in one.folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and holds(path, CANARY.encode()):
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


def test_t20_a_container_of_ours_with_a_log_of_the_engine_s_is_found(plain: Victim, tmp_path: Path) -> None:
    order = plain.order(tmp_path / "room", 'cat "$PHT_DATA/patients/patients.csv"')
    (order.source("/pht/data/patients") / "patients.csv").write_text(CANARY)
    plain.sandbox.start(order)
    payload = create_payload(order, "runc")
    host = cast("dict[str, object]", payload["HostConfig"])
    logged = {**payload, "HostConfig": {**host, "LogConfig": {"Type": "json-file"}}}
    with contextlib.closing(plain.engine.client()) as client:
        made = client.create_container_from_config(logged, f"{order.name}-logged")  # type: ignore[no-untyped-call]
        client.start(made["Id"])
        client.wait(made["Id"])
    assert any(path.name.endswith("-json.log") for path in kept_by(plain))
    assert plain.sandbox.logged(order.house) == (f"{order.name}-logged",)
    assert plain.sandbox.logged("pht-another-house") == ()
    plain.sandbox.remove(f"{order.name}-logged")
    assert plain.sandbox.logged(order.house) == ()
    assert kept_by(plain) == []
    plain.sandbox.remove(order.name)


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
