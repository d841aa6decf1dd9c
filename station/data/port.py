"""What does a station need from wherever a data set lives?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from security.train.manifest import DataNeed
from station.check import CheckResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """The user a run runs as, where that is not the station's own."""

    uid: int
    gid: int


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

    def furnish(self, need: DataNeed, into: Path, reader: Reader | None) -> Path:
        """Put what the train asked for where `reader` can read it; return the folder that the run is given, read-only.

        `into` is an empty folder in the visit's workroom, given to `reader` afterwards and wiped with the room: copies go
        there, and nowhere else. A source whose data are on this machine returns the folder they are in, and copies nothing.
        Either all of it is furnished, or an error is raised.

        Raises:
            DataSourceUnavailable: the data set cannot be reached now.
            DataClosed: `reader` may not read what the train asked for.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """A data set that a station offers: where it lives, and what a run is told about it."""

    source: DataSource
    description: str
