"""Who takes part in a rehearsal, and in which sandbox do they run the train?

Every station of the route is a real house with its own temporary keys, journal, spool and workroom; registry and
directory are in memory; the data are local sample folders. With a container engine, the analysis runs in the same
sandbox as at a hospital; without one it runs as a plain process, and the company knows why. Nothing here counts
anywhere else: the keys are made for one rehearsal and forgotten.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from registry.depot import Depot
from registry.errors import EngineUnavailable
from registry.memory import MemoryRegistry
from registry.port import Registry
from rehearsal.process import ProcessSandbox
from rehearsal.tables import sample_set
from security.clock import Clock
from security.digest import digest_of
from security.directory.trust import Base, DirectoryVersion, KeySetRecord, Party, Policy, TrustStore
from security.errors import PhtError
from security.files import make_folder
from security.ids import PartyId, Role
from security.keys.keyset import Scheme, Secrets, generate
from station.admission.policy import AllOf, CheckableOutputs, DataSets, Selections
from station.check import CheckResult
from station.data.folder import closed, how_to_open
from station.errors import DataClosed, SandboxUnfit
from station.house.assembly import base_loader, gate_of
from station.house.house import BaseLoader, House
from station.house.passes import PassKeys
from station.house.spool import Spool
from station.house.workroom import Workrooms
from station.journal.journal import Journal
from station.sandbox.image import BaseImage
from station.sandbox.order import run_user
from station.sandbox.port import Sandbox

OWNER: Final = PartyId("rehearsing-owner")
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A container engine, the directory that names base images, and the registry that holds them.

    If it is `required`, nothing runs without it.
    """

    url: str
    required: bool
    trust: TrustStore
    bases: Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """Where a rehearsal takes place: `room` is an empty private folder, `path` is where a plain process finds programs."""

    room: Path
    engine: Engine | None
    path: str
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """An owner and the stations of a route, with the directory and the registry they share.

    If the stations' `sandbox` is not `sealed`, `lacking` says what was missing.
    """

    began: datetime
    secrets: Secrets = field(repr=False)
    trust: TrustStore
    depot: Depot
    houses: tuple[House, ...]
    sandbox: str
    sealed: bool
    lacking: str | None

    @property
    def owner(self) -> PartyId:
        """Whose train is rehearsed."""
        return OWNER


@contextmanager
def company(base: str, stations: Mapping[PartyId, Mapping[str, Path]], venue: Venue) -> Iterator[Company]:
    """Open a house for each party of `stations`, which maps it to its data sets; `base` names the train's base image.

    No run goes on when the block is left, however that is.

    Raises:
        BaseNotApproved: the base image is not in the directory.
        EngineUnavailable: an engine is required, and offers no sandbox.
        DataClosed: the user that runs have in the sandbox may not read the samples.
    """
    now = venue.clock.now().replace(microsecond=0)  # statements have whole seconds
    approved = _base(base, venue.engine)
    secrets = {party: generate([Scheme.ED25519]) for party in (OWNER, *stations)}
    trust = _directory(secrets, approved, now)
    depot = Depot(MemoryRegistry())
    shared = _choose(venue)
    if shared.sandbox.sealed:
        _check_samples(stations)
    with ExitStack() as stack:
        houses = [
            _house(party, data, secrets[party], depot=depot, trust=trust, shared=shared, room=venue.room)
            for party, data in stations.items()
        ]
        for house in houses:
            stack.enter_context(house.journal)
            stack.callback(_clear, house)
        yield Company(
            began=now,
            secrets=secrets[OWNER],
            trust=trust,
            depot=depot,
            houses=tuple(houses),
            sandbox=shared.sandbox.profile,
            sealed=shared.sandbox.sealed,
            lacking=shared.lacking,
        )


def _clear(house: House) -> None:
    """End and remove what still runs: whoever breaks a rehearsal off waits for nothing, and no later one would find it."""
    with contextlib.suppress(PhtError):  # an engine that has gone away
        for name in house.sandbox.leftovers(house.name):
            house.sandbox.remove(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What all houses run trains in, and what was missing for a better one."""

    sandbox: Sandbox
    base_image: BaseLoader
    lacking: str | None


def _choose(venue: Venue) -> _Shared:
    """Use the engine if it offers a sandbox, else a plain process."""
    if venue.engine is None:
        lacking = "no registry with the base image was named (--home names one)"
    else:
        from station.sandbox.docker.engine import DockerSandbox  # noqa: PLC0415 - slow to import, and not always there

        try:
            docker = DockerSandbox(url=venue.engine.url)
        except SandboxUnfit as error:  # DOCKER_HOST may name an engine elsewhere, which cannot see the folders here
            if venue.engine.required:
                raise
            bad = CheckResult(name="engine", ok=False, detail=str(error))
        else:
            found = next((finding for finding in docker.doctor(None) if not finding.ok), None)
            if found is None:
                return _Shared(sandbox=docker, base_image=base_loader(venue.engine.bases), lacking=None)
            bad = found
        lacking = f"{bad.name}: {bad.detail}"
        if venue.engine.required:
            msg = "the named engine offers no sandbox"
            raise EngineUnavailable(msg, engine=venue.engine.url, reason=lacking, hint=bad.hint)
    process = ProcessSandbox(room=make_folder(venue.room / "processes"), path=venue.path)
    return _Shared(sandbox=process, base_image=_no_image, lacking=lacking)


def _no_image(base: Base) -> BaseImage:
    """Return the name of an image that nothing will look into."""
    return BaseImage(digest=base.digest, diff_ids=(), layers=(), architecture="")


def _base(name: str, engine: Engine | None) -> Base:
    if engine is not None:
        return engine.trust.base_named(name)
    return Base(name=name, digest=digest_of(name.encode()), note="", withdrawn=False)  # for the manifest only


def _check_samples(stations: Mapping[PartyId, Mapping[str, Path]]) -> None:
    uid, gid = run_user(os.geteuid(), os.getegid())
    for party, data in stations.items():
        for name, folder in data.items():
            first = closed(folder, uid, gid)
            if first is not None:
                msg = "the sandbox's user cannot read the samples"
                hint = f"let its group read them: {how_to_open(folder, gid)}"
                raise DataClosed(msg, station=party, data=name, path=first, user=uid, hint=hint)


def _directory(secrets: Mapping[PartyId, Secrets], base: Base, now: datetime) -> TrustStore:
    def party(name: PartyId) -> Party:
        record = KeySetRecord(key_set=secrets[name].key_set, since=now - _DAY, until=None, revoked=None)
        role = Role.OWNER if name == OWNER else Role.STATION
        return Party(party=name, title=str(name), roles=frozenset({role}), key_sets=(record,))

    return TrustStore(
        version=DirectoryVersion(root=1, targets=1),
        expires=now + 30 * _DAY,
        parties={name: party(name) for name in secrets},
        bases={base.digest: base},
        policy=Policy(max_train_days=366),
    )


def _house(
    party: PartyId,
    data: Mapping[str, Path],
    secrets: Secrets,
    *,
    depot: Depot,
    trust: TrustStore,
    shared: _Shared,
    room: Path,
) -> House:
    folder = make_folder(room / party)
    sets = {name: sample_set(name, path, room=folder) for name, path in data.items()}
    return House(
        party=party,
        name=f"rehearsal-{room.name}-{party}",
        secrets=secrets,
        depot=depot,
        journal=Journal.open(folder / "journal.sqlite"),
        spool=Spool(folder / "spool"),
        workrooms=Workrooms(folder / "workrooms"),
        passes=PassKeys(folder / "passes"),
        sandbox=shared.sandbox,
        trust=lambda _now: trust,
        base_image=shared.base_image,
        data=sets,
        policy=AllOf(
            rules=(
                DataSets(offered=dict.fromkeys(sets)),
                Selections(described={name: one.columns for name, one in sets.items()}),
                CheckableOutputs(),
            )
        ),
        gate=gate_of(),
    )
