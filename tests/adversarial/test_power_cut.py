"""What ends a run besides itself, and what damages a station under way: lost and begun again, not the train's fault (T25)."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from security.errors import DiskReadOnly
from security.files import write_file
from station.daemon.loop import Shift
from station.daemon.pace import Pace
from station.daemon.reconcile import reconcile
from station.errors import JournalUnwritable
from station.house.workroom import Workrooms
from station.journal.sqlite import SqliteLog
from station.sandbox.docker.ending import killed_for_memory, vanished
from station.sandbox.order import RunOrder
from station.sandbox.printed import Printed, read_printed
from station.visit.events import HoldFor, RoomLost
from station.visit.plan import Phase, approve, phase_of
from tests.support.world import ROOMY, World, add_up, world

ALONE = ("hospital-a",)


def running(root: Path, program: Callable[[RunOrder, Callable[[bytes], None]], int] = add_up) -> World:
    made = world(root, stations=ALONE, program=program)
    made.submit(made.train(route=ALONE))
    until(made, Phase.RUNNING)
    return made


def until(made: World, phase: Phase) -> None:
    for _ in range(60):
        if made.visits("hospital-a") and phase_of(made.visit("hospital-a")) is phase:
            return
        made.step("hospital-a")
        made.now += timedelta(seconds=1)
    raise AssertionError(made.visit("hospital-a").events[-3:])


def test_t25_a_run_that_power_took_is_begun_again_and_comes_home(tmp_path: Path) -> None:
    made = running(tmp_path)
    made.sandboxes["hospital-a"].lose_power()
    until(made, Phase.GONE)
    visit = made.visit("hospital-a")
    assert (visit.fault, visit.attempt, visit.pushed is not None) == (None, 2, True)
    assert made.sandboxes["hospital-a"].leftovers("test-hospital-a") == ()
    made.close()


def test_t25_a_run_that_exits_with_137_by_its_own_hand_has_failed_at_once(tmp_path: Path) -> None:
    made = running(tmp_path, lambda _order, _say: 137)
    until(made, Phase.GONE)
    visit = made.visit("hospital-a")
    assert visit.fault is not None
    assert (visit.fault.code, visit.attempt, visit.held) == ("run.failed", 1, None)
    assert made.sandboxes["hospital-a"].leftovers("test-hospital-a") == ()
    made.close()


def test_t25_a_lost_attempt_leaves_no_container_to_the_next(tmp_path: Path) -> None:
    made = running(tmp_path)
    made.sandboxes["hospital-a"].lose_power()
    until(made, Phase.OPENED)
    assert made.visit("hospital-a").attempt == 2
    assert made.sandboxes["hospital-a"].leftovers("test-hospital-a") == ()
    made.close()


def test_t25_a_paused_run_is_seen_and_goes_on_when_it_is_let(tmp_path: Path) -> None:
    made = running(tmp_path)
    made.sandboxes["hospital-a"].pause()
    made.step("hospital-a")
    stumbled = made.visit("hospital-a").stumbled
    assert stumbled is not None
    assert stumbled.code == "run.paused"
    made.sandboxes["hospital-a"].pause(paused=False)
    until(made, Phase.GONE)
    visit = made.visit("hospital-a")
    assert (visit.fault, visit.attempt, visit.pushed is not None) == (None, 1, True)
    made.close()


def test_t25_a_run_that_is_paused_until_its_time_is_over_is_not_blamed(tmp_path: Path) -> None:
    made = running(tmp_path)
    made.sandboxes["hospital-a"].pause()
    made.now += timedelta(days=1)
    made.step("hospital-a")
    assert isinstance(made.visit("hospital-a").events[-1], RoomLost)
    assert made.visit("hospital-a").fault is None
    made.close()


# --- The spool


@pytest.mark.parametrize("phase", [Phase.FETCHED, Phase.ADMITTED, Phase.RUNNING, Phase.CLEARED, Phase.READY])
@pytest.mark.parametrize("gone", [True, False], ids=["missing", "damaged"])
def test_t25_what_is_damaged_in_the_spool_is_fetched_again(tmp_path: Path, phase: Phase, gone: bool) -> None:
    made = world(tmp_path, stations=ALONE)
    made.submit(made.train(route=ALONE))
    until(made, phase)
    house, visit = made.houses["hospital-a"], made.visit("hospital-a")
    assert visit.fetched is not None
    for digest in (visit.arrival, *(blob.digest for blob in visit.fetched.blobs)):
        spoil(house.spool.at(digest), gone)
    until(made, Phase.GONE)
    assert made.visit("hospital-a").pushed is not None
    made.close()


def test_t25_a_person_is_asked_where_the_registry_has_it_no_more(tmp_path: Path) -> None:
    made = world(tmp_path, stations=ALONE)
    made.submit(made.train(route=ALONE))
    until(made, Phase.ADMITTED)
    house, visit = made.houses["hospital-a"], made.visit("hospital-a")
    whole = house.spool.at(visit.arrival).read_bytes()
    spoil(house.spool.at(visit.arrival), gone=False)
    (arrival,) = made.depot.arrivals(house.party)
    made.depot.remove(arrival)
    made.step("hospital-a")
    held = made.visit("hospital-a").held
    assert held is not None
    assert held.hold is HoldFor.ATTENTION
    assert "registry does not have it" in held.reason
    made.now += timedelta(days=1)
    assert made.step("hospital-a") == []
    house.spool.at(visit.arrival).write_bytes(whole)  # restored
    visit = made.visit("hospital-a")
    house.journal.append(visit.arrival, approve(visit, by="grace", note="", now=made.now), expect=visit.length)
    until(made, Phase.GONE)
    assert made.visit("hospital-a").pushed is not None
    made.close()


def test_t25_a_person_is_asked_where_this_station_made_what_is_damaged(tmp_path: Path) -> None:
    made = world(tmp_path, stations=ALONE)
    made.submit(made.train(route=ALONE))
    until(made, Phase.SIGNED)
    house, visit = made.houses["hospital-a"], made.visit("hospital-a")
    assert visit.signed is not None
    spoil(house.spool.at(visit.signed.letter), gone=False)
    made.step("hospital-a")
    held = made.visit("hospital-a").held
    assert held is not None
    assert "made it itself" in held.reason
    made.close()


def spoil(path: Path, gone: bool) -> None:
    if gone:
        path.unlink()
    else:
        path.write_bytes(b"\0" * path.stat().st_size)


# --- A file system that becomes read-only


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, that a test can make read-only. Only root can."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "pht-test", str(place)], check=True)
    yield place
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(made: World, disk: Path, *, read_only: bool) -> None:
    """Let a disk be as after an error: nothing can be written to it, nor, by SQLite's own switch, to the journal."""
    subprocess.run(["mount", "-o", f"remount,{'ro' if read_only else 'rw'}", str(disk)], check=True)
    log = made.houses["hospital-a"].journal._log
    assert isinstance(log, SqliteLog)
    log._database.execute(f"PRAGMA query_only = {int(read_only)}")


def on_a_disk(made: World, disk: Path) -> World:
    made.change("hospital-a", workrooms=Workrooms(disk / "workrooms"))
    made.submit(made.train(route=ALONE))
    return made


@pytest.mark.engine
def test_t25_a_disk_that_becomes_read_only_in_mid_run_makes_the_train_wait_and_run_again(
    disk: Path, tmp_path: Path
) -> None:
    failing = [False]

    def program(order: RunOrder, say: Callable[[bytes], None]) -> int:
        return 1 if failing[0] else add_up(order, say)

    made = on_a_disk(world(tmp_path / "world", stations=ALONE, program=program), disk)
    until(made, Phase.RUNNING)
    house, arrival = made.houses["hospital-a"], made.visit("hospital-a").arrival
    failing[0] = True
    remount(made, disk, read_only=True)
    length = made.visit("hospital-a").length
    for _ in range(3):
        with pytest.raises(JournalUnwritable) as told:
            reconcile(arrival, house, made.now)
        assert (told.value.code, told.value.exit) == ("journal.unwritable", 20)
    assert made.visit("hospital-a").length == length
    failing[0] = False
    remount(made, disk, read_only=False)
    until(made, Phase.GONE)
    visit = made.visit("hospital-a")
    assert (visit.fault, visit.refused, visit.attempt, visit.pushed is not None) == (None, None, 2, True)
    made.close()


@pytest.mark.engine
@pytest.mark.parametrize("phase", [Phase.ADMITTED, Phase.OPENED, Phase.FURNISHED, Phase.ENDED, Phase.SEALED])
def test_t25_a_train_waits_for_a_read_only_disk_wherever_it_is(disk: Path, tmp_path: Path, phase: Phase) -> None:
    made = on_a_disk(world(tmp_path / "world", stations=ALONE), disk)
    until(made, phase)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    made.step("hospital-a")
    stumbled = made.visit("hospital-a").stumbled
    assert stumbled is not None
    assert stumbled.code == "disk.read-only"
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    until(made, Phase.GONE)
    visit = made.visit("hospital-a")
    assert (visit.fault, visit.refused, visit.pushed is not None) == (None, None, True)
    made.close()


@pytest.mark.engine
def test_t25_what_was_cleared_is_sealed_from_a_read_only_disk(disk: Path, tmp_path: Path) -> None:
    made = on_a_disk(world(tmp_path / "world", stations=ALONE), disk)
    until(made, Phase.CLEARED)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    made.step("hospital-a")
    assert phase_of(made.visit("hospital-a")) is Phase.SEALED
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    until(made, Phase.GONE)
    assert made.visit("hospital-a").pushed is not None
    made.close()


@pytest.mark.engine
def test_t25_what_is_written_to_a_read_only_disk_is_not_now(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(DiskReadOnly) as told:
        write_file(disk / "x", b"")
    assert told.value.exit == 20


@pytest.mark.engine
def test_t25_a_daemon_works_on_when_its_disk_can_be_written_again(disk: Path, tmp_path: Path) -> None:
    made = on_a_disk(world(tmp_path / "world", stations=ALONE), disk)
    shift = Shift(made.houses["hospital-a"], Pace(clock=made.clock, poll_seconds=1), ROOMY)
    shift.begin("test")
    while not made.visits("hospital-a") or phase_of(made.visit("hospital-a")) is not Phase.RUNNING:
        shift.turn()
        made.now += timedelta(seconds=1)
    remount(made, disk, read_only=True)
    told = set()
    for _ in range(5):
        trouble = shift.turn().trouble
        told.add(trouble.code if trouble else None)
        made.now += timedelta(seconds=1)
    assert "journal.unwritable" in told
    remount(made, disk, read_only=False)
    for _ in range(60):
        shift.turn()
        made.now += timedelta(seconds=1)
    visit = made.visit("hospital-a")
    assert (phase_of(visit), visit.fault, visit.attempt) == (Phase.GONE, None, 2)
    made.close()


# --- What the kernel tells


def test_t25_a_process_that_is_not_there_any_more_is_seen(tmp_path: Path) -> None:
    for pid, letter in ((7, "S"), (8, "Z")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a )b) {letter} 1 1")
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        url = f"unix://{path}"
        assert [vanished({"Pid": pid}, url, tmp_path) for pid in (7, 8, 9, 0)] == [False, True, True, False]


def test_t25_kills_for_memory_are_counted(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("pgfault 5\noom_kill 3\n")
    assert killed_for_memory(tmp_path / "vmstat") == 3
    assert killed_for_memory(tmp_path / "none") == 0
    assert killed_for_memory() >= 0


# --- What a run printed


def test_t20_what_a_run_printed_is_bounded_and_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "printed"
    printed = Printed(path, 1000)
    said = b"".join(b"%06d\n" % turn for turn in range(1000))
    for at in range(0, len(said), 37):
        printed.write(said[at : at + 37])
        assert path.stat().st_size <= 2000
    assert read_printed(path, 1000) == said[-1000:]
    assert path.stat().st_mode & 0o077 == 0
    Printed(path, 1000).write(b"after a restart")
    assert read_printed(path, 1000).endswith(said[-100:] + b"after a restart")
    printed.write(os.urandom(5000))
    assert path.stat().st_size <= 2000


def test_t20_what_a_run_prints_does_not_bring_a_wiped_room_back(tmp_path: Path) -> None:
    printed = Printed(tmp_path / "printed", 1000)
    (tmp_path / "printed").unlink()
    with pytest.raises(Exception, match="no such file"):
        printed.write(b"late")
    assert not (tmp_path / "printed").exists()
