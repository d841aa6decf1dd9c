"""Workrooms against what a run may leave in them."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from station.errors import RoomMissing
from station.house.workroom import Workrooms
from tests.support.visits import ARRIVAL, digest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "rooms"


@pytest.fixture
def rooms(root: Path) -> Workrooms:
    return Workrooms(root)


def test_a_room_is_private_and_empty(rooms: Workrooms, root: Path) -> None:
    room = rooms.make(ARRIVAL)
    folders = (room.code, room.data, room.incoming, room.keep, room.state)
    for folder in (root, room.path, *folders):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(room.path.iterdir()) == sorted((room.boot, *folders))
    assert not room.context.exists()


def test_a_room_of_an_earlier_life_of_the_machine_is_not_as_it_was_laid_out(root: Path) -> None:
    life = ["one"]
    rooms = Workrooms(root, boot=lambda: life[-1])
    room = rooms.make(ARRIVAL)
    rooms.need_laid_out(ARRIVAL)
    life.append("another")
    with pytest.raises(RoomMissing):
        rooms.need_laid_out(ARRIVAL)
    rooms.make(ARRIVAL)
    rooms.need_laid_out(ARRIVAL)
    room.boot.write_bytes(b"")  # as a power cut may leave it
    with pytest.raises(RoomMissing):
        rooms.need_laid_out(ARRIVAL)
    room.boot.unlink()
    with pytest.raises(RoomMissing):
        rooms.need_laid_out(ARRIVAL)


def test_a_data_set_gets_an_empty_folder_of_the_room_each_time(rooms: Workrooms, tmp_path: Path) -> None:
    room, outside = rooms.make(ARRIVAL), tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    for _ in range(2):
        into = rooms.room_for("patients", ARRIVAL)
        assert into == room.data / "patients"
        assert list(into.iterdir()) == []
        assert stat.S_IMODE(into.stat().st_mode) == 0o700
        (into / "below").mkdir(mode=0)
        (into / "link").symlink_to(outside)
    assert (outside / "kept").exists()
    rooms.wipe(ARRIVAL)
    with pytest.raises(RoomMissing):
        rooms.room_for("patients", ARRIVAL)


def test_making_it_again_empties_it(rooms: Workrooms) -> None:
    (rooms.make(ARRIVAL).state / "leftover").write_text("an earlier attempt")
    room = rooms.make(ARRIVAL)
    assert list(room.state.iterdir()) == []


def test_it_is_found_again(rooms: Workrooms, root: Path) -> None:
    room = rooms.make(ARRIVAL)
    (room.state / "result").write_text("7")
    assert (Workrooms(root).find(ARRIVAL).state / "result").read_text() == "7"
    assert rooms.names() == (ARRIVAL,)


def test_one_that_is_gone_is_told_so(rooms: Workrooms, root: Path) -> None:
    assert rooms.names() == ()
    with pytest.raises(RoomMissing):
        rooms.find(ARRIVAL)
    rooms.make(digest("another"))
    with pytest.raises(RoomMissing):
        rooms.find(ARRIVAL)
    (root / ARRIVAL.hex).symlink_to(root / digest("another").hex)
    with pytest.raises(RoomMissing):
        rooms.find(ARRIVAL)


def test_wiping_twice_is_wiping(rooms: Workrooms, root: Path) -> None:
    rooms.make(ARRIVAL)
    rooms.wipe(ARRIVAL)
    rooms.wipe(ARRIVAL)
    assert list(root.iterdir()) == []


def test_only_that_room_is_wiped(rooms: Workrooms) -> None:
    other = rooms.make(digest("another"))
    rooms.make(ARRIVAL)
    rooms.wipe(ARRIVAL)
    assert rooms.names() == (digest("another"),)
    assert other.state.is_dir()


def _no_rights(state: Path) -> None:
    (state / "a" / "b").mkdir(parents=True)
    (state / "a" / "b" / "file").write_text("x")
    (state / "a" / "b" / "file").chmod(0)
    (state / "a" / "b").chmod(0)
    (state / "a").chmod(0o111)
    state.chmod(0o500)
    state.parent.chmod(0)


def _deep(state: Path) -> None:
    here = os.open(state, os.O_RDONLY)
    for _ in range(3000):  # longer than any path, deeper than any stack, more than a process may open
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def _special(state: Path) -> None:
    os.mkfifo(state / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        previous = Path.cwd()
        os.chdir(state)
        try:
            listener.bind("socket")
        finally:
            os.chdir(previous)
    (state / "dangling").symlink_to("/nowhere/at/all")
    (state / "loop").symlink_to("loop")


def _odd_names(state: Path) -> None:
    for name in (b"\xff\xfe", b" ", b"new\nline", b"-rf", b"x" * 255, b"0" * 64, b"..."):
        (state / os.fsdecode(name)).mkdir()
        (state / os.fsdecode(name) / os.fsdecode(name)).write_text("x")


def _many(state: Path) -> None:
    for folder in range(40):
        (state / str(folder)).mkdir()
        for file in range(25):
            (state / str(folder) / str(file)).write_text("x")


LEFTOVERS: list[Callable[[Path], None]] = [_no_rights, _deep, _special, _odd_names, _many]


@pytest.mark.parametrize("leave", LEFTOVERS)
def test_whatever_a_run_left_is_gone(rooms: Workrooms, root: Path, leave: Callable[[Path], None]) -> None:
    leave(rooms.make(ARRIVAL).state)
    rooms.wipe(ARRIVAL)
    assert list(root.iterdir()) == []


AS_AN_ORDINARY_USER = """
import os, sys
from pathlib import Path
from station.errors import WorkroomNotWiped
from station.house.workroom import Workrooms
from tests.integration.station.test_workroom import LEFTOVERS
from tests.support.visits import ARRIVAL

if os.geteuid() == 0:  # root ignores permissions, and a station need not be root
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
root = Path(sys.argv[1])
rooms = Workrooms(root)
"""

WIPES = """
for leave in LEFTOVERS:
    leave(rooms.make(ARRIVAL).state)
    rooms.wipe(ARRIVAL)
    assert rooms.names() == (), leave
print("clean")
"""

FAILS = """
rooms.make(ARRIVAL)
root.chmod(0o500)
try:
    rooms.wipe(ARRIVAL)
except WorkroomNotWiped as error:
    print(error.code)
root.chmod(0o700)
rooms.wipe(ARRIVAL)
print(rooms.names())
"""


def as_an_ordinary_user(script: str) -> str:
    with tempfile.TemporaryDirectory(prefix="pht-rooms-") as mine:  # pytest's own folders are for this user only
        Path(mine).chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-B", "-c", AS_AN_ORDINARY_USER + script, f"{mine}/rooms"],
            cwd=mine,  # the checkout may lie in root's own folder, where nobody else can go
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stderr == ""
    return done.stdout


def test_an_ordinary_user_can_wipe_as_well() -> None:
    assert as_an_ordinary_user(WIPES) == "clean\n"


def test_what_cannot_be_removed_is_told() -> None:
    assert as_an_ordinary_user(FAILS) == "workroom.not-wiped\n()\n"


def test_no_link_is_followed(rooms: Workrooms, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "file").write_text("of the hospital")
    outside.chmod(0o755)
    state = rooms.make(ARRIVAL).state
    (state / "folder").symlink_to(outside, target_is_directory=True)
    (state / "file").symlink_to(outside / "folder" / "file")
    os.link(outside / "folder" / "file", state / "hard")
    rooms.wipe(ARRIVAL)
    assert list(root.iterdir()) == []
    assert (outside / "folder" / "file").read_text() == "of the hospital"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755


def test_a_room_replaced_by_a_link_is_unlinked(rooms: Workrooms, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("of the hospital")
    root.mkdir()
    (root / ARRIVAL.hex).symlink_to(outside)
    rooms.wipe(ARRIVAL)
    assert list(root.iterdir()) == []
    assert (outside / "file").exists()
