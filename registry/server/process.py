"""How does an operator start, stop and sweep a registry?

There is no registry server of our own: this configures an existing one, which `registry.server.runners` runs. Its
state is in one folder::

    config.yml   htpasswd   storage/   registry.log   sweep.log   server.json   settings.json   .lock   .running

The program holds a lock on ``.running`` while it runs, so a reused process id misleads nobody.
"""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from registry.errors import RegistryInTheWay, RegistryNotStarted, RegistryToolMissing
from registry.server.config import LOOPBACK, ServerSettings, configure, fingerprint, same_passwords
from registry.server.runners import PROGRAMS, Container, Program, Runner, Sleep
from security.encoding import Fields, dump_pretty, parse_json
from security.errors import FileMissing, MalformedJson, MalformedStatement
from security.files import locked, make_folder, read_file, write_file

__all__ = ["RunningServer", "ServerSettings", "Swept", "down", "status", "sweep", "up"]

_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - compared with
_POLL_SECONDS: Final = 0.1
_POLLS: Final = 300
_ANSWERS: Final = frozenset({200, 401})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A running registry. ``started``: this call started it.

    If it listens ``everywhere``, its ``address`` has this machine's name, which a certificate can contain.
    """

    address: str
    runs: str
    storage: Path
    log: str
    started: bool
    everywhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The result of a sweep: the bytes freed, and whether the registry was stopped and started again."""

    freed: int
    restarted: bool


def up(settings: ServerSettings, *, sleep: Sleep) -> RunningServer:
    """Start the registry and wait until it responds; if it is running, return that.

    Raises:
        RegistryToolMissing: no registry program is installed.
        RegistryInTheWay: it is running with other settings.
        RegistryNotStarted: it exited at once, or does not respond.
    """
    make_folder(settings.state)
    with locked(settings.state / ".lock"):
        record = _Record.read(settings.state)
        running = _running(settings.state, record)
        if record is not None and running is not None:
            _need_same(settings, record)
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
        return _begun(settings, new, runner, sleep)


def _need_same(settings: ServerSettings, record: _Record) -> None:
    if record.wanted != fingerprint(settings) or not same_passwords(settings):
        msg = "a registry with other settings is running from this folder"
        raise RegistryInTheWay(msg, state=settings.state, hint=f"stop it first: pht registry down {settings.state}")


def _begun(settings: ServerSettings, record: _Record, runner: Runner, sleep: Sleep) -> RunningServer:
    runner.start(settings, record.port)
    for _ in range(_POLLS):
        if not runner.alive():
            break
        if _answers(record):
            return _server(settings.state, record, runner, started=True)
        sleep(_POLL_SECONDS)
    runner.stop(sleep)
    msg = "the registry was started but does not respond"
    raise RegistryNotStarted(msg, address=record.address, hint=f"see its log: {runner.log}")


def down(state: Path, *, sleep: Sleep) -> bool:
    """Stop the registry of a state folder; false if it was not running. Its storage stays."""
    if _Record.read(state) is None:  # a folder of something else, in which no lock is left
        return False
    with locked(state / ".lock"):
        record = _Record.read(state)
        if record is None or _running(state, record) is None:
            return False
        _runner(record, state).stop(sleep)
        return True


def sweep(settings: ServerSettings, *, sleep: Sleep) -> Swept:
    """Remove unreferenced blobs. A running registry is stopped for it and started again.

    In the meantime stations and scientists retry. Blobs of a train whose manifest is yet to arrive are removed too: the
    registry then rejects the manifest, and the sender starts again.

    Raises:
        FileMissing: no registry was started from this folder.
        RegistryInTheWay: it is running with other settings, and would come back changed.
        RegistryNotSwept: the collection failed; the registry is started again all the same.
        RegistryNotStarted: it did not start again.
    """
    if _Record.read(settings.state) is None:
        msg = "no registry was started from this folder"
        raise FileMissing(msg, path=settings.state)
    with locked(settings.state / ".lock"):
        record = _Record.read(settings.state)
        if record is None:
            msg = "no registry was started from this folder"
            raise FileMissing(msg, path=settings.state)
        runner, storage = _runner(record, settings.state), settings.state / "storage"
        was_running = runner.alive()
        if was_running:
            _need_same(settings, record)
            runner.stop(sleep)
        try:
            before = _size(storage)
            if any(storage.iterdir()):  # the program fails on an empty storage
                runner.collect()
            freed = before - _size(storage)
        finally:
            if was_running:
                _begun(settings, record, runner, sleep)
        return Swept(freed=freed, restarted=was_running)


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def status(state: Path) -> RunningServer | None:
    """Return the registry that is running from a state folder, if any."""
    return _running(state, _Record.read(state))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """What was started last."""

    wanted: str
    runner: str
    address: str
    certificate: str
    engine: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

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
            return None  # written by another version; it can be recreated
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


def _server(state: Path, record: _Record, runner: Runner, *, started: bool) -> RunningServer:
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


def _choose(settings: ServerSettings) -> Runner:
    for name in PROGRAMS:
        program = shutil.which(name, path=settings.search_path)
        if program is not None:
            return Program(settings.state, program)
    container = Container(settings.state, settings.engine)
    if shutil.which("docker", path=settings.search_path) is not None and container.available():
        return container
    msg = "no registry program on this machine"
    raise RegistryToolMissing(
        msg, looked_for=", ".join(PROGRAMS), hint="apt install docker-registry, or: docker pull registry:2"
    )


def _runner(record: _Record, state: Path) -> Runner:
    return Container(state, record.engine or None) if record.runner == Container.name else Program(state, record.runner)


def _port(wanted: int, record: _Record | None) -> int:
    """Return the wanted port, or the previous one, so that the address stays valid, or a free one.

    Raises:
        RegistryNotStarted: the wanted port is in use, and what listens there would be taken for our registry.
    """
    before = 0 if record is None else record.port
    for port in (wanted,) if wanted else (before, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return int(probe.getsockname()[1])
    msg = "port is in use"
    raise RegistryNotStarted(msg, port=wanted, hint="choose another one, or stop the process that listens there")


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
    context.check_hostname = False  # exactly this certificate is expected, whatever its name
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return http.client.HTTPSConnection(host, int(port), timeout=5, context=context)
