"""How much of this machine may runs have, all together and those of one owner?

From the machine unless ``station.yaml`` says otherwise: every processor, four fifths of the memory and of the disk that is
free. A single run never gets more than all runs together.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from security.train.manifest import Limits, TrainManifest

_SHARE: Final = 0.8
"""Of the machine's memory and free disk: the rest is for the engine, the daemon and everybody else."""
_OUTPUTS: Final = 2
"""How many times its limit of output a run is granted of the disk: what files occupy may be as much more than their bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What runs take up: how many there are, memory in bytes, processors in thousandths, and disk in bytes."""

    runs: int = 0
    memory_bytes: int = 0
    cpu_millis: int = 0
    disk_bytes: int = 0

    def __add__(self, other: Resources) -> Resources:
        """Return both together."""
        return Resources(
            runs=self.runs + other.runs,
            memory_bytes=self.memory_bytes + other.memory_bytes,
            cpu_millis=self.cpu_millis + other.cpu_millis,
            disk_bytes=self.disk_bytes + other.disk_bytes,
        )

    def within(self, most: Resources) -> bool:
        """Whether this fits into `most`."""
        return (
            self.runs <= most.runs
            and self.memory_bytes <= most.memory_bytes
            and self.cpu_millis <= most.cpu_millis
            and self.disk_bytes <= most.disk_bytes
        )

    def share_of(self, most: Resources) -> float:
        """Return the part of `most` that this takes up, of whichever resource it takes up most of."""
        return max(
            self.runs / max(most.runs, 1),
            self.memory_bytes / max(most.memory_bytes, 1),
            self.cpu_millis / max(most.cpu_millis, 1),
            self.disk_bytes / max(most.disk_bytes, 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The most that all runs take up together, and those of one owner."""

    total: Resources
    per_owner: Resources

    @classmethod
    def of(cls, total: Resources) -> Self:
        """Return a capacity that one owner may use whole, as long as no other owner wants it."""
        return cls(total=total, per_owner=total)

    def ceiling(self, limits: Limits) -> Limits:
        """Return the most that one run can ask for: the operator's limits, and never more than an owner may have.

        A train that asks for more could never start; it is refused at once rather than left waiting.
        """
        return replace(
            limits,
            memory_bytes=min(limits.memory_bytes, self.per_owner.memory_bytes),
            cpu_millis=min(limits.cpu_millis, self.per_owner.cpu_millis),
            output_bytes=min(limits.output_bytes, self.per_owner.disk_bytes // _OUTPUTS),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacitySettings:
    """What ``station.yaml`` says of the capacity: fields of `Resources` by name; the machine decides about the others."""

    total: Mapping[str, int]
    per_owner: Mapping[str, int]

    def on(self, machine: Resources) -> Capacity:
        """Return the capacity on a machine that has so much."""
        total = replace(machine, **self.total)
        of_owner = {name: min(most, getattr(total, name)) for name, most in self.per_owner.items()}
        return Capacity(total=total, per_owner=replace(total, **of_owner))


def granted_disk(manifest: TrainManifest, arrived: int) -> int:
    """Return the bytes of disk that a run is granted, whose code and states have so many bytes as they `arrived`."""
    return _OUTPUTS * (manifest.limits.output_bytes + (manifest.keep_bytes or 0)) + arrived


def of_machine(workrooms: Path) -> Resources:
    """Return what this machine has for runs now; `workrooms` need not be there yet. What lies in them is given back in time."""
    folder = workrooms
    while not folder.exists():
        folder = folder.parent
    processors = len(os.sched_getaffinity(0))
    return Resources(
        runs=processors,
        memory_bytes=int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _SHARE),
        cpu_millis=processors * 1000,
        disk_bytes=int((shutil.disk_usage(folder).free + _taken(workrooms)) * _SHARE),
    )


def _taken(folder: Path) -> int:
    """Return the bytes of disk that what is in a folder takes up, as far as it can be read; runs may have made what is there."""
    found = 0
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                found += (Path(parent) / name).lstat().st_blocks * 512
    return found
