"""What does a station need from wherever a data set lives?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from security.errors import DiskFull, PhtError
from security.ids import TrainId
from security.tables.column import Column
from security.train.manifest import DataNeed
from station.check import CheckResult
from station.visit.parts import FurnishedData


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """The user a run runs as, where that is not the station's own."""

    uid: int
    gid: int


class Space(Protocol):
    """What may be copied for a train."""

    @property
    def left(self) -> int:
        """So many bytes more."""
        ...

    def take(self, count: int) -> None:
        """Say that so many bytes more are copied now.

        Raises:
            DataCrowded, DataTooLarge, DiskFull: see `full`.
        """
        ...

    def full(self) -> PhtError:
        """Return the error about more bytes than there is space for."""
        ...


class Unbounded:
    """As many bytes as the disk has."""

    @property
    def left(self) -> int:
        """See `Space`."""
        return 1 << 60

    def take(self, count: int) -> None:
        """See `Space`."""

    def full(self) -> PhtError:
        """See `Space`."""
        msg = "there is no space for what is copied"
        return DiskFull(msg)


UNBOUNDED: Final = Unbounded()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a train asks a data set for. `reader` is the user its run runs as, where that is not the station's own.

    Every byte that is copied is taken of `space`, before or soon after it is written.
    """

    need: DataNeed
    train: TrainId
    reader: Reader | None
    space: Space = UNBOUNDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Where a run finds a data set, and what is written down about it."""

    folder: Path
    record: FurnishedData


class DataSource(Protocol):
    """Where one data set lives. Nothing here changes it, and every call may be repeated.

    Errors name the data set and what the operator configured, and nothing that is in the data (attack T20).
    """

    @property
    def kind(self) -> str:
        """What ``source:`` in station.yaml, and the journal, call this kind of source."""
        ...

    def check(self, reader: Reader | None) -> tuple[CheckResult, ...]:
        """Say whether the data are there, and whether a run can be given them. Raises nothing."""
        ...

    def missing(self, need: DataNeed) -> tuple[str, ...]:
        """Return the file patterns of `need` that nothing in the data set matches.

        Raises:
            DataSourceUnavailable: the data set cannot be reached now.
        """
        ...

    def furnish(self, asked: Asked, into: Path, scratch: Path) -> Delivered:
        """Put what the train asked for where its run can read it, in a folder that the run is given, read-only.

        `into` and `scratch` are empty folders in the visit's workroom, wiped with the room: copies go into the first, which
        is given to the reader afterwards, what is needed meanwhile into the second. A source whose data are on this machine
        may return the folder they are in, and copy nothing. Either all of it is furnished, or an error is raised.

        Raises:
            DataSourceUnavailable: the data set cannot be reached now.
            DataClosed: the reader may not read what the train asked for.
            DataUnfit: the data are not what the operator described.
            DataCrowded, DataTooLarge, DiskFull: there is no space for what the train asked for.
            CohortTooSmall: the train asks for fewer patients than it may see.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A data set that a station offers: where it lives, and what a run is told about it.

    `columns` are those a train can ask for; None for a data set that is given as a folder, whole.
    """

    source: DataSource
    description: str
    columns: tuple[Column, ...] | None = None
