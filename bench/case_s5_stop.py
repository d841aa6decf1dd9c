"""S5: what does a small stop cost over the container it runs?"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from docker import APIClient

from bench.bench import Bench, Case
from bench.case_s3_route import client
from bench.figures import Figure, Goal, alternating
from bench.stops import Ticking, syncs, travelled
from registry.depot import Depot, mailbox
from registry.directory import RegistryDirectory
from registry.port import Registry
from security.directory.client import Durable, load_trust
from security.directory.trust import TrustStore
from security.ids import PartyId
from station.daemon.lanes import WORKERS
from station.daemon.loop import About, Shift
from station.daemon.pace import Pace
from station.daemon.workers import Threads
from station.house.trust import FreshTrust
from station.sandbox.docker.payload import create_payload
from station.sandbox.image import BaseImage
from station.sandbox.order import RunOrder
from tests.support.barrier import Barrier
from tests.support.directories import clock, house
from tests.support.images import base_of, busybox_layer, file
from tests.support.runs import Room
from tests.support.trains import Train
from tests.support.world import ROOMY, ROUTE, World, world

MOST_REQUESTS: Final = 15
MOST_SYNCS: Final = 20
MOST_SECONDS: Final = 0.15
STATION: Final = "hospital-b"
COMMAND: Final = ("sh", "/pht/code/main.sh")
PROGRAM: Final = b'echo \'{"n":1,"sum":1}\' > "$PHT_STATE/sums.json"\n'
PATIENCE: Final = 60
POLL: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A station on a real engine and a real registry, in this process, with the consortium of the tests."""

    here: World
    engine: str
    base: BaseImage
    registry: Registry
    url: str
    folder: Path
    clock: Ticking
    pace: Pace
    shift: Shift
    station: Depot
    through: Registry
    barrier: Barrier

    def train(self) -> Train:
        """Make a train that waits for the station, and is in nobody's mailbox yet."""
        return travelled(self.here, ROUTE, 1, files={"main.sh": PROGRAM}, command=COMMAND, environment={}, data=())

    def stop(self, made: Train) -> float:
        """Let the station's loop notice a train and send it on; return the seconds that took."""
        self.here.submit(made)
        self.clock.skip(POLL)  # it looks into the mailbox now
        begun = time.perf_counter()
        while not self._departed(made):
            self.shift.turn()
            self.pace.sleep(self.shift.pause())
            if time.perf_counter() - begun > PATIENCE:
                raise AssertionError([one.events[-1] for one in self.here.visits(STATION)])
        taken = time.perf_counter() - begun
        self.settle()
        return taken

    def settle(self) -> None:
        """Let the loop finish what follows a departure."""
        self.shift.turn()
        while self.shift.at_work():
            self.pace.sleep(POLL)
            self.shift.turn()

    def _departed(self, made: Train) -> bool:
        visit = self.here.houses[STATION].journal.accepted(made.id, 1)
        return visit is not None and visit.departed is not None

    def bare(self, made: Train) -> float:
        """Fetch the same bytes with curl, run the same container by hand, and push what was fetched with curl."""
        head = self.here.submit(made)
        repo, room = mailbox(PartyId(STATION)), Room(path=self.folder / secrets.token_hex(4))
        (room.path / "code" / "main.sh").write_bytes(PROGRAM)
        order = room.order(COMMAND, image=self.here.houses[STATION].sandbox.prepare(self.base))
        kind, fetched = "application/vnd.oci.image.manifest.v1+json", room.path / "fetched"
        begun = time.perf_counter()
        curl("-H", f"Accept: {kind}", "-o", str(fetched), f"{self.url}/v2/{repo}/manifests/{head}")
        run(self.engine, order)
        target = f"{self.url}/v2/{repo}/manifests/bare"
        curl("-X", "PUT", "-H", f"Content-Type: {kind}", "--data-binary", f"@{fetched}", target)
        taken = time.perf_counter() - begun
        self.registry.delete_manifest(repo, head)
        return taken


def curl(*words: str) -> None:
    """Transfer something."""
    subprocess.run(["curl", "-sSf", *words], check=True, stdout=subprocess.DEVNULL)


def run(url: str, order: RunOrder) -> None:
    """Run a container to its end, with the same options, and remove it."""
    with closing(APIClient(base_url=url, version="1.41", timeout=PATIENCE)) as engine:
        made = engine.create_container_from_config(create_payload(order, "runc"), order.name)  # type: ignore[no-untyped-call]
        engine.start(made["Id"])
        engine.wait(made["Id"])
        engine.remove_container(made["Id"], v=True)


@contextmanager
def place(bench: Bench) -> Iterator[Place]:
    """Make a station; the directory it asks is published in the registry, and says what the tests' consortium says."""
    url = bench.registries.address("http")
    registry, barrier = client(url), Barrier(url)
    here, base = world(bench.folder / "world", registry=registry), base_of(busybox_layer(file("etc/bench", b"S5")))
    ours = house(bench.folder / "consortium", keys=1, threshold=1)
    ours.admit(STATION)
    ours.publish(RegistryDirectory(registry))

    station = Depot(registry)
    through, durable = client(barrier.url), Durable()

    def load(now: datetime) -> TrustStore:
        load_trust(RegistryDirectory(station.registry), bench.folder / "cache", ours.root, clock(), durable)
        return here.trust(now)

    here.change(
        STATION,
        sandbox=bench.engine.sandbox(),
        base_image=lambda _: base,
        trust=FreshTrust(load, seconds=300),
        depot=station,
    )
    passing = Ticking()
    pace = Pace(clock=passing, poll_seconds=POLL)
    workers = Threads[About](WORKERS, pace.awake.set)
    shift = Shift(here.houses[STATION], pace, ROOMY, workers)
    shift.begin("bench")
    with closing(here):
        yield Place(
            here=here,
            engine=bench.engine.url,
            base=base,
            registry=registry,
            url=url,
            folder=bench.folder,
            clock=passing,
            pace=pace,
            shift=shift,
            station=station,
            through=through,
            barrier=barrier,
        )
        barrier.close()
        workers.dismiss()
    bench.engine.forget(base)


def measure(bench: Bench) -> Iterator[Figure]:
    """Visit small trains, one after the other, with everything there that a station keeps from one to the next."""
    logging.disable(logging.CRITICAL)
    with place(bench) as ours:
        ours.stop(ours.train())
        yield Figure(
            what="requests to the registry",
            value=requests(ours),
            unit="requests",
            goal=Goal(most=MOST_REQUESTS, absolute=True),
        )
        if shutil.which("strace"):
            made = ours.train()
            with syncs(os.getpid(), bench.folder / "strace") as count:
                ours.stop(made)
            yield Figure(what="syncs to disk", value=count(), unit="syncs", goal=Goal(most=MOST_SYNCS, absolute=True))
        rounds = 2 if bench.quick else 15
        stops, bares = ([ours.train() for _ in range(rounds)] for _ in range(2))
        taken = alternating(
            {"stop": lambda: ours.stop(stops.pop()), "bare": lambda: ours.bare(bares.pop())}, rounds=rounds
        )
        bare = "curl, the container by hand, curl"
        yield Figure(what=bare, value=taken["bare"], unit="s")
        yield Figure(what="a small stop", value=taken["stop"], unit="s", to=bare, ratio=taken["stop"] / taken["bare"])
        over = taken["stop"] - taken["bare"]
        yield Figure(what="a small stop over that", value=over, unit="s", goal=Goal(most=MOST_SECONDS, absolute=True))


def requests(ours: Place) -> int:
    """Return the requests of a stop, counted on their way."""
    made, ours.station.registry = ours.train(), ours.through
    ours.stop(made)
    ours.station.registry = ours.registry
    return len(ours.barrier.asked)


CASE = Case(id="S5", title="A small stop, over the container it runs", measure=measure)
