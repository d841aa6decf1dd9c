"""The journal against crashes, races and somebody with an editor."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from security.errors import DiskFull, FileMissing
from station.errors import JournalBusy, JournalDamaged, JournalRaced
from station.journal.chain import check_chain
from station.journal.journal import Journal
from station.journal.sqlite import SqliteLog
from station.visit.station_events import DaemonStarted
from tests.support.visits import ARRIVAL, FETCHED, NOTICED, NOW, QUIET_DAY, STUMBLED

ROOT = Path(__file__).resolve().parents[3]

WRITER = """
import sys
from pathlib import Path
from station.journal.journal import Journal
from tests.support.visits import ARRIVAL, NOTICED, STUMBLED

with Journal.open(Path(sys.argv[1])) as journal:
    visit = journal.find(ARRIVAL)
    length = visit.length if visit else 0
    while True:
        journal.append(ARRIVAL, NOTICED if length == 0 else STUMBLED, expect=length)
        length += 1
        print(journal.head().sequence, flush=True)
"""


def database(journal: Journal) -> sqlite3.Connection:
    log = journal._log
    assert isinstance(log, SqliteLog)
    return log._database


def test_a_killed_writer_leaves_a_whole_chain_with_everything_it_had_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    told = 0
    for least in (3, 17, 40):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
        assert writer.stdout is not None
        for _ in range(least):
            told = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        told = int(rest[-1]) if rest else told
        with Journal.open(path) as journal:
            assert journal.check().sequence >= told
            assert journal.visit(ARRIVAL).length == journal.head().sequence


def test_it_is_private(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.db"
    with Journal.open(path) as journal:
        journal.append(ARRIVAL, NOTICED, expect=0)
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    assert modes == {"journal.db": 0o600, "journal.db-wal": 0o600, "journal.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_is_written_for_good(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db") as journal:
        assert database(journal).execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database(journal).execute("PRAGMA synchronous").fetchone() == (2,)


def test_of_two_that_append_at_once_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path) as journal:
        journal.append(ARRIVAL, NOTICED, expect=0)
    outcomes: list[str] = []
    start = threading.Barrier(4)

    def race() -> None:
        with Journal.open(path) as mine:
            start.wait()
            try:
                mine.append(ARRIVAL, FETCHED, expect=1)
                outcomes.append("won")
            except JournalRaced:
                outcomes.append("lost")

    racers = [threading.Thread(target=race) for _ in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(outcomes) == ["lost", "lost", "lost", "won"]
    with Journal.open(path) as journal:
        assert journal.visit(ARRIVAL).events == (NOTICED, FETCHED)
        assert journal.check().sequence == 2


def test_two_processes_may_both_write(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path) as daemon, Journal.open(path) as command:
        daemon.append(ARRIVAL, NOTICED, expect=0)
        command.append(ARRIVAL, STUMBLED, expect=1)
        daemon.append(ARRIVAL, FETCHED, expect=2)
        assert command.visit(ARRIVAL).length == 3
        assert daemon.check() == command.check()


def test_a_writer_that_does_not_let_go_is_told_as_busy(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path) as journal:
        database(journal).execute("PRAGMA busy_timeout = 20")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalBusy):
            journal.append(ARRIVAL, NOTICED, expect=0)
        other.execute("ROLLBACK")
        other.close()
        journal.append(ARRIVAL, NOTICED, expect=0)


def fill(journal: Journal) -> int:
    for length in range(1, 10_000):
        try:
            journal.append(ARRIVAL, STUMBLED, expect=length)
        except DiskFull:
            return length
    pytest.fail("the disk was never full")


def test_a_full_disk_loses_nothing_that_was_told(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db") as journal:
        journal.append(ARRIVAL, NOTICED, expect=0)
        (pages,) = database(journal).execute("PRAGMA page_count").fetchone()
        database(journal).execute(f"PRAGMA max_page_count = {pages}")
        length = fill(journal)
        assert journal.visit(ARRIVAL).length == length
        assert journal.check().sequence == length
        database(journal).execute(f"PRAGMA max_page_count = {pages + 1000}")
        journal.append(ARRIVAL, FETCHED, expect=length)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileMissing):
        Journal.open(tmp_path / "file" / "journal.db")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "journal.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileMissing):
        Journal.open(tmp_path / "journal.db")
    assert not (tmp_path / "elsewhere").exists()


TAMPERING = [
    "UPDATE journal SET record = replace(record, 'train-1', 'train-2') WHERE sequence = 1",
    'UPDATE journal SET record = replace(record, \'"by":"policy"\', \'"by": "policy"\') WHERE sequence = 4',
    "UPDATE journal SET hash = (SELECT hash FROM journal WHERE sequence = 2) WHERE sequence = 3",
    "DELETE FROM journal WHERE sequence = 1",
    "DELETE FROM journal WHERE sequence = 5",
    (
        "UPDATE journal SET sequence = CASE sequence WHEN 5 THEN -6 WHEN 6 THEN -5 END WHERE sequence IN (5, 6);"
        "UPDATE journal SET sequence = -sequence WHERE sequence < 0"
    ),
    (
        "INSERT INTO journal (sequence, record, hash) SELECT sequence + 1, json_set(record, '$.sequence', sequence + 1,"
        " '$.position', sequence), hash FROM journal ORDER BY sequence DESC LIMIT 1"
    ),
]


@pytest.mark.parametrize("statements", TAMPERING)
def test_who_drops_the_triggers_still_breaks_the_chain(tmp_path: Path, statements: str) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path) as journal:
        for index, event in enumerate(QUIET_DAY):
            journal.append(ARRIVAL, event, expect=index)
        before = list(journal.records())
    editor = sqlite3.connect(path, isolation_level=None)
    for trigger in ("never_updated", "never_deleted", "never_replaced"):
        editor.execute(f"DROP TRIGGER {trigger}")
    editor.execute("DROP INDEX one_departure_per_visit")
    editor.executescript(statements)
    editor.close()
    with Journal.open(path) as journal:
        after = list(journal.records())
        assert after != before
        with pytest.raises(JournalDamaged):
            journal.check()
    with pytest.raises(JournalDamaged):
        check_chain(after)


def test_a_damaged_page_is_told_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path) as journal:
        for index in range(200):
            journal.append(ARRIVAL, STUMBLED if index else NOTICED, expect=index)
        database(journal).execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damaged = bytearray(path.read_bytes())
    for at in range(4096, len(damaged), 4096):
        damaged[at : at + 100] = b"\xff" * 100
    path.write_bytes(damaged)
    with pytest.raises(JournalDamaged), Journal.open(path) as journal:
        journal.check()


def test_a_record_that_is_none_is_told_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path) as journal:
        journal.note(DaemonStarted(at=NOW, version="1.0"))
    editor = sqlite3.connect(path, isolation_level=None)
    editor.execute("INSERT INTO journal (sequence, record, hash) VALUES (2, '{\"visit\":null}', 'sha256:0')")
    editor.close()
    with Journal.open(path) as journal, pytest.raises(JournalDamaged):
        journal.station_events()
    with Journal.open(path) as journal, pytest.raises(JournalDamaged):
        journal.check()
