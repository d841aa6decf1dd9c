"""The container engines of the tests: one that is there, or a private one, started for the session and stopped with it.

Workers share the one that is there; a private one is a worker's own. ``PHT_TEST_ENGINE`` or ``DOCKER_HOST`` may name an
engine to use. What it lacks (gVisor, say) a private ``dockerd`` has, for which the tests must run as root. Without either
they fail: a sandbox nobody tried is no sandbox.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker import APIClient
from docker.errors import DockerException, NotFound

from station.sandbox.docker.engine import DockerSandbox
from station.sandbox.docker.image import engine_name
from station.sandbox.image import BaseImage

PATIENCE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that answers, and the runtimes it has."""

    url: str
    runtimes: frozenset[str]

    def client(self) -> APIClient:
        return APIClient(base_url=self.url, version="auto")

    def forget(self, base: BaseImage) -> None:
        """Remove a base image of a test from an engine that outlives it."""
        with contextlib.closing(self.client()) as client, contextlib.suppress(NotFound):
            client.remove_image(engine_name(base), force=True)

    def sandbox(self, runtime: str = "runc") -> DockerSandbox:
        return DockerSandbox(url=self.url, runtime=runtime)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine with runc."""
    named = given()
    if named is not None:
        yield named
        return
    with private_engine() as started:
        yield started


@pytest.fixture(scope="session")
def gvisor_engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine with runc and gVisor's runsc."""
    plain: Engine = request.getfixturevalue("engine")
    if "runsc" in plain.runtimes:
        yield plain
        return
    with private_engine() as started:
        yield started


def given() -> Engine | None:
    """Return the engine that the environment names, if it answers."""
    for variable in ("PHT_TEST_ENGINE", "DOCKER_HOST"):
        url = os.environ.get(variable)
        if url:
            with contextlib.suppress(DockerException, OSError):
                return reach(url)
    return None


def base_images(engine: Engine) -> frozenset[str]:
    """Return the names of the base images that stations have loaded into an engine."""
    with contextlib.closing(engine.client()) as client:
        names = [name for image in client.images() for name in image["RepoTags"] or ()]
    return frozenset(name for name in names if name.startswith("pht/base:"))


_BEFORE = pytest.StashKey[frozenset[str]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note which base images an engine that outlives the session has: workers share it, so that no test can tell."""
    if not hasattr(session.config, "workerinput") and (engine := given()) is not None:
        session.config.stash[_BEFORE] = base_images(engine)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove those that were loaded meanwhile, once every worker is done."""
    before = session.config.stash.get(_BEFORE, None)
    if before is not None and (engine := given()) is not None:
        with contextlib.closing(engine.client()) as client:
            for name in base_images(engine) - before:
                client.remove_image(name, force=True)


def reach(url: str) -> Engine:
    """Return the engine at an address; raises what its client does if none answers."""
    with socket.socket(socket.AF_UNIX) as door:  # the client leaks its own socket if nobody listens
        door.connect(url.removeprefix("unix://"))
    with contextlib.closing(APIClient(base_url=url, version="auto", timeout=5)) as client:
        return Engine(url=url, runtimes=frozenset(client.info()["Runtimes"]))


@contextlib.contextmanager
def private_engine(*options: str) -> Iterator[Engine]:
    """Start a dockerd with its own folders and no network, and stop it with everything it runs."""
    dockerd = shutil.which("dockerd", path="/usr/sbin:/usr/bin:/usr/local/bin")
    assert dockerd is not None, "no container engine: set PHT_TEST_ENGINE, or apt-get install docker.io"
    assert os.geteuid() == 0, "no container engine answers, and only root can start one: set PHT_TEST_ENGINE"
    folder = Path(tempfile.mkdtemp(prefix="pht-engine-"))  # short: a socket's path has at most 107 bytes
    url = f"unix://{folder}/s"
    command = [
        dockerd,
        *("--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")),
        *("-H", url, "--pidfile", str(folder / "pid"), "--bridge=none", "--iptables=false"),
        *_gvisor(folder),
        *options,
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield _await(url, process, folder / "log")
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _unmount_below(folder)
        shutil.rmtree(folder)


def _unmount_below(folder: Path) -> None:
    """Unmount what an engine leaves mounted when it ends: its network namespace, at least."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in sorted((place for place in mounts if place.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", place], check=True)


def _gvisor(folder: Path) -> tuple[str, ...]:
    runsc = shutil.which("runsc", path="/usr/bin:/usr/local/bin")
    if runsc is None:
        return ()
    wrapper = folder / "runsc"  # ptrace is the one platform that needs nothing of the machine
    wrapper.write_text(f'#!/bin/sh\nexec {runsc} --platform=ptrace --network=none "$@"\n')
    wrapper.chmod(0o755)
    return ("--add-runtime", f"runsc={wrapper}")


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> Engine:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(DockerException, OSError):
            return reach(url)
        time.sleep(0.2)
    pytest.fail("dockerd does not start: " + log.read_text(errors="replace")[-2000:])
