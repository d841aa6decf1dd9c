"""Which kinds of sandbox and of data source can a station have, and what does ``station.yaml`` say about each?

The file has been checked against its schema before. A kind is one value here, and one case in `station.house.assembly`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from registry.names import Origin
from security.errors import InvalidInput
from security.tables.column import Column, ColumnType, column_named, names_apart
from station.data.tables.archive import Archive
from station.data.tables.bucket import REGION, Bucket
from station.data.tables.database import TIMEOUT, Database
from station.data.tables.fhir_place import PAGE, Endpoint, FhirTable, Search, need_paths
from station.data.tables.source import Described, Spelling

LEAST_PATIENTS: Final = 10
ENGINE: Final = "unix:///var/run/docker.sock"


class SourceKind(StrEnum):
    """What kind of place a data set lives in."""

    FOLDER = "folder"
    FILES = "files"
    SQL = "sql"
    S3 = "s3"
    FHIR = "fhir"
    DICOM = "dicom"
    DICOMWEB = "dicomweb"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPlace:
    """A folder of this machine."""

    folder: Path

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of this machine that runs see."""
        return (self.folder,)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesPlace:
    """A table in the files of a folder of this machine that match a pattern."""

    folder: Path
    pattern: str
    spelling: Spelling

    @property
    def folders(self) -> tuple[Path, ...]:
        """None: runs are given a copy."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlPlace:
    """A table, or what a query gives, in a database."""

    database: Database
    table: str | None
    query_file: Path | None

    @property
    def folders(self) -> tuple[Path, ...]:
        """None: runs are given a copy."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """A table in the objects of a bucket that match a pattern."""

    bucket: Bucket
    pattern: str
    spelling: Spelling

    @property
    def folders(self) -> tuple[Path, ...]:
        """None: runs are given a copy."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomPlace:
    """The DICOM images in a folder of this machine."""

    folder: Path

    @property
    def folders(self) -> tuple[Path, ...]:
        """None: runs are given copies that name nobody."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirPlace:
    """What a search at a FHIR server finds."""

    table: FhirTable

    @property
    def folders(self) -> tuple[Path, ...]:
        """None: runs are given a copy."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomwebPlace:
    """The images that a picture archive has."""

    archive: Archive

    @property
    def folders(self) -> tuple[Path, ...]:
        """None: runs are given copies that name nobody."""
        return ()


TablePlace: TypeAlias = FilesPlace | SqlPlace | FhirPlace | S3Place | DicomPlace | DicomwebPlace
DataPlace: TypeAlias = FolderPlace | TablePlace


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


def data_place(home: Path, value: Mapping[str, Any]) -> DataPlace:
    """Read where a data set lives from its entry under ``data``; `home` is the folder of the file."""
    return _PLACES[SourceKind(value.get("source", SourceKind.FOLDER))](home, value)


def _folder_place(home: Path, value: Mapping[str, Any]) -> FolderPlace:
    return FolderPlace(folder=home / value["folder"])


def _files_place(home: Path, value: Mapping[str, Any]) -> FilesPlace:
    pattern = value.get("files", "*.csv")
    spelling = _spelling(value.get("spelling", {}), pattern)
    return FilesPlace(folder=home / value["folder"], pattern=pattern, spelling=spelling)


def _dicom_place(home: Path, value: Mapping[str, Any]) -> DicomPlace:
    return DicomPlace(folder=home / value["folder"])


def _sql_place(home: Path, value: Mapping[str, Any]) -> SqlPlace:
    kind, _, rest = value["database"].partition("://")
    if kind == "sqlite":
        address = f"sqlite:///{home / rest.removeprefix('/')}"
    else:
        address = value["database"]
        if ":" in rest.partition("/")[0].rpartition("@")[0] or re.search(r"[?&](?!host=)", rest):
            msg = "the address of a database has no password in it, and no settings but a host"
            raise InvalidInput(msg, hint="write the password into a private file, and name it as password_file")
    return SqlPlace(
        database=Database(
            address=address,
            password_file=home / value["password_file"] if "password_file" in value else None,
            ca_file=home / value["ca_file"] if "ca_file" in value else None,
            seconds=value.get("timeout_seconds", TIMEOUT),
        ),
        table=value.get("table"),
        query_file=home / value["query_file"] if "query_file" in value else None,
    )


def _s3_place(home: Path, value: Mapping[str, Any]) -> S3Place:
    origin = Origin.from_text(value["endpoint"])
    if origin.scheme == "http" and not origin.loopback:
        msg = "a bucket on another machine is read over https only"
        raise InvalidInput(msg, endpoint=value["endpoint"])
    folder, pattern = value.get("prefix", "").strip("/"), value.get("files", "*.csv")
    return S3Place(
        bucket=Bucket(
            endpoint=str(origin),
            name=value["bucket"],
            keys_file=home / value["keys_file"],
            prefix=f"{folder}/" if folder else "",
            region=value.get("region", REGION),
            ca_file=home / value["ca_file"] if "ca_file" in value else None,
            seconds=value.get("timeout_seconds", TIMEOUT),
        ),
        pattern=pattern,
        spelling=_spelling(value.get("spelling", {}), pattern),
    )


def _fhir_place(home: Path, value: Mapping[str, Any]) -> FhirPlace:
    files = {name: home / value[name] if name in value else None for name in ("password_file", "token_file", "ca_file")}
    said = {name: value.get(name) for name in ("username", "token_url", "scope")}
    endpoint = Endpoint(
        base=value["server"].removesuffix("/"), seconds=value.get("timeout_seconds", TIMEOUT), **files, **said
    )
    search = Search.of(value["search"], count=value.get("page_size", PAGE))
    need_paths({name: one.get("from", name) for name, one in value.get("columns", {}).items()}, search.type)
    return FhirPlace(table=FhirTable(endpoint=endpoint, search=search))


def _dicomweb_place(home: Path, value: Mapping[str, Any]) -> DicomwebPlace:
    parts = urlsplit(value["server"])
    if parts.username is not None or parts.query or parts.fragment:
        msg = "the address of an archive has no account in it, and no query"
        raise InvalidInput(msg, hint="name the account as username, and its password's private file as password_file")
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        msg = "an archive on another machine is read over https only"
        raise InvalidInput(msg, server=value["server"])
    return DicomwebPlace(
        archive=Archive(
            address=value["server"].rstrip("/"),
            username=value.get("username"),
            password_file=home / value["password_file"] if "password_file" in value else None,
            ca_file=home / value["ca_file"] if "ca_file" in value else None,
            seconds=value.get("timeout_seconds", TIMEOUT),
        )
    )


def _spelling(value: Mapping[str, Any], pattern: str) -> Spelling:
    usual = {"delimiter": "\t"} if pattern.endswith(".tsv") else {}
    return Spelling(**{**usual, **value, "missing": tuple(value.get("missing", ()))})


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
        raise InvalidInput(msg, data=name, patient=value["patient"])
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


_PLACES: Final[Mapping[SourceKind, Callable[[Path, Mapping[str, Any]], DataPlace]]] = {
    SourceKind.FOLDER: _folder_place,
    SourceKind.FILES: _files_place,
    SourceKind.SQL: _sql_place,
    SourceKind.S3: _s3_place,
    SourceKind.FHIR: _fhir_place,
    SourceKind.DICOM: _dicom_place,
    SourceKind.DICOMWEB: _dicomweb_place,
}
