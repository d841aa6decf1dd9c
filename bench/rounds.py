"""Stations that take part in rounds, as models in one process: what one of them takes in a round, and sends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from registry.depot import Depot
from registry.names import Reference, Repository
from registry.oci import Descriptor
from registry.port import OpenAt, Progress, Registry
from security.digest import Digest
from security.ids import PartyId
from security.train.manifest import Output
from security.train.route import Task
from security.train.sum_form import Sum
from station.sandbox.order import RunOrder
from tests.support.rounds import COMBINE, CONTRIBUTE, JUNCTION, OUTPUTS, board, rounds_train
from tests.support.world import World, world

PATH: Final = "vector.json"


@dataclass(kw_only=True)
class Taken:
    """What a station took for its part of one round: processor seconds, requests, and bytes that it uploaded."""

    processor: float = 0.0
    requests: int = 0
    uploaded: int = 0
    state: int = 0
    """Bytes of its sealed state, which are the vector and what it is padded with."""


class Asked:
    """A registry as one party reaches it: counts what that party asks for and sends."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self.now = registry, Taken()

    def __getattr__(self, name: str) -> object:
        self.now.requests += 1
        return getattr(self._registry, name)

    def put_blob(
        self, repo: Repository, descriptor: Descriptor, open_at: OpenAt, progress: Progress | None = None
    ) -> None:
        """See `Registry.put_blob`."""
        self.now.requests += 1
        self.now.uploaded += descriptor.size
        self._registry.put_blob(repo, descriptor, open_at, progress)

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        """See `Registry.put_manifest`."""
        self.now.requests += 1
        self.now.uploaded += len(raw)
        return self._registry.put_manifest(repo, reference, raw, media_type)


def hospitals(count: int) -> tuple[str, ...]:
    """Return the names of so many hospitals, up to one for each letter."""
    return tuple(f"hospital-{chr(ord('a') + number)}" for number in range(count))


def take_part(folder: Path, *, stations: int, rounds: int, numbers: int, which: int = 0) -> list[Taken]:
    """Let a train of rounds go through; return what one of the stations took for each of its contributions.

    The second signs with ML-DSA-65 as well, the others with one short signature.
    """
    names = hospitals(stations)

    def contribute(order: RunOrder, say: Callable[[bytes], None]) -> int:
        (order.state / PATH).write_text(json.dumps([1.0] * numbers))
        say(b"contributed\n")
        return 0

    def combine(order: RunOrder, say: Callable[[bytes], None]) -> int:
        (order.state / "model.json").write_text("{}")
        say(b"combined\n")
        return 0

    here = world(folder, stations=(*names, JUNCTION), program={CONTRIBUTE: contribute, COMBINE: combine})
    vector = Output(
        path=PATH,
        media_type="application/json",
        max_bytes=1 << 24,
        task=Task.CONTRIBUTE,
        sum=Sum(shape=(numbers,), bound=1 << 20, bits=64, fraction=24),
    )
    made = rounds_train(here, stations=names, most=rounds, outputs=(vector, OUTPUTS[1]))
    board(here, made)
    here.settle(*names)
    here.settle(JUNCTION)
    ours = PartyId(names[which])
    counted = Asked(here.registry)
    here.change(ours, depot=Depot(cast("Registry", counted)))
    found = []
    for _ in range(rounds):
        here.settle(*(name for name in names if name != ours))
        found.append(_one_round(here, ours, counted))
    if not here.at_home(made.id):
        msg = "the train did not come home"
        raise RuntimeError(msg)
    here.close()
    return found


def _one_round(here: World, ours: PartyId, counted: Asked) -> Taken:
    """Let a station take its part, and then the junction combine."""
    taken = counted.now = Taken()
    begun = time.process_time()
    here.settle(ours)
    taken.processor = time.process_time() - begun
    last = here.visits(ours)[-1]
    taken.state = last.sealed.size if last.sealed else 0
    here.settle(JUNCTION)
    return taken
