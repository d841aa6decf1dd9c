"""What does the journal need from the place where its records lie?

Append one record at the end, read records in order, tell where they end; and find the few that a question is about
(`index`). A file (`sqlite`), the memory of a process, or a database server elsewhere can each be that place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from security.digest import Digest
from station.journal.chain import Head
from station.journal.index import Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A record as it lies in a log: its number (from 1), its bytes, and the hash of the chain up to it."""

    sequence: int
    record: bytes
    hash: Digest


class Log(Protocol):
    """An append-only log of records. Several processes, and several threads of one, may use it at once."""

    @property
    def index(self) -> Index:
        """What finds records by what they are about."""

    def append(self, record: bytes, *, after: Head, head: Head) -> None:
        """Add a record whose head is `head` to a log that ends at `after`; durable when this returns.

        Raises:
            LogMoved: the log does not end there any more. Nothing was added.
            JournalDamaged: the log holds by itself that this must not happen twice: a second signature of a visit, a second
                acceptance of a train at a stop, a second event at a position. Nothing was added.
            JournalBusy: another process is writing, and does not let go.
            DiskFull: nothing was added.
        """

    def add(self, record: bytes, *, after: Head, head: Head) -> None:
        """Like `append`, but durable only when what is appended later is: a power cut takes records from the end back."""

    def read(self, after: int = 0) -> Iterator[Stored]:
        """Yield the records after number `after`, in order.

        Raises:
            JournalDamaged: this is no log, or cannot be read.
        """

    def head(self) -> Head:
        """Return the end of the chain: `chain.START` of an empty log."""

    def close(self) -> None:
        """Let go of it."""
