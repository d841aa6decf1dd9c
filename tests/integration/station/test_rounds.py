"""A train of rounds: all stations at once, a junction that combines, and home when it says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from registry.artifact import train_layers, unpack
from registry.depot import ReceiptKind, mailbox
from registry.memory import MemoryRegistry
from registry.names import Reference, Repository
from registry.oci import OCI_MANIFEST, Descriptor, parse_manifest
from registry.port import OpenAt, Progress
from security.digest import Digest
from security.ids import PartyId
from security.statement.envelope import sign
from security.train.journey import Limit, Outcome, print_entry, read_entry, read_refusal
from security.train.letters import seal_letter
from security.train.route import Task
from station.house.spool import Spool
from station.house.workroom import Workrooms
from station.sandbox.order import RunOrder
from station.visit.events import HoldFor
from station.visit.plan import Phase, phase_of
from station.visit.state import Visit
from tests.support.rounds import (
    COMBINE,
    CONTRIBUTE,
    JUNCTION,
    MEAN,
    ROWS,
    SQUARES,
    STATIONS,
    SUMMED,
    SUMS,
    board,
    combine,
    combine_until,
    contribute,
    rounds_train,
    rounds_world,
)
from tests.support.scripted_sandbox import Program
from tests.support.world import MemoryBlobs, World

ALICE = PartyId("alice")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = rounds_world(tmp_path / "world")
    yield made
    made.close()


@pytest.mark.parametrize("junction", [JUNCTION, "hospital-b"])
def test_two_rounds_give_what_the_rows_together_give(tmp_path: Path, junction: str) -> None:
    here = rounds_world(tmp_path / "world", junction=junction)
    try:
        made = rounds_train(here, junction=junction)
        board(here, made)
        here.settle()
        assert here.at_home(made.id)
        results = here.results(made, tmp_path / "results")
        assert set(results) == {"model.json"}
        model = json.loads(results["model.json"])
        assert model["n"] == len(ROWS)
        assert model["mean"] == pytest.approx(MEAN, abs=1e-12)
        assert model["squares"] == pytest.approx(SQUARES, abs=1e-9)
        for station in STATIONS:
            assert here.plaintext(station) == []
            assert here.waits_for(station) == ()
    finally:
        here.close()


def test_a_sum_is_that_of_the_rows_together_and_nobody_finds_a_part_of_it(tmp_path: Path) -> None:
    here = rounds_world(tmp_path / "world", program=SUMS)
    try:
        made = rounds_train(here, outputs=SUMMED)
        board(here, made)
        here.settle()
        assert here.at_home(made.id)
        model = json.loads(here.results(made, tmp_path / "results")["model.json"])
        assert model == {
            "n": len(ROWS),
            "mean": pytest.approx(MEAN, abs=1e-12),
            "squares": pytest.approx(SQUARES, abs=1e-9),
        }
    finally:
        here.close()


def test_what_a_station_keeps_is_there_again_at_its_next_round_and_gone_after_the_last(tmp_path: Path) -> None:
    seen: dict[str, list[str]] = {}

    def counting(order: RunOrder, say: Callable[[bytes], None]) -> int:
        note = order.keep / "rounds"
        told = json.loads(order.source("/pht/context.json").read_text())
        seen.setdefault(told["station"], []).append(note.read_text() if note.exists() else "")
        note.write_text(f"{told['station']} {told['round']}")
        return contribute(order, say)

    here = rounds_world(tmp_path / "world", program={CONTRIBUTE: counting, COMBINE: combine}, junction="hospital-b")
    try:
        made = rounds_train(here, junction="hospital-b", keep_bytes=1000)
        board(here, made)
        here.settle()
        assert here.at_home(made.id)
        assert seen == {name: ["", f"{name} 0"] for name in STATIONS}
        for name in STATIONS:  # they are told that it has finished: they would have gone on waiting for it
            assert list((here.folder(name) / "passes").iterdir()) == []
            assert here.depot.receipt_tags(PartyId(name)) == ()
    finally:
        here.close()


def test_t25_what_a_power_cut_left_of_what_is_kept_is_not_kept(tmp_path: Path) -> None:
    seen: list[str] = []

    def counting(order: RunOrder, say: Callable[[bytes], None]) -> int:
        note = order.keep / "rounds"
        seen.append(note.read_text() if note.exists() else "none")
        note.write_text("kept")
        return contribute(order, say)

    here = rounds_world(tmp_path / "world", program={CONTRIBUTE: counting, COMBINE: combine})
    try:
        made = rounds_train(here, keep_bytes=1000)
        board(here, made)
        cleared: list[Visit] = []
        while not cleared:
            for station in here.houses:
                here.step(station)
            here.now += timedelta(seconds=1)
            cleared = [one for one in here.visits("hospital-a") if phase_of(one) is Phase.CLEARED]
        (here.houses["hospital-a"].workrooms.find(cleared[0].arrival).keep / "rounds").write_bytes(b"")
        rooms = Workrooms(here.folder("hospital-a") / "workrooms", boot=lambda: "another life")
        here.change("hospital-a", workrooms=rooms)
        here.settle()
        assert here.at_home(made.id)
        assert sorted(seen) == ["kept"] * 3 + ["none"] * 4
    finally:
        here.close()


def test_of_many_rounds_a_station_keeps_no_more_than_of_two(tmp_path: Path) -> None:
    """It would lie there once a round otherwise, up to a hundred times."""
    rounds, read, most = 6, list[str](), 0

    def counting(order: RunOrder, say: Callable[[bytes], None]) -> int:
        note = order.keep / "rounds"
        read.append(note.read_text() if note.exists() else "")
        note.write_text(f"{len(read[-1])}{read[-1]}")
        return contribute(order, say)

    program: dict[tuple[str, ...], Program] = {CONTRIBUTE: counting, COMBINE: combine_until(rounds - 1)}
    here = rounds_world(tmp_path / "world", program=program)
    try:
        made = rounds_train(here, keep_bytes=1000, most=rounds + 1)
        board(here, made)
        for _ in range(2 * rounds + 2):
            here.settle(*STATIONS)
            here.settle(JUNCTION)
            kept = [len(list((here.folder(name) / "passes").glob(f"{made.id}.*"))) for name in STATIONS]
            most = max(most, *kept)
        assert here.at_home(made.id)
        assert most == 2
        assert sorted(read) == sorted(["", "0", "10", "210", "3210", "43210"] * len(STATIONS))
    finally:
        here.close()


def test_a_station_keeps_no_more_than_was_declared(tmp_path: Path) -> None:
    def hoarding(order: RunOrder, say: Callable[[bytes], None]) -> int:
        (order.keep / "hoard").write_bytes(b"0" * 1001)
        return contribute(order, say)

    here = rounds_world(tmp_path / "world", program={CONTRIBUTE: hoarding, COMBINE: combine})
    try:
        made = rounds_train(here, keep_bytes=1000)
        board(here, made)
        here.settle()
        refusals = [read_refusal(here.read(made, one).payload) for one in here.receipts(made, ReceiptKind.REFUSAL)]
        assert {(one.outcome, one.limit) for one in refusals} == {(Outcome.EXCEEDED, Limit.OUTPUT)}
    finally:
        here.close()


@pytest.mark.parametrize("junction", [JUNCTION, "hospital-b"])
def test_a_round_brings_what_the_first_round_brought(tmp_path: Path, junction: str) -> None:
    """Old entries are not sent again, and what a visit verifies anew is what is new."""
    rounds = 5
    program: dict[tuple[str, ...], Program] = {CONTRIBUTE: contribute, COMBINE: combine_until(rounds - 1)}
    here = rounds_world(tmp_path / "world", program=program, junction=junction)
    try:
        made = rounds_train(here, most=rounds + 2, junction=junction)
        board(here, made)
        here.settle()
        assert here.at_home(made.id)
        route = made.manifest.route
        brought: dict[Task, list[int]] = {}
        for name, house in here.houses.items():
            for visit in here.visits(name):
                assert visit.accepted is not None
                assert visit.fetched is not None
                task = route.task(visit.accepted.stop)
                if route.round(visit.accepted.stop) > 1:
                    letters = house.depot.load(visit.fetched.parts.digest, house.spool).entries
                    brought.setdefault(task, []).append(len(letters))
        assert max(brought[Task.CONTRIBUTE]) <= len(STATIONS) + 1
        assert max(brought[Task.COMBINE]) <= len(STATIONS) + 1
        assert len(brought[Task.CONTRIBUTE]) == len(STATIONS) * (rounds - 2)
        (arrival,) = here.depot.arrivals(made.manifest.owner.party, made.id)
        home = here.depot.take(arrival, MemoryBlobs())
        assert len(home.entries) == len(route.places) + 1 + rounds * (len(STATIONS) + 1)
    finally:
        here.close()


class Uploads(MemoryRegistry):
    """Remembers what was uploaded: the blobs, and the documents with what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.blobs: list[tuple[Repository, Digest]] = []
        self.documents: list[tuple[Repository, bytes]] = []

    def put_blob(
        self, repo: Repository, descriptor: Descriptor, open_at: OpenAt, progress: Progress | None = None
    ) -> None:
        self.blobs.append((repo, descriptor.digest))
        super().put_blob(repo, descriptor, open_at, progress)

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        self.documents.append((repo, raw))
        return super().put_manifest(repo, reference, raw, media_type)


@pytest.mark.parametrize("code", [1 << 10, 300 << 10])
def test_a_station_sends_its_part_and_neither_code_nor_passes_nor_old_entries_again(tmp_path: Path, code: int) -> None:
    """Two letters with entries, its own and that of the model it worked on; its state; and its receipt. In every round the same."""
    rounds = 4
    program: dict[tuple[str, ...], Program] = {CONTRIBUTE: contribute, COMBINE: combine_until(rounds - 1)}
    registry = Uploads()
    here = rounds_world(tmp_path / "world", program=program, registry=registry)
    try:
        made = rounds_train(here, most=rounds + 1, files={"contribute.py": b"#" * code, "combine.py": b""})
        board(here, made)
        here.settle(*STATIONS)
        here.settle(JUNCTION)
        assert [blob for _, blob in registry.blobs].count(made.manifest.code.digest) <= len(STATIONS) + 1
        sent: list[int] = []
        for _ in range(rounds):
            registry.blobs.clear()
            registry.documents.clear()
            here.settle("hospital-a")
            assert registry.blobs == []  # what there is of code is mounted, and the rest is small
            to = [repo for repo, _ in registry.documents]
            assert to == [mailbox(PartyId(JUNCTION)), mailbox(ALICE)]
            layers = train_layers(parse_manifest(registry.documents[0][1], OCI_MANIFEST))
            assert made.manifest.code.digest not in layers.held
            assert layers.manifest.digest not in layers.held
            parcel = unpack(layers, b"", layers.held[layers.letters.digest])
            assert len(parcel.entries) == 1
            sent.append(sum(len(raw) for _, raw in registry.documents))
            here.settle(*STATIONS)
            here.settle(JUNCTION)
            assert made.manifest.code.digest not in [blob for _, blob in registry.blobs]
        assert here.at_home(made.id)
        assert sent[2:] == sent[1:-1]
        assert max(sent[1:]) <= sent[0]
    finally:
        here.close()


class Read(Spool):
    """Counts what is read of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.count = 0

    def open(self, digest: Digest) -> BinaryIO:
        self.count += 1
        return super().open(digest)


def test_a_late_round_reads_no_more_of_the_spool_than_an_early_one(tmp_path: Path) -> None:
    """Nor does a station that was started again, after its first round, nor what it sends home."""
    rounds = 6
    program: dict[tuple[str, ...], Program] = {CONTRIBUTE: contribute, COMBINE: combine_until(rounds - 1)}
    here = rounds_world(tmp_path / "world", program=program)
    try:
        made = rounds_train(here, most=rounds)
        board(here, made)
        here.settle(*STATIONS)
        here.settle(JUNCTION)
        read: dict[str, list[int]] = {}
        for number in range(rounds):
            if number == 3:
                here.restart("hospital-a")
            for name in (*STATIONS, JUNCTION):
                counting = Read(here.houses[name].spool.path)
                here.change(name, spool=counting)
                here.settle(name)
                read.setdefault(name, []).append(counting.count)
        assert here.at_home(made.id)
        assert set(read["hospital-b"][1:-1]) == {read["hospital-b"][1]}
        assert set(read[JUNCTION][1:-1]) == {read[JUNCTION][1]}
        first, *others = read["hospital-a"][3:-1]
        assert first > read["hospital-a"][1]  # what it left before is read once
        assert set(others) == {read["hospital-a"][1]}
    finally:
        here.close()


def test_what_was_remembered_of_a_journey_is_not_sent_home_once_it_was_damaged(tmp_path: Path) -> None:
    rounds = 2
    program: dict[tuple[str, ...], Program] = {CONTRIBUTE: contribute, COMBINE: combine_until(rounds - 1)}
    here = rounds_world(tmp_path / "world", program=program)
    try:
        made = rounds_train(here, most=rounds)
        board(here, made)
        here.settle(*STATIONS)
        here.settle(JUNCTION)
        for _ in range(rounds - 1):
            here.settle(*STATIONS)
            here.settle(JUNCTION)
        end = made.manifest.route.ends[0]
        (combined,) = (one for one in here.visits(JUNCTION) if one.accepted and one.accepted.stop == end)
        assert combined.fetched is not None
        path = here.houses[JUNCTION].spool.at(combined.fetched.parts.digest)
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + b" ")
        here.settle(*STATIONS)
        for _ in range(20):
            here.step(JUNCTION)
        visit = here.visits(JUNCTION)[-1]
        assert visit.held is not None
        assert visit.held.hold is HoldFor.ATTENTION
        assert not here.at_home(made.id)
        path.write_bytes(whole)  # an operator has put it back
        here.approve(JUNCTION)
        here.settle()
        assert here.at_home(made.id)
    finally:
        here.close()


def test_a_station_that_forgot_its_earlier_visits_runs_nothing_on_part_of_a_journey(tmp_path: Path) -> None:
    """A journal restored from a backup of before the boarding: what came before is not here, and our pass is not ours."""
    here = rounds_world(tmp_path / "world")
    try:
        backup = tmp_path / "backup"
        here.back_up("hospital-a", backup)
        made = rounds_train(here)
        board(here, made)
        while len(here.visits("hospital-a")) < 2:
            for name in here.houses:
                here.step(name)
        here.restore("hospital-a", backup)
        here.settle()
        assert not here.at_home(made.id)
        assert all(visit.started is None for visit in here.visits("hospital-a"))
    finally:
        here.close()


@pytest.mark.parametrize("forged", ["not an entry", "an entry that does not say so", "by a station"])
def test_keys_are_destroyed_for_nothing_but_the_junctions_word(tmp_path: Path, forged: str) -> None:
    here = rounds_world(tmp_path / "world", program={CONTRIBUTE: contribute, COMBINE: combine_until(3)})
    try:
        made = rounds_train(here, most=6)
        board(here, made)
        end = made.manifest.route.ends[1]
        while not any(
            visit.departed and visit.accepted and visit.accepted.stop == end for visit in here.visits(JUNCTION)
        ):
            for name in here.houses:
                here.step(name)
        (receipt,) = here.depot.receipts_of(ALICE, made.id, (end,), (ReceiptKind.ENTRY,))
        letter = b"not a letter" if forged == "not an entry" else here.depot.read_receipt(ALICE, receipt)
        if forged == "by a station":
            envelope = here.read(made, receipt)
            claim = replace(read_entry(envelope.payload), finished=True)
            forger = here.consortium.secrets[PartyId("hospital-b")]
            readers = [here.consortium.secrets[PartyId("hospital-a")].key_set.sealing]
            letter = seal_letter(sign(print_entry(claim), forger.signers), readers)
        station = PartyId("hospital-a")
        here.depot.send_receipt(letter, owner=station, train=made.id, stop=end, kind=ReceiptKind.ENTRY)
        here.notice("hospital-a")
        assert here.houses["hospital-a"].passes.trains() == (made.id,)
        assert here.depot.receipt_tags(station) == ()
        here.settle()
        assert here.at_home(made.id)
    finally:
        here.close()
