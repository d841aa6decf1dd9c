"""What of a data set can a run read? Trains wait for what their station forgot, and do not fail because of it."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from security.train.manifest import DataNeed
from station.data.folder import FolderSource, closed, missing
from station.data.port import DataSet
from station.sandbox.order import DATA, RunOrder, run_user
from station.visit.events import Furnished
from station.visit.plan import Phase, phase_of
from tests.support.copying_source import CopyingSource
from tests.support.scripted_sandbox import ScriptedSandbox
from tests.support.world import World, add_up, world

US, GROUP, OTHERS = (65532, 1), (1, 65532), (1, 1)
RUN = (65532, 65532)


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """A data set that anybody may read: two years, and a folder for something else."""
    for name in ("2024/patients.csv", "2025/patients.csv", "notes/private.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True)
        path.write_text("x")
    for path in (tmp_path / "data", *(tmp_path / "data").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "data"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world")
    yield made
    made.close()


@pytest.mark.parametrize(
    ("owner", "mode", "readable"),
    [
        (US, 0o400, True),
        (US, 0o044, False),
        (GROUP, 0o040, True),
        (GROUP, 0o404, False),
        (OTHERS, 0o004, True),
        (OTHERS, 0o440, False),
        (OTHERS, 0o000, False),
    ],
)
def test_the_mode_counts_for_the_owner_the_group_and_the_others(
    data_set: Path, owner: tuple[int, int], mode: int, *, readable: bool
) -> None:
    path = data_set / "2024" / "patients.csv"
    os.chown(path, *owner)
    path.chmod(mode)
    assert closed(data_set, *RUN) == (None if readable else path)


@pytest.mark.parametrize("mode", [0o750, 0o751, 0o754])
@pytest.mark.parametrize("name", [".", "2025"])
def test_a_folder_must_be_open_to_listing_and_to_entering(data_set: Path, name: str, mode: int) -> None:
    (data_set / name).chmod(mode)
    assert closed(data_set, *RUN) == data_set / name
    assert closed(data_set, *RUN, ["*/*.csv"]) == data_set / name


def test_only_what_the_train_asks_for_must_be_open(data_set: Path) -> None:
    (data_set / "notes").chmod(0o700)
    (data_set / "2024" / "patients.csv").chmod(0o600)
    assert closed(data_set, *RUN, ["2025/*.csv"]) is None
    assert closed(data_set, *RUN, []) is None
    assert closed(data_set, *RUN, ["2025/*.csv", "2024/*"]) == data_set / "2024" / "patients.csv"
    assert closed(data_set, *RUN, ["notes/*"]) == data_set / "notes"


def test_what_the_file_system_keeps_for_itself_is_left_to_it(data_set: Path) -> None:
    (data_set / "lost+found").mkdir(mode=0o700)
    (data_set / "lost+found" / "#1").touch(mode=0o600)
    assert closed(data_set, *RUN) is None
    assert missing(data_set, ["lost+found/*"]) == ("lost+found/*",)


def test_an_access_list_is_taken_to_allow_what_the_mode_does_not(data_set: Path) -> None:
    """Linux, include/uapi/linux/posix_acl_xattr.h: version 2, then tag, permissions and id of each entry."""
    path = data_set / "2024" / "patients.csv"
    path.chmod(0o600)
    assert closed(data_set, *RUN) == path
    anybody = 0xFFFFFFFF
    entries = [(0x01, 6, anybody), (0x02, 4, 65532), (0x04, 0, anybody), (0x10, 4, anybody), (0x20, 0, anybody)]
    os.setxattr(
        path, "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)
    )
    assert closed(data_set, *RUN) is None


def test_a_link_to_nothing_cannot_be_read(data_set: Path) -> None:
    (data_set / "2026.csv").symlink_to("nowhere")
    assert closed(data_set, *RUN) == data_set / "2026.csv"
    assert closed(data_set, *RUN, ["*.csv"]) is None
    assert missing(data_set, ["*.csv", "*/*.csv"]) == ("*.csv",)


def waits_for(here: World) -> str | None:
    """Turn until the hospital has done what it can; what keeps the visit from going on?"""
    for _ in range(12):
        here.step("hospital-a")
    stumbled = here.visit("hospital-a").stumbled
    return stumbled.code if stumbled else None


def test_data_that_are_moved_before_the_run_are_furnished_again(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").furnished is None:
        here.step("hospital-a")
    moved = here.folder("hospital-a") / "moved"
    (here.folder("hospital-a") / "data").rename(moved)
    source = FolderSource(name="patients", folder=moved)
    here.change("hospital-a", data={"patients": DataSet(source=source, description="")})
    here.settle()
    assert here.at_home(made.id)
    assert here.visit("hospital-a").attempt == 2


@pytest.mark.parametrize("shut", [".", "patients.csv"])
def test_a_train_waits_for_data_that_runs_cannot_read(here: World, shut: str) -> None:
    data = here.folder("hospital-a") / "data"
    usual = (data / shut).stat().st_mode
    (data / shut).chmod(0o700 if shut == "." else 0o600)
    made = here.train(route=("hospital-a",))
    here.submit(made)
    assert waits_for(here) == "data.closed"
    assert here.sandboxes["hospital-a"].started == []
    (data / shut).chmod(usual)
    here.settle()
    assert here.at_home(made.id)


def test_a_train_waits_for_data_that_are_not_mounted(here: World) -> None:
    data = here.folder("hospital-a") / "data"
    data.rename(data.with_name("elsewhere"))
    made = here.train(route=("hospital-a",))
    here.submit(made)
    assert waits_for(here) == "data.unavailable"
    data.with_name("elsewhere").rename(data)
    here.settle()
    assert here.at_home(made.id)


def test_a_train_waits_for_data_of_which_the_empty_mount_point_is_left(here: World) -> None:
    """They were there when the train was let in; a run that finds none would count nobody."""
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or phase_of(here.visit("hospital-a")) is not Phase.ADMITTED:
        here.step("hospital-a")
    data = here.folder("hospital-a") / "data"
    data.rename(data.with_name("elsewhere"))
    data.mkdir()
    assert waits_for(here) == "data.unavailable"
    assert here.sandboxes["hospital-a"].started == []
    data.rmdir()
    data.with_name("elsewhere").rename(data)
    here.settle()
    assert here.at_home(made.id)


def test_a_train_that_a_person_let_in_without_its_files_does_not_wait_for_them(tmp_path: Path) -> None:
    here = world(tmp_path / "world", program=lambda order, _: (order.state / "sums.json").write_text("{}") * 0)
    expected = DataNeed(name="patients", description="measurements", files=("*.csv", "*.tsv"))
    made = here.train(route=("hospital-a",), data=(expected,))
    here.submit(made)
    here.settle()
    visit = here.visit("hospital-a")
    assert visit.held is not None
    here.approve("hospital-a")
    here.settle()
    assert here.at_home(made.id)
    here.close()


# --- copied into the workroom ----------------------------------------------------------------------------------------


def copied(here: World, *, rows: int = 3) -> CopyingSource:
    """Let the hospital have its patients in a store, of which every run gets a copy."""
    store = here.folder("hospital-a") / "store"
    store.mkdir(mode=0o700)
    (store / "a.csv").write_text("not asked for, and copied before what is")
    (store / "patients.csv").write_text("value\n" + "5\n" * rows)
    (store / "patients.csv").chmod(0o600)
    source = CopyingSource("patients", store)
    here.change("hospital-a", data={"patients": DataSet(source=source, description="")})
    return source


def test_a_copy_lies_in_the_workroom_is_the_runs_to_read_and_goes_with_it(here: World, tmp_path: Path) -> None:
    copied(here)
    seen: list[tuple[Path, int]] = []

    def run(order: RunOrder, say: Callable[[bytes], None]) -> int:
        place = order.source(f"{DATA}/patients")
        seen.append((place, (place / "patients.csv").stat().st_uid))
        assert closed(place, order.uid, order.gid) is None
        return add_up(order, say)

    here.sandboxes["hospital-a"] = ScriptedSandbox(run, clock=lambda: here.now)
    here.change("hospital-a", sandbox=here.sandboxes["hospital-a"])
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": 15, "n": 3}
    ((place, owner),) = seen
    assert place.is_relative_to(here.folder("hospital-a") / "workrooms")
    assert owner == run_user(os.geteuid(), os.getegid())[0]
    assert here.plaintext("hospital-a") == []
    furnished = here.visit("hospital-a").furnished
    assert furnished is not None
    assert [(one.name, one.source) for one in furnished.data] == [("patients", "copying")]


def test_half_a_copy_is_no_data(here: World, tmp_path: Path) -> None:
    source = copied(here)
    source.after = 1
    made = here.train(route=("hospital-a",))
    here.submit(made)
    assert waits_for(here) == "data.unavailable"
    assert here.sandboxes["hospital-a"].started == []
    (room,) = here.plaintext("hospital-a")
    assert list((room / "data" / "patients").iterdir()) == []
    (room / "data" / "patients" / "left.csv").write_text("of an earlier attempt")
    source.after = None
    here.settle()
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": 15, "n": 3}
    assert here.visit("hospital-a").attempt == 1


def test_a_lost_room_is_furnished_again_from_where_the_data_are_then(here: World, tmp_path: Path) -> None:
    copied(here)
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").furnished is None:
        here.step("hospital-a")
    (room,) = here.plaintext("hospital-a")
    shutil.rmtree(room / "data")
    here.settle()
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": 15, "n": 3}
    visit = here.visit("hospital-a")
    assert visit.attempt == 2
    assert sum(isinstance(event, Furnished) for event in visit.events) == 2
