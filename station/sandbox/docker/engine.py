"""How are orders run by an engine that speaks the Docker Engine API?

Through the low-level client, so that exactly `create_payload` is sent, and nothing of a user's Docker configuration. Every
call opens its own connection, so a restarted engine needs no reconnecting; another version of it is noticed by its error.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Final

from docker import APIClient
from docker.errors import APIError, DockerException, NotFound
from urllib3.exceptions import HTTPError  # the client lets it through where it reads a stream

from security.digest import Digest
from security.errors import DiskFull, PhtError
from station.check import CheckResult
from station.errors import RunFailed, RunLingers, SandboxRefused, SandboxUnavailable, SandboxUnfit
from station.sandbox.docker import doctor, processes
from station.sandbox.docker.compare import differences
from station.sandbox.docker.ending import (
    KILLED,
    ended_from_outside,
    killed_for_memory,
    machine_out_of_memory,
    used_up_its_memory,
    vanished,
)
from station.sandbox.docker.image import engine_name, image_id, load_archive, mismatches
from station.sandbox.docker.listen import Listeners
from station.sandbox.docker.payload import GVISOR, LABEL_HOUSE, LABEL_KILLS, UNLOGGED, create_payload
from station.sandbox.image import BaseImage
from station.sandbox.order import RunOrder
from station.sandbox.port import Absent, Ended, Running, Sight

_PATIENCE: Final = 60  # seconds for one answer of the engine
_LOAD_PATIENCE: Final = 3600  # the engine is silent while it unpacks an image
_GOING: Final = frozenset({"removing", "dead"})  # the engine's words for: somebody removes it; that did not work
_NO_PROGRAM: Final = frozenset({126, 127})  # the engine's words for: not to be run, not found
_ABOUT_PROGRAM: Final = ("container process", "failed to load", "finding executable")  # runc; runsc; runsc


class DockerSandbox:
    """Runs orders on the engine at ``url``, a local ``unix://`` socket, with the runtime of that name.

    A container whose process has been missing for `missing_seconds` is over, whatever the engine says. A process that was
    killed `ending_seconds` ago and is still there cannot be.
    """

    def __init__(
        self, *, url: str, runtime: str = "runc", missing_seconds: float = 20.0, ending_seconds: float = 10.0
    ) -> None:
        if not url.startswith("unix://"):
            msg = "the engine must be reached through a local socket"  # mounts are paths on this machine
            raise SandboxUnfit(msg, url=url, hint="use an address such as unix:///var/run/docker.sock")
        self._url = url
        self._runtime = runtime
        self._missing_seconds, self._ending_seconds = missing_seconds, ending_seconds
        self._version = "auto"  # of the engine's API: asked for once, and again after whatever went wrong
        self._listeners = Listeners()
        self._ids: dict[str, str] = {}  # by the name of a run: its container's, should the engine forget it
        self._vanished: dict[str, float] = {}  # by the name of a run: since when its process is not there

    @property
    def sealed(self) -> bool:
        """True: the engine and the order make sure of it."""
        return True

    @property
    def profile(self) -> str:
        """Named by the runtime, and by the version of what `create_payload` says to the engine."""
        return f"docker-{self._runtime}-v1"

    def prepare(self, base: BaseImage) -> Digest:
        """Load `base` under our own image config unless it is there; return the engine's id for it."""
        with self._engine(_LOAD_PATIENCE) as engine:
            found = _image(engine, base)
            if found is None:
                _load(engine, base)
                found = _image(engine, base)
        if found is None:
            msg = "the engine accepted the base image but does not have it"
            raise SandboxUnfit(msg, base=base.digest, hint="check the engine's log and its free disk space")
        return found

    def start(self, order: RunOrder) -> None:
        """Create, inspect, compare, start; or adopt what compares equal, created, running or ended."""
        if order.profile != self.profile:
            msg = "the run was ordered for another sandbox profile"
            raise SandboxUnfit(msg, ordered=order.profile, here=self.profile)
        with self._engine() as engine:
            inspected = _inspect(engine, order.name)
            if inspected is None or differences(order, self._runtime, inspected):
                self._remove(engine, order.name)  # attack: a container with other options under the right name
                inspected = _create(engine, order, self._runtime)
            container = str(inspected["Id"])  # by id: a name may by now be another container's
            self._ids[order.name] = container
            if _state(inspected).get("Status") == "created":
                self._listeners.begin(self._url, engine.api_version, container, order)
                _start(engine, container)

    def look(self, name: str) -> Sight:
        """Say how the run is doing, by the engine's record of it and by what it remembers of its end."""
        with self._engine() as engine:
            inspected = _inspect(engine, name)
            if inspected is None:
                return Absent()
            self._ids[name] = str(inspected["Id"])
            sight = judged(engine, inspected)
            if isinstance(sight, Running) and self._vanished_for_good(name, inspected):
                finished = max(sight.since, _clock_of(engine))
                return Ended(exit_code=KILLED, out_of_memory=False, killed=True, started=sight.since, finished=finished)
        if isinstance(sight, Ended):
            self._listeners.await_end(name)
        return sight

    def listen(self, order: RunOrder) -> None:
        """Attach to the container, unless we are."""
        if self._listeners.listens(order.name):
            return
        with self._engine() as engine:
            inspected = _inspect(engine, order.name)
            if inspected is not None and _state(inspected).get("Running"):
                self._listeners.begin(self._url, engine.api_version, str(inspected["Id"]), order)

    def _vanished_for_good(self, name: str, inspected: Mapping[str, object]) -> bool:
        """Whether the process of a run that the engine calls running has been gone for a while."""
        if not vanished(_state(inspected), self._url):
            self._vanished.pop(name, None)
            return False
        return time.monotonic() - self._vanished.setdefault(name, time.monotonic()) > self._missing_seconds

    def stop(self, name: str) -> None:
        """Kill the run and wait for its end."""
        with self._engine() as engine, contextlib.suppress(NotFound):
            with contextlib.suppress(APIError):
                engine.unpause(name)  # a paused one cannot be killed on every engine
            try:
                engine.kill(name)
            except APIError as error:
                if error.status_code != HTTPStatus.CONFLICT:  # it is not running
                    raise
            engine.wait(name, timeout=_PATIENCE)

    def remove(self, name: str) -> None:
        """Remove the container with its volumes, once none of its processes lives."""
        with self._engine() as engine:
            self._remove(engine, name)
        self._listeners.forget(name)
        self._ids.pop(name, None)
        self._vanished.pop(name, None)

    def _remove(self, engine: APIClient, name: str) -> None:
        """An engine whose shim was killed takes a container for ended while its processes go on, and would remove it."""
        inspected = _inspect(engine, name)
        container = self._ids.get(name) if inspected is None else str(inspected["Id"])
        if container is not None and processes.visible(self._url) and processes.living(container):
            with contextlib.suppress(APIError):
                engine.unpause(name)  # a frozen process does not die
            with contextlib.suppress(APIError):
                engine.kill(name)  # by an engine that still holds it, what is not ours to kill as well
            if left := processes.end(container, self._ending_seconds):
                msg = "processes of a run cannot be ended"
                raise RunLingers(msg, run=name, processes=" ".join(map(str, left)))
        _remove(engine, name)

    def leftovers(self, house: str) -> tuple[str, ...]:
        """Find containers by the label of the station installation."""
        with self._engine() as engine:
            listed = engine.containers(all=True, filters={"label": f"{LABEL_HOUSE}={house}"})
        return tuple(sorted(name.removeprefix("/") for item in listed for name in item["Names"]))

    def logged(self, house: str) -> tuple[str, ...]:
        """Find containers of the station installation that were made with a log of the engine's, whoever made them."""
        found = []
        for name in self.leftovers(house):
            with self._engine() as engine:
                host = (_inspect(engine, name) or {}).get("HostConfig")
            if isinstance(host, dict) and host.get("LogConfig") != UNLOGGED:
                found.append(name)
        return tuple(found)

    def doctor(self, base: BaseImage | None) -> tuple[CheckResult, ...]:
        """Judge what the engine says about itself, then what a run in it can do."""
        try:
            with self._engine() as engine:
                version, info = engine.version(), engine.info()
        except PhtError as error:
            return (CheckResult(name="engine", ok=False, detail=str(error), hint=error.hint),)
        said = doctor.examine(version, info, runtime=self._runtime)
        return said + doctor.probe(self, base, gvisor=self._runtime == GVISOR)

    @contextlib.contextmanager
    def _engine(self, patience: int = _PATIENCE) -> Iterator[APIClient]:
        try:
            _need_listener(self._url)
            with contextlib.closing(APIClient(base_url=self._url, version=self._version, timeout=patience)) as engine:
                self._version = engine.api_version
                yield engine
        except APIError as error:
            self._version = "auto"
            raise _explained(error) from error
        except (DockerException, HTTPError, OSError) as error:  # the client's own transport errors are OSErrors
            self._version = "auto"
            msg = "the container engine does not answer"
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise SandboxUnavailable(msg, url=self._url, reason=reason) from error


def _need_listener(url: str) -> None:
    """Raise the operating system's own error if nothing listens: the client hides the reason, and leaks its socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PATIENCE)
        probe.connect(url.removeprefix("unix://"))


def _explained(error: APIError) -> PhtError:
    status, reason = error.status_code or 0, str(error.explanation or "")[:300]
    if "no space left" in reason:
        msg = "the engine's disk is full"
        return DiskFull(msg)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.CONFLICT:
        msg = "the container engine failed"
        return SandboxUnavailable(msg, status=status, reason=reason)
    msg = "the container engine rejected a request of the sandbox"
    return SandboxUnfit(msg, status=status, reason=reason)


# --- images ----------------------------------------------------------------------------------------------------------


def _image(engine: APIClient, base: BaseImage) -> Digest | None:
    """Return the id of `base` in this engine, if it is there under its id (classic store) or its name (containerd)."""
    for reference in (image_id(base), engine_name(base)):
        with contextlib.suppress(NotFound):
            inspected = engine.inspect_image(reference)  # type: ignore[no-untyped-call]  # the stubs have a gap
            wrong = mismatches(base, inspected)
            if not wrong:
                return Digest(inspected["Id"])
            if reference == image_id(base):
                msg = "the engine holds a different image under this id"
                raise SandboxRefused(msg, image=image_id(base), differs=" ".join(wrong))
    return None


def _load(engine: APIClient, base: BaseImage) -> None:
    # Not the client's own method: it leaves the connection open, and the errors in its stream unnoticed.
    url = f"{engine.base_url}/v{engine.api_version}/images/load"
    answer = engine.post(url, params={"quiet": "1"}, data=load_archive(base), timeout=_LOAD_PATIENCE)
    reasons = _errors_in(answer.text)
    if "no space left" in reasons:
        msg = "the engine's disk is full"
        raise DiskFull(msg)
    if reasons or not answer.ok:
        msg = "the engine rejected the base image"
        raise SandboxUnfit(msg, base=base.digest, status=answer.status_code, reason=reasons[:300])


def _errors_in(stream: str) -> str:
    """Return the errors in an engine's answer, which is one JSON object, or one for each line of progress."""
    found = []
    for line in stream.splitlines():
        with contextlib.suppress(ValueError):
            told = json.loads(line)
            if isinstance(told, dict):
                found += [str(told[key]) for key in ("error", "message") if key in told]
    return " ".join(found)


# --- containers ------------------------------------------------------------------------------------------------------


def _inspect(engine: APIClient, name: str) -> Mapping[str, object] | None:
    with contextlib.suppress(NotFound):
        inspected: Mapping[str, object] = engine.inspect_container(name)
        return inspected
    return None


def _state(inspected: Mapping[str, object]) -> Mapping[str, object]:
    state = inspected.get("State")
    return state if isinstance(state, dict) else {}


def _create(engine: APIClient, order: RunOrder, runtime: str) -> Mapping[str, object]:
    if not doctor.seccomp_on(engine.info()):
        msg = "the engine runs containers without seccomp"
        raise SandboxUnfit(msg, hint="start the engine with its default seccomp profile")
    payload = create_payload(order, runtime, kills=killed_for_memory())
    engine.create_container_from_config(payload, order.name)  # type: ignore[no-untyped-call]  # as above
    inspected = _inspect(engine, order.name) or {}
    wrong = differences(order, runtime, inspected)
    if wrong:
        _remove(engine, order.name)
        msg = "the container differs from the order"
        raise SandboxRefused(msg, run=order.name, differs=" ".join(wrong))
    return inspected


def _start(engine: APIClient, container: str) -> None:
    try:
        engine.start(container)
    except APIError as error:
        state = _state(_inspect(engine, container) or {})
        told = str(state.get("Error"))
        # An engine gives the same statuses when a mount or the runtime is missing, which is not the train's fault.
        if state.get("ExitCode") in _NO_PROGRAM and any(words in told for words in _ABOUT_PROGRAM):
            msg = "the command cannot be started in this base image"
            raise RunFailed(msg) from error
        raise


def _remove(engine: APIClient, name: str) -> None:
    with contextlib.suppress(NotFound):
        engine.remove_container(name, v=True, force=True)


def judged(engine: APIClient, inspected: Mapping[str, object]) -> Sight:
    """Say how a container is doing, and who ended it; where nobody can know, it was not its program."""
    ended = _sight(inspected)
    if not isinstance(ended, Ended) or not ended.exit_code:
        return ended
    container = str(inspected["Id"])
    if ended.out_of_memory:
        machine = machine_out_of_memory(container)
        return replace(ended, out_of_memory=not machine, killed=machine)
    asked = partial(_remembered, engine, container, ended.started)
    outside = _state(inspected).get("Status") in _GOING or ended_from_outside(asked, ended.exit_code)
    memory = ended.exit_code == KILLED and _kills_before(inspected) != killed_for_memory()
    if memory and not outside and used_up_its_memory(container, asked):
        return replace(ended, out_of_memory=True)
    return replace(ended, killed=outside or memory)


def _kills_before(inspected: Mapping[str, object]) -> object:
    config = inspected.get("Config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    return labels.get(LABEL_KILLS) if isinstance(labels, dict) else None


def _remembered(engine: APIClient, container: str, since: datetime) -> list[Mapping[str, object]]:
    """Return what the engine remembers of kills, of want of memory and of the end of a container."""
    asked: dict[str, str | int] = {
        "since": int(since.timestamp()) - 1,
        "until": f"{_clock_of(engine).timestamp():.6f}",  # or it would wait for what has not happened yet
        "filters": json.dumps({"type": ["container"], "container": [container], "event": ["kill", "die", "oom"]}),
    }
    # Not the client's own method: it leaves the connection open.
    answer = engine.get(f"{engine.base_url}/v{engine.api_version}/events", params=asked, timeout=_PATIENCE)
    answer.raise_for_status()
    return [json.loads(line) for line in answer.text.splitlines()]


def _clock_of(engine: APIClient) -> datetime:
    return datetime.fromisoformat(str(engine.info()["SystemTime"]))


def _sight(inspected: Mapping[str, object]) -> Sight:
    state = _state(inspected)
    started = _time(state.get("StartedAt"))
    if started is None:
        return Absent()
    if state.get("Running"):
        return Running(since=started, paused=bool(state.get("Paused")))
    finished = max(started, _time(state.get("FinishedAt")) or started)  # engines note the start of a short run late
    code, out_of_memory = state.get("ExitCode"), bool(state.get("OOMKilled"))
    return Ended(
        exit_code=code if isinstance(code, int) else KILLED,
        out_of_memory=out_of_memory,
        killed=False,
        started=started,
        finished=finished,
    )


def _time(text: object) -> datetime | None:
    """Parse an engine's time (RFC 3339 with nanoseconds); year 1 means never."""
    moment = datetime.fromisoformat(str(text)) if text else datetime.min.replace(tzinfo=UTC)
    return None if moment.year == 1 else moment.astimezone(UTC)
