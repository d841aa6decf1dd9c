"""Trains of rounds whose stations, registry and owner are killed in every phase: boarding, departure, contributing, combining, finishing.

Real processes, a real registry, a real engine. Daemons are killed at events of their journals, to the event (`mortal`). Whatever is
killed, and when: the train comes home once, its sums are those of plain integers, nobody has signed two statements about a
stop, and no mask was used for two vectors: of each that hides a part, one has left.

``PHT_TEST_EVERY_DAMAGE=1`` kills every daemon before and after every event of every stop.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from registry.check import put_bytes
from registry.depot import ReceiptKind, train_tag
from registry.memory import MemoryRegistry
from registry.names import Repository
from registry.oci import OCI_EMPTY, OCI_MANIFEST
from registry.port import StoredManifest
from registry.taken import take_letters
from security.digest import Digest, digest_of
from security.errors import NotARecipient, Refused
from security.ids import PartyId, TrainId
from security.train.journey import JourneyEntry, read_entry
from security.train.letters import open_parcel
from station.visit.events import Signed
from station.visit.state import Visit
from tests.support.engine import Engine
from tests.support.hospitals import CHECKOUT, PATIENTS, ROUTE, Hospitals
from tests.support.mortal import doom, set_doom
from train_builder.home import open_home

pytestmark = pytest.mark.registry

ALICE = PartyId("alice")
A, B, C = ROUTE
JUNCTION = A
BOARD = {A: 0, B: 1, C: 2}
DEPARTURE = 3
FIRST = {A: 4, B: 5, C: 6}
COMBINED = 7
SECOND = {A: 8, B: 9, C: 10}
FINISHED = 11
LAST = {**SECOND, JUNCTION: FINISHED}

CODE = """
import csv, json, os, pathlib, sys
context = json.loads(pathlib.Path(os.environ["PHT_CONTEXT"]).read_text())
came, state = pathlib.Path(os.environ["PHT_IN"]), pathlib.Path(os.environ["PHT_STATE"])
if sys.argv[1] == "contribute":
    with (pathlib.Path(os.environ["PHT_DATA"]) / "patients" / "patients.csv").open(newline="") as source:
        values = [int(row["value"]) for row in csv.DictReader(source)]
    before = [json.loads(one.read_text()) for one in came.glob("*/model.json")]
    about = before[0]["total"] if before else 0
    (state / "moments.json").write_text(json.dumps([len(values), sum(values), sum((one - about) ** 2 for one in values)]))
else:
    n, total, squares = json.loads((came / "sum" / "moments.json").read_text())
    (state / "model.json").write_text(json.dumps({"n": n, "total": total, "squares": squares}))
    if context["round"] == 1:
        (state / "finished").touch()
"""
SPEC = """
train: NAME
purpose: Add up
approval: {reference: none}
base: python
code: code
rounds: {stations: [hospital-a, hospital-b, hospital-c], junction: hospital-a, most: 3}
contribute: [python3, main.py, contribute]
combine: [python3, main.py, combine]
data: [{name: patients, description: a value per patient, files: ["*.csv"]}]
outputs:
  - {path: moments.json, media_type: application/json, max_bytes: 1KB, task: contribute, sum: {shape: [3], bound: 1000000000}}
  - {path: model.json, media_type: application/json, max_bytes: 1KB, task: combine}
limits: {memory: 128MiB, cpu: 1, wall_time: 2min, processes: 8, output: 1MiB}
valid: 1d
"""


@pytest.fixture(scope="module")
def consortium(engine: Engine, python_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    program = ("-m", "tests.support.mortal")
    root = tmp_path_factory.mktemp("killed")
    made = Hospitals(root=root, engine=engine, base=python_layout, behind="alice", program=program)
    try:
        made.found()
        yield made
    finally:
        made.close()


# --- The train ----------------------------------------------------------------------------------------------------------


def write(consortium: Hospitals, name: str) -> Path:
    folder = consortium.root / "trains" / name
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "main.py").write_text(CODE)
    (folder / "train.yaml").write_text(SPEC.replace("NAME", name))
    return folder


def submit(consortium: Hospitals, name: str) -> TrainId:
    sent = consortium.answer("train", "submit", write(consortium, name), "--home", "alice", *consortium.secret("alice"))
    return TrainId(sent["train"])


def visits(consortium: Hospitals, party: str, train: TrainId) -> dict[int, Visit]:
    """Return the visits of a train at a station, by stop."""
    with consortium.journal(party) as journal:
        return {stop: one for stop in range(FINISHED + 1) if (one := journal.accepted(train, stop)) is not None}


def begun(consortium: Hospitals, party: str, train: TrainId, stop: int) -> bool:
    """Whether a station has accepted a train at a stop."""
    with consortium.journal(party) as journal:
        return journal.accepted(train, stop) is not None


def done(consortium: Hospitals, party: str, train: TrainId) -> frozenset[int]:
    """Return the stops of a train that a station is done with."""
    return frozenset(stop for stop, one in visits(consortium, party, train).items() if one.departed is not None)


def departed(consortium: Hospitals, party: str, train: TrainId) -> bool:
    """Whether a station is done with all of a train."""
    return LAST[party] in done(consortium, party, train)


def tend(consortium: Hospitals) -> None:
    """Start again whoever was killed."""
    for party, daemon in tuple(consortium.daemons.items()):
        if daemon.poll() == -signal.SIGKILL:
            consortium.launch(party)


def came_home_once(consortium: Hospitals, train: TrainId) -> None:
    """Wait for a train to come home, and for everybody to be done with it, while whoever dies is started again; then look at everything."""
    depot = consortium.depot

    def over() -> bool:
        tend(consortium)
        return bool(depot.arrivals(ALICE, train)) and all(
            not doom(consortium.root / party) and departed(consortium, party, train) for party in ROUTE
        )

    consortium.wait(over, "the train to come home, and everybody to have been killed", every=0.05)
    for party in ROUTE:
        consortium.wait(lambda: depot.arrivals(PartyId(party)) == (), f"{party}'s mailbox to be empty")  # noqa: B023 - called at once
        keys = consortium.root / party / "state" / "passes" / train
        consortium.wait(lambda: not keys.exists(), f"{party} to hear that the train is over")  # noqa: B023 - called at once

    assert [one.tag for one in depot.arrivals(ALICE, train)] == [train_tag(train, ALICE, None)]
    receipts = sorted((one.stop, one.kind) for one in depot.receipts_of(ALICE, train, range(64)))
    assert receipts == [(stop, ReceiptKind.ENTRY) for stop in range(FINISHED + 1)]
    into = consortium.root / "results" / train[:12]
    into.parent.mkdir(exist_ok=True)
    consortium.answer("train", "open", train, into, "--home", "alice", *consortium.secret("alice"))
    assert json.loads((into / "model.json").read_text()) == exactly()
    followed = consortium.answer("train", "follow", train, "--home", "alice")
    assert (followed["ended"], followed["passed"], followed["doubts"]) == (True, True, [])
    signed_once(consortium, train)
    nothing_is_left(consortium, train)


def exactly() -> dict[str, int]:
    """The two rounds in plain integers."""
    values = [value for rows in PATIENTS.values() for value in rows]
    return {"n": len(values), "total": sum(values), "squares": sum((one - sum(values)) ** 2 for one in values)}


def signed_once(consortium: Hospitals, train: TrainId) -> None:
    """Of each stop one statement was signed, and one state has ever left: that which it is about. So one vector under each mask."""
    ours: dict[int, Digest] = {}
    for party in ROUTE:
        for stop, visit in visits(consortium, party, train).items():
            (signed,) = (event for event in visit.events if isinstance(event, Signed))
            ours[stop] = signed.entry
    assert sorted(ours) == list(range(FINISHED + 1))
    entries, states = ever_sent(consortium, train)
    assert {stop: set(found) for stop, found in entries.items()} == {stop: {one} for stop, one in ours.items()}
    said = {stop: {entry.state_out for entry in found.values()} for stop, found in entries.items()}
    assert states == said
    vectors = [states[stop] for stop in (*FIRST.values(), *SECOND.values())]
    assert all(len(one) == 1 for one in vectors)
    assert len(frozenset().union(*vectors)) == len(vectors)


def ever_sent(
    consortium: Hospitals, train: TrainId
) -> tuple[dict[int, dict[Digest, JourneyEntry]], dict[int, set[Digest]]]:
    """Return all entries and all states of a train that were ever in the registry, by the stop they are from.

    What is deleted from a mailbox stays in the registry's storage until it is swept, and is looked for there.
    """
    mail = open_home(consortium.root / "alice").find(train).mail
    entries: dict[int, dict[Digest, JourneyEntry]] = {}
    states: dict[int, set[Digest]] = {}
    repo, everything = Repository("everything"), MemoryRegistry()
    found = [path.read_bytes() for path in (consortium.root / "registry").rglob("blobs/sha256/*/*/data")]
    for raw in found:
        put_bytes(everything, repo, raw, OCI_EMPTY)
    for raw in found:
        stored = StoredManifest(raw=raw, media_type=OCI_MANIFEST, digest=digest_of(raw))
        with contextlib.suppress(Refused, NotARecipient):
            parcel = take_letters(everything, repo, stored).parcel
            letters = open_parcel(parcel, [mail]).parts.entries
            read = [(one.digest, read_entry(one.payload)) for one in letters]
            for digest, entry in read:
                if entry.train == train:
                    entries.setdefault(entry.stop, {})[digest] = entry
            if read and read[-1][1].train == train:
                states.setdefault(read[-1][1].stop, set()).update(one.digest for one in parcel.states)
    return entries, states


def nothing_is_left(consortium: Hospitals, train: TrainId) -> None:
    assert consortium.containers() == []
    for party in ROUTE:
        state = consortium.root / party / "state"
        assert list((state / "workrooms").iterdir()) == []
        assert not (state / "passes" / train).exists()
        assert [visit.refused for visit in visits(consortium, party, train).values() if visit.refused] == []
        assert consortium.answer("station", "audit", "verify", "--station", party)["visits"] >= len(SECOND)
        assert "internal error" not in (consortium.root / party / "daemon.log").read_text()
        assert consortium.daemons[party].poll() is None, consortium.last_words()


# --- The daemons --------------------------------------------------------------------------------------------------------

KILLED: Mapping[str, tuple[str, ...]] = {
    A: (
        f"before signed {BOARD[A]}",  # our keys for the train are made, and no pass has been signed
        f"before pushed {DEPARTURE}",  # everybody has the departure, and we do not know
        f"after started {FIRST[A]}",
        f"before pushed {COMBINED}",
        f"before departed {FINISHED}",  # it is home, our keys for the train are gone, and so is what lay in our mailbox
    ),
    B: (
        f"before pushed {BOARD[B]}",
        f"before sealed {FIRST[B]}",  # its vector is masked, and not recorded
        f"before pushed {FIRST[B]}",  # the junction has it
    ),
    C: (
        f"after boarded {BOARD[C]}",
        f"before started {FIRST[C]}",
        f"after pushed {SECOND[C]}",
    ),
}
KINDS = ("boarded", "admitted", "opened", "furnished", "started", "ended", "cleared", "sealed", "wiped", "signed")
SENT = ("accepted", "pushed", "receipt-sent", "departed")
CAMPAIGN = [
    {party: tuple(f"{when} {kind} {stop}" for kind in (*KINDS, *SENT))}
    for party, stops in {
        A: (BOARD[A], DEPARTURE, FIRST[A], COMBINED, SECOND[A], FINISHED),
        B: (BOARD[B], FIRST[B], SECOND[B]),
    }.items()
    for stop in stops
    for when in ("before", "after")
]


def happens(moment: str) -> bool:
    """Whether an event happens at a stop: nothing runs for boarding and departure."""
    _, kind, stop = moment.split()
    runs = int(stop) > DEPARTURE
    return kind in SENT or kind in KINDS[7:] or runs == (kind != "boarded")


@pytest.mark.parametrize("number", range(1 + len(CAMPAIGN) if "PHT_TEST_EVERY_DAMAGE" in os.environ else 1))
def test_t25_daemons_are_killed_in_every_phase(consortium: Hospitals, number: int) -> None:
    for party, moments in (KILLED, *CAMPAIGN)[number].items():
        set_doom(consortium.root / party, tuple(filter(happens, moments)))
    came_home_once(consortium, submit(consortium, f"daemons-{number}"))


# --- The registry -------------------------------------------------------------------------------------------------------


def test_t25_the_registry_is_killed_in_every_phase(consortium: Hospitals) -> None:
    """It loses what was being written; what it had confirmed is there when it comes back."""
    assert consortium.barrier is not None
    train = submit(consortium, "registry")
    for party, stop in ((B, BOARD[B]), (A, DEPARTURE), (C, FIRST[C]), (A, COMBINED), (B, SECOND[B]), (A, FINISHED)):
        consortium.wait(lambda: begun(consortium, party, train, stop), f"{party} to be at {stop}", every=0.002)  # noqa: B023 - called at once
        consortium.kill_registry()
        assert consortium.answer("registry", "up", "registry")["url"] == consortium.url
    came_home_once(consortium, train)


# --- The owner ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def typed(consortium: Hospitals, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Type a command of the owner's in a process of its own, and kill that."""
    command = [sys.executable, str(CHECKOUT / "pht.py"), *map(str, words), "--home", "alice"]
    process = subprocess.Popen(command, cwd=consortium.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL


def trains(consortium: Hospitals) -> set[TrainId]:
    return {one.train for one in open_home(consortium.root / "alice").records()}


def test_t25_the_owner_is_killed_while_submitting_following_and_opening(consortium: Hospitals) -> None:
    """A train that was put into some mailboxes, and has been boarded there, is put into the others, and there is one of it."""
    folder, known = write(consortium, "owner"), trains(consortium)

    def killed(begin: str, *words: str | Path, after: bool) -> None:
        assert consortium.barrier is not None
        hold = consortium.barrier.hold(begin, after=after)
        with typed(consortium, *words):
            consortium.wait(hold.reached.is_set, f"{begin} to be sent")

    submitting = ("train", "submit", folder, *consortium.secret("alice"))
    killed(f"PUT /v2/mailbox/{A}/manifests/", *submitting, after=False)
    (train,) = trains(consortium) - known
    killed(f"PUT /v2/mailbox/{B}/manifests/", *submitting, after=False)
    consortium.wait(lambda: BOARD[A] in done(consortium, A, train), "the first to have boarded")
    killed(f"PUT /v2/mailbox/{C}/manifests/", *submitting, after=False)
    sent = consortium.answer("train", "submit", folder, "--home", "alice", *consortium.secret("alice"))
    assert (sent["train"], sent["resumed"]) == (train, True)
    following = ("train", "follow", train, "--watch", "--every", "0.2")
    for begin in ("GET /v2/directory/", "GET /v2/mailbox/alice/manifests/r-"):
        killed(begin, *following, after=True)
    consortium.wait(lambda: departed(consortium, A, train), "the train to be home")
    into = consortium.root / "never"
    killed("GET /v2/mailbox/alice/manifests/t-", "train", "open", train, into, *consortium.secret("alice"), after=True)
    assert not into.exists()
    came_home_once(consortium, train)
    assert trains(consortium) - known == {train}
