"""Which engine reads tables, and what may it touch?

DuckDB, in this process, with a bounded memory. It is opened for one selection, may read and write the folders that are named
and nothing else, loads no extensions, and its configuration is locked before it sees a row.
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from security.files import explain
from security.tables.column import NAME
from station.data.port import UNBOUNDED, Space
from station.errors import DataUnfit

if TYPE_CHECKING:
    import duckdb  # below it is imported where it is used: a station without tables need not hold its 27 MiB

MEMORY_MIB: Final = 128
THREADS: Final = 2
_NUMBER: Final = re.compile(r'"errno":"([0-9]{1,4})"')
_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_LINE: Final = re.compile(r"Line: ([0-9]{1,15})\b")


class CellRejected(Exception):
    """A cell of a column is not of its type."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class RowsRejected(Exception):
    """What is read has no rows as it should, or the engine cannot tell where they begin."""


class Engine:
    """An open engine: statements with parameters."""

    def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
        self._database = database

    def run(self, statement: str, parameters: Sequence[object] = ()) -> None:
        """Run a statement.

        Raises:
            CellRejected: it evaluated ``error('column')``, which is how `cell` refuses what it reads.
            RowsRejected: what it reads has other rows than it should.
        """
        with _rejections():
            self._database.execute(statement, parameters)

    def copy(self, query: str, path: Path, options: str) -> int:
        """Write the rows of a query into a new file, and return how many there are."""
        ((count,),) = self.rows(f"COPY ({query}) TO {quoted(str(path))} ({options})")
        return int(count)

    def rows(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query: for few of them. It raises what `run` does."""
        with _rejections():
            return self._database.execute(statement, parameters).fetchall()


@contextlib.contextmanager
def _rejections() -> Iterator[None]:
    import duckdb  # noqa: PLC0415 - see above

    try:
        yield
    except (duckdb.InvalidInputException, duckdb.NotImplementedException) as error:
        told = str(error).removeprefix("Invalid Input Error: ")
        if NAME.accepts(told):
            raise CellRejected(told) from None
        raise RowsRejected from error


@contextlib.contextmanager
def opened(
    folders: Sequence[Path],
    *,
    scratch: Path | None,
    about: str,
    any_order: bool = False,
    space: Space = UNBOUNDED,
) -> Iterator[Engine]:
    """Open an engine that may touch `folders` and keeps in `scratch`, if there is one, what does not fit into memory.

    What it keeps there is no more than what is left of `space`. With `any_order`, rows that no statement puts in order are in none, which spares a large table waiting for its turn.

    Raises:
        DataCrowded, DataTooLarge, DiskFull, DiskReadOnly: what it writes finds no space.
        DataUnfit: a statement in the block failed. What the engine says may quote data: it is not told (attack T20).
    """
    import duckdb  # noqa: PLC0415 - see above

    database = duckdb.connect(
        ":memory:",
        config={
            "threads": str(THREADS),
            "memory_limit": f"{MEMORY_MIB}MiB",
            "temp_directory": str(scratch or ""),
            "max_temp_directory_size": f"{space.left}B",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "preserve_insertion_order": str(not any_order).lower(),
        },
    )
    try:
        allowed = ", ".join(quoted(f"{folder}/") for folder in (*folders, *([scratch] if scratch else [])))
        database.execute(f"SET allowed_directories = [{allowed}]")
        database.execute("SET TimeZone = 'UTC'")  # a moment is on one day, wherever this machine stands
        database.execute("SET enable_progress_bar = false")  # it would go to the daemon's output
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        yield Engine(database)
    except (duckdb.Error, RowsRejected) as failed:
        error = failed.__cause__ if isinstance(failed, RowsRejected) else failed
        if isinstance(error, duckdb.OutOfMemoryException) and "max_temp_directory_size" in str(error):
            raise space.full() from None
        number = _NUMBER.search(str(error))
        if isinstance(error, duckdb.IOException) and number and int(number[1]) in _DISK:
            raise explain(OSError(int(number[1]), ""), scratch or folders[0]) from None
        if isinstance(error, duckdb.OutOfMemoryException):
            msg = "the rows of a table are too long to be put into another order within the memory that tables have"
            raise DataUnfit(msg, data=about, hint="offer it without its long texts") from None
        msg = "a table cannot be read as it is described"
        line = _LINE.search(str(error))
        where = f"in line {line[1]}" if line else type(error).__name__
        raise DataUnfit(msg, data=about, where=where) from None
    finally:
        database.close()


def quoted(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def named(name: str) -> str:
    """Return the name of a column as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
