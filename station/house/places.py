"""Which kinds of sandbox and of data source can a station have, and what does ``station.yaml`` say about each?

The file has been checked against its schema before. A kind is one value here, and one case in `station.house.assembly`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

ENGINE: Final = "unix:///var/run/docker.sock"


class SourceKind(StrEnum):
    """What kind of place a data set lives in."""

    FOLDER = "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPlace:
    """A folder of this machine."""

    folder: Path

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of this machine that runs see."""
        return (self.folder,)


class SandboxKind(StrEnum):
    """What runs trains."""

    DOCKER = "docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerPlace:
    """A Docker engine, and the runtime to use of it."""

    engine: str
    runtime: str


def data_place(home: Path, value: Mapping[str, Any]) -> FolderPlace:
    """Read where a data set lives from its entry under ``data``; `home` is the folder of the file."""
    match SourceKind(value.get("source", SourceKind.FOLDER)):
        case SourceKind.FOLDER:
            return FolderPlace(folder=home / value["folder"])


def sandbox_place(value: Mapping[str, Any]) -> DockerPlace:
    """Read what runs trains from the entry ``sandbox``."""
    match SandboxKind(value.get("kind", SandboxKind.DOCKER)):
        case SandboxKind.DOCKER:
            return DockerPlace(engine=value.get("engine", ENGINE), runtime=value.get("runtime", "runc"))
