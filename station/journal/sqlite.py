"""How does a journal lie in a file?

One table in SQLite that only grows. A row is a record and the hash of the chain up to it; every other column is computed
from the record by the database, so none of them can tell a different story. Triggers refuse update, delete and
replacement; unique indexes refuse a second signature for a visit and a second acceptance of a train at a stop, whatever
the program above believes. Who can write the file can still drop all that, which is why there is a chain, and why heads
are signed (`audit`). The indexes that only find records are in `sqlite_index`.

``synchronous=FULL``: at ``NORMAL`` a power cut may lose a commit in WAL mode, a lost `Signed` is forgotten, and a second,
different signature would follow (https://www.sqlite.org/pragma.html#pragma_synchronous). What is found out again by looking
(`station.visit.events.lasts`) is written at ``NORMAL``: it becomes durable with what follows, in order, or is lost from the end.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from security.digest import Digest
from security.errors import DiskFull, Malformed
from security.files import PRIVATE_FILE, make_folder, sync_folder, told
from station.errors import JournalBusy, JournalDamaged, JournalUnwritable, LogMoved
from station.journal.chain import START, Head
from station.journal.log import Stored
from station.journal.sqlite_index import INDEXES, SqliteIndex

_APPLICATION: Final = 0x70687401
_PATIENCE_SECONDS: Final = 10.0
_AT_ONCE: Final = 500
"""Records read at once: the lock is not held, and no cursor is open, while a caller looks at them."""

_UNWRITABLE: Final = frozenset(
    {"SQLITE_READONLY", "SQLITE_READONLY_CANTINIT", "SQLITE_READONLY_DIRECTORY", "SQLITE_READONLY_RECOVERY"}
    | {f"SQLITE_IOERR_{what}" for what in ("WRITE", "FSYNC", "DIR_FSYNC", "TRUNCATE", "DELETE", "SHMSIZE")}
)
"""What SQLite says where the file system has become read-only under it (https://www.sqlite.org/rescode.html)."""

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


class SqliteLog:
    """A `Log` in a file of SQLite, or in memory."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._lock = threading.RLock()  # one connection, used by every thread of the daemon
        self._index = SqliteIndex(database, self._reading)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the log at `path`; begin an empty one if there is none.

        Raises:
            JournalDamaged: the file is something else, or was written by a newer version.
            FileMissing: the folder cannot be written.
        """
        make_folder(path.parent)
        with told(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE))
            sync_folder(path.parent)
        with explained(), contextlib.ExitStack() as undo:
            database = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
            undo.callback(database.close)
            database.execute("PRAGMA journal_mode = WAL")
            log = cls._prepared(database)
            undo.pop_all()
        return log

    @classmethod
    def in_memory(cls) -> Self:
        """Begin an empty log that ends with the process."""
        with explained():
            return cls._prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))

    @classmethod
    def _prepared(cls, database: sqlite3.Connection) -> Self:
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA recursive_triggers = ON")
        log = cls(database)
        with log._writing():
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (tables,) = database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables == 0:
                for statement in _statements():
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {_APPLICATION}")
            elif application != _APPLICATION:
                msg = "not a journal, or one of another version"
                raise JournalDamaged(msg)
        return log

    @property
    def index(self) -> SqliteIndex:
        """See `Log`."""
        return self._index

    def close(self) -> None:
        """See `Log`."""
        with self._lock:
            self._database.close()

    def append(self, record: bytes, *, after: Head, head: Head) -> None:
        """See `Log`: the commit syncs the write-ahead log, and with it every commit before."""
        self._insert(record, after, head)

    def add(self, record: bytes, *, after: Head, head: Head) -> None:
        """See `Log`: the commit is written to the write-ahead log, which the next one may sync."""
        with self._lock, explained():
            self._database.execute("PRAGMA synchronous = NORMAL")
            try:
                self._insert(record, after, head)
            finally:
                self._database.execute("PRAGMA synchronous = FULL")

    def _insert(self, record: bytes, after: Head, head: Head) -> None:
        with self._writing():
            if self.head() != after:
                msg = "the journal has grown meanwhile"
                raise LogMoved(msg)
            self._database.execute(
                "INSERT INTO journal (sequence, record, hash) VALUES (?, ?, ?)",
                (head.sequence, record.decode(), head.hash),
            )

    def read(self, after: int = 0) -> Iterator[Stored]:
        """See `Log`."""
        while rows := self._rows(after):
            for sequence, record, claimed in rows:
                yield Stored(sequence=sequence, record=record.encode(), hash=_digest(claimed))
            after = rows[-1][0]

    def head(self) -> Head:
        """See `Log`."""
        with self._reading():
            row = self._database.execute("SELECT sequence, hash FROM journal ORDER BY sequence DESC LIMIT 1").fetchone()
        return START if row is None else Head(sequence=row[0], hash=_digest(row[1]))

    def _rows(self, after: int) -> list[tuple[int, str, str]]:
        with self._reading():
            return self._database.execute(
                "SELECT sequence, record, hash FROM journal WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (after, _AT_ONCE),
            ).fetchall()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, explained():
            yield

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock, explained():
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
        msg = "a row of the journal has no hash"
        raise JournalDamaged(msg) from error


def _statements() -> Iterator[str]:
    """Split the schema; `executescript` would commit the transaction it is to be part of."""
    statement = ""
    for line in (_SCHEMA + INDEXES).splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def explained() -> Iterator[None]:
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
        if name in _UNWRITABLE:
            msg = "the journal's file system cannot be written"
            raise JournalUnwritable(msg, reason=name) from error
        msg = "the journal cannot be read or written"
        raise JournalDamaged(msg, reason=name or str(error)) from error
