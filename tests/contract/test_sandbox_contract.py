"""Does every backing of the sandbox port behave alike?

One suite, run against the scripted sandbox, a plain process, and real containers under runc and under gVisor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rehearsal.process import ProcessSandbox
from security.digest import Digest
from station.errors import LimitExceeded, RunFailed, RunInterrupted, RunTimedOut, SandboxUnfit
from station.sandbox.image import BaseImage
from station.sandbox.order import DATA, RunOrder
from station.sandbox.port import Absent, Ended, Running, Sandbox
from station.sandbox.printed import read_printed
from station.sandbox.watch import watch
from tests.support.engine import Engine
from tests.support.images import base_of, busybox_layer, file
from tests.support.runs import Room, ended, watched
from tests.support.scripted_sandbox import Program, ScriptedSandbox

BACKINGS = (
    "scripted",
    "process",
    pytest.param("docker-runc", marks=pytest.mark.engine),
    pytest.param("docker-runsc", marks=pytest.mark.engine),
)

COUNT = 'echo once >> "$PHT_STATE/count"; echo said; cat "$PHT_DATA/patients/patients.csv"'
FAIL = "exit 7"
SLEEP = 'echo begun > "$PHT_STATE/begun"; sleep 600'
TELL = 'echo "$GREETING $PHT_TEST" > "$PHT_STATE/told"'
FULL = 'head -c 100000 /dev/zero > "$PHT_STATE/full"'
HEAVY = 'while true; do echo 0123456789abcdef >> "$PHT_STATE/heavy"; done'
MISSING = "/no/such/program"


def _count(order: RunOrder, say: Callable[[bytes], None]) -> int:
    with (order.state / "count").open("a") as out:
        out.write("once\n")
    say(b"said\n" + (order.source(f"{DATA}/patients") / "patients.csv").read_bytes())
    return 0


def _fail(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del order, say
    return 7


def _sleep(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del say
    (order.state / "begun").write_text("begun\n")
    return -1


def _tell(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del say
    (order.state / "told").write_text(f"{order.environment['GREETING']} \n")
    return 0


def _full(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del say
    (order.state / "full").write_bytes(bytes(order.limits.state_bytes))
    return 0


def _heavy(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del say
    (order.state / "heavy").write_bytes(bytes(order.limits.state_bytes + 1))
    return -1


PROGRAMS: dict[tuple[str, ...], Program] = {
    ("sh", "-c", script): program
    for script, program in (
        (COUNT, _count),
        (FAIL, _fail),
        (SLEEP, _sleep),
        (TELL, _tell),
        (FULL, _full),
        (HEAVY, _heavy),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A sandbox, a room, and the image to order by."""

    sandbox: Sandbox
    room: Room
    image: Digest

    def order(self, script: str, *, environment: dict[str, str] | None = None, **limits: int) -> RunOrder:
        command = (MISSING,) if script == MISSING else ("sh", "-c", script)
        profile = self.sandbox.profile
        return self.room.order(command, image=self.image, profile=profile, environment=environment, limits=limits)


@pytest.fixture(scope="module")
def loadable(engine: Engine) -> Iterator[BaseImage]:
    """A base image that an engine can run."""
    base = base_of(busybox_layer(file("etc/test", os.urandom(8))))
    yield base
    engine.forget(base)


@pytest.fixture(params=BACKINGS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    sandbox = _sandbox(request, tmp_path)
    docker = request.param.startswith("docker")
    base: BaseImage = request.getfixturevalue("loadable") if docker else base_of(b"a layer")
    bench = Bench(sandbox=sandbox, room=Room(path=tmp_path / "room"), image=sandbox.prepare(base))
    yield bench
    sandbox.remove(bench.room.name)


def _sandbox(request: pytest.FixtureRequest, folder: Path) -> Sandbox:
    if request.param == "scripted":
        return ScriptedSandbox(PROGRAMS, clock=lambda: datetime.now(UTC))
    if request.param == "process":
        return ProcessSandbox(room=folder / "processes", path="/usr/bin:/bin")
    if request.param == "docker-runc":
        plain: Engine = request.getfixturevalue("engine")
        return plain.sandbox()
    gvisor: Engine = request.getfixturevalue("gvisor_engine")
    return gvisor.sandbox("runsc")


def test_a_run_reads_its_data_and_writes_its_state(bench: Bench) -> None:
    order = bench.order(COUNT)
    bench.sandbox.start(order)
    before = datetime.now(UTC)
    found = watched(bench.sandbox, order)
    assert (found.exit_code, found.killed, found.out_of_memory) == (0, False, False)
    assert before - timedelta(seconds=60) < found.started <= found.finished
    assert (bench.room.state / "count").read_text() == "once\n"


def test_a_second_start_adopts_the_run_while_it_runs_and_after(bench: Bench) -> None:
    order = bench.order(COUNT)
    for _ in range(3):
        bench.sandbox.start(order)
    first = ended(bench.sandbox, order.name)
    bench.sandbox.start(order)
    assert ended(bench.sandbox, order.name) == first
    assert (bench.room.state / "count").read_text() == "once\n"


def test_another_order_under_the_same_name_replaces_the_run(bench: Bench) -> None:
    bench.sandbox.start(bench.order(SLEEP))
    order = bench.order(COUNT)
    bench.sandbox.start(order)
    assert ended(bench.sandbox, order.name).exit_code == 0
    assert (bench.room.state / "count").read_text() == "once\n"


def test_an_error_of_the_program_is_the_train_s_fault(bench: Bench) -> None:
    order = bench.order(FAIL)
    bench.sandbox.start(order)
    assert ended(bench.sandbox, order.name).exit_code == 7
    with pytest.raises(RunFailed) as told:
        watch(bench.sandbox, order, now=datetime.now(UTC), spoiled=set())
    assert (told.value.code, told.value.fields["exit"]) == ("run.failed", 7)


def test_a_program_that_is_not_there_is_the_train_s_fault(bench: Bench) -> None:
    order = bench.order(MISSING)
    with pytest.raises(RunFailed) as told:
        bench.sandbox.start(order)
    assert told.value.code == "run.failed"
    assert isinstance(bench.sandbox.look(order.name), Absent)


def test_what_never_was_is_absent_and_can_be_stopped_and_removed(bench: Bench) -> None:
    assert isinstance(bench.sandbox.look("pht-never"), Absent)
    bench.sandbox.stop("pht-never")
    bench.sandbox.remove("pht-never")


def test_a_stopped_run_is_a_killed_one(bench: Bench) -> None:
    order = bench.order(SLEEP)
    bench.sandbox.start(order)
    assert isinstance(bench.sandbox.look(order.name), Running)
    bench.sandbox.stop(order.name)
    bench.sandbox.stop(order.name)
    found = bench.sandbox.look(order.name)
    assert isinstance(found, Ended)
    assert (found.exit_code, found.killed) == (137, True)
    with pytest.raises(RunInterrupted):
        watch(bench.sandbox, order, now=datetime.now(UTC), spoiled=set())


def test_a_removed_run_leaves_nothing(bench: Bench) -> None:
    order = bench.order(COUNT)
    bench.sandbox.start(order)
    ended(bench.sandbox, order.name)
    bench.sandbox.remove(order.name)
    bench.sandbox.remove(order.name)
    assert isinstance(bench.sandbox.look(order.name), Absent)
    assert order.name not in bench.sandbox.leftovers(order.house)


def test_a_running_run_can_be_removed(bench: Bench) -> None:
    order = bench.order(SLEEP)
    bench.sandbox.start(order)
    bench.sandbox.remove(order.name)
    assert isinstance(bench.sandbox.look(order.name), Absent)


def test_leftovers_are_those_of_one_house(bench: Bench) -> None:
    order = bench.order(SLEEP)
    bench.sandbox.start(order)
    assert order.name in bench.sandbox.leftovers(order.house)
    assert bench.sandbox.leftovers("pht-another-house") == ()


def test_the_end_of_the_output_is_kept(bench: Bench) -> None:
    order = bench.order(COUNT)
    bench.sandbox.start(order)
    ended(bench.sandbox, order.name)
    assert read_printed(order.printed, 100) == b"said\nid\n1\n"
    assert read_printed(order.printed, 5) == b"id\n1\n"


def test_the_environment_is_the_ordered_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHT_TEST", "of the station")
    order = bench.order(TELL, environment={"GREETING": "hello"})
    bench.sandbox.start(order)
    ended(bench.sandbox, order.name)
    assert (bench.room.state / "told").read_text() == "hello \n"


def test_a_run_over_its_time_is_stopped(bench: Bench) -> None:
    order = bench.order(SLEEP, wall_seconds=60)
    bench.sandbox.start(order)
    assert isinstance(watch(bench.sandbox, order, now=datetime.now(UTC), spoiled=set()), Running)
    with pytest.raises(RunTimedOut) as told:
        watch(bench.sandbox, order, now=datetime.now(UTC) + timedelta(seconds=61), spoiled=set())
    assert told.value.code == "run.timed-out"
    found = bench.sandbox.look(order.name)
    assert isinstance(found, Ended)
    assert found.killed


def test_a_run_may_write_exactly_what_it_declared(bench: Bench) -> None:
    order = bench.order(FULL, state_bytes=100_000)
    bench.sandbox.start(order)
    assert watched(bench.sandbox, order).exit_code == 0
    assert (order.state / "full").stat().st_size == 100_000


def test_a_run_that_writes_too_much_is_stopped(bench: Bench) -> None:
    order = bench.order(HEAVY, state_bytes=100_000)
    bench.sandbox.start(order)
    with pytest.raises(LimitExceeded) as told:
        watched(bench.sandbox, order)
    assert told.value.code == "run.output"
    with pytest.raises(LimitExceeded):  # and the answer stays the same, for a station that was killed meanwhile
        watched(bench.sandbox, order)


def test_an_order_for_another_profile_is_not_run(bench: Bench) -> None:
    order = replace(bench.order(COUNT), profile="elsewhere-v1")
    with pytest.raises(SandboxUnfit):
        bench.sandbox.start(order)
    assert isinstance(bench.sandbox.look(order.name), Absent)
    assert not (bench.room.state / "count").exists()


def test_whether_a_run_is_sealed_is_told(bench: Bench) -> None:
    findings = bench.sandbox.doctor(None)
    assert bench.sandbox.sealed == all(finding.ok for finding in findings)
    assert bench.sandbox.sealed == (not isinstance(bench.sandbox, ProcessSandbox))
