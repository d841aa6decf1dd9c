"""What exactly is a run allowed?

The order is a value, says what the station wants in nobody's words but its own, and is the same for every sandbox. All of
it is the station's choice; a train contributes its command, its environment and, within the station's policy, its limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from security.digest import Digest
from security.ids import TrainId

CODE: Final = "/pht/code"
DATA: Final = "/pht/data"
IN: Final = "/pht/in"
KEEP: Final = "/pht/keep"
STATE: Final = "/pht/state"
CONTEXT: Final = "/pht/context.json"
TMP: Final = "/tmp"  # noqa: S108 - inside the sandbox

NOBODY: Final = 65532  # the "nonroot" user of distroless images; has no rights on any usual host

# Set before the train's own variables: nothing of the sandbox's, the image's or the daemon's environment is inherited.
ENVIRONMENT: Final[Mapping[str, str]] = {
    "HOME": TMP,
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PHT_CODE": CODE,
    "PHT_CONTEXT": CONTEXT,
    "PHT_DATA": DATA,
    "PHT_IN": IN,
    "PHT_KEEP": KEEP,
    "PHT_STATE": STATE,
    "TMPDIR": TMP,
}

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """What a run may use. The defaults are for what no train declares."""

    memory_bytes: int  # memory and swap together; /tmp and shared memory count
    cpu_millis: int  # 1000 is one processor
    processes: int  # threads count
    wall_seconds: int
    state_bytes: int  # of all files of the state folder
    state_files: int  # files, folders and links of the state folder
    keep_bytes: int = 0  # of all files of the folder that is kept
    open_files: int = 4096
    tmp_bytes: int = 64 * MIB
    output_bytes: int = 1 * MIB  # of what the program prints, kept for the operator
    disk_reserve_bytes: int = 256 * MIB  # stop the run when the state's file system has less room than this

    @property
    def file_bytes(self) -> int:
        """Of any single file: one more than of all, so that a run that wanted more is told from one that wrote just as much."""
        return max(self.state_bytes, self.keep_bytes) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or folder of this machine, and where the run finds it. Nothing mounted below the source comes along."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOrder:
    """One run, entirely.

    `house` names the station installation, so that stations can share a sandbox. `profile` names the sandbox the order is
    for, as a journey entry names it. `image` is what `Sandbox.prepare` returned. `printed` is
    the file that the end of what the program prints is kept in; the run does not see it.
    """

    name: str
    house: str
    profile: str
    image: Digest
    printed: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    uid: int
    gid: int
    limits: RunLimits

    @property
    def variables(self) -> dict[str, str]:
        """The whole environment of the run: the station's part and the train's."""
        return {**ENVIRONMENT, **self.environment}

    def source(self, target: str) -> Path:
        """Return what is mounted at `target`.

        Raises:
            LookupError: nothing is.
        """
        for mount in self.mounts:
            if mount.target == target:
                return mount.source
        msg = f"nothing is mounted at {target}"
        raise LookupError(msg)

    @property
    def state(self) -> Path:
        """The folder the run writes its state to."""
        return self.source(STATE)

    @property
    def keep(self) -> Path:
        """The folder of what is kept for the next stop of the train here."""
        return self.source(KEEP)


def mounts_of(
    *, code: Path, data: Mapping[str, Path], incoming: Path, keep: Path, state: Path, context: Path
) -> tuple[Mount, ...]:
    """Return the mounts of a run, in the order they are made: only the state, and what is kept here, can be written."""
    return (
        Mount(source=code, target=CODE),
        *(Mount(source=data[name], target=f"{DATA}/{name}") for name in sorted(data)),
        Mount(source=incoming, target=IN),
        Mount(source=keep, target=KEEP, writable=True),
        Mount(source=state, target=STATE, writable=True),
        Mount(source=context, target=CONTEXT),
    )


def run_name(train: TrainId, stop: int, attempt: int) -> str:
    """Return the name of a visit's run: the same for the same attempt, so that it is found after a restart."""
    return f"pht-{train[:32]}-{stop}-{attempt}"


def run_user(uid: int, gid: int) -> tuple[int, int]:
    """Return who a run of a station with this user and group runs as: itself, but nobody if the station is root."""
    return (NOBODY, NOBODY) if uid == 0 else (uid, gid or NOBODY)
