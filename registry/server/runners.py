"""Which programs can serve as the registry, and how is each started, stopped and swept?

The CNCF ``registry`` program (Debian: ``docker-registry``) or, if an engine has it, the image ``registry:2``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from registry.errors import RegistryNotStarted, RegistryNotSwept
from registry.server.config import Places, ServerSettings
from security.files import read_file, told, write_file

PROGRAMS: Final = ("docker-registry", "registry")
IMAGE: Final = "registry:2"
SWEEP_LOG: Final = "sweep.log"
_PID: Final = "registry.pid"
_POLL_SECONDS: Final = 0.1
_TERM_POLLS: Final = 100
_LAUNCH: Final = """\
log=$1; shift; exec 3>&1
("$@" 2>&1 </dev/null 3>&- & echo $! >&3) | (
    exec >>"$log" 2>&1 3>&-
    while IFS= read -r line; do
        case $line in
        *'http.request.method=PUT '*'/manifests/'* | *http.request.method=DELETE' '*) ;;
        'time="'*'" level=info msg="response completed"'* | 'time="'*'" level=info msg="authorized request"'*) continue ;;
        *' http.response.status='*) case ${line##* http.response.status=} in "404 "*) continue ;; esac ;;
        esac
        printf '%s\\n' "$line"
    done
) &
"""
"""Starts an orphan, so that nobody has to wait for it, and keeps of its log what a person may look for: starts and ends,
errors, and who put or deleted what. Left out is what is read, and not found: stations ask every few seconds, for years,
and each question would be a line (28 MB a day for each station).

A client's own words are in a line as well, quoted. They can make it stay, but not go: what is looked for to leave a line out
stands before them (``level=info``) or after them (the last status).
"""

Sleep: TypeAlias = Callable[[float], object]


class Runner(Protocol):
    """A way to run a registry."""

    name: str
    log: str

    def places(self, settings: ServerSettings, port: int) -> Places:
        """Return addresses and paths as the registry sees them."""

    def start(self, settings: ServerSettings, port: int) -> None:
        """Start the registry in the background."""

    def alive(self) -> bool:
        """Whether it is running."""

    def stop(self, sleep: Sleep) -> None:
        """Stop it."""

    def collect(self) -> None:
        """Remove unreferenced blobs. The registry must be stopped: blobs that are being pushed count as unreferenced.

        Raises:
            RegistryNotSwept: the program failed.
        """


def _run_to_the_end(command: list[str], log: Path, *, handle: int | None = None, pid: Path | None = None) -> None:
    """Run a collection. Should we be killed, its process keeps the lock `handle`, and `pid` names it."""
    with told(log), log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a program found on the PATH, arguments of our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=() if handle is None else (handle,),
        )
        with process:
            if pid is not None:
                write_file(pid, str(process.pid).encode())
            status = process.wait()
    if status != 0:
        msg = "the registry program could not collect unreferenced blobs"
        raise RegistryNotSwept(msg, status=status, hint=f"see its log: {log}")


class Program:
    """The registry as a process."""

    def __init__(self, state: Path, program: str) -> None:
        self._state, self.name = state, program
        self.log = str(state / "registry.log")

    def places(self, settings: ServerSettings, port: int) -> Places:
        """See `Runner.places`."""
        return Places(
            address=f"{settings.host}:{port}",
            storage=str((self._state / "storage").resolve()),
            htpasswd=str((self._state / "htpasswd").resolve()),
            certificate=str(Path(settings.certificate or "").resolve()),
            key=str(Path(settings.key or "").resolve()),
        )

    def start(self, settings: ServerSettings, port: int) -> None:  # noqa: ARG002 - both are in the configuration
        """See `Runner.start`. The process inherits the lock and holds it until it ends."""
        with self._lock() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            command = ["/bin/sh", "-c", _LAUNCH, "sh", self.log, self.name, "serve", str(self._state / "config.yml")]
            done = subprocess.run(  # noqa: S603 - a program found on the PATH, arguments of our own
                command, pass_fds=[handle], start_new_session=True, stdout=subprocess.PIPE, check=True
            )
        write_file(self._state / _PID, done.stdout)

    def alive(self) -> bool:
        """See `Runner.alive`."""
        if not (self._state / ".running").exists():
            return False
        with self._lock() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def stop(self, sleep: Sleep) -> None:
        """See `Runner.stop`."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.alive():
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(read_file(self._state / _PID)), number)
            for _ in range(_TERM_POLLS):
                if not self.alive():
                    return
                sleep(_POLL_SECONDS)

    def collect(self) -> None:
        """See `Runner.collect`."""
        with self._lock() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            command = [self.name, "garbage-collect", str(self._state / "config.yml")]
            _run_to_the_end(command, self._state / SWEEP_LOG, handle=handle, pid=self._state / _PID)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int]:
        path = self._state / ".running"
        with told(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield handle
        finally:
            os.close(handle)


class Container:
    """The registry as a container of the local engine, controlled through its command line."""

    name = f"container {IMAGE}"

    def __init__(self, state: Path, engine: str | None) -> None:
        self._state = state.resolve()
        self._command = ["docker", *(["--host", engine] if engine is not None else [])]
        self._container = "pht-registry-" + hashlib.sha256(str(self._state).encode()).hexdigest()[:12]
        self.log = f"docker logs {self._container}"

    def available(self) -> bool:
        """Whether an engine has the image. Nothing is pulled."""
        return self._docker("image", "inspect", IMAGE).returncode == 0

    def places(self, settings: ServerSettings, port: int) -> Places:
        """See `Runner.places`."""
        return Places(
            address=f"{settings.host}:{port}",
            storage="/pht/storage",
            htpasswd="/pht/htpasswd",
            certificate="/tls/certificate",
            key="/tls/key",
        )

    def start(self, settings: ServerSettings, port: int) -> None:  # noqa: ARG002 - it is in the configuration
        """See `Runner.start`."""
        # the host's network: some engines publish ports to other machines, whatever the address
        options = [*self._confined(), "--network=host"]
        options += ["--log-driver=local"]  # rotates
        if settings.certificate is not None and settings.key is not None:
            options += [f"--volume={settings.certificate.resolve()}:/tls/certificate:ro"]
            options += [f"--volume={settings.key.resolve()}:/tls/key:ro"]
        self._docker("rm", "--force", self._container)
        done = self._docker("run", "--detach", *options, IMAGE, "serve", "/pht/config.yml")
        if done.returncode != 0:
            msg = "the engine did not start the registry"
            raise RegistryNotStarted(msg, container=self._container, reason=done.stderr.decode(errors="replace")[-300:])

    def _confined(self) -> list[str]:
        options = ["--name", self._container, "--user", f"{os.getuid()}:{os.getgid()}", f"--volume={self._state}:/pht"]
        return [*options, "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]

    def alive(self) -> bool:
        """See `Runner.alive`."""
        found = self._docker("container", "inspect", "--format", "{{.State.Running}}", self._container)
        return found.stdout.strip() == b"true"

    def stop(self, sleep: Sleep) -> None:  # noqa: ARG002 - the engine waits
        """See `Runner.stop`."""
        self._docker("stop", self._container)
        self._docker("rm", "--force", self._container)

    def collect(self) -> None:
        """See `Runner.collect`."""
        self._docker("rm", "--force", self._container)
        options = ["--rm", *self._confined(), "--network=none"]
        _run_to_the_end(
            [*self._command, "run", *options, IMAGE, "garbage-collect", "/pht/config.yml"], self._state / SWEEP_LOG
        )

    def _docker(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [*self._command, *arguments]
        try:
            return subprocess.run(command, capture_output=True, timeout=60, check=False)  # noqa: S603 - the operator's own engine
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = "the container engine does not respond"
            raise RegistryNotStarted(msg, container=self._container) from error
