"""What ends a run besides itself, and what damages a station under way: lost and begun again, not the train's fault (T25)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from docker import APIClient

from security.digest import Digest
from security.errors import DiskFull, DiskReadOnly, PhtError
from security.files import make_folder, write_file
from station.daemon.loop import Shift
from station.daemon.pace import Pace
from station.daemon.reconcile import reconcile
from station.daemon.tidy import tidy
from station.errors import JournalBusy, JournalDamaged, JournalUnwritable
from station.house.capacity import of_machine
from station.house.spool import Spool
from station.house.workroom import Workrooms
from station.journal.sqlite import SqliteLog, explained
from station.sandbox.docker.ending import killed_for_memory, machine_out_of_memory, used_up_its_memory, vanished
from station.sandbox.docker.engine import judged
from station.sandbox.docker.payload import LABEL_KILLS
from station.sandbox.docker.processes import living
from station.sandbox.order import RunOrder
from station.sandbox.port import Ended
from station.sandbox.printed import Printed, read_printed
from station.visit.events import HoldFor, RoomLost, Stumbled
from station.visit.plan import Phase, phase_of
from station.visit.state import INTERNAL
from station.visit.station_events import KeyUsed
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


def test_t25_a_run_that_was_lost_three_times_leaves_nothing_while_a_person_is_asked(tmp_path: Path) -> None:
    made = running(tmp_path)
    house, sandbox = made.houses["hospital-a"], made.sandboxes["hospital-a"]
    for attempt in (1, 2, 3):
        until(made, Phase.RUNNING)
        assert (made.visit("hospital-a").attempt, len(house.workrooms.names())) == (attempt, 1)
        sandbox.lose_power()
        sandbox.clings = attempt == 3
        made.step("hospital-a")
        assert sandbox.clings or sandbox.leftovers("test-hospital-a") == house.workrooms.names() == ()
        made.now += timedelta(seconds=1)
    stumbled = made.visit("hospital-a").stumbled  # nobody is asked while a run may go on
    assert stumbled is not None
    assert stumbled.code == "sandbox.unavailable"
    sandbox.clings = False
    made.now += timedelta(minutes=1)
    made.step("hospital-a")
    visit = made.visit("hospital-a")
    assert visit.held is not None
    assert (visit.held.hold, visit.attempt) == (HoldFor.ATTENTION, 3)
    assert sandbox.leftovers("test-hospital-a") == house.workrooms.names() == ()
    made.approve("hospital-a")
    until(made, Phase.GONE)
    visit = made.visit("hospital-a")
    assert (visit.fault, visit.refused, visit.attempt, visit.pushed is not None) == (None, None, 4, True)
    made.close()


def test_t25_a_lost_run_leaves_nothing_while_it_waits_to_be_begun_again(tmp_path: Path) -> None:
    made = running(tmp_path)
    made.sandboxes["hospital-a"].lose_power()
    made.step("hospital-a")
    assert phase_of(made.visit("hospital-a")) is Phase.ADMITTED
    assert made.sandboxes["hospital-a"].leftovers("test-hospital-a") == ()
    assert made.houses["hospital-a"].workrooms.names() == ()
    made.close()


def test_t20_a_run_whose_engine_keeps_what_it_prints_is_removed_by_the_sweep(tmp_path: Path) -> None:
    made = running(tmp_path)
    house, sandbox = made.houses["hospital-a"], made.sandboxes["hospital-a"]
    (name,) = sandbox.leftovers("test-hospital-a")
    sandbox.logs = {name}
    tidy(house)
    assert sandbox.leftovers("test-hospital-a") == ()
    until(made, Phase.GONE)
    visit = made.visit("hospital-a")
    assert (visit.fault, visit.attempt, visit.pushed is not None) == (None, 2, True)
    made.close()


def test_t20_the_hourly_sweep_looks_for_it_too(tmp_path: Path) -> None:
    made = running(tmp_path)
    house, sandbox = made.houses["hospital-a"], made.sandboxes["hospital-a"]
    shift = Shift(house, Pace(clock=made.clock, poll_seconds=1), ROOMY)
    shift.begin("test")
    (name,) = sandbox.leftovers("test-hospital-a")
    sandbox.logs = {name}
    shift.turn()
    assert name not in sandbox.leftovers("test-hospital-a")
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
    for blob in visit.fetched.blobs:
        spoil(house.spool.at(blob.digest), gone)
    until(made, Phase.GONE)
    assert made.visit("hospital-a").pushed is not None
    made.close()


def test_t25_a_person_is_asked_where_the_registry_has_it_no_more(tmp_path: Path) -> None:
    made = world(tmp_path, stations=ALONE)
    made.submit(made.train(route=ALONE))
    until(made, Phase.ADMITTED)
    house, visit = made.houses["hospital-a"], made.visit("hospital-a")
    assert visit.fetched is not None
    parts = house.spool.at(visit.fetched.parts.digest)
    whole = parts.read_bytes()
    spoil(parts, gone=False)
    (arrival,) = made.depot.arrivals(house.party)
    made.depot.remove(arrival)
    made.step("hospital-a")
    held = made.visit("hospital-a").held
    assert held is not None
    assert held.hold is HoldFor.ATTENTION
    assert "registry does not have it" in held.reason
    made.now += timedelta(days=1)
    assert made.step("hospital-a") == []
    parts.write_bytes(whole)  # restored
    visit = made.visit("hospital-a")
    made.approve("hospital-a")
    until(made, Phase.GONE)
    assert made.visit("hospital-a").pushed is not None
    made.close()


@pytest.mark.parametrize("phase", [Phase.OPENED, Phase.FURNISHED, Phase.RUNNING])
@pytest.mark.parametrize("damage", ["spool", "bug"])
def test_t25_no_run_goes_on_that_nobody_watches_while_a_person_is_asked(
    tmp_path: Path, phase: Phase, damage: str
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> object:
            raise ZeroDivisionError(name)

    made = world(tmp_path, stations=ALONE, program=lambda *_: -1)
    made.submit(made.train(route=ALONE))
    until(made, phase)
    house, visit = made.houses["hospital-a"], made.visit("hospital-a")
    assert visit.fetched is not None
    envelopes = house.spool.at(visit.fetched.documents[0].digest)
    whole = envelopes.read_bytes()
    if damage == "bug":
        made.change("hospital-a", trust=Broken(), data=Broken())
    else:
        spoil(envelopes, gone=False)
        made.depot.remove(made.depot.arrivals(house.party)[0])
    for _ in range(6):
        made.step("hospital-a")
        made.now += timedelta(seconds=10)
    visit = made.visit("hospital-a")
    assert visit.held is not None
    assert phase_of(visit) is phase
    assert made.sandboxes["hospital-a"].leftovers("test-hospital-a") == house.workrooms.names() == ()
    made.houses["hospital-a"] = house
    envelopes.write_bytes(whole)
    made.approve("hospital-a")
    until(made, Phase.RUNNING)
    made.step("hospital-a")
    assert made.visit("hospital-a").attempt == 2
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
@pytest.mark.parametrize("clings", [False, True], ids=["", "and its engine can remove nothing"])
def test_t25_a_disk_that_becomes_read_only_in_mid_run_makes_the_train_wait_and_run_again(
    disk: Path, tmp_path: Path, clings: bool
) -> None:
    failing = [False]

    def program(order: RunOrder, say: Callable[[bytes], None]) -> int:
        return 1 if failing[0] else add_up(order, say)

    made = on_a_disk(world(tmp_path / "world", stations=ALONE, program=program), disk)
    until(made, Phase.RUNNING)
    house, arrival = made.houses["hospital-a"], made.visit("hospital-a").arrival
    failing[0] = True
    made.sandboxes["hospital-a"].clings = clings
    remount(made, disk, read_only=True)
    length = made.visit("hospital-a").length
    for _ in range(3):
        with pytest.raises(JournalUnwritable) as told:
            reconcile(arrival, house, made.now)
        assert (told.value.code, told.value.exit) == ("journal.unwritable", 20)
    assert made.visit("hospital-a").length == length
    if clings:  # it has ended meanwhile, with the error of a program that cannot write
        ended = made.sandboxes["hospital-a"].look(made.sandboxes["hospital-a"].leftovers("test-hospital-a")[0])
        assert isinstance(ended, Ended)
        assert (ended.exit_code, ended.killed) == (1, False)
    failing[0] = made.sandboxes["hospital-a"].clings = False
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
def test_t25_what_is_damaged_on_a_disk_that_has_become_read_only_waits_for_it(disk: Path, tmp_path: Path) -> None:
    made = world(tmp_path / "world", stations=ALONE)
    made.change("hospital-a", spool=Spool(disk / "spool"))
    made.submit(made.train(route=ALONE))
    until(made, Phase.ADMITTED)
    house, visit = made.houses["hospital-a"], made.visit("hospital-a")
    assert visit.fetched is not None
    spoil(house.spool.at(visit.fetched.parts.digest), gone=False)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    event = reconcile(visit.arrival, house, made.now)
    assert isinstance(event, Stumbled)
    assert event.code == "disk.read-only"
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    until(made, Phase.GONE)
    assert made.visit("hospital-a").pushed is not None
    made.close()


def test_t25_a_bug_in_mending_costs_no_worker(tmp_path: Path) -> None:
    class Broken(Spool):
        def drop(self, digest: Digest) -> None:
            raise ZeroDivisionError(digest)

    made = world(tmp_path / "world", stations=ALONE)
    made.submit(made.train(route=ALONE))
    until(made, Phase.ADMITTED)
    made.change("hospital-a", spool=Broken(made.folder("hospital-a") / "spool"))
    house, visit = made.houses["hospital-a"], made.visit("hospital-a")
    assert visit.fetched is not None
    spoil(house.spool.at(visit.fetched.parts.digest), gone=False)
    event = reconcile(visit.arrival, house, made.now)
    assert isinstance(event, Stumbled)
    assert event.code == INTERNAL
    made.close()


def fill(disk: Path) -> None:
    """Leave no room on a disk: what is put there next does not fit."""
    subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
    with contextlib.suppress(OSError), (disk / "full").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass


@pytest.mark.engine
def test_t25_a_station_that_is_started_while_its_rooms_are_full_has_no_less_disk_for_ever(disk: Path) -> None:
    """What is in them goes with their visits; a train that needs it later must not be refused for good now."""
    rooms = make_folder(disk / "workrooms")
    empty = of_machine(rooms).disk_bytes
    place = make_folder(rooms / "room" / "state" / "deep")
    (place / "results").write_bytes(bytes(256 << 20))
    (place / "away").symlink_to("/")
    assert abs(of_machine(rooms).disk_bytes - empty) < 1 << 20
    make_folder(disk / "other")
    (place / "results").rename(disk / "other" / "results")
    assert of_machine(rooms).disk_bytes < empty - (200 << 20)


@pytest.mark.engine
def test_t25_a_daemon_works_on_when_the_spool_s_disk_is_full_and_writes_no_journal_full_of_tries(
    disk: Path, tmp_path: Path
) -> None:
    made = world(tmp_path / "world", stations=ALONE)
    make_folder(disk / "spool")
    made.change("hospital-a", spool=Spool(disk / "spool"))
    shift = Shift(made.houses["hospital-a"], Pace(clock=made.clock, poll_seconds=1), ROOMY)
    shift.begin("test")
    fill(disk)
    journal = made.houses["hospital-a"].journal
    for _ in range(60):
        trouble = shift.turn().trouble
        assert trouble is not None
        assert trouble.code == "disk.full"
        made.now += timedelta(seconds=1)
    assert len(journal.station_events(KeyUsed)) == 1
    (disk / "full").unlink()
    made.now += timedelta(minutes=5)
    assert shift.turn().trouble is None
    assert journal.last_signed_head() is not None
    made.close()


@pytest.mark.engine
@pytest.mark.parametrize("phase", [Phase.NOTICED, Phase.READY])
def test_t25_a_train_waits_for_a_full_disk_and_nobody_is_asked(disk: Path, tmp_path: Path, phase: Phase) -> None:
    made = world(tmp_path / "world", stations=ALONE)
    made.submit(made.train(route=ALONE))
    made.notice("hospital-a")
    until(made, phase)
    here = make_folder(made.folder("hospital-a") / "spool")
    shutil.copytree(here, disk / "spool")
    made.change("hospital-a", spool=Spool(disk / "spool"))
    fill(disk)
    for _ in range(6):
        made.step("hospital-a")
        made.now += timedelta(minutes=1)
    visit = made.visit("hospital-a")
    assert visit.held is None
    assert visit.stumbled is not None
    assert visit.stumbled.code == "disk.full"
    assert not list((disk / "spool").glob(".new.*"))
    (disk / "full").unlink()
    until(made, Phase.GONE)
    assert made.visit("hospital-a").pushed is not None
    made.close()


@pytest.mark.engine
def test_t25_a_disk_that_becomes_read_only_while_a_step_writes_costs_no_worker(disk: Path, tmp_path: Path) -> None:
    class Failing(Spool):
        """Its disk fails between a file's last byte and its name."""

        def settle(self) -> None:
            for one in self._thread.new:
                one.sync()
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            super().settle()

    made = world(tmp_path / "world", stations=ALONE)
    made.change("hospital-a", spool=Failing(disk / "spool"))
    made.submit(made.train(route=ALONE))
    made.notice("hospital-a")
    house, arrival = made.houses["hospital-a"], made.visit("hospital-a").arrival
    event = reconcile(arrival, house, made.now)
    assert isinstance(event, Stumbled)
    assert event.code == "disk.read-only"
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    made.change("hospital-a", spool=Spool(disk / "spool"))
    until(made, Phase.GONE)
    assert made.visit("hospital-a").pushed is not None
    made.close()


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


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("SQLITE_IOERR_WRITE", JournalUnwritable),
        ("SQLITE_IOERR_FSYNC", JournalUnwritable),
        ("SQLITE_IOERR_DIR_FSYNC", JournalUnwritable),
        ("SQLITE_IOERR_TRUNCATE", JournalUnwritable),
        ("SQLITE_IOERR_DELETE", JournalUnwritable),
        ("SQLITE_IOERR_SHMSIZE", JournalUnwritable),
        ("SQLITE_READONLY", JournalUnwritable),
        ("SQLITE_READONLY_CANTINIT", JournalUnwritable),
        ("SQLITE_READONLY_DIRECTORY", JournalUnwritable),
        ("SQLITE_READONLY_RECOVERY", JournalUnwritable),
        ("SQLITE_READONLY_DBMOVED", JournalDamaged),
        ("SQLITE_IOERR_READ", JournalDamaged),
        ("SQLITE_IOERR_SHORT_READ", JournalDamaged),
        ("SQLITE_CORRUPT", JournalDamaged),
        ("SQLITE_FULL", DiskFull),
        ("SQLITE_BUSY", JournalBusy),
        ("SQLITE_BUSY_SNAPSHOT", JournalBusy),
        ("", JournalDamaged),
    ],
)
def test_t25_what_sqlite_says_is_not_now_or_damaged(name: str, error: type[PhtError]) -> None:
    told = sqlite3.OperationalError("disk I/O error")
    if name:
        told.sqlite_errorname = name
    with pytest.raises(error), explained():
        raise told


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


def test_t25_kills_for_memory_are_counted_from_a_boot_on(tmp_path: Path) -> None:
    vmstat, boot, none = tmp_path / "vmstat", tmp_path / "boot", tmp_path / "none"
    vmstat.write_text("pgfault 5\noom_kill 3\n")
    boot.write_text("2c5c\n")
    assert killed_for_memory(vmstat, boot) == "2c5c 3"
    assert killed_for_memory(none, boot) == "2c5c 0"
    assert killed_for_memory(vmstat, none) == "? 3"
    assert killed_for_memory() == killed_for_memory() != "? 0"


ID, OTHER = "ac45" * 16, "bd56" * 16
KILLED_BY = "6,812,24152730798,-;oom-kill:constraint={0},nodemask=(null),cpuset=/,mems_allowed=0,{1},task_memcg={2},task={3},pid=7,uid=9\n"
OWN = KILLED_BY.format("CONSTRAINT_MEMCG", f"oom_memcg=/docker/{ID}", f"/docker/{ID}", "python3")
BELOW = KILLED_BY.format("CONSTRAINT_MEMCG", f"oom_memcg=/docker/{ID}/a", f"/docker/{ID}/a", "python3")
MACHINE = KILLED_BY.format("CONSTRAINT_NONE", "global_oom", f"/system.slice/docker-{ID}.scope", "python3")
ABOVE = KILLED_BY.format("CONSTRAINT_MEMCG", "oom_memcg=/docker", f"/docker/{ID}", "python3")
ANOTHER = KILLED_BY.format("CONSTRAINT_NONE", "global_oom", f"/docker/{OTHER}", "python3")
LYING = KILLED_BY.format("CONSTRAINT_MEMCG", f"oom_memcg=/docker/{ID}", f"/docker/{ID}", "x,oom_memcg=/")
NOISE = "6,1,1,-;Memory cgroup out of memory: Killed process 7 (python3)\n SUBSYSTEM=x\n\xff"


@pytest.mark.parametrize(
    ("log", "machine"),
    [
        (NOISE, False),
        (OWN, False),
        (BELOW, False),
        (LYING, False),
        (MACHINE, True),
        (ABOVE, True),
        (ANOTHER, False),
        (MACHINE + OWN, False),
        (NOISE + ANOTHER + MACHINE, True),
    ],
)
def test_t25_whose_memory_ran_out_is_told_by_the_kernel_s_log(tmp_path: Path, log: str, machine: bool) -> None:
    (tmp_path / "kmsg").write_text(log, encoding="latin-1")
    assert machine_out_of_memory(ID, tmp_path / "kmsg") is machine


@pytest.mark.parametrize(
    ("log", "events", "own"),
    [
        (OWN, (), True),
        (BELOW, (), True),
        (NOISE + ANOTHER + MACHINE + OWN, (), True),
        (MACHINE, ("die", "oom"), False),
        (ABOVE, ("die", "oom"), False),
        (NOISE + ANOTHER, ("die", "oom"), True),
        (NOISE + ANOTHER, ("kill", "die"), False),
    ],
)
def test_t25_a_limit_that_the_engine_heard_of_too_late_is_found(
    tmp_path: Path, log: str, events: Sequence[str], own: bool
) -> None:
    (tmp_path / "kmsg").write_text(log, encoding="latin-1")
    told = [{"Action": one, "Actor": {"Attributes": {"exitCode": "137"}}} for one in events]
    assert used_up_its_memory(ID, lambda: told, tmp_path / "kmsg") is own


def test_t25_a_log_that_cannot_be_read_blames_nobody_else(tmp_path: Path) -> None:
    assert not machine_out_of_memory(ID, tmp_path / "none")
    assert not machine_out_of_memory(ID)  # this machine's own, to its end


@pytest.mark.parametrize("group", ["9:name=systemd:/docker/{}", "0::/system.slice/docker-{}.scope"])
def test_t25_the_processes_of_a_container_are_found_by_their_groups(tmp_path: Path, group: str) -> None:
    def thread(process: int, number: int, container: str, letter: str = "S") -> None:
        place = tmp_path / str(process) / "task" / str(number)
        place.mkdir(parents=True)
        (place / "cgroup").write_text(f"8:pids:/\n{group.format(container)}\n")
        (place / "stat").write_text(f"{number} (a )b) {letter} 1 1")

    thread(7, 7, ID)
    thread(8, 8, OTHER)
    thread(9, 9, ID, "Z")  # ended, and its shim has not waited for it
    thread(10, 10, "none", "Z")  # a program whose first thread has ended, of which the kernel tells no group
    thread(10, 11, ID)
    (tmp_path / "12").mkdir()  # just gone
    (tmp_path / "self").mkdir()
    assert living(ID, tmp_path) == (7, 10)


# --- An engine that does not do what it is told, and containers on their way out


def said(status: str, code: int, **more: object) -> dict[str, object]:
    """What an engine's ``inspect`` says of a container that is over, as far as the verdict goes."""
    times = {"StartedAt": "2026-01-01T00:00:00.5Z", "FinishedAt": "2026-01-01T00:00:09.5Z"}
    state = {"Status": status, "Running": False, "OOMKilled": False, "ExitCode": code, **times, **more}
    return {"Id": ID, "State": state, "Config": {"Labels": {LABEL_KILLS: killed_for_memory()}}}


class Told:
    """An engine's client, as far as `judged` asks it: what it remembers of a container."""

    base_url, api_version = "http+docker://nowhere", "1.41"

    def __init__(self, *died_with: int) -> None:
        events = [{"Action": "die", "Actor": {"Attributes": {"exitCode": str(code)}}} for code in died_with]
        self.text = "\n".join(map(json.dumps, events))

    def info(self) -> dict[str, str]:
        return {"SystemTime": "2026-01-01T00:00:10Z"}

    def get(self, *_: object, **__: object) -> Told:
        return self

    def raise_for_status(self) -> None:
        """It went well."""


@pytest.mark.parametrize(
    ("status", "code", "killed"),
    [
        ("exited", 3, False),
        ("exited", 137, False),
        ("removing", 3, True),
        ("removing", 137, True),
        ("dead", 137, True),
        ("dead", 0, False),
    ],
)
def test_t25_a_container_that_somebody_is_removing_is_a_lost_one(status: str, code: int, killed: bool) -> None:
    sight = judged(cast("APIClient", Told(code)), said(status, code))
    assert isinstance(sight, Ended)
    assert (sight.exit_code, sight.killed) == (code, killed)


def test_t25_the_machine_s_want_of_memory_is_known_to_a_station_that_was_started_anew() -> None:
    """The count is kept where the container is, with the boot that it counts from."""
    before = said("exited", 137)
    for label in ("2c5c 3", None):
        changed = {**before, "Config": {"Labels": {LABEL_KILLS: label} if label else None}}
        sight = judged(cast("APIClient", Told(137)), changed)
        assert isinstance(sight, Ended)
        assert sight.killed
    same = judged(cast("APIClient", Told(137)), before)
    assert isinstance(same, Ended)
    assert not same.killed


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
