#!/usr/bin/env python3
"""Which Docker engine do the demo and the tests use, and how is a private one started and stopped?

`engine.py up` uses the engine that answers at `DOCKER_HOST` or at Docker's default socket. If there is none, it starts one with
its data, sockets, process id and log in `.state/engine` (the sockets in `/run` if the path of the checkout is too long for them).
It writes the address to `.state/engine/address`.
`engine.py find` exits with 0 if an engine answers, with 1 if not. `engine.py down` stops the engine that `up` started, and no
other. Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
HOME = CHECKOUT / ".state" / "engine"
USUAL = "unix:///var/run/docker.sock"
SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

SOCKET_PATH_LIMIT = 107
"""Bytes in the path of a Unix socket on Linux (unix(7)), without the final zero."""

LONGEST_SOCKET = "exec/containerd/containerd.sock.ttrpc"
"""The longest name of a socket below the engine's folder."""

READY_SECONDS = 60
STOP_SECONDS = 30

WRAPPER = """#!/bin/sh
# gVisor with ptrace (no KVM) and without a network stack: it needs no support of the machine. It keeps the limits of control
# groups; without them memory would have none.
exec {runsc} --platform=ptrace --network=none "$@"
"""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def answers(address: str) -> bool:
    """Whether a Docker engine answers at an address in the form of `DOCKER_HOST`."""
    kind, _, place = address.partition("://")
    if kind == "unix":
        connection: http.client.HTTPConnection = _UnixConnection(place)
    elif kind in {"tcp", "http"}:
        connection = http.client.HTTPConnection(place.rstrip("/"), timeout=5)
    else:
        return False
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().read(8) == b"OK"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def room() -> Path:
    """Return the folder for the sockets: the engine's own, or a short one if the checkout's path is too long."""
    if len(os.fsencode(HOME / LONGEST_SOCKET)) <= SOCKET_PATH_LIMIT:
        return HOME
    return Path("/run") / f"pht-{hashlib.sha256(os.fsencode(HOME)).hexdigest()[:12]}"


def mine() -> str:
    """Return the address of the engine that is started here."""
    return f"unix://{room() / 'docker.sock'}"


def found() -> str:
    """Return the address of an engine that answers, the one that `DOCKER_HOST` names first; empty if there is none."""
    places = (os.environ.get("DOCKER_HOST", ""), mine(), USUAL)
    return next((place for place in places if place and answers(place)), "")


def running() -> int | None:
    """Return the process id of the engine started here, if that process is still alive and still the engine."""
    try:
        pid = int((HOME / "pid").read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(HOME / "pid") in arguments else None


def write_settings() -> bool:
    """Configure gVisor in the engine if it is installed; return whether the settings changed."""
    runtimes = {}
    if runsc := shutil.which("runsc", path=SEARCH):
        wrapper = HOME / "runsc"
        wrapper.write_text(WRAPPER.format(runsc=runsc))
        wrapper.chmod(0o755)
        runtimes["runsc"] = {"path": str(wrapper)}
    settings = HOME / "daemon.json"
    wanted = json.dumps({"runtimes": runtimes}, indent=2) + "\n"
    if settings.exists() and settings.read_text() == wanted:
        return False
    settings.write_text(wanted)
    return True


def start() -> str:
    """Start the private engine and return its address once it answers."""
    if shutil.which("dockerd", path=SEARCH) is None:
        made = subprocess.run([CHECKOUT / "images" / "setup.sh", "packages", "docker.io"], check=False)
        if made.returncode:
            sys.exit(made.returncode)
    if os.geteuid() != 0:
        sys.exit(
            "no Docker engine answers, and only root can start one\nstart yours, or name it: DOCKER_HOST=unix:///... make ..."
        )
    sockets = room()
    address = mine()
    (sockets / "exec").mkdir(parents=True, exist_ok=True, mode=0o700)
    write_settings()
    (HOME / "pid").unlink(missing_ok=True)
    print("starting a private Docker engine ... ", end="", file=sys.stderr, flush=True)
    with (HOME / "log.txt").open("wb") as log:
        engine = subprocess.Popen(
            [
                *("dockerd", "--config-file", HOME / "daemon.json", "--pidfile", HOME / "pid", "--host", address),
                *("--data-root", HOME / "data", "--exec-root", sockets / "exec"),
                # Trains have no network, so the engine needs none and leaves the machine's firewall alone.
                *("--bridge=none", "--iptables=false", "--ip6tables=false"),
            ],
            env={**os.environ, "PATH": SEARCH},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until = time.monotonic() + READY_SECONDS
    while not answers(address):
        if engine.poll() is not None or time.monotonic() > until:
            engine.terminate()
            tail = (HOME / "log.txt").read_text(errors="replace").splitlines()[-25:]
            sys.exit("\n".join(["failed", *tail, f"the whole log: {HOME / 'log.txt'}"]))
        time.sleep(0.05)
    print("done", file=sys.stderr)
    return address


def up() -> None:
    """Make sure that an engine answers, and record its address."""
    wanted = os.environ.get("DOCKER_HOST", "")
    address = found() or start()
    if wanted not in {"", address}:
        print(f"no Docker engine answers at DOCKER_HOST, {wanted}; using {address}", file=sys.stderr)
    pid = running()
    if address == mine() and pid is not None and write_settings():
        os.kill(pid, signal.SIGHUP)
    (HOME / "address").write_text(address + "\n")


def find() -> None:
    """Exit with 0 if an engine answers, with 1 if not."""
    sys.exit(0 if found() else 1)


def sweep() -> None:
    """Clean up after an engine that was killed: its shims and its mounts."""
    mark = os.fsencode(room() / "exec" / "containerd" / "containerd.sock")
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (process / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in sorted(places, reverse=True):
        if place.startswith((f"{HOME}/", f"{room()}/")):
            subprocess.run(["umount", "--lazy", place], check=False)


def down() -> None:
    """Stop the engine that was started here, if it is running."""
    pid = running()
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        while running() == pid and time.monotonic() < until:
            time.sleep(0.05)
        if running() == pid:
            os.kill(pid, signal.SIGKILL)
    sweep()
    (HOME / "address").unlink(missing_ok=True)
    if room() != HOME:
        shutil.rmtree(room(), ignore_errors=True)


def main() -> None:
    """Run the command in the first argument, under this checkout's lock."""
    acts = {"up": up, "find": find, "down": down}
    act = acts.get(sys.argv[1]) if len(sys.argv) == 2 else None  # noqa: PLR2004 - the program and its one argument
    if act is None:
        sys.exit("usage: engine.py up|find|down")
    if act is find:  # called by the script that `up` runs, so it must not wait for `up`
        find()
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        act()


if __name__ == "__main__":
    main()
