"""What are events made of, besides digests, numbers and times?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from security.digest import Digest

LONGEST_TEXT: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRecord:
    """What is written down of a table that a run is given.

    Which `version` of the source it was; how many `rows` and `patients`, and how many patients were left out as `withdrawn`,
    in bands; and two digests that only this station can compute, of the set of patients (`cohort`) and of what was delivered
    (`content`), by which two runs are seen to have had the same.
    """

    version: str
    rows: str
    patients: str
    withdrawn: str
    cohort: Digest
    content: Digest

    def __post_init__(self) -> None:
        for name in ("version", "rows", "patients", "withdrawn"):
            object.__setattr__(self, name, plain(getattr(self, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FurnishedData:
    """A data set that a run is given: its name, and the kind of source it came from. No path, and no hash of its content."""

    name: str
    source: str
    table: TableRecord | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", plain(self.name))
        object.__setattr__(self, "source", plain(self.source))


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedFile:
    """A file the gate let pass: its path in the state and its size in bytes. Never its digest, which can be guessed."""

    path: str
    size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", plain(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """So much of a budget, in whole units that the budget's name tells."""

    budget: str
    amount: int

    def __post_init__(self) -> None:
        if self.amount < 0:
            msg = "a budget does not grow by being spent"
            raise ValueError(msg)
        object.__setattr__(self, "budget", plain(self.budget))


def plain(text: str) -> str:
    """Return text that can be stored anywhere and shown on any terminal: printable, at most 2000 characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST_TEXT])
