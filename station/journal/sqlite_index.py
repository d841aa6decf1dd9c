"""How are records found in SQLite?

By indexes over columns that the database computes from the records, and by one table beside them, of the visits under way,
which triggers keep in the transaction that adds a record (`sqlite`).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from typing import Any, Final

from security.digest import Digest
from security.errors import Malformed
from security.ids import TrainId
from station.errors import JournalDamaged
from station.visit.events import ArrivalId

INDEXES: Final = """
CREATE INDEX arrivals ON journal (sequence) WHERE position = 0;
CREATE INDEX departures ON journal (sequence) WHERE kind = 'departed';
CREATE INDEX redeliveries ON journal (json_extract(record, '$.event.arrival')) WHERE kind = 'redelivered';
CREATE INDEX outside ON journal (kind) WHERE visit IS NULL;

CREATE TABLE under_way (visit TEXT PRIMARY KEY, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER begun AFTER INSERT ON journal WHEN json_extract(new.record, '$.position') = 0
BEGIN INSERT INTO under_way (visit, since) VALUES (json_extract(new.record, '$.visit'), new.sequence); END;
CREATE TRIGGER over AFTER INSERT ON journal WHEN json_extract(new.record, '$.event.kind') = 'departed'
BEGIN DELETE FROM under_way WHERE visit = json_extract(new.record, '$.visit'); END;
"""

_LAST: Final = "\U0010ffff"
"""Comes after every digit."""


class SqliteIndex:
    """An `Index` of the records in a database; `reading` is entered around every question."""

    def __init__(
        self, database: sqlite3.Connection, reading: Callable[[], contextlib.AbstractContextManager[None]]
    ) -> None:
        self._database, self._reading = database, reading

    def of(self, visit: ArrivalId, position: int = 0) -> tuple[bytes, ...]:
        """See `Index`."""
        rows = self._rows(
            "SELECT record FROM journal WHERE visit = ? AND position >= ? ORDER BY position", visit, position
        )
        return tuple(record.encode() for (record,) in rows)

    def began(self, visit: ArrivalId) -> int:
        """See `Index`."""
        return self._number("SELECT max(sequence) FROM journal WHERE visit = ? AND position = 0", visit)

    def news(self, after: int) -> tuple[int, frozenset[ArrivalId]]:
        """See `Index`."""
        rows = self._rows("SELECT sequence, visit FROM journal WHERE sequence > ? ORDER BY sequence", after)
        return rows[-1][0] if rows else after, frozenset(_name(visit) for _, visit in rows if visit is not None)

    def arrivals(self, newest: int | None = None) -> tuple[ArrivalId, ...]:
        """See `Index`."""
        limit = -1 if newest is None else newest
        found = self._visits(
            "SELECT visit FROM journal INDEXED BY arrivals WHERE position = 0 ORDER BY sequence DESC LIMIT ?", limit
        )
        return found[::-1]

    def count(self) -> int:
        """See `Index`."""
        return self._number("SELECT count(*) FROM journal INDEXED BY arrivals WHERE position = 0")

    def under_way(self) -> tuple[ArrivalId, ...]:
        """See `Index`."""
        return self._visits("SELECT visit FROM under_way ORDER BY since")

    def departed(self, *, after: int, until: int) -> tuple[ArrivalId, ...]:
        """See `Index`."""
        return self._visits(
            "SELECT visit FROM journal INDEXED BY departures WHERE kind = 'departed' AND sequence > ? AND sequence <= ?"
            " ORDER BY sequence",
            *(after, until),
        )

    def accepted(self, train: TrainId, stop: int) -> ArrivalId | None:
        """See `Index`."""
        found = self._visits(
            "SELECT visit FROM journal WHERE kind = 'accepted' AND train = ? AND stop = ?", train, stop
        )
        return found[0] if found else None

    def beginning(self, digits: str) -> tuple[ArrivalId, ...]:
        """See `Index`."""
        visit = f"sha256:{digits}"
        return self._visits(
            "SELECT visit FROM (SELECT visit, sequence FROM journal WHERE visit BETWEEN ? AND ? AND position = 0"
            " UNION SELECT visit, (SELECT since.sequence FROM journal AS since WHERE since.visit = known.visit"
            " AND since.position = 0) FROM journal AS known WHERE kind = 'accepted' AND train BETWEEN ? AND ?)"
            " ORDER BY sequence",
            *(visit, visit + _LAST),
            *(digits, digits + _LAST),
        )

    def redelivered(self, visit: ArrivalId) -> bool:
        """See `Index`."""
        found = self._rows(
            "SELECT 1 FROM journal WHERE kind = 'redelivered' AND json_extract(record, '$.event.arrival') = ? LIMIT 1",
            visit,
        )
        return bool(found)

    def outside(self, kind: str | None = None, *, after: int = 0) -> tuple[bytes, ...]:
        """See `Index`."""
        query = "SELECT record FROM journal INDEXED BY outside WHERE visit IS NULL AND sequence > ?"
        rows = (
            self._rows(f"{query} ORDER BY sequence", after)
            if kind is None
            else self._rows(f"{query} AND kind = ? ORDER BY sequence", after, kind)
        )
        return tuple(record.encode() for (record,) in rows)

    def newest(self, kind: str) -> bytes | None:
        """See `Index`."""
        rows = self._rows(
            "SELECT record FROM journal INDEXED BY outside WHERE visit IS NULL AND kind = ?"
            " ORDER BY sequence DESC LIMIT 1",
            kind,
        )
        return rows[0][0].encode() if rows else None

    def check(self) -> None:
        """See `Index`."""
        # One statement: records are added meanwhile, and two would see two states of the journal.
        ((listed, told, differ),) = self._rows(
            "WITH follows (visit, since) AS (SELECT visit, sequence FROM journal AS begun INDEXED BY arrivals"
            " WHERE position = 0 AND NOT EXISTS"
            " (SELECT 1 FROM journal AS over WHERE over.kind = 'departed' AND over.visit = begun.visit)),"
            " kept (visit, since) AS (SELECT visit, since FROM under_way)"
            " SELECT (SELECT count(*) FROM kept), (SELECT count(*) FROM follows),"
            " EXISTS (SELECT * FROM kept EXCEPT SELECT * FROM follows)"
            " OR EXISTS (SELECT * FROM follows EXCEPT SELECT * FROM kept)"
        )
        if differ:
            msg = "the list of visits under way is not what the journal tells"
            raise JournalDamaged(msg, listed=listed, told=told)

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._reading():
            return self._database.execute(query, values).fetchall()

    def _visits(self, query: str, *values: object) -> tuple[ArrivalId, ...]:
        return tuple(_name(visit) for (visit,) in self._rows(query, *values))

    def _number(self, query: str, *values: object) -> int:
        ((found,),) = self._rows(query, *values)
        return found or 0


def _name(visit: object) -> ArrivalId:
    try:
        return Digest(str(visit))
    except Malformed as error:
        msg = "a record of the journal names no visit"
        raise JournalDamaged(msg) from error
