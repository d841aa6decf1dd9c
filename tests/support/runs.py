"""A room with the folders of a run, orders for it, and a patient look at what becomes of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from security.digest import Digest
from station.sandbox.folder import hand_over
from station.sandbox.order import MIB, RunLimits, RunOrder, mounts_of, run_user
from station.sandbox.port import Ended, Sandbox, Sight
from station.sandbox.watch import watch

LIMITS: Mapping[str, int] = {
    "memory_bytes": 128 * MIB,
    "cpu_millis": 1000,
    "processes": 32,
    "wall_seconds": 60,
    "state_bytes": 8 * MIB,
    "state_files": 50,
    "tmp_bytes": 8 * MIB,
    "disk_reserve_bytes": 0,
}
PATIENCE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The folders of one run."""

    path: Path
    name: str = field(default_factory=lambda: f"pht-test-{os.urandom(8).hex()}")

    def __post_init__(self) -> None:
        for part in ("code", "data", "state"):
            (self.path / part).mkdir(parents=True)
        (self.path / "code" / "main.sh").write_text("true\n")
        (self.path / "data" / "patients.csv").write_text("id\n1\n")
        (self.path / "context.json").write_text("{}\n")

    @property
    def state(self) -> Path:
        return self.path / "state"

    def order(
        self,
        command: tuple[str, ...],
        *,
        image: Digest,
        profile: str = "docker-runc-v1",
        environment: Mapping[str, str] | None = None,
        house: str = "pht-test",
        limits: Mapping[str, int] | None = None,
    ) -> RunOrder:
        """Order a run in this room, whose files are handed over as a station does it."""
        uid, gid = run_user(os.geteuid(), os.getegid())
        values: dict[str, Any] = {**LIMITS, **(limits or {})}
        code, incoming, context = self.path / "code", self.path / "in", self.path / "context.json"
        keep = self.path / "keep"
        for path in (incoming, keep):
            path.mkdir(exist_ok=True)
        for path in (code, incoming, keep, self.state, context):
            hand_over(path, uid, gid)
        return RunOrder(
            name=self.name,
            house=house,
            profile=profile,
            image=image,
            printed=self.path / "printed",
            command=command,
            environment=environment or {},
            mounts=mounts_of(
                code=code,
                data={"patients": self.path / "data"},
                incoming=incoming,
                keep=keep,
                state=self.state,
                context=context,
            ),
            uid=uid,
            gid=gid,
            limits=RunLimits(**values),
        )


def ended(sandbox: Sandbox, name: str) -> Ended:
    """Look until the run is over."""
    return _until_ended(lambda: sandbox.look(name))


def watched(sandbox: Sandbox, order: RunOrder) -> Ended:
    """Watch until the run has ended well or `watch` raises."""
    return _until_ended(lambda: watch(sandbox, order, now=datetime.now(UTC), spoiled=set()))


def _until_ended(look: Callable[[], Sight]) -> Ended:
    deadline = time.monotonic() + PATIENCE
    while not isinstance(sight := look(), Ended):
        assert time.monotonic() < deadline, f"still not ended: {sight}"
        time.sleep(0.05)
    return sight
