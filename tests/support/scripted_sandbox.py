"""A sandbox without an engine: programs are Python functions on the order's real folders, and time is a script.

It is a port's backing like any other and passes the same contract suite. Kept by the test, not by the station, it
outlives a station that is killed, as an engine does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from security.digest import Digest
from station.check import CheckResult
from station.errors import RunFailed, SandboxUnavailable, SandboxUnfit
from station.sandbox.image import BaseImage
from station.sandbox.order import RunOrder
from station.sandbox.port import Absent, Ended, Running, Sight

Program = Callable[[RunOrder, Callable[[bytes], None]], int]
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    order: RunOrder
    started: datetime
    turns: int
    ended: Ended | None = None
    paused: bool = False


class ScriptedSandbox:
    """Runs ``programs``, found by an order's command; each is still running for the first ``turns`` looks.

    ``programs`` may also be one function for every command. A program that returns a negative number never ends by
    itself. Its second argument is what it prints with. ``away`` makes the engine unreachable, ``clings`` lets it remove
    nothing; ``logs`` are the names of runs of which it keeps what they print.
    """

    def __init__(
        self,
        programs: Mapping[tuple[str, ...], Program] | Program,
        *,
        turns: int = 1,
        clock: Callable[[], datetime] = lambda: BEGINNING,
    ) -> None:
        self._programs = programs
        self._turns = turns
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self.images: set[Digest] = set()
        self.started: list[str] = []
        self.away = False
        self.clings = False
        self.logs: set[str] = set()

    @property
    def sealed(self) -> bool:
        return True

    @property
    def profile(self) -> str:
        return "scripted-v1"

    def prepare(self, base: BaseImage) -> Digest:
        self._reach()
        for layer in base.layers:
            with layer.open() as source:
                while source.read(1 << 20):
                    pass
        self.images.add(base.digest)
        return base.digest

    def start(self, order: RunOrder) -> None:
        if order.profile != self.profile:
            msg = "the run was ordered for another sandbox profile"
            raise SandboxUnfit(msg, ordered=order.profile, here=self.profile)
        self._reach()
        known = self._runs.get(order.name)
        if known is not None and known.order == order:
            return
        self._runs.pop(order.name, None)
        self._program(order)
        self._runs[order.name] = _Run(order=order, started=self._clock(), turns=self._turns)
        self.started.append(order.name)

    def look(self, name: str) -> Sight:
        self._reach()
        run = self._runs.get(name)
        if run is None:
            return Absent()
        if run.ended is not None:
            return run.ended
        if run.turns > 0:
            self._runs[name] = replace(run, turns=run.turns - 1)
            return Running(since=run.started)
        if run.paused:
            return Running(since=run.started, paused=True)
        said: list[bytes] = []
        code = self._program(run.order)(run.order, said.append)
        if said:
            with run.order.printed.open("ab") as printed:
                printed.write(b"".join(said))
        if code < 0:
            return Running(since=run.started)
        return self._end(run, code, killed=False)

    def stop(self, name: str) -> None:
        self._reach()
        run = self._runs.get(name)
        if run is not None and run.ended is None:
            self._end(run, 137, killed=True)

    def remove(self, name: str) -> None:
        self._reach()
        if self.clings and name in self._runs:
            msg = "the container engine failed"
            raise SandboxUnavailable(msg, status=500)
        self._runs.pop(name, None)

    def listen(self, order: RunOrder) -> None:
        del order
        self._reach()

    def pause(self, *, paused: bool = True) -> None:
        """Somebody pauses everything that runs, or lets it go on."""
        self._runs = {name: replace(run, paused=paused, turns=0) for name, run in self._runs.items()}

    def leftovers(self, house: str) -> tuple[str, ...]:
        self._reach()
        return tuple(sorted(name for name, run in self._runs.items() if run.order.house == house))

    def logged(self, house: str) -> tuple[str, ...]:
        return tuple(name for name in self.leftovers(house) if name in self.logs)

    def doctor(self, base: BaseImage | None) -> tuple[CheckResult, ...]:
        del base
        return (CheckResult(name="engine", ok=not self.away, detail="scripted"),)

    def lose_power(self) -> None:
        """The machine goes down: everything that runs is killed, and nobody says by whom."""
        for name in list(self._runs):
            self.stop(name)

    def _program(self, order: RunOrder) -> Program:
        if not isinstance(self._programs, Mapping):
            return self._programs
        found = self._programs.get(order.command)
        if found is None:
            msg = "the command cannot be started in this base image"
            raise RunFailed(msg)
        return found

    def _end(self, run: _Run, code: int, *, killed: bool) -> Ended:
        finished = max(self._clock(), run.started + timedelta(seconds=0))
        ended = Ended(exit_code=code, out_of_memory=False, killed=killed, started=run.started, finished=finished)
        self._runs[run.order.name] = replace(run, ended=ended)
        return ended

    def _reach(self) -> None:
        if self.away:
            msg = "the container engine does not answer"
            raise SandboxUnavailable(msg)
