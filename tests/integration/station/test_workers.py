"""A daemon with its workers: what waits for a registry, a directory or a run holds up nobody else.

Real journal, spool and workrooms; a registry in memory that hangs where a test says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from registry.memory import MemoryRegistry
from registry.names import Repository, Tag
from registry.oci import MAX_MANIFEST, Descriptor
from registry.port import StoredManifest
from security.digest import NOTHING, CheckedReader, Digest, Prefix
from security.directory.trust import TrustStore
from station.daemon.lanes import WORKERS, Lane
from station.daemon.loop import run
from station.daemon.pace import Pace, Terms
from station.daemon.sweep import Keeper
from station.house.capacity import Capacity
from station.house.trust import FreshTrust
from station.sandbox.order import RunOrder
from station.visit.plan import Phase, phase_of
from station.visit.state import Visit
from tests.support.trains import CODE, LARGE, NOW, Train
from tests.support.world import ROOMY, World, add_up, world

STATION = "hospital-a"
PATIENCE = 60
WORKERS_AT_REGISTRY = WORKERS[Lane.REGISTRY]


class Hanging(MemoryRegistry):
    """Answers nothing about what hangs, until it is let go of."""

    def __init__(self) -> None:
        super().__init__()
        self.blobs: set[Digest] = set()
        self.everything = False
        self.stuck = 0
        self._free = threading.Event()

    def free(self) -> None:
        self.blobs, self.everything = set(), False
        self._free.set()

    def _wait(self, digest: Digest | None = None) -> None:
        if self.everything or digest in self.blobs:
            self.stuck += 1
            assert self._free.wait(PATIENCE)

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        self._wait()
        return super().list_tags(repo)

    def get_manifest(self, repo: Repository, reference: Tag | Digest, *, most: int = MAX_MANIFEST) -> StoredManifest:
        self._wait()
        return super().get_manifest(repo, reference, most=most)

    def open_blob(self, repo: Repository, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
        self._wait(descriptor.digest)
        return super().open_blob(repo, descriptor, after)


@dataclass(frozen=True)
class Running:
    """A clock that goes on from the world's time."""

    begun: float

    def now(self) -> datetime:
        return NOW + timedelta(seconds=time.monotonic() - self.begun)

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        return (stop or threading.Event()).wait(max(0.0, seconds))


@pytest.fixture
def registry() -> Hanging:
    return Hanging()


@pytest.fixture
def here(tmp_path: Path, registry: Hanging) -> Iterator[World]:
    made = world(tmp_path, stations=[STATION], registry=registry)
    yield made
    registry.free()
    made.close()


@contextmanager
def daemon(here: World, terms: Terms = ROOMY, *, poll_seconds: float = 0.05) -> Iterator[None]:
    """Run the station's daemon in a thread, with a clock that goes on from the world's."""
    begun = time.monotonic()
    pace = Pace(clock=Running(begun), poll_seconds=poll_seconds)
    folder = here.folder(STATION) / "state"
    trouble: list[BaseException] = []

    def work() -> None:
        try:
            run(here.houses[STATION], folder=folder, health=folder / "health", version="1", pace=pace, terms=terms)
        except BaseException as error:
            trouble.append(error)
            raise

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        if isinstance(here.registry, Hanging):
            here.registry.free()
        pace.end()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert trouble == []


def wait(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def visit_of(here: World, made: Train) -> Visit | None:
    return here.houses[STATION].journal.accepted(made.id, 0)


def phase(here: World, made: Train) -> Phase | None:
    visit = visit_of(here, made)
    return None if visit is None else phase_of(visit)


def train(here: World, *, files: Mapping[str, bytes] = CODE, **changes: object) -> Train:
    return here.train(owner="alice", route=(STATION,), files=files, **changes)


def test_a_train_whose_code_does_not_come_holds_up_no_other(here: World, registry: Hanging) -> None:
    slow, quick = train(here, files=LARGE), train(here)
    registry.blobs.add(slow.manifest.code.digest)
    here.submit(slow)
    here.submit(quick)
    with daemon(here):
        wait(lambda: here.at_home(quick.id))
        assert registry.stuck
        assert visit_of(here, slow) is None
        registry.free()
        wait(lambda: here.at_home(slow.id))


def test_a_run_that_breaks_its_limit_is_ended_while_the_registry_hangs(tmp_path: Path, registry: Hanging) -> None:
    begun = threading.Event()

    def endless(order: RunOrder, say: Callable[[bytes], None]) -> int:
        del order, say
        begun.set()
        return -1

    here = world(tmp_path, stations=[STATION], registry=registry, program=endless)
    sandbox = here.sandboxes[STATION]
    limits = here.train(route=(STATION,)).manifest.limits
    made = train(here, limits=replace(limits, wall_seconds=1))
    here.submit(made)
    started = time.monotonic()
    sandbox._clock = lambda: NOW + timedelta(seconds=time.monotonic() - started)
    with daemon(here):
        assert begun.wait(PATIENCE)
        registry.everything = True
        wait(lambda: registry.stuck > 0)
        wait(lambda: phase(here, made) is Phase.ANSWERABLE)
        assert registry.everything
        assert (visit := visit_of(here, made)) is not None
        assert visit.fault is not None
        assert visit.fault.code == "run.timed-out"
        registry.free()
        wait(lambda: phase(here, made) is Phase.GONE)
    here.close()


def test_what_needs_only_this_machine_goes_on_while_every_worker_at_the_registry_hangs(
    tmp_path: Path, registry: Hanging
) -> None:
    go = threading.Event()

    def patient(order: RunOrder, say: Callable[[bytes], None]) -> int:
        return add_up(order, say) if go.is_set() else -1

    here = world(tmp_path, stations=[STATION], registry=registry, program=patient)
    running = train(here)
    here.submit(running)
    with daemon(here):
        wait(lambda: phase(here, running) is Phase.RUNNING)
        for _ in range(WORKERS_AT_REGISTRY + 2):
            stuck = train(here, files=LARGE)
            registry.blobs.add(stuck.manifest.code.digest)
            here.submit(stuck)
        wait(lambda: registry.stuck >= WORKERS_AT_REGISTRY)
        go.set()
        wait(lambda: phase(here, running) is Phase.READY)  # run, gate, seal and wipe; to be signed and sent
        assert here.plaintext(STATION) == []
    here.close()


def test_a_directory_that_hangs_stops_no_run_that_goes_on(here: World) -> None:
    hang = threading.Event()
    free = threading.Event()

    def load(now: object) -> TrustStore:
        del now
        if hang.is_set():
            assert free.wait(PATIENCE)
        return here.consortium.trust

    here.change(STATION, trust=FreshTrust(load, seconds=0, patience=0.2))
    here.sandboxes[STATION]._turns = 5
    made = train(here)
    here.submit(made)
    with daemon(here):
        wait(lambda: phase(here, made) is Phase.RUNNING)
        hang.set()
        wait(
            lambda: (
                here.sandboxes[STATION]._runs != {}
                and all(r.turns == 0 for r in here.sandboxes[STATION]._runs.values())
            )
        )
        hang.clear()
        free.set()
        wait(lambda: here.at_home(made.id))


def test_runs_at_once_never_exceed_the_capacity(tmp_path: Path) -> None:
    going_on, most, lock = set[str](), [0], threading.Lock()

    def counted(order: RunOrder, say: Callable[[bytes], None]) -> int:
        with lock:
            going_on.add(order.name)
            most[0] = max(most[0], len(going_on))
        time.sleep(0.02)
        with lock:
            going_on.discard(order.name)
        return add_up(order, say)

    here = world(tmp_path, stations=[STATION], program=counted)
    trains = [train(here) for _ in range(6)]
    for one in trains:
        here.submit(one)
    two = Capacity.of(type(ROOMY.capacity.total)(runs=2, memory_bytes=1 << 40, cpu_millis=1 << 20, disk_bytes=1 << 40))
    together = [0]

    def running() -> int:
        count = sum(phase(here, one) in {Phase.OPENED, Phase.RUNNING} for one in trains)
        together[0] = max(together[0], count)
        return count

    with daemon(here, Terms(capacity=two)):
        wait(lambda: running() >= 0 and all(here.at_home(one.id) for one in trains))
    assert 1 <= together[0] <= 2
    assert most[0] <= 2
    here.close()


def test_many_trains_at_once_each_come_home_once_with_one_signature(here: World) -> None:
    trains = [train(here) for _ in range(15)]
    for one in trains:
        here.submit(one)
    journal = here.houses[STATION].journal

    def kept() -> set[str]:
        return {digest.hex for digest in Keeper(journal, ROOMY.retention).references(NOW + timedelta(seconds=1))}

    with daemon(here):
        wait(lambda: all(phase(here, one) is Phase.GONE for one in trains))
        wait(lambda: {path.name for path in (here.folder(STATION) / "spool").iterdir()} - {".sweeping"} == kept())
    journal.check()
    for one in trains:
        visit = visit_of(here, one)
        assert visit is not None
        assert [event.kind for event in visit.events if event.kind == "signed"] == ["signed"]
        assert here.at_home(one.id)
    assert here.plaintext(STATION) == []


def test_a_daemon_that_is_asked_to_end_does_so_although_a_step_hangs(here: World, registry: Hanging) -> None:
    made = train(here, files=LARGE)
    registry.blobs.add(made.manifest.code.digest)
    here.submit(made)
    begun = time.monotonic()
    pace = Pace(clock=Running(begun), poll_seconds=0.05, grace_seconds=0.3)
    folder = here.folder(STATION) / "state"
    thread = threading.Thread(
        target=run,
        args=(here.houses[STATION],),
        kwargs={"folder": folder, "health": folder / "health", "version": "1", "pace": pace, "terms": ROOMY},
    )
    thread.start()
    wait(lambda: registry.stuck > 0)
    pace.end()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert registry.blobs
    registry.free()
    with daemon(here):
        wait(lambda: here.at_home(made.id))
