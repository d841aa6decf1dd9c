"""How long do a station's keys for a train lie on its disk?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry.depot import ReceiptKind
from security.errors import DirectoryExpired, FileMissing
from security.ids import TrainId
from station.daemon.loop import Shift
from station.daemon.pace import Pace
from station.daemon.sweep import Sweeper
from station.daemon.tidy import tidy
from station.house.config import Retention
from station.house.passes import PassKeys
from station.visit.plan import Phase, phase_of
from tests.support.journeys import JUNCTION, A
from tests.support.rounds import STATIONS, SUMMED, SUMS, board, rounds_train, rounds_world
from tests.support.trains import NOW, Train
from tests.support.world import ROOMY, World

EVERYBODY = (*STATIONS, JUNCTION)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = rounds_world(tmp_path / "world", program=SUMS)
    yield made
    made.close()


def a_train(here: World, *, most: int = 3) -> Train:
    made = rounds_train(here, outputs=SUMMED, most=most, valid_until=NOW + timedelta(days=5))
    board(here, made)
    return made


def keys(here: World, party: str) -> list[str]:
    folder = here.folder(party) / "passes"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def sweep(here: World, party: str) -> None:
    """A daemon's first sweep, which is of everything."""
    Sweeper(here.houses[party], Retention()).sweep(here.now)


def test_keys_are_gone_with_the_last_round_everywhere(here: World) -> None:
    made = a_train(here, most=2)
    here.settle()
    assert here.at_home(made.id)
    assert [keys(here, party) for party in EVERYBODY] == [[], [], [], []]


def lost(here: World) -> None:
    """Let everybody board, and then nothing more come to anybody."""
    here.settle(*STATIONS)


def test_keys_of_a_train_that_does_not_come_back_are_swept_once_its_time_is_over(here: World) -> None:
    """Nothing comes to a hospital any more to tell it."""
    made = a_train(here)
    lost(here)
    for _ in range(2):
        for party in STATIONS:
            sweep(here, party)
            assert keys(here, party) == [made.id]
        here.now += timedelta(days=2)
    here.now = NOW + timedelta(days=5)
    for party in STATIONS:
        sweep(here, party)
        assert keys(here, party) == []


def test_the_daemon_sweeps_them_by_itself(here: World) -> None:
    made = a_train(here)
    lost(here)
    assert keys(here, A) == [made.id]
    shift = Shift(here.houses[A], Pace(clock=here.clock, poll_seconds=1), ROOMY)
    for _ in range(5 * 24 + 3):
        shift.turn()
        here.now += timedelta(hours=1)
    assert keys(here, A) == []


def test_keys_are_not_taken_from_a_visit_that_is_under_way(here: World) -> None:
    """It was let in while the train was valid, and what it wrote is masked after that."""
    made = a_train(here)
    here.settle(*STATIONS)
    here.settle(JUNCTION)
    while not any(phase_of(visit) is Phase.ENDED for visit in here.visits(A)):
        here.step(A)
    here.consortium.expires = NOW + timedelta(days=30)
    here.now = NOW + timedelta(days=6)
    sweep(here, A)
    assert keys(here, A) == [made.id]
    before = len(here.receipts(made, ReceiptKind.ENTRY))
    here.settle(A)
    assert len(here.receipts(made, ReceiptKind.ENTRY)) == before + 1
    sweep(here, A)
    assert keys(here, A) == []


def test_keys_are_not_destroyed_by_a_clock_that_the_directory_says_nothing_about(here: World) -> None:
    made = a_train(here)
    lost(here)
    here.now = NOW + timedelta(days=400)
    with pytest.raises(DirectoryExpired):
        sweep(here, A)
    assert keys(here, A) == [made.id]


def test_what_nobody_can_read_is_swept_too(tmp_path: Path) -> None:
    """Damaged keys, and what was kept under keys that a crash took before it."""
    root = tmp_path / "passes"
    root.mkdir()
    damaged, orphan = TrainId("a" * 64), TrainId("b" * 64)
    (root / damaged).write_bytes(b"{")
    (root / f"{damaged}.9").write_bytes(b"kept")
    (root / f"{orphan}.9").write_bytes(b"kept")
    (root / "something else").write_bytes(b"")
    passes = PassKeys(root)
    assert passes.over(NOW) == (damaged, orphan)
    for train in passes.over(NOW):
        passes.destroy(train)
    assert [path.name for path in root.iterdir()] == ["something else"]
    assert PassKeys(tmp_path / "none").over(NOW) == ()


def test_keys_that_cannot_be_read_now_are_neither_missed_nor_swept(here: World) -> None:
    """A disk's error is no end: the train waits, and comes home once they can be read again."""
    made = a_train(here)
    here.settle(*STATIONS)
    here.settle(JUNCTION)
    path, aside = here.folder(A) / "passes" / made.id, here.root / "aside"
    path.rename(aside)
    path.mkdir()  # which cannot be read as a file, whoever tries
    for _ in range(10):
        here.step(A)
        here.now += timedelta(seconds=1)
    assert [visit.refused for visit in here.visits(A) if visit.refused] == []
    assert any(visit.stumbled and visit.stumbled.code == FileMissing.code for visit in here.visits(A))
    sweep(here, A)
    assert here.houses[A].passes.over(here.now) == ()
    path.rmdir()
    aside.rename(path)
    here.settle()
    assert here.at_home(made.id)


def test_what_a_power_cut_left_half_written_is_cleared_away(here: World) -> None:
    """It can be as large as what a train keeps, and no train is named by it: nothing else would ever remove it."""
    made = a_train(here)
    lost(here)
    house, folder = here.houses[A], here.folder(A) / "passes"
    with house.passes.keeping(made.id, 5) as sink:
        sink.write(b"sealed")
        sink.flush()
        (half,) = (path for path in folder.iterdir() if path.name != made.id)
        cut = half.name, half.read_bytes()
    (folder / cut[0]).write_bytes(cut[1])
    tidy(house)
    assert keys(here, A) == [made.id, f"{made.id}.5"]
