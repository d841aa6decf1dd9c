"""What does ``station.yaml`` say?

Held against ``config.schema.json`` for messages with a line, then made a frozen value. Unknown keys are errors. Secrets
are paths, never values. Relative paths are relative to the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any, Final

from console.problems import first_of
from console.yaml import Edited, read_edited
from registry.names import Origin, location
from registry.places import Login, anchored
from security.digest import Digest, digest_of
from security.errors import InvalidInput
from security.files import read_file
from security.ids import PartyId
from security.train.manifest import Limits
from station.data.folder import FolderSource
from station.data.tables.kind import without
from station.data.tables.kinds import KINDS, SETTINGS
from station.data.tables.source import TableSource
from station.errors import ConfigInvalid
from station.house.capacity import CapacitySettings
from station.house.places import FOLDER, DockerPlace, TableTerms, sandbox_place, source_in, table_terms

FILE: Final = "station.yaml"
_LIMIT: Final = 256 << 10


class Approve(StrEnum):
    """Who says yes to a train that nothing speaks against."""

    BY_HAND = "by-hand"
    KNOWN_ANALYSIS = "known-analysis"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryPlace:
    """Where the consortium's directory is, as an address of `registry.places`, and which root is pinned."""

    root_file: Path
    location: str
    refresh_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEntry:
    """A data set that trains may read, and where it lives. `owners` is None for every admitted owner, `table` for a folder."""

    source: FolderSource | TableSource
    table: TableTerms | None
    description: str
    owners: frozenset[PartyId] | None
    known: bool
    """Whether it is in the catalogue that the station publishes."""

    @property
    def rows(self) -> TableSource | None:
        """Where the rows of a table are; None for a folder, which runs see whole."""
        return None if isinstance(self.source, FolderSource) else self.source

    @property
    def reads(self) -> tuple[Path, ...]:
        """The files and folders of this machine that the station reads for it."""
        if isinstance(self.source, FolderSource):
            return (self.source.folder,)
        lists = [self.table.withdrawn] if self.table and self.table.withdrawn else []
        return (*self.source.reads, *lists)

    @property
    def secrets(self) -> tuple[Path, ...]:
        """Those of them that no run may see: who the station is at the source, and who withdrew."""
        if isinstance(self.source, FolderSource):
            return ()
        lists = [self.table.withdrawn] if self.table and self.table.withdrawn else []
        return (*self.source.secrets, *lists)


LEAST_STATIONS: Final = 3
"""Stations that a sum is taken over at least, unless the operator says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What the policy is made of; None stands for no demand of this kind."""

    approve: Approve
    owners: frozenset[PartyId]
    bases: frozenset[str] | None
    approvals: tuple[str, ...] | None
    legal_bases: frozenset[str] | None
    known_analyses: frozenset[Digest]
    limits: Limits
    least_stations: int = LEAST_STATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long the spool keeps what visits that are over have left: ages in days since their end, sizes in bytes.

    `document_days` is about what was signed, `evidence_days` about the sealed blobs of trains that did not pass,
    `evidence_bytes` about everything that is kept of those, and `printed_days` about what their runs printed.
    """

    document_days: int = 3650
    evidence_days: int = 365
    evidence_bytes: int = 10 << 30
    printed_days: int = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class StationConfig:
    """Everything a person has decided about a station."""

    file: Path
    digest: Digest
    party: PartyId
    folder: Path
    workrooms: Path
    keys: Path
    earlier_keys: tuple[Path, ...]
    passphrase_file: Path | None
    registry: str
    login: Login
    directory: DirectoryPlace
    sandbox: DockerPlace
    data: Mapping[str, DataEntry]
    admission: Admission
    release_by_hand: bool
    release_types: frozenset[str]
    """The media types that leave without a person, besides small typed JSON."""
    withhold: bool
    """Whether an owner whose train does not pass learns that only, and no class of outcome."""
    poll_seconds: int
    capacity: CapacitySettings
    retention: Retention

    @property
    def journal(self) -> Path:
        """Where the journal is."""
        return self.folder / "journal.sqlite"

    @property
    def spool(self) -> Path:
        """Where ciphertext and signed documents are kept."""
        return self.folder / "spool"

    @property
    def passes(self) -> Path:
        """Where the keys are that the station makes for one train each."""
        return self.folder / "passes"

    @property
    def directory_cache(self) -> Path:
        """Where the verified directory is kept."""
        return self.folder / "directory"

    @property
    def data_secret(self) -> Path:
        """Where the secret is under which patients get numbers."""
        return self.folder / "data.key"

    @property
    def cohorts(self) -> Path:
        """Where the patients that runs saw are kept, as keyed hashes."""
        return self.folder / "cohorts"

    @property
    def health(self) -> Path:
        """Where the daemon says that it lives."""
        return self.folder / "health.json"


CEILING: Final = Limits(
    memory_bytes=8 << 30,  # half of a common server
    cpu_millis=4_000,
    wall_seconds=24 * 3600,
    processes=512,
    output_bytes=1 << 30,
)
"""What a run may use where the file says nothing."""


def load_config(path: Path) -> StationConfig:
    """Read and check a station's configuration.

    Raises:
        FileMissing: there is no such file.
        ConfigInvalid: what is wrong in it, and in which line.
    """
    return parse_config(read_file(path, limit=_LIMIT), file=path)


def parse_config(raw: bytes, *, file: Path) -> StationConfig:
    """Make the configuration from the file's bytes; see `load_config`."""
    found = read_edited(raw, config_schema())
    if not isinstance(found, Edited):
        msg = "the station's configuration is not right"
        raise ConfigInvalid(msg, hint=found[0].hint, file=file, **first_of(found))
    try:
        config = _config(found.value, file, digest_of(raw))
        _need_apart(config)
    except InvalidInput as error:
        raise ConfigInvalid(error.message, hint=error.hint, file=file, **error.fields) from error
    return config


def config_schema() -> dict[str, Any]:
    """Return what the file must be, as JSON Schema: ``config.schema.json``, with the kinds of source that there are."""
    schema: dict[str, Any] = json.loads(resources.files("station.house").joinpath("config.schema.json").read_bytes())
    entry = schema["properties"]["data"]["additionalProperties"]
    entry["properties"]["source"]["enum"] = [FOLDER, *KINDS]
    entry["allOf"][0]["then"]["properties"] |= without(SETTINGS - {"folder"}, FOLDER)
    entry["allOf"] += [
        {"if": {"properties": {"source": {"const": one.name}}, "required": ["source"]}, "then": one.demands(SETTINGS)}
        for one in KINDS.values()
    ]
    return schema


def _config(value: dict[str, Any], file: Path, digest: Digest) -> StationConfig:
    home = file.absolute().parent
    folder = home / value["folder"]
    workrooms = home / value["workrooms"] if "workrooms" in value else folder / "workrooms"
    keys, admission = value["keys"], value["admission"]
    return StationConfig(
        file=file.absolute(),
        digest=digest,
        party=PartyId(value["party"]),
        folder=folder,
        workrooms=workrooms,
        keys=home / keys["folder"],
        earlier_keys=tuple(home / folder for folder in keys.get("earlier", ())),
        passphrase_file=_path(home, keys, "passphrase_file"),
        registry=_place(home, value["registry"]["location"]),
        login=_login(home, value["registry"]),
        directory=DirectoryPlace(
            root_file=home / value["directory"]["root_file"],
            location=_place(home, value["directory"].get("location", value["registry"]["location"])),
            refresh_seconds=value["directory"].get("refresh_seconds", 300),
        ),
        sandbox=sandbox_place(value.get("sandbox", {})),
        data={
            name: DataEntry(
                source=source_in(name, home, one),
                table=table_terms(name, home, one),
                description=one.get("description", ""),
                owners=_parties(one["owners"]) if "owners" in one else None,
                known=one.get("catalogue", False),
            )
            for name, one in value["data"].items()
        },
        admission=_admission(admission),
        release_by_hand=admission.get("release", "small-json") == "by-hand",
        release_types=frozenset(admission.get("release_types", ())),
        withhold=admission.get("answer", "class") == "withheld",
        poll_seconds=value.get("daemon", {}).get("poll_seconds", 2),
        capacity=_capacity(value.get("capacity", {})),
        retention=Retention(**value.get("retention", {})),
    )


def _capacity(value: Mapping[str, Any]) -> CapacitySettings:
    total = dict(value)
    per_owner = total.pop("per_owner", {})
    return CapacitySettings(total=total, per_owner=per_owner)


def _need_apart(config: StationConfig) -> None:
    """Refuse a data set that would show a run the station's keys, passwords or state, or be among them (attack T19)."""
    files = (
        config.passphrase_file,
        config.login.password_file,
        *config.earlier_keys,
        *(path for one in config.data.values() for path in one.secrets),
    )
    private = [path.resolve() for path in (config.keys, config.folder, config.workrooms, *files) if path is not None]
    closed = [
        path.resolve()
        for path in (config.keys, *config.earlier_keys, config.workrooms, config.spool, config.directory_cache)
    ]
    whole = [(name, one.source) for name, one in config.data.items() if isinstance(one.source, FolderSource)]
    seen = [(name, source.folder.resolve()) for name, source in whole]
    for name, folder in seen:
        if any(path.is_relative_to(folder) for path in private) or any(folder.is_relative_to(path) for path in closed):
            msg = "a data set's folder holds the station's own files, or lies among them"
            raise InvalidInput(msg, data=name, folder=folder, hint="runs can read all of it: keep them apart")


def _place(home: Path, text: str) -> str:
    """Return an address if it is one: of a registry, or of a directory in a folder or on a web server."""
    if not text.startswith("folder:"):
        location(text.removeprefix("web:"))
    return anchored(text, home)


def _login(home: Path, value: Mapping[str, Any]) -> Login:
    hosts = {name: tuple(value.get(name, ())) for name in ("token_hosts", "blob_hosts")}
    for text in (*hosts["token_hosts"], *hosts["blob_hosts"]):
        Origin.from_text(text)
    return Login(
        username=value.get("username"),
        password_file=_path(home, value, "password_file"),
        ca_file=_path(home, value, "ca_file"),
        token_hosts=hosts["token_hosts"],
        blob_hosts=hosts["blob_hosts"],
        insecure=value.get("insecure", False),
    )


def _admission(value: Mapping[str, Any]) -> Admission:
    limits = value.get("limits", {})
    return Admission(
        approve=Approve(value["approve"]),
        owners=_parties(value["owners"]),
        bases=frozenset(value["bases"]) if "bases" in value else None,
        approvals=tuple(value["approvals"]) if "approvals" in value else None,
        legal_bases=frozenset(value["legal_bases"]) if "legal_bases" in value else None,
        known_analyses=frozenset(map(Digest, value.get("known_analyses", ()))),
        least_stations=value.get("least_stations", LEAST_STATIONS),
        limits=Limits(
            memory_bytes=limits.get("memory_bytes", CEILING.memory_bytes),
            cpu_millis=limits.get("cpu_millis", CEILING.cpu_millis),
            wall_seconds=limits.get("wall_seconds", CEILING.wall_seconds),
            processes=limits.get("processes", CEILING.processes),
            output_bytes=limits.get("output_bytes", CEILING.output_bytes),
        ),
    )


def _parties(names: Sequence[str]) -> frozenset[PartyId]:
    return frozenset(map(PartyId, names))


def _path(home: Path, value: Mapping[str, Any], key: str) -> Path | None:
    return home / value[key] if key in value else None
