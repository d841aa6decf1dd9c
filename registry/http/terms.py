"""On what terms is a server spoken to: how long is it waited for, whom may it name, whose certificate is its own?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry.names import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds to wait for a connection, and for the next byte."""

    connect: float = 10.0
    read: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Where a registry may send us, and whose certificates are trusted."""

    ca_file: Path | None = None
    token_origins: tuple[Origin, ...] = ()
    blob_origins: tuple[Origin, ...] = ()
