"""What does a station need from whatever runs trains for it?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from security.digest import Digest
from station.check import CheckResult
from station.sandbox.image import BaseImage
from station.sandbox.order import RunOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The run goes on, since a time told by the sandbox. ``paused``: somebody has stopped it without ending it."""

    since: datetime
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The run is over. ``killed``: by something outside it, not by its own program and not for using too much memory."""

    exit_code: int
    out_of_memory: bool
    killed: bool
    started: datetime
    finished: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """There is no such run, or it was made and never started."""


Sight: TypeAlias = Running | Ended | Absent


class Sandbox(Protocol):
    """Runs orders. Every call may be repeated; the names of orders are how runs are found again after a restart.

    Every method raises `SandboxUnavailable` if what runs the orders is away, and `SandboxUnfit` if it lacks something.
    """

    @property
    def sealed(self) -> bool:
        """Whether runs are kept from the network and from the host. Where not, whoever starts a run must say so."""
        ...

    @property
    def profile(self) -> str:
        """What orders for this sandbox, and journey entries about its runs, call it; such as ``docker-runc-v1``."""
        ...

    def prepare(self, base: BaseImage) -> Digest:
        """Make sure that `base` can be run here, and return the id to order it by.

        Raises:
            SandboxRefused: what is held here under our name is not this image.
            DigestMismatch: a layer is not what its digest says.
        """
        ...

    def start(self, order: RunOrder) -> None:
        """Start the run, unless it is there already, exactly as ordered: then adopt it as it is.

        Raises:
            SandboxRefused: the run, as made, differs from the order. It is removed.
            SandboxUnfit: the order is for a sandbox of another profile.
            RunFailed: the command cannot be started in this image.
        """
        ...

    def look(self, name: str) -> Sight:
        """Say how the run is doing. Of one that has ended, everything it printed while it was listened to is in its file."""
        ...

    def listen(self, order: RunOrder) -> None:
        """Keep what the run prints from now on, unless that is being done. A run that is started is listened to.

        For a station that was restarted: a run goes on whether or not anybody listens.
        """
        ...

    def stop(self, name: str) -> None:
        """Kill the run and return when it has ended. Nothing happens if it has ended, or never was."""
        ...

    def remove(self, name: str) -> None:
        """Remove the run, going on or not; the file of what it printed stays. Nothing happens if there is none.

        Raises:
            RunLingers: processes of it go on, and cannot be ended.
        """
        ...

    def leftovers(self, house: str) -> tuple[str, ...]:
        """Return the names of all runs of this station installation."""
        ...

    def logged(self, house: str) -> tuple[str, ...]:
        """Return the names of those of which something else than the station keeps what they print."""
        ...

    def doctor(self, base: BaseImage | None) -> tuple[CheckResult, ...]:
        """Examine the sandbox; with a base image, also by a run that tries to break out. Raises nothing."""
        ...
