"""What does a table need from wherever its rows are?

A source brings rows to this machine, or tells where they are; one engine reads them, decides which are wanted, and delivers
(`select`). A source may leave out rows and columns that are not wanted, so that they never leave where they are, and needs
not: what it brings is decided on all the same. So a selection means the same at every source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from security.tables.column import Column, ColumnType
from security.tables.expression import Condition
from station.check import CheckResult
from station.data.port import UNBOUNDED, Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A column, and what the source calls it, or computes it from."""

    column: Column
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a source is asked for: these columns, and rows that may satisfy the condition (None for all).

    What it writes, it takes of `space`.
    """

    columns: tuple[Described, ...]
    where: Condition | None = None
    space: Space = UNBOUNDED


class Form(StrEnum):
    """How staged rows are written."""

    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How a CSV file is written. `dates` is a pattern of strptime, None for 2026-11-27; `missing` are further words for nothing."""

    delimiter: str = ","
    quote: str = '"'
    encoding: str = "utf-8"
    decimal: str = "."
    dates: str | None = None
    missing: tuple[str, ...] = ()


PLAIN = Spelling()


class Carry(Protocol):
    """Copies the file that a cell names, made fit to be given away, to a path."""

    @property
    def suffix(self) -> str:
        """How the names of these files end: ``.dcm``."""
        ...

    def __call__(self, cell: str, path: Path, key: str) -> None:
        """Copy one. `key` is of the train: under it patients, and whatever else is named in a file, get their numbers.

        Raises:
            DataSourceUnavailable: it cannot be fetched now, or is another than when the rows were staged.
            DataUnfit: it cannot be made fit.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """Rows where the engine can read them.

    `names` tells what the column of a name is called there. `version` tells people which state of the source this is: a
    snapshot, a time, a digest; nothing of the data. `unchanged`, asked when everything was read, tells whether it still is.
    `types` are those of columns whose type the source knows, by what they are called there. `carry`, where cells name files,
    copies one of them. `in_order` has a CSV file read by one thread: see `station.data.tables.scan.whole`.
    """

    form: Form
    paths: tuple[Path, ...]
    names: Mapping[str, str]
    version: str
    spelling: Spelling = PLAIN
    unchanged: Callable[[], bool] = field(default=lambda: True, compare=False)
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    carry: Carry | None = field(default=None, compare=False)
    in_order: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A column as a source has it, before anybody has described it: `type` is what the source calls it."""

    name: str
    type: str


class TableSource(Protocol):
    """Where the rows of one table are. Nothing here changes it, and every call may be repeated.

    Errors name the data set and what the operator configured, and nothing that is in the data (attack T20).
    """

    @property
    def kind(self) -> str:
        """What ``source:`` in station.yaml, and the journal, call this kind of source."""
        ...

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files and folders of this machine that it reads."""
        ...

    @property
    def secrets(self) -> tuple[Path, ...]:
        """Those of them that say who the station is at the source, and that no run may see (attack T19)."""
        ...

    def check(self) -> tuple[CheckResult, ...]:
        """Say whether the source can be reached, and only be read. Raises nothing."""
        ...

    def columns(self) -> tuple[Found, ...]:
        """Return the columns there are.

        Raises:
            DataSourceUnavailable: it cannot be reached now.
            DataUnfit: it is no table, or not one that can be read.
        """
        ...

    def stage(self, wanted: Wanted, into: Path) -> Staged:
        """Bring rows into the empty folder `into`, or tell where on this machine they are.

        All rows that may be wanted are brought, or an error is raised: never a part of them.

        Raises:
            DataSourceUnavailable: the source is away, too slow, or broke off; the train waits.
            DataUnfit: a column is gone, or rights are too narrow; the operator must act.
            DataCrowded, DataTooLarge, DiskFull: there is no space for it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InFolder:
    """What the sources have in common that read a `folder` of this machine for the data set `name`, and say nobody who they are."""

    name: str
    folder: Path

    @property
    def reads(self) -> tuple[Path, ...]:
        """See `TableSource`."""
        return (self.folder,)

    @property
    def secrets(self) -> tuple[Path, ...]:
        """See `TableSource`."""
        return ()
