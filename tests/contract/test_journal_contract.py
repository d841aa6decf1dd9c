"""What every journal keeps, wherever it lies."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from security.errors import Forked, Replayed
from station.errors import AlreadySigned, JournalDamaged, JournalRaced, VisitUnknown
from station.journal.chain import START
from station.journal.journal import Journal
from station.visit.events import Accepted, VisitEvent
from station.visit.station_events import DaemonStarted
from tests.support.visits import (
    ACCEPTED,
    ARRIVAL,
    FETCHED,
    HELD,
    NOTICED,
    NOW,
    QUIET_DAY,
    REFUSAL,
    SIGNED,
    STATION_EVENTS,
    STUMBLED,
    TRAIN,
    digest,
)

OTHER = digest("another arrival")


@pytest.fixture(params=["file", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    opened = Journal.open(tmp_path / "state" / "journal.db") if request.param == "file" else Journal.in_memory()
    with opened:
        yield opened


def record(journal: Journal, *events: VisitEvent) -> None:
    for index, event in enumerate(events):
        journal.append(ARRIVAL, event, expect=index)


def test_an_empty_journal_ends_where_it_starts(journal: Journal) -> None:
    assert journal.head() == START == journal.check()
    assert journal.arrivals() == ()
    assert journal.find(ARRIVAL) is None
    assert list(journal.records()) == []


def test_what_was_recorded_is_told_again(journal: Journal) -> None:
    record(journal, *QUIET_DAY)
    assert journal.visit(ARRIVAL).events == QUIET_DAY
    assert Journal(journal._log).visit(ARRIVAL).events == QUIET_DAY
    assert journal.check() == journal.follow() == journal.head()
    assert journal.head().sequence == len(QUIET_DAY)


def test_an_unknown_visit_is_told_so(journal: Journal) -> None:
    with pytest.raises(VisitUnknown):
        journal.visit(OTHER)


def test_visits_do_not_mix(journal: Journal) -> None:
    noticed = dataclasses.replace(NOTICED, arrival=OTHER)
    journal.append(ARRIVAL, NOTICED, expect=0)
    journal.append(OTHER, noticed, expect=0)
    journal.append(ARRIVAL, FETCHED, expect=1)
    assert journal.visit(ARRIVAL).events == (NOTICED, FETCHED)
    assert journal.visit(OTHER).events == (noticed,)
    assert journal.arrivals() == (ARRIVAL, OTHER)


def test_unfinished_are_those_that_have_not_departed(journal: Journal) -> None:
    record(journal, *QUIET_DAY)
    journal.append(OTHER, dataclasses.replace(NOTICED, arrival=OTHER), expect=0)
    assert journal.unfinished() == (OTHER,)


def test_events_of_the_station_stand_in_the_same_chain(journal: Journal) -> None:
    for index, event in enumerate(STATION_EVENTS, start=1):
        assert not isinstance(event, VisitEvent)
        assert journal.note(event).sequence == index
    journal.append(ARRIVAL, NOTICED, expect=0)
    assert journal.station_events() == STATION_EVENTS
    assert journal.check().sequence == len(STATION_EVENTS) + 1


@pytest.mark.parametrize("expect", [0, 2])
def test_who_loses_a_race_is_told_so_and_records_nothing(journal: Journal, expect: int) -> None:
    record(journal, NOTICED)
    with pytest.raises(JournalRaced):
        journal.append(ARRIVAL, FETCHED, expect=expect)
    assert journal.visit(ARRIVAL).events == (NOTICED,)
    assert journal.check().sequence == 1


@pytest.mark.parametrize("second", [SIGNED, REFUSAL, dataclasses.replace(SIGNED, entry=digest("other"))])
def test_a_visit_is_signed_once(journal: Journal, second: VisitEvent) -> None:
    record(journal, *QUIET_DAY[:12])
    with pytest.raises(AlreadySigned):
        journal.append(ARRIVAL, second, expect=12)
    assert journal.visit(ARRIVAL).signed == SIGNED
    assert journal.visit(ARRIVAL).length == 12


def arrive_again(journal: Journal) -> None:
    record(journal, NOTICED, FETCHED, ACCEPTED)
    journal.append(OTHER, dataclasses.replace(NOTICED, arrival=OTHER), expect=0)
    journal.append(OTHER, FETCHED, expect=1)


def test_a_train_is_accepted_once_at_a_stop(journal: Journal) -> None:
    arrive_again(journal)
    with pytest.raises(Replayed) as caught:
        journal.append(OTHER, ACCEPTED, expect=2)
    assert caught.value.code == "visit.replayed"
    assert journal.visit(OTHER).accepted is None
    assert journal.accepted(TRAIN, 1) == journal.visit(ARRIVAL)


@pytest.mark.parametrize(
    "delivery",
    [
        dataclasses.replace(ACCEPTED, manifest=digest("other")),
        dataclasses.replace(ACCEPTED, previous=(digest("other"),)),
        dataclasses.replace(ACCEPTED, states=(digest("other"),)),
    ],
)
def test_a_different_delivery_of_the_same_train_is_a_fork(journal: Journal, delivery: Accepted) -> None:
    arrive_again(journal)
    with pytest.raises(Forked) as caught:
        journal.append(OTHER, delivery, expect=2)
    assert caught.value.code == "visit.forked"
    assert journal.accepted(TRAIN, 1) == journal.visit(ARRIVAL)


def test_the_same_train_at_its_next_stop_is_another_visit(journal: Journal) -> None:
    arrive_again(journal)
    journal.append(OTHER, dataclasses.replace(ACCEPTED, stop=2), expect=2)
    assert journal.accepted(TRAIN, 2) == journal.visit(OTHER)
    assert journal.accepted(TRAIN, 3) is None


def test_a_refused_write_leaves_the_journal_usable(journal: Journal) -> None:
    record(journal, NOTICED, STUMBLED, HELD)
    with pytest.raises(JournalRaced):
        journal.append(ARRIVAL, FETCHED, expect=0)
    journal.note(DaemonStarted(at=NOW, version="1.0"))
    assert journal.check().sequence == 4


# --- Attacks on the table itself -------------------------------------------------------------------------------------

REWRITES = [
    "UPDATE journal SET record = json_set(record, '$.event.at', '2020-01-01T00:00:00Z')",
    "UPDATE journal SET hash = 'sha256:0' WHERE sequence = 1",
    "UPDATE journal SET sequence = sequence + 100",
    "UPDATE OR REPLACE journal SET sequence = 1 WHERE sequence = 2",
    "DELETE FROM journal",
    "DELETE FROM journal WHERE sequence = (SELECT max(sequence) FROM journal)",
    "INSERT OR REPLACE INTO journal (sequence, record, hash) SELECT sequence, record, 'x' FROM journal WHERE sequence = 1",
    "REPLACE INTO journal (sequence, record, hash) SELECT max(sequence) + 1, record, 'x' FROM journal",
    "REPLACE INTO journal (sequence, record, hash) SELECT 99, record, 'x' FROM journal WHERE sequence = 1",
    # The signature is replaced by another one, at a position that is free.
    (
        "REPLACE INTO journal (sequence, record, hash)"
        " SELECT (SELECT max(sequence) + 1 FROM journal), json_set(record, '$.position', 50), 'x'"
        " FROM journal WHERE kind = 'signed'"
    ),
    (
        "REPLACE INTO journal (sequence, record, hash)"
        " SELECT (SELECT max(sequence) + 1 FROM journal), json_set(record, '$.position', 50, '$.visit', 'x'), 'x'"
        " FROM journal WHERE kind = 'accepted'"
    ),
    (
        "REPLACE INTO journal (sequence, record, hash)"
        " SELECT (SELECT max(sequence) + 1 FROM journal), json_set(record, '$.position', 50), 'x'"
        " FROM journal WHERE kind = 'departed'"
    ),
    (
        "INSERT INTO journal (sequence, record, hash)"
        " SELECT (SELECT max(sequence) + 1 FROM journal), json_set(record, '$.position', 50), 'x'"
        " FROM journal WHERE kind = 'signed'"
    ),
    "INSERT INTO journal (sequence, record, hash) VALUES ((SELECT max(sequence) + 2 FROM journal), '{}', 'x')",
    "INSERT INTO journal (sequence, record, hash) VALUES ((SELECT max(sequence) + 1 FROM journal), 'not json', 'x')",
    "INSERT INTO journal (sequence, record, hash) VALUES ((SELECT max(sequence) + 1 FROM journal), NULL, 'x')",
]


@pytest.mark.parametrize("statement", REWRITES)
def test_the_database_refuses_to_forget(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path) as journal:
        record(journal, *QUIET_DAY)
        before = journal.check()
    stranger = sqlite3.connect(path, isolation_level=None)  # without our settings of the connection
    with pytest.raises(sqlite3.Error):
        stranger.execute(statement)
    stranger.close()
    with Journal.open(path) as journal:
        assert journal.check() == before
        assert journal.visit(ARRIVAL).events == QUIET_DAY


def test_a_signature_in_the_wrong_order_of_events_is_still_only_one(journal: Journal) -> None:
    record(journal, NOTICED, SIGNED)
    with pytest.raises(AlreadySigned):
        journal.append(ARRIVAL, SIGNED, expect=2)


def test_another_database_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE journal (sequence)")
    foreign.close()
    with pytest.raises(JournalDamaged):
        Journal.open(path)


def test_another_file_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"something else, of at least one page" * 1000)
    with pytest.raises(JournalDamaged):
        Journal.open(path)
    assert path.read_bytes() == b"something else, of at least one page" * 1000
