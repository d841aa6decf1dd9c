"""What has happened here, in order, for good?

One table in SQLite that only grows. A row is a record and the hash of the chain up to it; every other column is computed
from the record by the database, so none of them can tell a different story. Triggers refuse update, delete and
replacement; unique indexes refuse a second signature for a visit and a second acceptance of a train at a stop. Who can
write the file can still drop all that, which is why there is a chain, and why heads are signed (`audit`).

``synchronous=FULL``: at ``NORMAL`` a power cut may lose a commit in WAL mode, a lost `Signed` is forgotten, and a second,
different signature would follow (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from security.digest import Digest
from security.errors import DiskFull, Forked, Malformed, Replayed
from security.files import PRIVATE_FILE, make_folder, sync_folder, told
from security.ids import TrainId
from security.train.route import counted
from station.errors import AlreadySigned, JournalBusy, JournalDamaged, JournalRaced, VisitUnknown
from station.journal.chain import START, Head, Record, check_chain, link, parse_record
from station.visit.events import (
    Accepted,
    ArrivalId,
    Departed,
    Event,
    HeadSigned,
    Noticed,
    Redelivered,
    Signed,
    StationEvent,
    VisitEvent,
)
from station.visit.state import Visit, replay, resume

_APPLICATION: Final = 0x70687401
_PATIENCE_SECONDS: Final = 10.0

_SCHEMA: Final = """
CREATE TABLE journal (
    sequence INTEGER PRIMARY KEY,
    record   TEXT NOT NULL,
    hash     TEXT NOT NULL,
    visit    TEXT    GENERATED ALWAYS AS (json_extract(record, '$.visit')) VIRTUAL,
    position INTEGER GENERATED ALWAYS AS (json_extract(record, '$.position')) VIRTUAL,
    kind     TEXT    GENERATED ALWAYS AS (json_extract(record, '$.event.kind')) VIRTUAL,
    train    TEXT    GENERATED ALWAYS AS (json_extract(record, '$.event.train')) VIRTUAL,
    stop     INTEGER GENERATED ALWAYS AS (json_extract(record, '$.event.stop')) VIRTUAL
) STRICT;

CREATE UNIQUE INDEX one_event_per_position ON journal (visit, position) WHERE visit IS NOT NULL;
CREATE UNIQUE INDEX one_signature_per_visit ON journal (visit) WHERE kind = 'signed';
CREATE UNIQUE INDEX one_acceptance_per_stop ON journal (train, stop) WHERE kind = 'accepted';
CREATE UNIQUE INDEX one_departure_per_visit ON journal (visit) WHERE kind = 'departed';

CREATE TRIGGER never_updated BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER never_deleted BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;

-- "INSERT OR REPLACE" deletes what is in its way without asking the trigger above (unless recursive_triggers is on).
CREATE TRIGGER never_replaced BEFORE INSERT ON journal
WHEN new.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM journal)
  OR EXISTS (SELECT 1 FROM journal WHERE visit = json_extract(new.record, '$.visit')
                                     AND position = json_extract(new.record, '$.position'))
  OR EXISTS (SELECT 1 FROM journal WHERE kind = 'signed' AND json_extract(new.record, '$.event.kind') = 'signed'
                                     AND visit = json_extract(new.record, '$.visit'))
  OR EXISTS (SELECT 1 FROM journal WHERE kind = 'departed' AND json_extract(new.record, '$.event.kind') = 'departed'
                                     AND visit = json_extract(new.record, '$.visit'))
  OR EXISTS (SELECT 1 FROM journal WHERE kind = 'accepted' AND json_extract(new.record, '$.event.kind') = 'accepted'
                                     AND train = json_extract(new.record, '$.event.train')
                                     AND stop = json_extract(new.record, '$.event.stop'))
BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
"""


class Journal:
    """The journal of one station. Several processes may have it open; who loses a race is told so."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._known: dict[ArrivalId, Visit] = {}
        self._redelivered: set[ArrivalId] = set()
        self._seen = 0  # how far the journal was read for them

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the journal at `path`; begin an empty one if there is none.

        Raises:
            JournalDamaged: the file is something else, or was written by a newer version.
            FileMissing: the folder cannot be written.
        """
        make_folder(path.parent)
        with told(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE))
            sync_folder(path.parent)
        with _told(), contextlib.ExitStack() as undo:
            database = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None)
            undo.callback(database.close)
            database.execute("PRAGMA journal_mode = WAL")
            journal = cls._prepared(database)
            undo.pop_all()
        return journal

    @classmethod
    def in_memory(cls) -> Self:
        """Begin an empty journal that ends with the process: for tests, which write thousands."""
        with _told():
            return cls._prepared(sqlite3.connect(":memory:", isolation_level=None))

    @classmethod
    def _prepared(cls, database: sqlite3.Connection) -> Self:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA recursive_triggers = ON")
        journal = cls(database)
        with journal._writing():
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables == 0:
                for statement in _statements():
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {_APPLICATION}")
            elif application != _APPLICATION:
                msg = "not a journal, or one of another version"
                raise JournalDamaged(msg)
        return journal

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- Writing

    def append(self, visit: ArrivalId, event: VisitEvent, *, expect: int) -> Head:
        """Record what happened to a visit; durable when it returns.

        `expect` is the number of events the caller knows of (`Visit.length`; 0 for a new visit).

        Raises:
            JournalRaced: there are more events by now. Nothing was recorded.
            Replayed: this train was accepted at this stop before, in another visit.
            Forked: likewise, and the two deliveries carry different parts.
            AlreadySigned: this visit has its one signature.
            DiskFull: nothing was recorded.
        """
        with self._writing():
            (known,) = self._one("SELECT count(*) FROM journal WHERE visit = ?", visit)
            if known != expect:
                msg = "somebody else was faster"
                raise JournalRaced(msg, visit=visit.short, expected=expect, found=known)
            if isinstance(event, Accepted):
                self._refuse_second(visit, event)
            if isinstance(event, Signed) and self._one(
                "SELECT count(*) FROM journal WHERE visit = ? AND kind = ?", visit, Signed.kind
            ) != (0,):
                msg = "this visit was signed before"
                raise AlreadySigned(msg, visit=visit.short)
            return self._insert(visit, known, event)

    def note(self, event: StationEvent) -> Head:
        """Record what happened at the station outside any visit."""
        with self._writing():
            return self._insert(None, None, event)

    def _refuse_second(self, visit: ArrivalId, event: Accepted) -> None:
        first = self.accepted(event.train, event.stop)
        if first is None:
            return
        again = Replayed if first.accepted is not None and first.accepted.same_parts(event) else Forked
        msg = "this train was at this stop before"
        raise again(
            msg, train=event.train.short, stop=counted(event.stop), first=first.arrival.short, second=visit.short
        )

    def _insert(self, visit: ArrivalId | None, position: int | None, event: Event) -> Head:
        before = self.head()
        raw = Record(sequence=before.sequence + 1, visit=visit, position=position, event=event).to_bytes()
        after = link(before, raw)
        self._database.execute(
            "INSERT INTO journal (sequence, record, hash) VALUES (?, ?, ?)",
            (after.sequence, raw.decode(), after.hash),
        )
        return after

    # --- Reading

    def head(self) -> Head:
        """Return the end of the chain."""
        with _told():
            row = self._database.execute("SELECT sequence, hash FROM journal ORDER BY sequence DESC LIMIT 1").fetchone()
        return START if row is None else Head(sequence=row[0], hash=_digest(row[1]))

    def visit(self, arrival: ArrivalId) -> Visit:
        """Return a visit.

        Raises:
            VisitUnknown: there is none.
        """
        visit = self.find(arrival)
        if visit is None:
            msg = "no such visit"
            raise VisitUnknown(msg, visit=arrival.short)
        return visit

    def find(self, arrival: ArrivalId) -> Visit | None:
        """Return a visit, if there is one. What was read before is not read again: it cannot have changed."""
        known = self._known.get(arrival)
        with _told():
            rows = self._database.execute(
                "SELECT record FROM journal WHERE visit = ? AND position >= ? ORDER BY position",
                (arrival, known.length if known else 0),
            ).fetchall()
        if rows:
            news = (parse_record(raw.encode()).event for (raw,) in rows)
            events = tuple(event for event in news if isinstance(event, VisitEvent))
            known = self._known[arrival] = resume(known, events) if known else replay(events)
        return known

    def accepted(self, train: TrainId, stop: int) -> Visit | None:
        """Return the visit in which this train was accepted at this stop, if it was."""
        with _told():
            row = self._database.execute(
                "SELECT visit FROM journal WHERE kind = ? AND train = ? AND stop = ?", (Accepted.kind, train, stop)
            ).fetchone()
        return self.visit(_digest(row[0])) if row else None

    def arrivals(self) -> tuple[ArrivalId, ...]:
        """Return the names of all visits, oldest first."""
        return self._names("SELECT visit FROM journal WHERE kind = ? ORDER BY sequence", Noticed.kind)

    def unfinished(self) -> tuple[ArrivalId, ...]:
        """Return the names of the visits that have not departed, oldest first."""
        return self._names(
            "SELECT visit FROM journal WHERE kind = ? AND visit NOT IN"
            " (SELECT visit FROM journal WHERE kind = ?) ORDER BY sequence",
            Noticed.kind,
            Departed.kind,
        )

    def records(self) -> Iterator[tuple[bytes, Digest]]:
        """Yield every record as stored, with the hash stored beside it: what `chain.check_chain` takes."""
        with _told():
            for raw, claimed in self._database.execute("SELECT record, hash FROM journal ORDER BY sequence"):
                yield raw.encode(), _digest(claimed)

    def station_events(self) -> tuple[StationEvent, ...]:
        """Return the events outside any visit, oldest first."""
        with _told():
            rows = self._database.execute("SELECT record FROM journal WHERE visit IS NULL ORDER BY sequence").fetchall()
        news = (parse_record(raw.encode()).event for (raw,) in rows)
        return tuple(event for event in news if isinstance(event, StationEvent))

    def last_signed_head(self) -> HeadSigned | None:
        """Return the newest signed head, if there is one."""
        with _told():
            row = self._database.execute(
                "SELECT record FROM journal WHERE kind = ? ORDER BY sequence DESC LIMIT 1", (HeadSigned.kind,)
            ).fetchone()
        event = parse_record(row[0].encode()).event if row else None
        return event if isinstance(event, HeadSigned) else None

    def was_redelivered(self, arrival: ArrivalId) -> bool:
        """Whether there is a record already that this arrival came again after its visit was over."""
        until = self.head().sequence
        self._redelivered.update(
            self._names(
                "SELECT json_extract(record, '$.event.arrival') FROM journal"
                " WHERE kind = ? AND sequence > ? AND sequence <= ?",
                Redelivered.kind,
                self._seen,
                until,
            )
        )
        self._seen = until
        return arrival in self._redelivered

    def check(self) -> Head:
        """Follow the whole chain.

        Raises:
            JournalDamaged: a record was changed, removed, added or moved.
        """
        return check_chain(self.records())

    def _names(self, query: str, *values: str | int) -> tuple[ArrivalId, ...]:
        with _told():
            return tuple(_digest(name) for (name,) in self._database.execute(query, values).fetchall())

    def _one(self, query: str, *values: str) -> tuple[int, ...]:
        row: tuple[int, ...] = self._database.execute(query, values).fetchone()
        return row

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with _told():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite itself has rolled back when the disk was full
                    self._database.execute("ROLLBACK")
                raise


def _digest(text: object) -> Digest:
    try:
        return Digest(str(text))
    except Malformed as error:
        msg = "a row of the journal has no hash, or belongs to no visit"
        raise JournalDamaged(msg) from error


def _statements() -> Iterator[str]:
    """Split the schema; `executescript` would commit the transaction it is to be part of."""
    statement = ""
    for line in _SCHEMA.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            msg = "the journal is being written to by another process"
            raise JournalBusy(msg) from error
        if name == "SQLITE_FULL":
            msg = "no room on the file system"
            raise DiskFull(msg) from error
        msg = "the journal cannot be read or written"
        raise JournalDamaged(msg, reason=name or str(error)) from error
