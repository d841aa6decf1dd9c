"""How does a large state pass a stop, with us and with bare tools? For the cases that measure transfers.

The stations are real but for their engine, which both sides would wait for alike: the run leaves the state as it came.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urljoin

from registry.depot import mailbox
from registry.names import Repository
from security.digest import digest_of
from security.ids import PartyId, TrainId
from security.train.manifest import Limits, Output
from security.train.seal import StateBinding
from station.admission.policy import AllOf, Bases, Ceiling, CheckableOutputs, DataSets, Owners
from station.house.config import CEILING
from station.sandbox.order import RunOrder
from station.visit.events import Blob
from tests.support.registries import RealRegistries
from tests.support.trains import Train
from tests.support.world import World, world

_LIMITS = Limits(memory_bytes=256 << 20, cpu_millis=1000, wall_seconds=60, processes=32, output_bytes=8 << 30)
BINDING = StateBinding(
    train=TrainId("0" * 64),
    stop=0,
    sender=PartyId("hospital-a"),
    recipients=(PartyId("hospital-b"),),
    previous=(digest_of(b"manifest"),),
)
"""What a state belongs to that is sealed and opened without a train."""


def write_random(path: Path, size: int) -> None:
    """Write a file that nothing compresses: a mebibyte of chance, over and over, each time with its number in front."""
    piece = bytearray(os.urandom(1 << 20))
    with path.open("wb") as out:
        for number in range(size >> 20):
            piece[:8] = number.to_bytes(8, "big")
            out.write(piece)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Stations one after the other, the first of which makes the state. All share one registry."""

    here: World
    train: Train

    @property
    def stations(self) -> tuple[str, ...]:
        """The stations, in the order of the route."""
        return tuple(self.here.houses)

    def stop(self, station: str) -> None:
        """Let the train pass one station.

        Raises:
            RuntimeError: it does not.
        """
        for _ in range(40):
            self.here.step(station)
            if self.here.visits(station) and self.here.visit(station).departed is not None:
                return
        visits = self.here.visits(station)
        msg = f"the train does not pass {station}: {visits[0].ended if visits else 'it did not arrive'}"
        raise RuntimeError(msg)

    def arriving(self, station: str) -> tuple[Repository, Blob]:
        """Return the state that waits for a station, and where."""
        before = self.here.visit(self.stations[self.stations.index(station) - 1])
        if before.sealed is None:
            raise AssertionError
        return mailbox(PartyId(station)), Blob(digest=before.sealed.blob, size=before.sealed.size)

    def forget(self, station: str) -> None:
        """Make room: what a station keeps of a visit that is over."""
        shutil.rmtree(self.here.folder(station) / "spool")


def line(folder: Path, registries: RealRegistries, *, stations: int, make: Callable[[Path], None]) -> Line:
    """Set up stations and send a train to the first; `make` writes the state into an empty folder there."""
    names = [f"hospital-{chr(ord('a') + number)}" for number in range(stations)]

    def program(order: RunOrder, _say: Callable[[bytes], None]) -> int:
        if not any(order.state.iterdir()):
            make(order.state)
        return 0

    rules = (
        Owners(allowed=frozenset({PartyId("alice")})),
        Bases(allowed=frozenset({"python"})),
        DataSets(offered={"patients": None}),
        Ceiling(most=replace(CEILING, output_bytes=_LIMITS.output_bytes)),
        CheckableOutputs(),
    )
    registry = registries.client("http")
    here = world(folder, stations=names, program=program, registry=registry, policy=AllOf(rules=rules))
    outputs = (Output(path="*.bin", media_type="application/octet-stream", max_bytes=8 << 30, schema=None),)
    made = here.train(route=names, outputs=outputs, limits=_LIMITS)
    here.submit(made)
    return Line(here=here, train=made)


def bare(url: str, repo: Repository, blob: Blob, folder: Path) -> None:
    """Do the same without a train: fetch to the disk, check, run nothing, send on.

    Raises:
        CalledProcessError: a tool fails.
    """
    file = folder / "bare.bin"
    _run("curl", "-sSf", "-o", file, f"{url}/v2/{repo}/blobs/{blob.digest}")
    _run("sync", file)
    if blob.digest.hex not in _run("openssl", "dgst", "-sha256", file):
        raise AssertionError
    started = _run("curl", "-sSfi", "-X", "POST", f"{url}/v2/bare/{os.urandom(6).hex()}/blobs/uploads/")
    (location,) = (row.split(": ")[1].strip() for row in started.splitlines() if row.lower().startswith("location:"))
    octets = "Content-Type: application/octet-stream"
    _run("curl", "-sSf", "-T", file, "-H", octets, f"{urljoin(url, location)}&digest={blob.digest}")
    file.unlink()


def _run(*words: str | Path) -> str:
    return subprocess.run([str(one) for one in words], check=True, capture_output=True, text=True).stdout
