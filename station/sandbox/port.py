"""What does a station need from whatever runs containers for it?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from security.digest import Digest
from station.sandbox.image import BaseImage
from station.sandbox.order import RunOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The run goes on, since a time told by the engine."""

    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The run is over. ``killed``: by a signal from outside, not by its own program and not for lack of memory."""

    exit_code: int
    out_of_memory: bool
    killed: bool
    started: datetime
    finished: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """There is no such container, or it was made and never started."""


Sight: TypeAlias = Running | Ended | Absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of ``pht station check``."""

    name: str
    ok: bool
    detail: str
    hint: str | None = None


class Sandbox(Protocol):
    """Runs orders. Every call may be repeated; the names of orders are how runs are found again after a restart.

    Every method raises `SandboxUnavailable` if the engine is away and `SandboxUnfit` if it lacks something.
    """

    @property
    def sealed(self) -> bool:
        """Whether runs are kept from the network and from the host. Where not, whoever starts a run must say so."""
        ...

    @property
    def runtime(self) -> str:
        """The runtime that orders for this sandbox must name."""
        ...

    def prepare(self, base: BaseImage) -> Digest:
        """Make sure the engine holds `base`, and return the id to order it by.

        Raises:
            SandboxRefused: what the engine holds under our name is not this image.
            DigestMismatch: a layer is not what its digest says.
        """
        ...

    def start(self, order: RunOrder) -> None:
        """Make and start the container, unless it is there already, exactly as ordered: then adopt it as it is.

        Raises:
            SandboxRefused: the container, as made, differs from the order. It is removed.
            RunFailed: the command cannot be started in this image.
        """
        ...

    def look(self, name: str) -> Sight:
        """Say how the run is doing."""
        ...

    def stop(self, name: str) -> None:
        """Kill the run and return when it has ended. Nothing happens if it has, or never was."""
        ...

    def remove(self, name: str) -> None:
        """Remove the container and what it printed, running or not. Nothing happens if there is none."""
        ...

    def output(self, name: str, limit: int) -> bytes:
        """Return the last `limit` bytes the program printed. For the station's operator only: it may hold data."""
        ...

    def leftovers(self, house: str) -> tuple[str, ...]:
        """Return the names of all containers of this station installation."""
        ...

    def doctor(self, base: BaseImage | None) -> tuple[Finding, ...]:
        """Examine the engine; with a base image, also by a run that tries to break out. Raises nothing."""
        ...
