"""Where is an archive of medical images that speaks DICOMweb, and how is it reached?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from station.data.tables.database import TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The base address of its services, and an account there. Seconds are for each answer.

    It is asked for so many images at once as `page` says.
    """

    address: str
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    seconds: int = TIMEOUT
    page: int = 500

    @property
    def reads(self) -> tuple[Path, ...]:
        """See `TableSource.reads`."""
        return (*([self.ca_file] if self.ca_file else []), *self.secrets)

    @property
    def secrets(self) -> tuple[Path, ...]:
        """See `TableSource.secrets`."""
        return (self.password_file,) if self.password_file else ()
