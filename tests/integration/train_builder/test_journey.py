"""From a folder to opened results: built, sent, passed by three stations, followed, verified and opened."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from registry.depot import Depot, ReceiptKind, train_tag
from registry.errors import RegistryUnavailable
from registry.memory import MemoryRegistry
from registry.names import Reference, Repository
from registry.oci import MAX_MANIFEST
from registry.port import StoredManifest
from security.age import Unwrapper
from security.digest import Digest
from security.encoding import print_time
from security.errors import FileExists, KeyOutsideValidity
from security.ids import PartyId
from security.keys.keyset import Scheme, Secrets, generate
from security.train.journey import Outcome
from security.train.letters import open_letter
from security.train.recall import check_recall
from security.train.seal import CODE_BUDGET, open_code
from security.train.verify import verify_manifest
from tests.support.owners import SPEC, OwnerWorld, write_train
from train_builder.build.submit import Submitted, submit
from train_builder.cli.render_journey import describe, news
from train_builder.desk.recall import recall
from train_builder.errors import (
    FolderNotEmpty,
    NotHomeYet,
    PreflightFailed,
    TrainAlreadySent,
    TrainFailed,
    TrainNotHere,
    TrainRefused,
)
from train_builder.follow.collect import open_home_train
from train_builder.follow.follow import StopState
from train_builder.home import TrainRecord
from train_builder.proof.proof import describe_proof, prove


@pytest.fixture
def owners(tmp_path: Path) -> OwnerWorld:
    return OwnerWorld(tmp_path)


def test_a_train_goes_round_and_its_results_open(owners: OwnerWorld, tmp_path: Path) -> None:
    train = owners.journey()
    home, trust = owners.home(), owners.world.trust
    found = owners.bring_home(train)
    opened = open_home_train(found, home, secrets=owners.secrets("alice"), trust=trust, into=tmp_path / "out")

    assert (tmp_path / "out" / "sums.json").read_bytes() == b'{"n":3}'
    assert opened.files == ("sums.json",)
    proof = json.loads(opened.journey.read_bytes())
    assert opened.journey == tmp_path / "out.journey.json"
    assert [stop["station"]["party"] for stop in proof["stops"]] == ["hospital-a", "hospital-b", "hospital-c"]
    assert proof["train"] == train
    told = describe_proof(prove(found.accepted, trust))
    assert "2. hospital-b signed (" in told
    assert "directory version 3" in told


def test_the_code_that_travels_is_the_folder_without_what_is_ignored(owners: OwnerWorld, tmp_path: Path) -> None:
    files = {
        "main.py": "pass\n",
        "lib/a.py": "A = 1\n",
        "__pycache__/main.pyc": "x",
        ".phtignore": "notes/\n",
        "notes/n": "n",
    }
    sent = owners.submit(write_train(tmp_path / "t", files=files))
    manifest = sent.record.manifest
    for reader in ("hospital-a", "hospital-c", "alice"):
        into = tmp_path / f"code-{reader}"
        into.mkdir()
        with owners.home().blobs.open(manifest.code.digest) as source:
            content = open_code(
                source, manifest=manifest, identities=[owners.secrets(reader).identity], into=into, budget=CODE_BUDGET
            )
        assert sorted(str(path.relative_to(into)) for path in into.rglob("*") if path.is_file()) == [
            "lib/a.py",
            "main.py",
        ]
        assert content == sent.record.content


def test_the_manifest_says_what_the_spec_says(owners: OwnerWorld, tmp_path: Path) -> None:
    manifest = owners.submit(write_train(tmp_path / "t")).record.manifest
    assert manifest.command == ("python3", "main.py")
    assert manifest.route.parties == ("hospital-a", "hospital-b", "hospital-c")
    assert manifest.limits.memory_bytes == 64 << 20
    assert manifest.limits.cpu_millis == 500
    assert manifest.outputs[0].max_bytes == 10_000
    assert manifest.valid_until - manifest.valid_from == timedelta(days=14)
    assert manifest.recipient == owners.secrets("alice").key_set.sealing


def test_two_trains_of_one_folder_are_two_trains(owners: OwnerWorld, tmp_path: Path) -> None:
    folder = write_train(tmp_path / "t")
    first, second = owners.submit(folder), owners.submit(folder, again=True)
    assert first.record.train != second.record.train
    assert not second.resumed


def test_a_folder_that_is_submitted_twice_at_once_is_one_train(owners: OwnerWorld, tmp_path: Path) -> None:
    folder, met = write_train(tmp_path / "t"), threading.Barrier(2)

    def unlock() -> Secrets:
        with contextlib.suppress(threading.BrokenBarrierError):  # the other one waits until this one is done
            met.wait(timeout=1)
        return owners.secrets("alice")

    def send() -> None:
        with contextlib.suppress(TrainAlreadySent):
            submit(folder, owners.home(), depot=owners.depot, trust=owners.world.trust, unlock=unlock, now=owners.now)

    with ThreadPoolExecutor() as people:
        for sent in [people.submit(send) for _ in range(2)]:
            sent.result()
    assert len(owners.home().records()) == 1
    assert len(owners.depot.arrivals(PartyId("hospital-a"))) == 1


class Dropping(MemoryRegistry):
    """A registry that goes away when it is to take a manifest: before it has it, or after."""

    def __init__(self, *, after: bool) -> None:
        super().__init__()
        self.after, self.away = after, True

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        if self.away and not self.after:
            msg = "gone"
            raise RegistryUnavailable(msg)
        digest = super().put_manifest(repo, reference, raw, media_type)
        if self.away:
            msg = "gone"
            raise RegistryUnavailable(msg)
        return digest


@pytest.mark.parametrize("after", [False, True])
def test_submitting_again_sends_the_same_train(owners: OwnerWorld, tmp_path: Path, *, after: bool) -> None:
    owners.registry = registry = Dropping(after=after)
    folder = write_train(tmp_path / "t")
    with pytest.raises(RegistryUnavailable):
        owners.submit(folder)
    (recorded,) = owners.home().records()
    assert recorded.sent is None
    registry.away = False
    again = owners.submit(folder)
    assert again.resumed
    assert again.record.train == recorded.train
    (arrival,) = owners.depot.arrivals(PartyId("hospital-a"))
    assert arrival.tag == train_tag(recorded.train, PartyId("hospital-a"), 0)
    (now_sent,) = owners.home().records()
    assert now_sent.sent == owners.now


def test_a_train_that_was_seen_on_its_way_is_not_sent_again(owners: OwnerWorld, tmp_path: Path) -> None:
    owners.registry = registry = Dropping(after=True)
    folder = write_train(tmp_path / "t")
    with pytest.raises(RegistryUnavailable):
        owners.submit(folder)
    registry.away = False
    owners.pass_stop("hospital-a")
    assert owners.submit(folder).resumed
    assert owners.depot.arrivals(PartyId("hospital-a")) == ()


def test_another_code_is_another_train(owners: OwnerWorld, tmp_path: Path) -> None:
    owners.registry = registry = Dropping(after=False)
    folder = write_train(tmp_path / "t")
    with pytest.raises(RegistryUnavailable):
        owners.submit(folder)
    registry.away = False
    (folder / "code" / "main.py").write_text("print('other')\n")
    assert not owners.submit(folder).resumed
    assert len(owners.home().records()) == 2


def test_findings_stop_a_departure_before_keys_are_asked_for(owners: OwnerWorld, tmp_path: Path) -> None:
    folder = write_train(tmp_path / "t", files={"main.py": "pass\n", "patients.csv": "name\nada\n"})
    with pytest.raises(PreflightFailed) as caught:
        owners.submit(folder)
    assert "patients.csv" in str(caught.value)
    assert owners.home().records() == ()
    assert owners.depot.arrivals(PartyId("hospital-a")) == ()


def test_following_tells_each_stop_and_for_whom_it_waits(owners: OwnerWorld, tmp_path: Path) -> None:
    record = owners.submit(write_train(tmp_path / "t")).record
    before = owners.follow(record)
    assert (before.waiting_for, before.untouched) == ("hospital-a", True)
    owners.now += timedelta(hours=1)
    owners.pass_stop("hospital-a")
    after = owners.follow(record)
    assert [one.state for one in after.stops] == [StopState.PASSED, StopState.WAITING, StopState.AHEAD]
    assert (after.waiting_for, after.since) == ("hospital-b", owners.now)
    owners.pass_stop("hospital-b", receipt=False)
    owners.pass_stop("hospital-c")
    last = owners.follow(record)
    assert [one.state for one in last.stops] == [StopState.PASSED, StopState.PRESUMED, StopState.PASSED]
    assert last.ended
    assert last.waiting_for == "alice"


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome.REFUSED, TrainRefused),
        (Outcome.WITHHELD, TrainRefused),
        (Outcome.FAILED, TrainFailed),
        (Outcome.EXCEEDED, TrainFailed),
    ],
)
def test_a_refusal_is_told_with_what_to_do(
    owners: OwnerWorld, tmp_path: Path, outcome: Outcome, error: type[TrainRefused | TrainFailed]
) -> None:
    record = owners.submit(write_train(tmp_path / "t")).record
    owners.pass_stop("hospital-a")
    owners.refuse("hospital-b", record, 1, outcome)
    progress = owners.follow(record)
    assert progress.stopped is not None
    assert (progress.stopped.station, progress.stopped.outcome) == ("hospital-b", outcome)
    with pytest.raises(error) as caught:
        owners.bring_home(record.train)
    assert caught.value.hint


def test_a_train_under_way_is_not_home(owners: OwnerWorld, tmp_path: Path) -> None:
    record = owners.submit(write_train(tmp_path / "t")).record
    owners.pass_stop("hospital-a")
    with pytest.raises(NotHomeYet) as caught:
        owners.bring_home(record.train)
    assert caught.value.fields["waiting_for"] == "hospital-b"


def test_a_train_that_nobody_may_run_any_more_is_told_to_be_stranded(owners: OwnerWorld, tmp_path: Path) -> None:
    record = owners.submit(write_train(tmp_path / "t")).record
    owners.pass_stop("hospital-a")
    progress = owners.follow(record)
    assert not progress.stranded(owners.now)
    assert "validity ended" not in describe(progress, now=owners.now)
    arrived = print_time(owners.now)
    assert f"waiting for hospital-b since {arrived} (2 h)" in describe(progress, now=owners.now + timedelta(hours=2))
    late = record.manifest.valid_until
    assert progress.stranded(late)
    assert "validity ended 2026-03-15T" in describe(progress, now=late)


def test_a_station_that_says_nothing_for_longer_than_anything_takes_is_named(
    owners: OwnerWorld, tmp_path: Path
) -> None:
    owners.submit(write_train(tmp_path / "t", SPEC.replace("wall_time: 5min", "wall_time: 2d")))
    record = owners.home().find("latest")
    found = owners.follow(record)
    early, late = owners.now + timedelta(days=2), owners.now + timedelta(days=3, hours=1)
    assert found.silent(early) is None
    assert "the run may take 2 days; it may wait for a person, or for a file that is missing there" in describe(
        found, now=early
    )
    assert found.silent(late) == timedelta(days=3, hours=1)
    assert "hospital-a has not answered for 3 days: ask its operator" in describe(found, now=late)
    assert found.silent(record.manifest.valid_until) is None


def test_only_what_is_new_is_told_again(owners: OwnerWorld, tmp_path: Path) -> None:
    owners.submit(write_train(tmp_path / "t"))
    record = owners.home().find("latest")

    def look(told: Collection[str]) -> tuple[str, ...]:
        return news(owners.follow(record), told, now=owners.now)

    first = look(())
    assert first[0] == f"sums ({record.train.short})"
    owners.now += timedelta(hours=2)
    assert look(first) == ()
    owners.pass_stop("hospital-a")
    second = look(first)
    assert [line.split("  ")[1:3] for line in second[:2]] == [
        ["stop 1 of 3", "hospital-a"],
        ["stop 2 of 3", "hospital-b"],
    ]
    assert second[2:] == (f"waiting for hospital-b since {print_time(owners.now)}",)


def test_a_recorded_train_that_is_no_longer_valid_is_not_sent(owners: OwnerWorld, tmp_path: Path) -> None:
    owners.registry = registry = Dropping(after=False)
    folder = write_train(tmp_path / "t")
    with pytest.raises(RegistryUnavailable):
        owners.submit(folder)
    registry.away = False
    owners.now += timedelta(days=15)
    owners.world.expires = owners.now + timedelta(days=1)
    again = owners.submit(folder)
    assert not again.resumed
    (arrival,) = owners.depot.arrivals(PartyId("hospital-a"))
    assert arrival.tag == train_tag(again.record.train, PartyId("hospital-a"), 0)


@pytest.mark.parametrize("after", [False, True])
def test_an_unsent_train_whose_station_has_other_keys_now_gives_way_to_a_new_one_if_that_is_said(
    owners: OwnerWorld, tmp_path: Path, *, after: bool
) -> None:
    owners.registry = registry = Dropping(after=after)
    folder = write_train(tmp_path / "t")
    with pytest.raises(RegistryUnavailable):
        owners.submit(folder)
    registry.away = False
    (old,) = owners.home().records()
    if after:  # it was there, and was passed with the keys that were good then
        owners.pass_stop("hospital-a")
        assert owners.submit(folder, again=True).record.train == old.train
        return
    owners.now += timedelta(days=2)
    trust = owners.world.trust
    station, other = trust.parties[PartyId("hospital-a")], generate([Scheme.ED25519])
    ended = replace(station.key_sets[0], until=owners.now - timedelta(days=1))
    fresh = replace(station.key_sets[0], key_set=other.key_set, since=owners.now - timedelta(days=1))
    renewed = replace(
        trust, parties={**trust.parties, PartyId("hospital-a"): replace(station, key_sets=(ended, fresh))}
    )

    def send(*, again: bool) -> Submitted:
        return submit(
            folder,
            owners.home(),
            depot=owners.depot,
            trust=renewed,
            unlock=lambda: owners.secrets("alice"),
            now=owners.now,
            again=again,
        )

    with pytest.raises(KeyOutsideValidity, match="not in force") as caught:
        send(again=False)
    assert "--again" in str(caught.value.hint)
    sent = send(again=True)
    assert (sent.resumed, sent.record.train == old.train) == (False, False)
    with pytest.raises(TrainAlreadySent):
        send(again=False)
    (arrival,) = owners.depot.arrivals(PartyId("hospital-a"))
    assert arrival.tag == train_tag(sent.record.train, PartyId("hospital-a"), 0)


def test_a_full_folder_is_not_opened_into(owners: OwnerWorld, tmp_path: Path) -> None:
    train = owners.journey()
    found = owners.bring_home(train)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(FolderNotEmpty):
        open_home_train(
            found, owners.home(), secrets=owners.secrets("alice"), trust=owners.world.trust, into=tmp_path / "out"
        )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_who_comes_second_leaves_the_proof_of_the_first_alone(owners: OwnerWorld, tmp_path: Path) -> None:
    out, proof = tmp_path / "out", tmp_path / "out.journey.json"

    class Slow:
        """Keys that are asked for when somebody else has just opened another train into the same folder."""

        @property
        def identity(self) -> Unwrapper:
            out.mkdir()
            (out / "theirs").touch()
            proof.write_text("theirs")
            return owners.secrets("alice").identity

    found = owners.bring_home(owners.journey())
    with pytest.raises(FileExists):
        open_home_train(found, owners.home(), secrets=cast("Secrets", Slow()), trust=owners.world.trust, into=out)
    assert proof.read_text() == "theirs"
    assert [path.name for path in out.iterdir()] == ["theirs"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith((".out", "out"))) == [
        "out",
        "out.journey.json",
    ]


def test_an_empty_folder_is_opened_into(owners: OwnerWorld, tmp_path: Path) -> None:
    train = owners.journey()
    found = owners.bring_home(train)
    (tmp_path / "out").mkdir()
    open_home_train(
        found, owners.home(), secrets=owners.secrets("alice"), trust=owners.world.trust, into=tmp_path / "out"
    )
    assert (tmp_path / "out" / "sums.json").exists()


class Away(MemoryRegistry):
    """A registry nobody answers at."""

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = MAX_MANIFEST) -> StoredManifest:
        del most
        msg = "gone"
        raise RegistryUnavailable(msg, repository=repo, reference=reference)


def test_what_came_home_once_opens_while_the_registry_is_away(owners: OwnerWorld, tmp_path: Path) -> None:
    train, trust = owners.journey(), owners.world.trust
    owners.bring_home(train)
    found = owners.bring_home(train, depot=Depot(Away()))
    open_home_train(found, owners.home(), secrets=owners.secrets("alice"), trust=trust, into=tmp_path / "out")
    assert (tmp_path / "out" / "sums.json").read_bytes() == b'{"n":3}'


def test_what_never_came_home_does_not_open_while_the_registry_is_away(owners: OwnerWorld) -> None:
    train = owners.journey()
    with pytest.raises(RegistryUnavailable):
        owners.bring_home(train, depot=Depot(Away()))


def test_trains_are_found_by_the_beginning_of_their_id(owners: OwnerWorld, tmp_path: Path) -> None:
    record = owners.submit(write_train(tmp_path / "t")).record
    home = owners.home()
    assert home.find(record.train[:6]).train == home.find("latest").train == record.train
    with pytest.raises(TrainNotHere):
        home.find("0000" if not record.train.startswith("0000") else "1111")


def test_a_slow_station_clock_does_not_refuse_the_train(owners: OwnerWorld, tmp_path: Path) -> None:
    record = owners.submit(write_train(tmp_path / "t")).record
    assert record.manifest.is_valid_at(owners.now - timedelta(minutes=5))


def test_validity_does_not_begin_before_the_owners_keys(owners: OwnerWorld, tmp_path: Path) -> None:
    trust = owners.world.trust
    alice = trust.parties[PartyId("alice")]
    fresh = replace(alice, key_sets=(replace(alice.key_sets[0], since=owners.now),))
    young = replace(trust, parties={**trust.parties, PartyId("alice"): fresh})
    home = owners.home()
    from train_builder.build.submit import submit

    record = submit(
        write_train(tmp_path / "t"),
        home,
        depot=owners.depot,
        trust=young,
        unlock=lambda: owners.secrets("alice"),
        now=owners.now,
    ).record
    assert verify_manifest(record.envelope, young, at=None).value.valid_from == owners.now


def test_a_station_may_be_visited_twice(owners: OwnerWorld, tmp_path: Path) -> None:
    spec = SPEC.replace("[hospital-a, hospital-b, hospital-c]", "[hospital-a, hospital-b, hospital-a]")
    train = owners.journey(write_train(tmp_path / "t", spec))
    found = owners.bring_home(train)
    assert found.accepted.stop == 3


# --- Calling a train back ----------------------------------------------------------------------------------------------


def call_back(owners: OwnerWorld, record: TrainRecord, *, reason: str | None = None) -> tuple[PartyId, ...]:
    """Recall a train; return the stations that can open and believe it."""
    said = recall(
        record.train,
        owners.home(),
        depot=owners.depot,
        trust=owners.world.trust,
        secrets=owners.secrets("alice"),
        reason=reason,
        now=owners.now,
    )
    for party in said.told:
        (receipt,) = owners.depot.receipts_of(party, record.train, (0,), (ReceiptKind.RECALL,))
        letter = open_letter(owners.depot.read_receipt(party, receipt), [owners.secrets(party).identity])
        found = check_recall(record.manifest, record.train, letter.envelope, owners.world.trust)
        assert (found.value.train, found.value.reason) == (record.train, reason)
    return said.told


HOSPITALS = tuple(map(PartyId, ("hospital-a", "hospital-b", "hospital-c")))


def test_an_owner_recalls_a_train_wherever_it_is_and_as_often_as_they_like(owners: OwnerWorld, tmp_path: Path) -> None:
    record = owners.submit(write_train(tmp_path / "t")).record
    assert call_back(owners, record) == HOSPITALS
    owners.pass_stop("hospital-a")
    assert call_back(owners, record, reason="wrong base image") == HOSPITALS


def test_a_train_that_failed_at_one_station_is_recalled_from_the_others(owners: OwnerWorld, tmp_path: Path) -> None:
    """In rounds they may still be at work, and all have keys for it."""
    record = owners.submit(write_train(tmp_path / "t")).record
    owners.refuse("hospital-a", record, 0, Outcome.FAILED)
    assert owners.follow(record).ended
    assert call_back(owners, record) == HOSPITALS


def test_a_station_that_has_other_keys_by_now_keeps_no_other_from_hearing_of_a_recall(
    owners: OwnerWorld, tmp_path: Path
) -> None:
    record = owners.submit(write_train(tmp_path / "t")).record
    owners.pass_stop("hospital-a")
    gone = owners.secrets("hospital-a").key_set.fingerprint
    owners.world.until[gone] = owners.now + timedelta(minutes=1)
    owners.now += timedelta(minutes=2)
    assert call_back(owners, record) == HOSPITALS[1:]
    owners.world.until[gone] += timedelta(days=7)
    owners.world.compromised[gone] = owners.now - timedelta(minutes=1)
    assert call_back(owners, record) == HOSPITALS[1:]


@pytest.mark.parametrize("revoked", ["hospital-a", "hospital-c"])
def test_a_station_whose_keys_were_revoked_keeps_no_owner_from_recalling_a_train(
    owners: OwnerWorld, tmp_path: Path, revoked: str
) -> None:
    """That its keys were stolen is a reason to recall; all others have keys for the train until they hear of it."""
    record = owners.submit(write_train(tmp_path / "t")).record
    owners.world.revoked.add(owners.secrets(revoked).key_set.fingerprint)
    assert call_back(owners, record) == tuple(one for one in HOSPITALS if one != revoked)


def test_there_is_nothing_to_recall_of_a_train_that_nobody_waits_for(owners: OwnerWorld, tmp_path: Path) -> None:
    train = owners.journey()
    home = owners.home().find(train)
    with pytest.raises(TrainNotHere):
        call_back(owners, home)
    expired = owners.submit(write_train(tmp_path / "t"), again=True).record
    owners.now = expired.manifest.valid_until
    with pytest.raises(TrainNotHere):
        call_back(owners, expired)
    assert [owners.depot.receipts_of(one, expired.train, (0,), (ReceiptKind.RECALL,)) for one in HOSPITALS] == [()] * 3
