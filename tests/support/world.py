"""A consortium at work in one process: stations with real journals, spools and workrooms, a registry, an owner.

Everything a station does it does itself, through `station.daemon.reconcile`; what the world adds is time, the ways a registry
or a sender can misbehave, and places to look. A test changes one fact and asserts what the world looks like after.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast

from registry.blobs import Rest
from registry.depot import Depot, Receipt, ReceiptKind, mailbox, train_tag
from registry.memory import MemoryRegistry
from registry.port import Registry
from security.archive import Budget
from security.digest import NOTHING, Digest
from security.directory.trust import Base, TrustStore
from security.errors import FileMissing
from security.ids import PartyId, TrainId
from security.statement.envelope import Envelope
from security.train.journey import Outcome, read_refusal
from security.train.letters import check_readers, open_letter, open_parcel, with_common
from security.train.seal import open_state
from security.train.verify import verify_home
from station.admission.policy import AllOf, Bases, Ceiling, CheckableOutputs, DataSets, Owners, Rule
from station.daemon.pace import Terms
from station.daemon.reconcile import reconcile
from station.data.folder import FolderSource
from station.data.port import DataSet
from station.house.assembly import gate_of
from station.house.capacity import Capacity, Resources
from station.house.config import CEILING
from station.house.expected import Expected
from station.house.house import House
from station.house.mailbox import MailboxMemory
from station.house.passes import PassKeys
from station.house.proofs import Proofs
from station.house.spool import Spool
from station.house.workroom import Workrooms
from station.journal.journal import Journal
from station.sandbox.image import BaseImage
from station.sandbox.order import DATA, RunOrder
from station.steps.notice import notice
from station.visit.events import VisitEvent
from station.visit.plan import approve
from station.visit.state import Visit
from tests.support.clocks import SetClock
from tests.support.scripted_sandbox import Program, ScriptedSandbox
from tests.support.trains import BASE, CODE, MAIL, NOW, Consortium, Train, consortium, train

ROUTE = ("hospital-a", "hospital-b", "hospital-c")
PATIENTS = {"hospital-a": (3, 5, 7), "hospital-b": (11,), "hospital-c": (13, 17)}
TOTAL = sum(sum(rows) for rows in PATIENTS.values())
MOST_TURNS = 200


def add_up(order: RunOrder, say: Callable[[bytes], None]) -> int:
    """The analysis of the world: add this hospital's column to the sum that came in."""
    state = order.state / "sums.json"
    before = json.loads(state.read_bytes()) if state.exists() else {"sum": 0, "n": 0}
    rows = [int(line) for line in (order.source(f"{DATA}/patients") / "patients.csv").read_text().splitlines()[1:]]
    state.write_text(json.dumps({"sum": before["sum"] + sum(rows), "n": before["n"] + len(rows)}))
    say(b"added %d rows\n" % len(rows))
    return 0


class MemoryBlobs:
    """A `BlobSource` and `BlobSink` of a dictionary."""

    def __init__(self, blobs: Mapping[Digest, bytes] | None = None) -> None:
        self.blobs = dict(blobs or {})

    def has(self, digest: Digest) -> bool:
        return digest in self.blobs

    def put(self, digest: Digest, size: int, source: BinaryIO) -> None:
        del size
        self.blobs[digest] = source.read()

    def fetch(self, digest: Digest, size: int, rest: Rest) -> None:
        if digest not in self.blobs:
            self.put(digest, size, cast("BinaryIO", rest(NOTHING)))

    def open(self, digest: Digest) -> BinaryIO:
        if digest not in self.blobs:
            msg = "no such blob"
            raise FileMissing(msg, digest=digest.short)
        return io.BytesIO(self.blobs[digest])


ROOMY = Terms(capacity=Capacity.of(Resources(runs=100, memory_bytes=1 << 50, cpu_millis=1 << 30, disk_bytes=1 << 50)))
"""Room for whatever a test does."""


@dataclass
class World:
    """Who is there, what time it is, and where everything lies."""

    root: Path
    consortium: Consortium
    registry: Registry
    clock: SetClock = field(default_factory=lambda: SetClock(NOW))
    houses: dict[str, House] = field(default_factory=dict)
    sandboxes: dict[str, ScriptedSandbox] = field(default_factory=dict)
    refuse_directory: Exception | None = None

    @property
    def now(self) -> datetime:
        return self.clock.at

    @now.setter
    def now(self, at: datetime) -> None:
        self.clock.at = at

    # --- The owner's side

    def train(
        self,
        *,
        owner: str = "alice",
        route: Sequence[str] = ROUTE,
        files: Mapping[str, bytes] = CODE,
        **changes: object,
    ) -> Train:
        return train(self.consortium, owner=owner, route=route, files=files, **changes)  # type: ignore[arg-type] # fields

    def submit(self, made: Train, *, to: str | None = None) -> Digest:
        """Send a train, at whatever point of its way it is, to its next stop or to somebody else."""
        party = PartyId(to) if to else made.manifest.expected_at(made.stop).party
        return self.depot.send(
            made.parcel,
            MemoryBlobs(made.blobs),
            to=party,
            train=made.id,
            stop=None if made.stop == made.manifest.route.home else made.stop,
        )

    def at_home(self, train_id: TrainId, owner: str = "alice") -> bool:
        return bool(self.depot.arrivals(PartyId(owner), train_id))

    def results(self, made: Train, into: Path) -> dict[str, bytes]:
        """Open what came home as its owner does: everything verified first."""
        owner = made.manifest.owner.party
        (arrival,) = self.depot.arrivals(owner, made.id)
        blobs = MemoryBlobs()
        opened = open_parcel(self.depot.take(arrival, blobs), [MAIL])
        home = verify_home(opened.parts, self.consortium.trust, owner=owner, now=self.now)
        check_readers(opened, home)
        ((state, binding),) = zip(home.states, home.received(), strict=True)
        into.mkdir()
        open_state(
            blobs.open(state.digest),
            state,
            binding=binding,
            identities=[self.consortium.secrets[owner].identity],
            into=into,
            budget=Budget(total_bytes=1 << 24, member_bytes=1 << 24, members=100),
        )
        return {path.name: path.read_bytes() for path in into.iterdir()}

    def receipts(self, made: Train, kind: ReceiptKind) -> tuple[Receipt, ...]:
        return self.depot.receipts_of(made.manifest.owner.party, made.id, made.manifest.route.indices, (kind,))

    def outcome(self, made: Train) -> Outcome:
        """What the owner was told about the stop the train did not pass."""
        (receipt,) = self.receipts(made, ReceiptKind.REFUSAL)
        return read_refusal(self.read(made, receipt).payload).outcome

    def read(self, made: Train, receipt: Receipt) -> Envelope:
        """Open a receipt as its owner does."""
        letter = self.depot.read_receipt(made.manifest.owner.party, receipt)
        return open_letter(letter, with_common(made.manifest, [MAIL])).envelope

    # --- The stations' side

    @property
    def depot(self) -> Depot:
        return Depot(self.registry)

    def trust(self, now: datetime) -> TrustStore:
        if self.refuse_directory is not None:
            raise self.refuse_directory
        store = self.consortium.trust
        store.check_fresh(now)
        return store

    def notice(self, station: str) -> None:
        notice(self.houses[station], self.now)

    def step(self, station: str) -> list[VisitEvent]:
        """One turn of one station: look into the mailbox, then one step for every visit under way."""
        house = self.houses[station]
        notice(house, self.now)
        events = (reconcile(arrival, house, self.now) for arrival in house.journal.unfinished())
        return [event for event in events if event is not None]

    def settle(self, *stations: str) -> None:
        """Turn until nothing happens any more, letting pauses pass."""
        for _ in range(MOST_TURNS):
            busy = [self.step(station) for station in stations or tuple(self.houses)]
            if not any(busy):
                under_way = [house.journal.going_on() for house in self.houses.values()]
                running = any(one.started is not None and one.wiped is None for visits in under_way for one in visits)
                waiting = [
                    visit.not_before
                    for one in stations or tuple(self.houses)
                    for visit in self.houses[one].journal.going_on()
                    if visit.not_before is not None and visit.not_before > self.now
                ]
                if not waiting and not running:
                    return
                self.now = min(waiting, default=self.now + timedelta(seconds=1))
        msg = "the stations never came to rest"
        raise AssertionError(msg)

    def visits(self, station: str) -> tuple[Visit, ...]:
        journal = self.houses[station].journal
        return tuple(journal.visit(arrival) for arrival in journal.arrivals())

    def visit(self, station: str) -> Visit:
        (visit,) = self.visits(station)
        return visit

    def approve(self, station: str) -> None:
        """Have an operator say yes to what the newest visit waits for."""
        visit = self.visits(station)[-1]
        yes = approve(visit, by="grace", note="", now=self.now)
        self.houses[station].journal.append(visit.arrival, yes, expect=visit.length)

    def restart(self, station: str) -> None:
        """Kill a station and start it again on the same folder; its engine lives on."""
        self.houses[station].journal.close()
        self.houses[station] = replace(
            self.houses[station],
            journal=Journal.open(self.folder(station) / "journal.sqlite"),
            spool=Spool(self.folder(station) / "spool"),
            workrooms=Workrooms(self.folder(station) / "workrooms"),
            mailbox=MailboxMemory(),
            expected=Expected(),
            proofs=Proofs(),
        )

    def back_up(self, station: str, to: Path) -> None:
        """Copy a station's whole folder while it is stopped."""
        self.houses[station].journal.close()
        shutil.copytree(self.folder(station), to)
        self.restart(station)

    def restore(self, station: str, backup: Path) -> None:
        """Stop a station, put its folder back to what a copy holds, and start it."""
        self.houses[station].journal.close()
        shutil.rmtree(self.folder(station))
        shutil.copytree(backup, self.folder(station))
        self.restart(station)

    def change(self, station: str, **changes: object) -> None:
        self.houses[station] = replace(self.houses[station], **changes)  # type: ignore[arg-type] # a test's wish

    def folder(self, station: str) -> Path:
        return self.root / station

    def plaintext(self, station: str) -> list[Path]:
        """What lies in the workrooms of a station."""
        rooms = self.folder(station) / "workrooms"
        return sorted(rooms.iterdir()) if rooms.exists() else []

    def waits_for(self, station: str) -> tuple[Digest, ...]:
        return tuple(one.digest for one in self.depot.arrivals(PartyId(station)))

    def tag(self, made: Train, *, to: str, stop: int, digest: Digest) -> None:
        """Point a mailbox's tag at a manifest of it, as anybody who may write there can."""
        repo = mailbox(PartyId(to))
        stored = self.registry.get_manifest(repo, digest)
        self.registry.put_manifest(repo, train_tag(made.id, PartyId(to), stop), stored.raw, stored.media_type)

    def close(self) -> None:
        for house in self.houses.values():
            house.journal.close()


def world(
    root: Path,
    *,
    stations: Sequence[str] = ROUTE,
    program: Program | Mapping[tuple[str, ...], Program] = add_up,
    registry: Registry | None = None,
    policy: Rule | None = None,
    parties: Consortium | None = None,
) -> World:
    """Build a world in which a valid train comes home by itself."""
    made = World(root=root, consortium=parties or consortium(stations), registry=registry or MemoryRegistry())
    for name in stations:
        folder = made.folder(name)
        data = folder / "data"
        data.mkdir(parents=True)
        rows = "".join(f"{row}\n" for row in PATIENTS.get(name, (1,)))
        (data / "patients.csv").write_text(f"value\n{rows}")
        made.sandboxes[name] = ScriptedSandbox(program, clock=lambda: made.now)
        sets = {"patients": DataSet(source=FolderSource(name="patients", folder=data), description="synthetic")}
        made.houses[name] = House(
            party=PartyId(name),
            name=f"test-{name}",
            secrets=made.consortium.secrets[PartyId(name)],
            depot=Depot(made.registry),
            journal=Journal.open(folder / "journal.sqlite"),
            spool=Spool(folder / "spool"),
            workrooms=Workrooms(folder / "workrooms"),
            passes=PassKeys(folder / "passes"),
            sandbox=made.sandboxes[name],
            trust=made.trust,
            base_image=base_image,
            data=sets,
            policy=policy or usual_policy(),
            gate=gate_of(),
        )
    return made


def usual_policy() -> Rule:
    return AllOf(
        rules=(
            Owners(allowed=frozenset({PartyId("alice")})),
            Bases(allowed=frozenset({"python"})),
            DataSets(offered={"patients": None}),
            Ceiling(most=CEILING),
            CheckableOutputs(),
        )
    )


def base_image(base: Base) -> BaseImage:
    assert base.digest == BASE
    return BaseImage(digest=base.digest, diff_ids=(), layers=(), architecture="amd64")
