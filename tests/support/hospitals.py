"""What do a registry, a consortium, a scientist and three hospitals look like as real processes?

Separate folders, keys of different kinds, and a daemon each that can be killed at any time. Hospital-b reaches the
registry through a barrier that can stop its requests. Commands are those of the operators and the scientist, typed in this
process; the keys open quickly, because their files say so: the demo pays for what is usual.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker.errors import NotFound

from registry.depot import Depot
from registry.places import Login, registry_at
from security.directory.card import parse_card
from security.directory.workspace import add_party
from security.ids import Role, TrainId
from security.keys.keyset import Scheme, generate
from station.house.assembly import house_name
from station.house.config import load_config
from station.journal.journal import Journal
from station.visit.plan import Phase, phase_of
from station.visit.state import Visit
from tests.support.barrier import Barrier
from tests.support.desk import FAMILIES, Desk, edit, private
from tests.support.directories import clock, house, key_folder
from tests.support.engine import Engine

CHECKOUT = Path(__file__).parents[2]
PATIENCE = 120
SCHEMES: Mapping[str, tuple[Scheme, ...]] = {
    "hospital-a": (Scheme.ED25519,),
    "hospital-b": (Scheme.P256,),
    "hospital-c": (Scheme.ED25519, Scheme.ML_DSA_65),
}
PATIENTS: Mapping[str, tuple[int, ...]] = {"hospital-a": (3, 5, 7), "hospital-b": (11,), "hospital-c": (13, 17)}
ROUTE = tuple(SCHEMES)
CANARY = "canary-6b1f0c"
"""A word in every hospital's data, which must never be anywhere else."""


@dataclass
class Hospitals:
    """Everybody, and what a test may do to them."""

    root: Path
    engine: Engine
    base: Path
    url: str = ""
    barrier: Barrier | None = None
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    route: tuple[str, ...] = ROUTE
    owners: tuple[str, ...] = ("alice",)
    behind: str = "hospital-b"
    """The station, or owner, that reaches the registry through the barrier."""
    settings: str = ""
    """What every station.yaml says besides."""
    program: tuple[str, ...] = (str(CHECKOUT / "pht.py"),)
    """What Python is given to start a daemon."""
    started: list[str] = field(default_factory=list)
    passphrase: bytes = field(default_factory=lambda: secrets.token_hex(12).encode())

    # --- The command line

    @property
    def desk(self) -> Desk:
        return Desk(path=self.root, whole=self.root)

    def answer(self, *words: str | Path) -> dict[str, Any]:
        return self.desk.answer(*map(str, words))

    def refused(self, *words: str | Path) -> str:
        typed = self.desk.pht("--json", *map(str, words))
        assert typed.exit in FAMILIES, str(typed)
        return str(typed.code)

    def secret(self, party: str) -> tuple[str, Path]:
        return "--passphrase-file", private(self.root / f"{party}.passphrase", self.passphrase + b"\n")

    # --- Setting up

    def found(self) -> None:
        """Make everything there is before the first train, and start the daemons."""
        self.url = self.answer("registry", "up", "registry")["url"]
        self.barrier = Barrier(self.url)
        ours = house(self.root / "consortium", keys=1, threshold=1, passphrase=self.passphrase)
        for owner in self.owners:
            self._owner(owner)
        for party in self.route:
            self._data(party)
            self._station(party)
        for party in (*self.owners, *self.route):
            card = parse_card((self.root / party / f"{party}.card.json").read_bytes())
            add_party(ours.workspace, card, now=clock())
        base = self.answer("registry", "base", "push", self.url, "python", self.base)["digest"]
        self.answer("directory", "approve-base", "consortium", "python", base)
        self.answer("directory", "publish", "consortium", "--to", self.url, *self.secret("consortium"))
        for party in self.route:
            self.launch(party)
        for party in self.route:
            self.wait_to_work(party)

    def _data(self, party: str) -> None:
        folder = self.root / "data" / party
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        rows = "".join(f"{value},{CANARY}\n" for value in PATIENTS.get(party, (1, 2)))
        (folder / "patients.csv").write_text(f"value,name\n{rows}")
        (folder / "go").touch()

    def _keys(self, party: str, role: Role, *schemes: Scheme) -> None:
        folder = self.root / party / "keys"
        key_folder(folder, generate(schemes), party, role, passphrase=self.passphrase)

    def _owner(self, name: str) -> None:
        self._keys(name, Role.OWNER, Scheme.ED25519)
        registry = self._registry_of(name)
        self.answer("train", "setup", name, "--party", name, "--registry", registry, "--root", self._root)
        self.answer("keys", "card", f"{name}/keys", "-o", f"{name}/{name}.card.json", *self.secret(name))

    def _station(self, party: str) -> None:
        registry = self._registry_of(party)
        self._keys(party, Role.STATION, *SCHEMES.get(party, (Scheme.ED25519,)))
        self.answer(
            *("station", "init", party, "--party", party, "--registry", registry, "--root", self._root),
            *("--data", f"patients=data/{party}", "--engine", self.engine.url),
            *(word for owner in self.owners for word in ("--admit-owner", owner)),
            *("--release", "application/json", "--release", "application/octet-stream"),
            *self.secret(party),
        )
        edit(self.root / party / "station.yaml", "daemon:\n", f"{self.settings}daemon:\n")
        edit(self.root / party / "station.yaml", "poll_seconds: 2", "poll_seconds: 1")

    def _registry_of(self, party: str) -> str:
        assert self.barrier is not None
        return self.barrier.url if party == self.behind else self.url

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
                [sys.executable, *self.program, "station", "run", str(folder)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(CHECKOUT)},
            )

    def start(self, party: str) -> None:
        """Start a daemon, and wait until it has done its first turn."""
        self.launch(party)
        self.wait_to_work(party)

    def wait_to_work(self, party: str) -> None:
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
        self.desk.pht("registry", "down", "registry")

    # --- Looking

    def wait(self, what: Callable[[], bool], said: str, *, every: float = 0.1) -> None:
        deadline = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < deadline, f"waited in vain for {said}\n{self.last_words()}"
            time.sleep(every)

    def last_words(self) -> str:
        logs = [self.root / party / "daemon.log" for party in self.route]
        tails = [f"--- {log.parent.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in logs]
        return "\n".join(tails)

    @property
    def depot(self) -> Depot:
        return Depot(registry_at(self.url, Login()))

    @contextmanager
    def journal(self, party: str) -> Iterator[Journal]:
        with Journal.open(self.root / party / "state" / "journal.sqlite") as journal:
            yield journal

    def stop(self, party: str) -> int:
        """The stop at which a train over the whole route runs at a station; with several stations it is boarded before."""
        boarding = len(self.route) + 1 if len(self.route) > 1 else 0
        return boarding + self.route.index(party)

    def visit(self, party: str, train: TrainId) -> Visit | None:
        """The visit in which a train runs at a station, if it has been accepted."""
        with self.journal(party) as journal:
            return journal.accepted(train, self.stop(party))

    def wait_for(self, party: str, train: TrainId, *phases: Phase, every: float = 0.05) -> Visit:
        """Wait until a visit is in one of these phases; look more often for one that soon passes."""
        with self.journal(party) as journal:
            stop = self.stop(party)
            found: list[Visit] = []

            def there() -> bool:
                visit = journal.accepted(train, stop)
                if visit is not None and phase_of(visit) in phases:
                    found.append(visit)
                return bool(found)

            self.wait(there, f"{train[:12]} to be {' or '.join(phases)} at {party}", every=every)
            return found[0]

    def containers(self) -> list[str]:
        """The containers of our stations there are now; others use the engine too."""
        houses = {house_name(load_config(self.root / party / "station.yaml")) for party in self.route}
        with closing(self.engine.client()) as client:
            listed = client.containers(all=True, filters={"label": "pht.house"})
        return [name for one in listed if one["Labels"]["pht.house"] in houses for name in one["Names"]]

    def runs(self, name: str) -> bool:
        with closing(self.engine.client()) as client, suppress(NotFound):
            return bool(client.inspect_container(name)["State"]["Running"])
        return False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note what the engine starts meanwhile. It remembers only its newest 256 events, and has other guests."""
        with closing(self.engine.client()) as client:
            told = client.events(filters={"type": "container", "event": "start"}, decode=True)
            listener = threading.Thread(target=lambda: self.started.extend(map(_name_in, told)))
            listener.start()
            try:
                yield
            finally:
                told.close()
                listener.join()

    def starts(self, train: TrainId) -> list[str]:
        """The containers of a train the engine has started while we were `listening`, each as often as it was."""
        return [name for name in self.started if name.startswith(f"pht-{train[:32]}-")]


def _name_in(event: dict[str, Any]) -> str:
    return str(event["Actor"]["Attributes"]["name"])
