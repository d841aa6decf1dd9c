"""Would this train come home? A whole route in one process, with the same protocol code and the same gate.

For a scientist before submitting: every station of the route is a real house with its own temporary keys, journal,
spool and workroom; registry and directory are in memory; the data are local sample folders. Where there is a container
engine, the analysis runs in the same sandbox as at a hospital; else it runs as a plain process, and the answer says so.
Nothing of a rehearsal counts anywhere else: its keys are made for it and forgotten.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from registry.depot import Depot
from registry.memory import MemoryRegistry
from registry.port import Registry
from rehearsal.errors import RehearsalStuck
from rehearsal.process import ProcessSandbox
from security.archive import Budget
from security.clock import Clock
from security.directory.trust import Base, DirectoryVersion, KeySetRecord, Party, Policy, TrustStore
from security.files import make_folder
from security.ids import PartyId, Role, TrainId
from security.keys.keyset import Scheme, Secrets, generate
from security.train.seal import open_state
from security.train.verify import verify_home
from station.admission.policy import AllOf, CheckableOutputs, DataSets
from station.daemon.reconcile import reconcile
from station.data.folder import FolderSource, closed, how_to_open
from station.data.port import DataSet
from station.errors import DataClosed
from station.house.assembly import base_loader, gate_of
from station.house.house import BaseLoader, House
from station.house.spool import Spool
from station.house.workroom import Workrooms
from station.journal.journal import Journal
from station.sandbox.docker.engine import DockerSandbox
from station.sandbox.image import BaseImage
from station.sandbox.order import run_user
from station.sandbox.port import Sandbox
from station.steps.notice import notice
from station.visit.events import VisitEvent
from station.visit.plan import Ask, Over, Wait, next_step
from station.visit.state import Visit

OUTPUT_BYTES: Final = 64 << 10
POLL_SECONDS: Final = 0.1
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What whoever builds the train works with: an owner of the rehearsal's own directory, and a registry."""

    owner: PartyId
    secrets: Secrets = field(repr=False)
    trust: TrustStore
    depot: Depot
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """How one stop went. `code` and `reason` are those of the refusal or fault, if any; `printed` is the run's output.

    The data are the scientist's own samples, so unlike at a hospital everything may be shown.
    """

    stop: int
    station: PartyId
    passed: bool
    code: str | None
    reason: str | None
    seconds: int | None
    outputs: tuple[tuple[str, int], ...]
    printed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """How the whole way went.

    `sandbox` names what the analysis ran in; `sealed` is false for a plain process, and `lacking` says what was missing.
    `results` is the folder with the opened final state, if the train came home.
    """

    train: TrainId
    sandbox: str
    sealed: bool
    lacking: str | None
    stops: tuple[Rehearsed, ...]
    results: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """Where a rehearsal takes place.

    `engine` is the address of a container engine (tried, not needed) and `bases` the registry its base images come
    from; `path` is where a plain process finds its programs. `room` is an empty private folder.
    """

    room: Path
    engine: str
    bases: Registry | None
    path: str
    clock: Clock


def rehearse(
    submit: Callable[[Stage], TrainId],
    *,
    owner: PartyId,
    stations: Mapping[PartyId, Mapping[str, Path]],
    base: Base,
    venue: Venue,
    results: Path,
    tell: Callable[[PartyId, VisitEvent], None] | None = None,
) -> Rehearsal:
    """Let a train go its whole way, and open what comes home into `results`.

    `submit` builds the train with the stage's keys and directory, and sends it with the stage's depot. `stations` maps
    each party of the route to its data sets. `tell` is called for every event, for progress.

    Raises:
        Whatever `submit` raises.
        DataClosed: the sandbox's user may not read the samples.
        RehearsalStuck: a station cannot go on here: the engine fails, or the disk is full.
    """
    now = venue.clock.now().replace(microsecond=0)  # statements tell whole seconds
    secrets = {party: generate([Scheme.ED25519]) for party in (owner, *stations)}
    trust = _directory(owner, secrets, base, now)
    depot = Depot(MemoryRegistry())
    with _sandbox(venue) as (sandbox, lacking):
        if sandbox.sealed:
            _look_at_samples(stations)
        bases = _bases(venue, sandbox)
        houses = [
            _house(party, data, secrets[party], depot=depot, trust=trust, sandbox=sandbox, bases=bases, venue=venue)
            for party, data in stations.items()
        ]
        try:
            stage = Stage(owner=owner, secrets=secrets[owner], trust=trust, depot=depot, now=now)
            train = submit(stage)
            printed = _go_round(houses, venue, tell)
            stops = _told(houses, printed)
            home = _open(train, stage, venue, results) if _all_passed(stops) else None
            return Rehearsal(
                train=train,
                sandbox=sandbox.profile,
                sealed=sandbox.sealed,
                lacking=lacking,
                stops=stops,
                results=home,
            )
        finally:
            for house in houses:
                house.journal.close()


# --- The company -----------------------------------------------------------------------------------------------------


def _directory(owner: PartyId, secrets: Mapping[PartyId, Secrets], base: Base, now: datetime) -> TrustStore:
    def party(name: PartyId) -> Party:
        record = KeySetRecord(key_set=secrets[name].key_set, since=now - _DAY, until=None, revoked=False)
        role = Role.OWNER if name == owner else Role.STATION
        return Party(party=name, title=str(name), roles=frozenset({role}), key_sets=(record,))

    return TrustStore(
        version=DirectoryVersion(root=1, targets=1),
        expires=now + 30 * _DAY,
        parties={name: party(name) for name in secrets},
        bases={base.digest: base},
        policy=Policy(max_train_days=366),
    )


@contextmanager
def _sandbox(venue: Venue) -> Iterator[tuple[Sandbox, str | None]]:
    """Use the engine if it answers and the base image can be had, else a plain process, and say why."""
    if venue.bases is None:
        lacking = "nobody said which registry has the base image (--home does)"
    else:
        engine = DockerSandbox(url=venue.engine)
        bad = next((finding for finding in engine.doctor(None) if not finding.ok), None)
        if bad is None:
            yield engine, None
            return
        lacking = f"{bad.name}: {bad.detail}"
    yield ProcessSandbox(room=make_folder(venue.room / "processes"), path=venue.path), lacking


def _look_at_samples(stations: Mapping[PartyId, Mapping[str, Path]]) -> None:
    uid, gid = run_user(os.geteuid(), os.getegid())
    for party, data in stations.items():
        for name, folder in data.items():
            first = closed(folder, uid, gid)
            if first is not None:
                msg = "the sandbox's user cannot read the samples"
                hint = f"let its group do it: {how_to_open(folder, gid)}"
                raise DataClosed(msg, station=party, data=name, path=first, user=uid, hint=hint)


def _bases(venue: Venue, sandbox: Sandbox) -> BaseLoader:
    if sandbox.sealed and venue.bases is not None:
        return base_loader(venue.bases)
    return lambda base: BaseImage(digest=base.digest, diff_ids=(), layers=(), architecture="")


def _house(
    party: PartyId,
    data: Mapping[str, Path],
    secrets: Secrets,
    *,
    depot: Depot,
    trust: TrustStore,
    sandbox: Sandbox,
    bases: BaseLoader,
    venue: Venue,
) -> House:
    folder = make_folder(venue.room / party)
    sets = {
        name: DataSet(source=FolderSource(name=name, folder=path.absolute()), description="")
        for name, path in data.items()
    }
    offered = dict.fromkeys(sets)
    return House(
        party=party,
        name=f"rehearsal-{venue.room.name}-{party}",
        secrets=secrets,
        depot=depot,
        journal=Journal.open(folder / "journal.sqlite"),
        spool=Spool(folder / "spool"),
        workrooms=Workrooms(folder / "workrooms"),
        sandbox=sandbox,
        trust=lambda _now: trust,
        base_image=bases,
        data=sets,
        policy=AllOf(rules=(DataSets(offered=offered), CheckableOutputs())),
        gate=gate_of(),
    )


# --- The way ---------------------------------------------------------------------------------------------------------


def _go_round(
    houses: Sequence[House], venue: Venue, tell: Callable[[PartyId, VisitEvent], None] | None
) -> dict[tuple[PartyId, int], bytes]:
    """Turn until every visit is over; return what each run printed, taken before it is wiped."""
    printed: dict[tuple[PartyId, int], bytes] = {}
    while True:
        busy, open_visits = False, 0
        for house in houses:
            busy |= bool(notice(house, venue.clock.now()))
            for arrival in house.journal.unfinished():
                event = reconcile(arrival, house, venue.clock.now())
                visit = house.journal.visit(arrival)
                open_visits += not isinstance(next_step(visit, venue.clock.now()), Over)
                if event is not None:
                    busy = True
                    _listen(visit, house, printed)
                    if tell is not None:
                        tell(house.party, event)
                _need_progress(visit, house, venue.clock.now())
        if not open_visits and not busy:
            return printed
        if not busy:
            venue.clock.wait(POLL_SECONDS)


def _listen(visit: Visit, house: House, printed: dict[tuple[PartyId, int], bytes]) -> None:
    """Keep what the run printed, as soon as it is over."""
    if visit.accepted and visit.started and (visit.ended or visit.fault or visit.refused) and not visit.wiped:
        key = (house.party, visit.accepted.stop)
        if key not in printed:
            printed[key] = house.sandbox.output(visit.started.name, OUTPUT_BYTES)


def _need_progress(visit: Visit, house: House, now: datetime) -> None:
    """Refuse to wait for what a rehearsal has nobody to put right."""
    todo = next_step(visit, now)
    if isinstance(todo, Ask):
        msg = "a station would ask a person"
        raise RehearsalStuck(msg, station=house.party, reason=todo.reason)
    if isinstance(todo, Wait) and visit.stumbled is not None:
        msg = "a station cannot go on"
        raise RehearsalStuck(msg, station=house.party, step=visit.stumbled.step, code=visit.stumbled.code)


def _told(houses: Sequence[House], printed: Mapping[tuple[PartyId, int], bytes]) -> tuple[Rehearsed, ...]:
    found = []
    for house in houses:
        for visit in map(house.journal.visit, house.journal.arrivals()):
            ending = visit.refused or visit.fault
            stop = visit.accepted.stop if visit.accepted else 0
            found.append(
                Rehearsed(
                    stop=stop,
                    station=house.party,
                    passed=visit.pushed is not None,
                    code=ending.code if ending else None,
                    reason=ending.reason if ending else None,
                    seconds=visit.ended.seconds if visit.ended else None,
                    outputs=tuple((one.path, one.size) for one in visit.cleared.files) if visit.cleared else (),
                    printed=printed.get((house.party, stop), b""),
                )
            )
    return tuple(sorted(found, key=lambda one: one.stop))


def _all_passed(stops: Sequence[Rehearsed]) -> bool:
    return bool(stops) and all(one.passed for one in stops)


def _open(train: TrainId, stage: Stage, venue: Venue, results: Path) -> Path | None:
    arrivals = [one for one in stage.depot.arrivals(stage.owner) if one.train == train]
    if not arrivals:
        return None
    spool = Spool(venue.room / "home")
    parts = stage.depot.take(arrivals[0], spool)
    home = verify_home(parts, stage.trust, owner=stage.owner, now=venue.clock.now())
    if home.state is None:
        return None
    most = home.manifest.value.limits.output_bytes + (1 << 20)
    with spool.open(home.state.digest) as source:
        open_state(
            source,
            home.state,
            binding=home.received(),
            identities=[stage.secrets.identity],
            into=make_folder(results),
            budget=Budget(total_bytes=most, member_bytes=most, members=10_000),
        )
    return results
