"""How is a station put together from its configuration?

The only module of the station that chooses backings: which registry, which sandbox, which sources of data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from registry.base.store import base_repository, fetch_base
from registry.depot import Depot
from registry.places import registry_at, source_at
from registry.port import Registry
from security.digest import digest_of
from security.directory.client import Durable, load_trust, read_root
from security.directory.trust import Base, TrustStore
from security.encoding import Fields, parse_json
from security.keys.keyset import Secrets
from security.tables.column import Column
from station.admission.policy import (
    AllOf,
    Approvals,
    Bases,
    ByHand,
    Ceiling,
    CheckableOutputs,
    DataSets,
    KnownAnalysis,
    LegalBases,
    Owners,
    Rule,
    Selections,
    Sums,
)
from station.data.folder import FolderSource
from station.data.port import DataSet, DataSource
from station.data.tables.cohorts import Cohorts
from station.data.tables.dataset import TableData
from station.data.tables.secret import secret_at
from station.errors import ConfigInvalid
from station.gate.port import Gate, GateRule
from station.gate.release import ReleaseUnlessSlight
from station.gate.rules import FORM, ReleaseByHand
from station.house.capacity import Capacity, of_machine
from station.house.config import Admission, Approve, DataEntry, StationConfig
from station.house.house import BaseLoader, House, TrustLoader
from station.house.passes import PassKeys
from station.house.places import DockerPlace
from station.house.spool import Spool
from station.house.trust import FreshTrust
from station.house.usage import Copies
from station.house.workroom import Workrooms
from station.journal.journal import Journal
from station.sandbox.image import BaseImage, ImageLayer
from station.sandbox.port import Sandbox


def open_house(config: StationConfig, secrets: Secrets, earlier: Sequence[Secrets] = ()) -> House:
    """Open everything a station works with; nothing is sent yet.

    Raises:
        JournalDamaged, FileMissing, InvalidInput: a part cannot be opened.
    """
    registry = registry_at(config.registry, config.login)
    return House(
        party=config.party,
        name=house_name(config),
        secrets=secrets,
        earlier=tuple(earlier),
        settings=config.digest,
        depot=Depot(registry),
        journal=Journal.open(config.journal),
        spool=Spool(config.spool),
        workrooms=Workrooms(config.workrooms),
        passes=PassKeys(config.passes),
        sandbox=sandbox_of(config),
        trust=FreshTrust(trust_loader(config), seconds=config.directory.refresh_seconds),
        base_image=base_loader(registry),
        data={name: dataset_of(name, one, config) for name, one in config.data.items()},
        policy=policy_of(config.admission, config.data, capacity_of(config)),
        gate=gate_of(release_by_hand=config.release_by_hand, named=config.release_types),
        copies=Copies(capacity_of(config)),
        by_analysis=config.admission.approve is Approve.KNOWN_ANALYSIS,
        withhold=config.withhold,
    )


def house_name(config: StationConfig) -> str:
    """Return what this installation's runs are marked with, so that two installations on one engine stay apart."""
    return f"{config.party}-{digest_of(str(config.folder.resolve()).encode()).short}"


def dataset_of(name: str, entry: DataEntry, config: StationConfig) -> DataSet:
    """Return a data set, as trains are given it."""
    return DataSet(source=source_of(name, entry, config), description=entry.description, columns=columns_of(entry))


def columns_of(entry: DataEntry) -> tuple[Column, ...] | None:
    """Return the columns of a table as trains know them; None for a folder."""
    return None if entry.table is None else tuple(one.column for one in entry.table.columns)


def source_of(name: str, entry: DataEntry, config: StationConfig) -> DataSource:
    """Return where a data set lives.

    Raises:
        ConfigInvalid: a table without columns.
    """
    source, terms = entry.source, entry.table
    if isinstance(source, FolderSource):
        return source
    if terms is None:
        msg = "a table has no columns"
        raise ConfigInvalid(msg, data=name)
    return TableData(
        name=name,
        source=source,
        columns=terms.columns,
        patient=terms.patient,
        secret=lambda: secret_at(config.data_secret),
        keep=Cohorts(config.cohorts).keep,
        withdrawn=terms.withdrawn,
        least=terms.least,
    )


def sandbox_of(config: StationConfig) -> Sandbox:
    """Return what runs trains here."""
    match config.sandbox:
        case DockerPlace(engine=engine, runtime=runtime):
            from station.sandbox.docker.engine import DockerSandbox  # noqa: PLC0415 - slow to import, and few commands run

            return DockerSandbox(url=engine, runtime=runtime)


def trust_loader(config: StationConfig) -> TrustLoader:
    """Return what fetches and verifies the directory, from the pinned root on."""
    source, durable = source_at(config.directory.location, config.login), Durable()

    def load(now: datetime) -> TrustStore:
        return load_trust(source, config.directory_cache, read_root(config.directory.root_file), now, durable)

    return load


def base_loader(registry: Registry) -> BaseLoader:
    """Return what fetches approved base images from a registry; their config stays there (attack T12).

    What a digest names does not change, so each is looked up once. Its layers are read when they are wanted.
    """
    known: dict[Base, BaseImage] = {}

    def load(base: Base) -> BaseImage:
        if base in known:
            return known[base]
        found = fetch_base(registry, base_repository(base.name), base.digest)
        known[base] = BaseImage(
            digest=base.digest,
            diff_ids=tuple(layer.diff_id for layer in found.layers),
            layers=tuple(ImageLayer(size=layer.descriptor.size, open=layer.open) for layer in found.layers),
            architecture=_architecture(found.config),
        )
        return known[base]

    return load


def _architecture(config: bytes) -> str:
    found = Fields(parse_json(config), "config")
    return found.text("architecture", most=40)


def capacity_of(config: StationConfig) -> Capacity:
    """Return how much runs may take up on this machine."""
    return config.capacity.on(of_machine(config.workrooms))


def gate_of(*, release_by_hand: bool = False, named: frozenset[str] | None = None) -> GateRule:
    """Return the rules about what leaves: those that every station has, and what the configuration adds.

    `named` are the media types that go on without a person, besides small typed JSON; None, for a rehearsal, is any.
    """
    rules: list[GateRule] = [*FORM]
    if release_by_hand:
        rules.append(ReleaseByHand())
    elif named is not None:
        rules.append(ReleaseUnlessSlight(named=named))
    return Gate(rules=tuple(rules))


def policy_of(admission: Admission, data: Mapping[str, DataEntry], capacity: Capacity) -> Rule:
    """Return the policy the configuration asks for."""
    rules: list[Rule] = [
        Owners(allowed=admission.owners),
        DataSets(offered={name: one.owners for name, one in data.items()}),
        Selections(described={name: columns_of(one) for name, one in data.items()}),
        Ceiling(most=capacity.ceiling(admission.limits)),
        CheckableOutputs(),
        Sums(least=admission.least_stations),
    ]
    if admission.bases is not None:
        rules.append(Bases(allowed=admission.bases))
    if admission.approvals is not None:
        rules.append(Approvals(allowed=admission.approvals))
    if admission.legal_bases is not None:
        rules.append(LegalBases(allowed=admission.legal_bases))
    if admission.approve is Approve.BY_HAND:
        rules.append(ByHand())
    if admission.approve is Approve.KNOWN_ANALYSIS:
        rules.append(KnownAnalysis(approved=admission.known_analyses))
    return AllOf(rules=tuple(rules))
