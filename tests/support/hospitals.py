"""What do a registry, a consortium, a scientist and three hospitals look like as real processes?

Made with the `pht` command line only, as their operators would: separate folders, keys of different kinds, and a daemon
each that can be killed at any time. Hospital-b reaches the registry through a barrier that can stop its requests.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker.errors import NotFound

from registry.depot import Depot
from registry.places import Login, registry_at
from security.ids import TrainId
from station.journal.journal import Journal
from station.visit.plan import Phase, phase_of
from station.visit.state import Visit
from tests.support.barrier import Barrier
from tests.support.engine import Engine

CHECKOUT = Path(__file__).parents[2]
PATIENCE = 120
SCHEMES: Mapping[str, tuple[str, ...]] = {
    "hospital-a": ("ed25519",),
    "hospital-b": ("ecdsa-sha2-nistp256",),
    "hospital-c": ("ed25519", "ml-dsa-65"),
}
PATIENTS: Mapping[str, tuple[int, ...]] = {"hospital-a": (3, 5, 7), "hospital-b": (11,), "hospital-c": (13, 17)}
ROUTE = tuple(SCHEMES)
CANARY = "canary-6b1f0c"
"""A word in every hospital's data, which must never be anywhere else."""


@dataclass
class Consortium:
    """Everybody, and what a test may do to them."""

    root: Path
    engine: Engine
    base: Path
    url: str = ""
    barrier: Barrier | None = None
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # --- The command line

    def pht(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(CHECKOUT / "pht.py"), "--json", *map(str, words)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root)}
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.root,
            env=environment,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )

    def answer(self, *words: str | Path) -> dict[str, Any]:
        done = self.pht(*words)
        assert done.returncode == 0, f"pht {words}: {done.stdout}{done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def refused(self, *words: str | Path) -> str:
        done = self.pht(*words)
        assert done.returncode in {10, 20, 30, 40}, f"pht {words}: {done.stdout}{done.stderr}"
        return str(json.loads(done.stdout)["error"]["code"])

    def secret(self, party: str) -> tuple[str, Path]:
        path = self.root / "secrets" / party
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(12) + "\n")
        return "--passphrase-file", path

    # --- Setting up

    def found(self) -> None:
        """Make everything there is before the first train, and start the daemons."""
        self.url = self.answer("registry", "up", "registry")["url"]
        self.barrier = Barrier(self.url)
        keys = ("--root-keys", "1", "--threshold", "1")
        self.answer("directory", "init", "consortium", *keys, "--one-passphrase", *self.secret("consortium"))
        for party in ROUTE:  # made here, so that no two threads make the same folder
            self.secret(party)
            self._data(party)
        with ThreadPoolExecutor(2) as pool:
            pushed = pool.submit(self.answer, "registry", "base", "push", self.url, "python", self.base)
            for founded in [pool.submit(self._owner), *(pool.submit(self._station, party) for party in ROUTE)]:
                founded.result()
        self.answer("directory", "approve-base", "consortium", "python", pushed.result()["digest"])
        for party in ("alice", *ROUTE):
            card = self.root / party / f"{party}.card.json"
            spelled = self.answer("keys", "show", card)["spelled"]
            self.answer("directory", "add", "consortium", card, "--fingerprint", spelled)
        self.answer("directory", "publish", "consortium", "--to", self.url, *self.secret("consortium"))
        for party in ROUTE:
            self.start(party)

    def _data(self, party: str) -> None:
        folder = self.root / "data" / party
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        rows = "".join(f"{value},{CANARY}\n" for value in PATIENTS[party])
        (folder / "patients.csv").write_text(f"value,name\n{rows}")
        (folder / "go").touch()

    def _owner(self) -> None:
        self.answer("train", "setup", "alice", "--party", "alice", "--registry", self.url, "--root", self._root)
        self.answer("keys", "new", "alice/keys", "--party", "alice", "--role", "owner", *self.secret("alice"))
        self.answer("keys", "card", "alice/keys", "-o", "alice/alice.card.json", *self.secret("alice"))

    def _station(self, party: str) -> None:
        assert self.barrier is not None
        registry = self.barrier.url if party == "hospital-b" else self.url
        schemes = [word for scheme in SCHEMES[party] for word in ("--scheme", scheme)]
        self.answer(
            *("station", "init", party, "--party", party, "--registry", registry, "--root", self._root),
            *("--data", f"patients=data/{party}", "--admit-owner", "alice", "--engine", self.engine.url),
            *schemes,
            *self.secret(party),
        )
        config = self.root / party / "station.yaml"
        config.write_text(config.read_text().replace("poll_seconds: 2", "poll_seconds: 1"))

    @property
    def _root(self) -> Path:
        return self.root / "consortium" / "published" / "1.root.json"

    # --- Processes

    def launch(self, party: str) -> None:
        """Start a daemon."""
        folder = self.root / party
        (folder / "state" / "health.json").unlink(missing_ok=True)
        with (folder / "daemon.log").open("ab") as log:
            self.daemons[party] = subprocess.Popen(
                [sys.executable, str(CHECKOUT / "pht.py"), "station", "run", str(folder)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            )

    def start(self, party: str) -> None:
        """Start a daemon, and wait until it has done its first turn."""
        self.launch(party)

        def works() -> bool:
            assert self.daemons[party].poll() is None, self.last_words()
            return (self.root / party / "state" / "health.json").exists()

        self.wait(works, f"{party}'s daemon to work")

    def kill(self, party: str) -> None:
        """Kill a daemon at once, whatever it is doing."""
        self.daemons[party].kill()
        assert self.daemons.pop(party).wait() == -signal.SIGKILL

    def kill_registry(self) -> None:
        """Kill the registry at once."""
        os.kill(int((self.root / "registry" / "registry.pid").read_text()), signal.SIGKILL)
        self.wait(lambda: not self.answer("registry", "status", "registry")["running"], "the registry to be dead")

    def close(self) -> None:
        """Stop everything."""
        for daemon in self.daemons.values():
            daemon.terminate()
        for daemon in self.daemons.values():
            daemon.wait(PATIENCE)
        if self.barrier is not None:
            self.barrier.close()
        self.pht("registry", "down", "registry")

    # --- Looking

    def wait(self, what: Callable[[], bool], said: str, *, every: float = 0.1) -> None:
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < deadline, f"waited in vain for {said}\n{self.last_words()}"
            time.sleep(every)

    def last_words(self) -> str:
        logs = [self.root / party / "daemon.log" for party in ROUTE]
        tails = [f"--- {log.parent.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in logs]
        return "\n".join(tails)

    @property
    def depot(self) -> Depot:
        return Depot(registry_at(self.url, Login()))

    @contextmanager
    def journal(self, party: str) -> Iterator[Journal]:
        with Journal.open(self.root / party / "state" / "journal.sqlite") as journal:
            yield journal

    def visit(self, party: str, train: TrainId) -> Visit | None:
        """The one visit of a train at a station, if it has been accepted."""
        with self.journal(party) as journal:
            return journal.accepted(train, ROUTE.index(party))

    def wait_for(self, party: str, train: TrainId, *phases: Phase) -> Visit:
        """Wait until a visit is in one of these phases."""
        with self.journal(party) as journal:
            stop = ROUTE.index(party)
            found: list[Visit] = []

            def there() -> bool:
                visit = journal.accepted(train, stop)
                if visit is not None and phase_of(visit) in phases:
                    found.append(visit)
                return bool(found)

            self.wait(there, f"{train[:12]} to be {' or '.join(phases)} at {party}", every=0.002)
            return found[0]

    def containers(self) -> list[str]:
        """The containers of our stations there are now."""
        with closing(self.engine.client()) as client:
            listed = client.containers(all=True, filters={"label": "pht.house"})
        houses = [container for container in listed if container["Labels"]["pht.house"].startswith(ROUTE)]
        return [name for container in houses for name in container["Names"]]

    def runs(self, name: str) -> bool:
        with closing(self.engine.client()) as client, suppress(NotFound):
            return bool(client.inspect_container(name)["State"]["Running"])
        return False

    def starts(self, train: TrainId, since: int) -> list[str]:
        """The containers of a train the engine has started, each as often as it was."""
        with closing(self.engine.client()) as client:
            events = client.events(
                since=since, until=int(time.time()), filters={"type": "container", "event": "start"}, decode=True
            )
            names = [event["Actor"]["Attributes"]["name"] for event in events]
        return [name for name in names if name.startswith(f"pht-{train[:32]}-")]
