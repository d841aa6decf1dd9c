"""What every place for a journal's records keeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from station.errors import JournalDamaged, LogMoved
from station.journal.chain import START, Head, Record, link
from station.journal.log import Log, Stored
from station.journal.sqlite import SqliteLog
from station.visit.station_events import DaemonStarted, Event
from tests.support.visits import ACCEPTED, NOTICED, NOW, SIGNED, digest

OTHER = digest("another arrival")


@pytest.fixture(params=["file", "memory"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    opened = SqliteLog.open(tmp_path / "journal.db") if request.param == "file" else SqliteLog.in_memory()
    yield opened
    opened.close()


def add(log: Log, event: Event, *, visit: str | None = None, position: int | None = None) -> Head:
    before = log.head()
    about = None if visit is None else digest(visit)
    record = Record(sequence=before.sequence + 1, visit=about, position=position, event=event).to_bytes()
    after = link(before, record)
    log.append(record, after=before, head=after)
    return after


def started(version: int) -> Event:
    return DaemonStarted(at=NOW, version=str(version))


def test_an_empty_log_ends_where_chains_start(log: Log) -> None:
    assert log.head() == START
    assert list(log.read()) == []


def test_records_are_told_in_order_with_the_hash_of_the_chain_up_to_each(log: Log) -> None:
    heads = [add(log, started(index)) for index in range(1200)]
    stored = list(log.read())
    assert [Head(sequence=one.sequence, hash=one.hash) for one in stored] == heads
    assert log.head() == heads[-1]
    chain = START
    for one in stored:
        chain = link(chain, one.record)
    assert chain == heads[-1]


def test_reading_goes_on_where_it_ended(log: Log) -> None:
    for index in range(5):
        add(log, started(index))
    assert [one.sequence for one in log.read(3)] == [4, 5]
    assert list(log.read(5)) == []


def test_records_are_given_by_number(log: Log) -> None:
    for index in range(4):
        add(log, started(index))
    records = [one.record for one in log.read()]
    assert log.at((3, 1)) == (records[2], records[0])
    assert log.at(()) == ()
    with pytest.raises(JournalDamaged):
        log.at((2, 5))


def test_who_knows_an_older_end_adds_nothing(log: Log) -> None:
    add(log, started(1))
    record = Record(sequence=1, visit=None, position=None, event=started(2)).to_bytes()
    with pytest.raises(LogMoved):
        log.append(record, after=START, head=link(START, record))
    assert log.head().sequence == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((SIGNED, "a visit", 3), (SIGNED, "a visit", 4)),
        ((ACCEPTED, "a visit", 2), (ACCEPTED, "another", 2)),
        ((NOTICED, "a visit", 0), (NOTICED, "a visit", 0)),
    ],
    ids=["a second signature of a visit", "a second acceptance at a stop", "a second event at a position"],
)
def test_the_log_itself_refuses(log: Log, first: tuple[Event, str, int], second: tuple[Event, str, int]) -> None:
    before = add(log, first[0], visit=first[1], position=first[2])
    with pytest.raises(JournalDamaged):
        add(log, second[0], visit=second[1], position=second[2])
    assert log.head() == before


def test_somebody_may_read_while_others_write(log: Log) -> None:
    for index in range(3):
        add(log, started(index))
    reading = log.read()
    first = next(reading)
    add(log, started(3))
    assert [first.sequence, *(one.sequence for one in reading)][:3] == [1, 2, 3]


def test_threads_share_a_log(log: Log) -> None:
    def write() -> None:
        for index in range(20):
            while True:
                try:
                    add(log, started(index))
                    break
                except LogMoved:
                    continue

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stored: list[Stored] = list(log.read())
    assert [one.sequence for one in stored] == list(range(1, 81))
    chain = START
    for one in stored:
        chain = link(chain, one.record)
        assert chain.hash == one.hash
