"""Where do a station's data live, what may trains ask of them, and what runs trains: as ``station.yaml`` says it?

The file has been checked against its schema before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from security.errors import InvalidInput
from security.tables.column import Column, ColumnType, column_named, names_apart
from station.data.folder import FolderSource
from station.data.tables.kinds import KINDS
from station.data.tables.source import Described, TableSource

FOLDER: Final = "folder"
"""The value of ``source`` for a folder that runs see whole: the usual one."""
LEAST_PATIENTS: Final = 10
ENGINE: Final = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTerms:
    """What of a table trains may ask for, and on which terms: see `station.data.tables.dataset`."""

    columns: tuple[Described, ...]
    patient: str
    withdrawn: Path | None
    least: int


class SandboxKind(StrEnum):
    """What runs trains."""

    DOCKER = "docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerPlace:
    """A Docker engine, and the runtime to use of it."""

    engine: str
    runtime: str


def source_in(name: str, home: Path, value: Mapping[str, Any]) -> FolderSource | TableSource:
    """Return where a data set lives, from its entry under ``data``; `home` is the folder of the file.

    Raises:
        InvalidInput: what it says cannot be.
    """
    kind = KINDS.get(value.get("source", FOLDER))
    return FolderSource(name=name, folder=home / value["folder"]) if kind is None else kind.read(name, home, value)


def rows_in(name: str, home: Path, value: Mapping[str, Any]) -> TableSource:
    """Return where the rows of a table are: `source_in`, but for a folder.

    Raises:
        InvalidInput: what it says cannot be, or it is a folder that runs see whole.
    """
    found = source_in(name, home, value)
    if isinstance(found, FolderSource):
        msg = "a folder that runs see whole has no columns"
        raise InvalidInput(msg, data=name)
    return found


def table_terms(name: str, home: Path, value: Mapping[str, Any]) -> TableTerms | None:
    """Read the columns of a data set and its terms; None for one that is no table.

    Raises:
        InvalidInput: a column contradicts itself or another, or no column tells patients apart.
    """
    if "columns" not in value:
        return None
    columns = tuple(_column(name, one, about) for one, about in value["columns"].items())
    described = [one.column for one in columns]
    if not names_apart(described):
        msg = "two columns have one name in different case"
        raise InvalidInput(msg, data=name)
    patient = column_named(described, value["patient"])
    if patient is None or patient.type is not ColumnType.IDENTIFIER:
        msg = "the patient must be one of the columns, of the type identifier"
        hint = (
            "make it {type: identifier}; what 'pht station data add --print' shows can be corrected and added by hand"
        )
        raise InvalidInput(msg, data=name, patient=value["patient"], hint=hint)
    return TableTerms(
        columns=columns,
        patient=patient.name,
        withdrawn=home / value["withdrawn"] if "withdrawn" in value else None,
        least=value.get("least_patients", LEAST_PATIENTS),
    )


def _column(data: str, name: str, value: Mapping[str, Any]) -> Described:
    least, most = (str(one) for one in value["range"]) if "range" in value else (None, None)
    column = Column(
        name=name,
        type=ColumnType(value["type"]),
        description=value.get("description"),
        measure=value.get("measure"),
        coding=value.get("coding"),
        values=tuple(value["values"]) if "values" in value else None,
        least=least,
        most=most,
    )
    broken = next((rule.says for rule in Column.RULES if rule.holds and not rule.holds(column)), None)
    if broken is not None:
        msg = f"a column contradicts itself: {broken}"
        raise InvalidInput(msg, data=data, column=name)
    return Described(column=column, origin=value.get("from", name))


def sandbox_place(value: Mapping[str, Any]) -> DockerPlace:
    """Read what runs trains from the entry ``sandbox``."""
    match SandboxKind(value.get("kind", SandboxKind.DOCKER)):
        case SandboxKind.DOCKER:
            return DockerPlace(engine=value.get("engine", ENGINE), runtime=value.get("runtime", "runc"))
