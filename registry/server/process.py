"""How does an operator start a registry?

There is no registry server of our own: this starts and configures an existing one, the CNCF ``registry`` program
(Debian: ``docker-registry``) or, if an engine has it, the image ``registry:2``. Everything lies in one state folder::

    config.yml   htpasswd   storage/   registry.log   server.json   settings.json   .lock   .running

A program holds a lock on ``.running`` as long as it lives, so that nobody is fooled by a process id used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from registry.errors import RegistryInTheWay, RegistryNotStarted, RegistryToolMissing
from registry.server.config import LOOPBACK, Places, ServerSettings, configure, fingerprint, same_passwords
from security.encoding import Fields, dump_pretty, parse_json
from security.errors import MalformedJson, MalformedStatement
from security.files import locked, make_folder, read_file, told, write_file

__all__ = ["RunningServer", "ServerSettings", "down", "status", "up"]

PROGRAMS: Final = ("docker-registry", "registry")
IMAGE: Final = "registry:2"
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - compared with
_POLL_SECONDS: Final = 0.1
_POLLS: Final = 300
_TERM_POLLS: Final = 100
_ANSWERS: Final = frozenset({200, 401})
_LAUNCH: Final = """\
log=$1; shift; exec 3>&1
("$@" 2>&1 </dev/null 3>&- & echo $! >&3) | (
    exec >>"$log" 2>&1 3>&-
    while IFS= read -r line; do
        case $line in *http.response.status=404*) ;; *) printf '%s\\n' "$line" ;; esac
    done
) &
"""
"""Starts an orphan, so that nobody must wait for it, and keeps its log without what was asked for and is not there.

A mailbox without trains is no error, but the registry logs each look into one as such: 28 MB a day for each station.
"""

Sleep = Callable[[float], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A registry that answers. ``started`` tells whether it was this call that started it.

    If it listens ``everywhere``, its ``address`` has this machine's name: that is what a certificate can bear.
    """

    address: str
    runs: str
    storage: Path
    log: str
    started: bool
    everywhere: bool = False


class _Runner(Protocol):
    """One of the two ways to run a registry."""

    name: str
    log: str

    def places(self, settings: ServerSettings, port: int) -> Places:
        """Return addresses and paths as the registry sees them."""

    def start(self, settings: ServerSettings, port: int) -> None:
        """Start it in the background."""

    def alive(self) -> bool:
        """Whether it runs."""

    def stop(self, sleep: Sleep) -> None:
        """End it."""


def up(settings: ServerSettings, *, sleep: Sleep) -> RunningServer:
    """Start the registry and wait until it answers; if it runs already, say so.

    Raises:
        RegistryToolMissing: there is nothing to start.
        RegistryInTheWay: it runs already, with other settings.
        RegistryNotStarted: it ended at once, or does not answer.
    """
    make_folder(settings.state)
    with locked(settings.state / ".lock"):
        record = _Record.read(settings.state)
        running = _running(settings.state, record)
        if record is not None and running is not None:
            if record.wanted != fingerprint(settings) or not same_passwords(settings):
                msg = "a registry with other settings runs from this folder"
                raise RegistryInTheWay(
                    msg, state=settings.state, hint=f"stop it first: pht registry down {settings.state}"
                )
            return running
        runner = _choose(settings)
        port = _port(settings.port, record)
        configure(settings, runner.places(settings, port))
        scheme = "http" if settings.certificate is None else "https"
        new = _Record(
            wanted=fingerprint(settings),
            runner=runner.name,
            address=f"{scheme}://{settings.host}:{port}",
            certificate=str(settings.certificate or ""),
            engine=settings.engine or "",
        )
        new.write(settings.state)
        runner.start(settings, port)
        for _ in range(_POLLS):
            if not runner.alive():
                break
            if _answers(new):
                return _server(settings.state, new, runner, started=True)
            sleep(_POLL_SECONDS)
        runner.stop(sleep)
        msg = "the registry was started but does not answer"
        raise RegistryNotStarted(msg, address=new.address, hint=f"its log says why: {runner.log}")


def down(state: Path, *, sleep: Sleep) -> bool:
    """Stop the registry of a state folder; false if it was not running. What it stored stays."""
    if not state.is_dir():
        return False
    with locked(state / ".lock"):
        record = _Record.read(state)
        if record is None or _running(state, record) is None:
            return False
        _runner(record, state).stop(sleep)
        return True


def status(state: Path) -> RunningServer | None:
    """Return the registry that runs from a state folder, if one does."""
    return _running(state, _Record.read(state))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """What was started last."""

    wanted: str
    runner: str
    address: str
    certificate: str
    engine: str

    @classmethod
    def read(cls, state: Path) -> _Record | None:
        path = state / "server.json"
        if not path.exists():
            return None
        try:
            fields = Fields(parse_json(read_file(path)), "server.json")
            record = cls(
                wanted=fields.text("wanted"),
                runner=fields.text("runner"),
                address=fields.text("address"),
                certificate=fields.text("certificate", least=0),
                engine=fields.text("engine", least=0),
            )
            fields.end()
        except (MalformedJson, MalformedStatement):
            return None  # written by another version: what it says can be found out again
        return record

    def write(self, state: Path) -> None:
        names = ("wanted", "runner", "address", "certificate", "engine")
        write_file(state / "server.json", dump_pretty({name: getattr(self, name) for name in names}))


def _running(state: Path, record: _Record | None) -> RunningServer | None:
    if record is None:
        return None
    runner = _runner(record, state)
    if not runner.alive():
        return None
    return _server(state, record, runner, started=False)


def _server(state: Path, record: _Record, runner: _Runner, *, started: bool) -> RunningServer:
    everywhere = f"://{_EVERYWHERE}:" in record.address
    address = record.address.replace(_EVERYWHERE, socket.getfqdn()) if everywhere else record.address
    return RunningServer(
        address=address,
        runs=runner.name,
        storage=state / "storage",
        log=runner.log,
        started=started,
        everywhere=everywhere,
    )


def _choose(settings: ServerSettings) -> _Runner:
    for name in PROGRAMS:
        program = shutil.which(name, path=settings.search_path)
        if program is not None:
            return _Program(settings.state, program)
    container = _Container(settings.state, settings.engine)
    if shutil.which("docker", path=settings.search_path) is not None and container.available():
        return container
    msg = "no registry program on this machine"
    raise RegistryToolMissing(
        msg, looked_for=", ".join(PROGRAMS), hint="apt install docker-registry, or: docker pull registry:2"
    )


def _runner(record: _Record, state: Path) -> _Runner:
    return (
        _Container(state, record.engine or None) if record.runner == _Container.name else _Program(state, record.runner)
    )


def _port(wanted: int, record: _Record | None) -> int:
    """Return the wanted port, or that of last time, so that what others have configured stays true, or a free one.

    Raises:
        RegistryNotStarted: somebody else has the wanted port, and would seem to be our registry.
    """
    before = int(record.address.rpartition(":")[2]) if record is not None else 0
    for port in (wanted,) if wanted else (before, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return int(probe.getsockname()[1])
    msg = "port is taken"
    raise RegistryNotStarted(msg, port=wanted, hint="choose another, or stop what listens there")


def _answers(record: _Record) -> bool:
    try:
        with contextlib.closing(_connection(record)) as connection:
            connection.request("GET", "/v2/")
            return connection.getresponse().status in _ANSWERS
    except (OSError, http.client.HTTPException):
        return False


def _connection(record: _Record) -> http.client.HTTPConnection:
    scheme, _, rest = record.address.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme == "http":
        return http.client.HTTPConnection(host, int(port), timeout=5)
    context = ssl.create_default_context(cafile=record.certificate)
    context.check_hostname = False  # this very certificate is expected, whatever name it bears
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return http.client.HTTPSConnection(host, int(port), timeout=5, context=context)


class _Program:
    """The registry as a process of its own."""

    def __init__(self, state: Path, program: str) -> None:
        self._state, self.name = state, program
        self.log = str(state / "registry.log")

    def places(self, settings: ServerSettings, port: int) -> Places:
        """See `_Runner.places`."""
        return Places(
            address=f"{settings.host}:{port}",
            storage=str((self._state / "storage").resolve()),
            htpasswd=str((self._state / "htpasswd").resolve()),
            certificate=str(Path(settings.certificate or "").resolve()),
            key=str(Path(settings.key or "").resolve()),
        )

    def start(self, settings: ServerSettings, port: int) -> None:  # noqa: ARG002 - both stand in the configuration
        """See `_Runner.start`. The lock goes over to the process, and ends with it."""
        with self._lock() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            command = ["/bin/sh", "-c", _LAUNCH, "sh", self.log, self.name, "serve", str(self._state / "config.yml")]
            done = subprocess.run(  # noqa: S603 - a program found on the PATH, arguments of our own
                command, pass_fds=[handle], start_new_session=True, stdout=subprocess.PIPE, check=True
            )
        write_file(self._state / "registry.pid", done.stdout)

    def alive(self) -> bool:
        """See `_Runner.alive`."""
        if not (self._state / ".running").exists():
            return False
        with self._lock() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def stop(self, sleep: Sleep) -> None:
        """See `_Runner.stop`."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.alive():
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(read_file(self._state / "registry.pid")), number)
            for _ in range(_TERM_POLLS):
                if not self.alive():
                    return
                sleep(_POLL_SECONDS)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int]:
        path = self._state / ".running"
        with told(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield handle
        finally:
            os.close(handle)


class _Container:
    """The registry as a container of the local engine, through its command line."""

    name = f"container {IMAGE}"

    def __init__(self, state: Path, engine: str | None) -> None:
        self._state = state.resolve()
        self._command = ["docker", *(["--host", engine] if engine is not None else [])]
        self._container = "pht-registry-" + hashlib.sha256(str(self._state).encode()).hexdigest()[:12]
        self.log = f"docker logs {self._container}"

    def available(self) -> bool:
        """Whether there is an engine with the image; nothing is pulled unasked."""
        return self._docker("image", "inspect", IMAGE).returncode == 0

    def places(self, settings: ServerSettings, port: int) -> Places:
        """See `_Runner.places`."""
        return Places(
            address=f"{settings.host}:{port}",
            storage="/pht/storage",
            htpasswd="/pht/htpasswd",
            certificate="/tls/certificate",
            key="/tls/key",
        )

    def start(self, settings: ServerSettings, port: int) -> None:  # noqa: ARG002 - it stands in the configuration
        """See `_Runner.start`."""
        options = ["--name", self._container, "--user", f"{os.getuid()}:{os.getgid()}", "--read-only", "--cap-drop=ALL"]
        # the host's network: published ports would be open to other machines on some engines, whatever the address
        options += ["--security-opt=no-new-privileges", "--network=host", f"--volume={self._state}:/pht"]
        options += ["--log-driver=local"]  # which keeps so much and no more
        if settings.certificate is not None and settings.key is not None:
            options += [f"--volume={settings.certificate.resolve()}:/tls/certificate:ro"]
            options += [f"--volume={settings.key.resolve()}:/tls/key:ro"]
        self._docker("rm", "--force", self._container)
        done = self._docker("run", "--detach", *options, IMAGE, "serve", "/pht/config.yml")
        if done.returncode != 0:
            msg = "the engine did not start the registry"
            raise RegistryNotStarted(msg, container=self._container, reason=done.stderr.decode(errors="replace")[-300:])

    def alive(self) -> bool:
        """See `_Runner.alive`."""
        found = self._docker("container", "inspect", "--format", "{{.State.Running}}", self._container)
        return found.stdout.strip() == b"true"

    def stop(self, sleep: Sleep) -> None:  # noqa: ARG002 - the engine waits
        """See `_Runner.stop`."""
        self._docker("stop", self._container)
        self._docker("rm", "--force", self._container)

    def _docker(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [*self._command, *arguments]
        try:
            return subprocess.run(command, capture_output=True, timeout=60, check=False)  # noqa: S603 - the operator's own engine
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = "the container engine does not answer"
            raise RegistryNotStarted(msg, container=self._container) from error
