"""What does a stop cost, in requests and in files that are made durable, however long the route? Counted, not timed."""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Final, Self

from registry.depot import ReceiptKind
from registry.directory import RegistryDirectory
from registry.http.remote import HttpRegistry
from registry.http.request import Http
from registry.memory import MemoryRegistry
from registry.names import HttpLocation, Reference, Repository, Tag, location
from registry.oci import MAX_MANIFEST, Descriptor
from registry.port import OpenAt, Progress, StoredManifest
from security.digest import NOTHING, CheckedReader, Digest, Prefix, digest_of
from security.directory.client import Durable, load_trust
from security.train.manifest import Limits, Output
from station.daemon.loop import Shift
from station.daemon.pace import Pace
from station.daemon.reconcile import reconcile
from station.house.mailbox import MailboxMemory
from station.house.proofs import Proofs
from station.house.workroom import Workrooms
from station.journal.chain import Head, Record, parse_record
from station.journal.index import Index
from station.journal.journal import Journal
from station.journal.log import Log, Stored
from station.journal.sqlite import SqliteLog
from station.visit.events import VisitEvent, lasts
from station.visit.plan import Phase, phase_of
from station.visit.state import replay
from tests.support.barrier import Barrier
from tests.support.directories import clock, house
from tests.support.registries import RealRegistries
from tests.support.scripted_sandbox import ScriptedSandbox
from tests.support.trains import Train
from tests.support.world import ROOMY, ROUTE, World, add_up, world

MOST_REQUESTS: Final = 15
MOST_SYNCS: Final = 20
MOST_STEPS: Final = 40
LIMITS: Final = Limits(memory_bytes=1 << 28, cpu_millis=1000, wall_seconds=60, processes=32, output_bytes=1 << 25)
SIZE: Final = 12 << 20
COUNTED: Final = b'{"sum":1,"n":1}'


def travelled(here: World, route: tuple[str, ...], stops: int) -> Train:
    """A train that was at the first stops of its route, and waits at the next."""
    made = here.train(route=route)
    for _ in range(stops):
        made.pass_stop({"sums.json": COUNTED})
    here.submit(made)
    return made


def visit(here: World, station: str) -> None:
    """Look into the mailbox once, and take every step until the train has left."""
    house_ = here.houses[station]
    here.notice(station)
    for _ in range(MOST_STEPS):
        for arrival in house_.journal.unfinished():
            reconcile(arrival, house_, here.now)
    assert house_.journal.unfinished() == ()


# --- Requests


def test_a_small_stop_at_a_real_registry(real_registries: RealRegistries, tmp_path: Path) -> None:
    barrier = Barrier(real_registries.address("http"))
    place = location(barrier.url)
    assert isinstance(place, HttpLocation)
    here = world(tmp_path, registry=HttpRegistry(Http(place.origin), prefix=None))
    try:
        travelled(here, ROUTE, 1)
        visit(here, "hospital-b")  # puts the empty config into mailboxes that are new
        made = travelled(here, ROUTE, 1)
        barrier.asked.clear()
        visit(here, "hospital-b")
        kinds = Counter(line.split()[0] for line in barrier.asked)
        assert kinds == {"GET": 8, "PUT": 2, "DELETE": 1}
        assert kinds.total() + asked_for_a_directory(tmp_path) <= MOST_REQUESTS
        assert len(here.waits_for("hospital-c")) == 2
        assert len(here.receipts(made, ReceiptKind.ENTRY)) == 1
    finally:
        here.close()
        barrier.close()


class Tally(MemoryRegistry):
    """Counts what is asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def has_blob(self, repo: Repository, digest: Digest) -> bool:
        self.asked["has blob"] += 1
        return super().has_blob(repo, digest)

    def open_blob(self, repo: Repository, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
        self.asked["open blob"] += 1
        return super().open_blob(repo, descriptor, after)

    def put_blob(
        self, repo: Repository, descriptor: Descriptor, open_at: OpenAt, progress: Progress | None = None
    ) -> None:
        self.asked["put blob"] += 1
        super().put_blob(repo, descriptor, open_at, progress)

    def mount_blob(self, repo: Repository, digest: Digest, source: Repository) -> bool:
        self.asked["mount blob"] += 1
        return super().mount_blob(repo, digest, source)

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = MAX_MANIFEST) -> StoredManifest:
        self.asked["get manifest"] += 1
        return super().get_manifest(repo, reference, most=most)

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        self.asked["put manifest"] += 1
        return super().put_manifest(repo, reference, raw, media_type)

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        self.asked["list tags"] += 1
        return super().list_tags(repo)


def asked_for_a_directory(folder: Path) -> int:
    """Return what it takes to ask whether the directory is still what it was."""
    ours, registry = house(folder / "consortium", keys=1, threshold=1), Tally()
    ours.admit("hospital-a")
    place = RegistryDirectory(registry)
    ours.publish(place)
    load_trust(place, folder / "cache", ours.root, clock())
    registry.asked.clear()
    durable = Durable()
    for expected in (4, 0):  # what was made durable once needs it no more
        with Syncs() as syncs:
            load_trust(place, folder / "cache", ours.root, clock(), durable)
        assert syncs.count == expected
    ours.publish(place, refresh=True)
    with Syncs() as syncs:
        load_trust(place, folder / "cache", ours.root, clock(), durable)
    assert syncs.count == 4
    registry.asked.clear()
    load_trust(place, folder / "cache", ours.root, clock(), durable)
    assert registry.asked == {"get manifest": 2, "open blob": 1}
    return registry.asked.total()


def test_a_stop_of_a_long_route_costs_what_any_other_does(tmp_path: Path) -> None:
    """Requests and files: what came before, however much, is one of each."""
    route = tuple(f"hospital-{number}" for number in range(60))
    registry = Tally()
    here = world(tmp_path, stations=route, registry=registry)
    try:
        asked, kept = [], []
        for stop in (1, 30, 58):
            travelled(here, route, stop)
            registry.asked.clear()
            visit(here, route[stop])
            asked.append(dict(registry.asked))
            kept.append(len(here.visit(route[stop]).blobs))
        assert asked[1] == asked[2]
        assert sum(asked[0].values()) >= sum(asked[1].values())  # the owner's mailbox was new
        assert kept[0] + 1 == kept[1] == kept[2]  # few letters lie in the document, many beside it
    finally:
        here.close()


def test_a_run_is_looked_at_soon_at_first_and_four_times_a_second_later(tmp_path: Path) -> None:
    here = world(tmp_path, stations=("hospital-a",))
    try:
        sandbox = ScriptedSandbox(add_up, turns=40, clock=lambda: here.now)
        here.change("hospital-a", sandbox=sandbox)
        travelled(here, ("hospital-a",), 0)
        shift, pauses = Shift(here.houses["hospital-a"], Pace(clock=here.clock, poll_seconds=10), ROOMY), list[float]()
        for _ in range(60):
            shift.turn()
            if phase_of(here.visit("hospital-a")) is Phase.RUNNING and shift.pause() < 1:  # it was looked at
                pauses.append(shift.pause())
                here.now += timedelta(seconds=pauses[-1] + 0.001)
        assert len(pauses) >= 40
        assert 0 < pauses[0] < 0.03
        assert pauses == sorted(pauses)
        assert pauses[-1] == 0.25
        assert here.visit("hospital-a").departed is not None
    finally:
        here.close()


# --- What is made durable


class Syncs:
    """Counts calls of `os.fsync` in this thread, by what the interpreter tells a profiler."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, called: object) -> None:
        del frame
        self.count += event == "c_call" and called is os.fsync


def test_a_small_stop_makes_few_things_durable(tmp_path: Path) -> None:
    here = world(tmp_path)
    try:
        travelled(here, ROUTE, 1)
        visit(here, "hospital-b")  # makes the folders
        travelled(here, ROUTE, 1)
        journal = here.houses["hospital-b"].journal
        before = journal.head().sequence
        with Syncs() as syncs:
            visit(here, "hospital-b")
        recorded = [parse_record(raw).event for raw, _ in list(journal.records())[before:]]
        assert 0 < syncs.count < MOST_SYNCS
        assert syncs.count + sum(map(lasts, recorded)) <= MOST_SYNCS
    finally:
        here.close()


class Watched:
    """A log that looks, before it takes a record, whether everything that a visit names is in the spool by then."""

    def __init__(self, inner: Log, spool: Path) -> None:
        self._inner, self._spool = inner, spool
        self.events: list[VisitEvent] = []

    def append(self, record: bytes, *, after: Head, head: Head) -> None:
        self._look(parse_record(record))
        self._inner.append(record, after=after, head=head)

    def add(self, record: bytes, *, after: Head, head: Head) -> None:
        self._look(parse_record(record))
        self._inner.add(record, after=after, head=head)

    def _look(self, record: Record) -> None:
        if isinstance(record.event, VisitEvent):
            self.events.append(record.event)
            for digest in replay(self.events).blobs:
                assert digest_of((self._spool / digest.hex).read_bytes()) == digest
            assert not list(self._spool.glob(".*.part"))

    def read(self, after: int = 0) -> Iterator[Stored]:
        return self._inner.read(after)

    @property
    def index(self) -> Index:
        return self._inner.index

    def head(self) -> Head:
        return self._inner.head()

    def close(self) -> None:
        self._inner.close()


def test_an_event_names_only_what_has_its_name_already(tmp_path: Path) -> None:
    here = world(tmp_path)
    try:
        watched = Watched(SqliteLog.in_memory(), here.folder("hospital-b") / "spool")
        here.houses["hospital-b"].journal.close()
        here.change("hospital-b", journal=Journal(watched))
        travelled(here, ROUTE, 1)
        visit(here, "hospital-b")
        assert watched.events[-1].kind == "departed"
    finally:
        here.close()


# --- What passes through this process


def passed(what: str) -> int:
    """Return how many bytes this process has read (``rchar``) or written (``wchar``) so far, all its threads together."""
    return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())[what])


def test_a_large_state_is_written_three_times_and_read_four_times(tmp_path: Path) -> None:
    """Written as it came, opened, and sealed; read to be opened, judged, sealed, and sent."""
    state = random.Random(1).randbytes(SIZE)  # noqa: S311 - it hides nothing
    here = world(tmp_path, program=lambda _order, _say: 0)  # leaves the state as it came
    try:
        outputs = (Output(path="*.bin", media_type="application/octet-stream", max_bytes=1 << 30),)
        made = here.train(outputs=outputs, limits=LIMITS)
        made.pass_stop({"state.bin": state})
        here.submit(made)
        before = {what: passed(what) for what in ("rchar", "wchar")}
        visit(here, "hospital-b")
        times = {what: (passed(what) - before[what]) / len(state) for what in before}
        assert here.visit("hospital-b").sealed is not None
        assert 3 <= times["wchar"] < 3.3
        assert 4 <= times["rchar"] < 4.3
    finally:
        here.close()


# --- A power cut


class Cut:
    """A log in memory that a power cut takes back to the last record that had to last."""

    def __init__(self) -> None:
        self._log = SqliteLog.in_memory()
        self._kept: list[tuple[bytes, Head, Head]] = []
        self._open: list[tuple[bytes, Head, Head]] = []
        self.lost = 0

    def append(self, record: bytes, *, after: Head, head: Head) -> None:
        self._log.append(record, after=after, head=head)
        self._kept += [*self._open, (record, after, head)]
        self._open.clear()

    def add(self, record: bytes, *, after: Head, head: Head) -> None:
        self._log.add(record, after=after, head=head)
        self._open.append((record, after, head))

    def cut(self) -> None:
        self.lost += len(self._open)
        self._open.clear()
        self._log = SqliteLog.in_memory()
        for record, after, head in self._kept:
            self._log.append(record, after=after, head=head)

    def read(self, after: int = 0) -> Iterator[Stored]:
        return self._log.read(after)

    @property
    def index(self) -> Index:
        return self._log.index

    def head(self) -> Head:
        return self._log.head()

    def close(self) -> None:
        self._log.close()


def steps_of_a_visit(tmp_path: Path) -> int:
    here = world(tmp_path, stations=("hospital-a",))
    travelled(here, ("hospital-a",), 0)
    visit(here, "hospital-a")
    count = len(here.visit("hospital-a").events)
    here.close()
    return count


def test_t25_a_power_cut_after_any_event_takes_back_nothing_that_matters(tmp_path: Path) -> None:
    """What is lost is found out again: the train comes home once, signed once, with the results of a run in a whole room."""
    lost = 0
    for cut_after in range(1, steps_of_a_visit(tmp_path / "quiet") + 1):
        here = world(tmp_path / str(cut_after), stations=("hospital-a",))
        log = Cut()
        here.houses["hospital-a"].journal.close()
        here.change("hospital-a", journal=Journal(log))
        made = travelled(here, ("hospital-a",), 0)
        here.notice("hospital-a")
        house_ = here.houses["hospital-a"]
        for arrival in house_.journal.unfinished():
            while here.visits("hospital-a") and len(house_.journal.visit(arrival).events) < cut_after:
                reconcile(arrival, house_, here.now)
        log.cut()
        here.sandboxes["hospital-a"].lose_power()
        rooms = Workrooms(here.folder("hospital-a") / "workrooms", boot=lambda: "another life")
        here.change("hospital-a", journal=Journal(log), workrooms=rooms, proofs=Proofs(), mailbox=MailboxMemory())
        here.settle()
        ended = [one for one in here.visits("hospital-a") if one.pushed]
        assert [event.kind for one in ended for event in one.events].count("signed") == 1
        assert len(here.receipts(made, ReceiptKind.ENTRY)) == 1
        assert here.results(made, tmp_path / f"results-{cut_after}") == {"sums.json": b'{"n":3,"sum":15}\n'}
        assert here.plaintext("hospital-a") == []
        lost += log.lost
        here.close()
    assert lost > 0
