"""What every place for a journal's records keeps."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from station.errors import JournalDamaged, LogMoved
from station.journal.chain import START, Head, Record, link
from station.journal.log import Log, Stored
from station.journal.sqlite import SqliteLog
from station.visit.station_events import DaemonStarted, Event, Redelivered
from tests.support.visits import ACCEPTED, DEPARTED, FETCHED, NOTICED, NOW, QUIET_DAY, SIGNED, TRAIN, digest

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


# --- Finding records


def live(log: Log, visit: str, *events: Event) -> None:
    for position, event in enumerate(events):
        add(log, event, visit=visit, position=position)


def test_nothing_is_found_in_an_empty_log(log: Log) -> None:
    index = log.index
    assert (index.of(OTHER), index.began(OTHER), index.news(0)) == ((), 0, (0, frozenset()))
    assert (index.arrivals(), index.count(), index.under_way(), index.departed(after=0, until=9)) == ((), 0, (), ())
    assert (index.accepted(TRAIN, 1), index.beginning("7"), index.redelivered(OTHER)) == (None, (), False)
    assert (index.outside(), index.newest("head-signed")) == ((), None)
    index.check()


def test_the_records_of_a_visit_are_found_from_any_position(log: Log) -> None:
    live(log, "one", NOTICED, FETCHED)
    add(log, started(1))
    live(log, "two", NOTICED)
    add(log, ACCEPTED, visit="one", position=2)
    records = [one.record for one in log.read()]
    assert log.index.of(digest("one")) == (records[0], records[1], records[4])
    assert log.index.of(digest("one"), 2) == (records[4],)
    assert log.index.of(digest("one"), 3) == ()
    assert (log.index.began(digest("one")), log.index.began(digest("two"))) == (1, 4)


def test_news_are_told_by_number(log: Log) -> None:
    live(log, "one", NOTICED)
    live(log, "two", NOTICED, FETCHED)
    add(log, started(1))
    assert log.index.news(0) == (4, frozenset({digest("one"), digest("two")}))
    assert log.index.news(1) == (4, frozenset({digest("two")}))
    assert log.index.news(3) == (4, frozenset())
    assert log.index.news(4) == (4, frozenset())


def test_visits_are_told_in_the_order_of_their_arrival_until_they_depart_and_then_in_that_of_their_departure(
    log: Log,
) -> None:
    for name in ("b", "c", "a"):
        live(log, name, NOTICED)
    everyone = tuple(map(digest, "bca"))
    assert log.index.arrivals() == log.index.under_way() == everyone
    assert log.index.arrivals(2) == everyone[1:]
    add(log, DEPARTED, visit="a", position=1)
    add(log, DEPARTED, visit="b", position=1)
    assert (log.index.arrivals(), log.index.count(), log.index.under_way()) == (everyone, 3, (digest("c"),))
    assert log.index.departed(after=0, until=5) == (digest("a"), digest("b"))
    assert log.index.departed(after=4, until=5) == (digest("b"),)
    assert log.index.departed(after=0, until=4) == (digest("a"),)
    log.index.check()


def test_a_visit_is_found_by_its_train_and_by_what_either_is_called(log: Log) -> None:
    live(log, "one", *QUIET_DAY)
    live(log, "two", NOTICED)
    one, two = digest("one"), digest("two")
    assert log.index.accepted(TRAIN, 1) == one
    assert log.index.accepted(TRAIN, 2) is None
    assert log.index.beginning(TRAIN[:4]) == log.index.beginning(TRAIN) == (one,)
    assert log.index.beginning(two.hex[:8]) == (two,)
    assert log.index.beginning(two.hex + "0") == ()
    assert log.index.beginning("%") == log.index.beginning("_") == ()


def test_events_outside_visits_are_found_by_kind_and_number(log: Log) -> None:
    add(log, started(1))
    live(log, "one", NOTICED)
    add(log, Redelivered(at=NOW, arrival=OTHER, tag="t"))
    add(log, started(2))
    records = [one.record for one in log.read()]
    assert log.index.outside() == (records[0], records[2], records[3])
    assert log.index.outside("daemon-started") == (records[0], records[3])
    assert log.index.outside("daemon-started", after=1) == (records[3],)
    assert log.index.newest("daemon-started") == records[3]
    assert log.index.newest("head-signed") is None
    assert (log.index.redelivered(OTHER), log.index.redelivered(digest("one"))) == (True, False)


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM under_way",
        "INSERT INTO under_way VALUES ('sha256:" + "0" * 64 + "', 1)",
        "UPDATE under_way SET since = since + 1",
    ],
)
def test_a_list_of_visits_under_way_that_lies_is_found_out(tmp_path: Path, tampering: str) -> None:
    with closing(SqliteLog.open(tmp_path / "journal.db")) as log:
        live(log, "one", NOTICED)
        log.index.check()
        with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as editor:
            editor.execute(tampering)
        with pytest.raises(JournalDamaged):
            log.index.check()


def instructions(visits: int) -> int:
    """How many of its machine's instructions SQLite takes for what is asked while a train passes."""
    log, taken = SqliteLog.in_memory(), [0]
    for number in range(visits):
        live(log, f"visit {number}", NOTICED, DEPARTED)
    live(log, "here", NOTICED, FETCHED)

    def count() -> int:
        taken[0] += 1
        return 0

    log._database.set_progress_handler(count, 1)
    index, last = log.index, log.head().sequence
    index.of(digest("here"))
    index.began(digest("here"))
    index.news(last - 2)
    index.arrivals(2)
    index.under_way()
    index.departed(after=last - 4, until=last)
    index.accepted(TRAIN, 1)
    index.beginning(digest("here").hex[:12])
    index.redelivered(digest("here"))
    index.outside()
    index.newest("head-signed")
    add(log, ACCEPTED, visit="here", position=2)
    return taken[0]


def test_no_question_that_is_asked_while_a_train_passes_takes_longer_in_an_old_log() -> None:
    young, old = instructions(10), instructions(300)
    assert young < 1000
    assert abs(old - young) < 20
