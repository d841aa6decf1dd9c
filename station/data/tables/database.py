"""Where is a database, and what is read of it?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

TIMEOUT: Final = 600
SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where a database is: an address without a password, and how it is reached. Seconds are for each statement."""

    address: str
    password_file: Path | None = None
    ca_file: Path | None = None
    seconds: int = TIMEOUT

    @property
    def reads(self) -> tuple[Path, ...]:
        """See `TableSource.reads`."""
        return (
            *([Path(self.address.removeprefix(SQLITE))] if self.address.startswith(SQLITE) else []),
            *([self.ca_file] if self.ca_file else []),
            *self.secrets,
        )

    @property
    def secrets(self) -> tuple[Path, ...]:
        """See `TableSource.secrets`."""
        return (self.password_file,) if self.password_file else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What is read of a database: a table or view, with its schema's name before a point, or what a SELECT gives."""

    table: str = ""
    query: str | None = None
