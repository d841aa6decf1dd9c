"""Strangers, registries and runs that want one train to stop another, or the station to forget what it watches."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from registry.artifact import pack_receipt
from registry.depot import Depot, ReceiptKind, mailbox, receipt_tag
from registry.errors import NotInRegistry, RegistryDenied, RegistryMisbehaved
from registry.http.remote import HttpRegistry, _Bytes
from registry.names import Repository, Tag
from registry.oci import MAX_MANIFEST
from registry.port import Registry, StoredManifest
from security.digest import Digest
from security.directory.trust import TrustStore
from security.errors import DirectoryUnavailable, DiskFull, Replayed
from security.ids import PartyId
from station.admission.policy import Admit, Hold, Owners, Request
from station.daemon.loop import Shift, once
from station.daemon.pace import Pace
from station.house.assembly import gate_of
from station.house.mailbox import MailboxMemory
from station.house.trust import FreshTrust
from station.journal.journal import Journal
from station.sandbox.order import RunOrder
from station.visit.events import Held, HoldFor
from station.visit.plan import Phase, phase_of
from station.visit.station_events import HeadSigned, Redelivered
from tests.support.registries import RealRegistries
from tests.support.trains import Train
from tests.support.world import ROOMY, World, world

FORGED_TAG = Tag("t-" + "0" * 64)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world")
    yield made
    made.close()


def until(here: World, station: str, phase: Phase) -> None:
    while not here.visits(station) or phase_of(here.visit(station)) is not phase:
        here.step(station)


def until_held(here: World, station: str) -> None:
    while not here.visits(station) or here.visit(station).held is None:
        here.step(station)


class Wrapped:
    """A registry with other manners; everything else is the one within."""

    def __init__(self, inner: Registry) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def behind(here: World, station: str, registry: Wrapped) -> None:
    here.change(station, depot=Depot(registry))  # type: ignore[arg-type] # the rest is passed on


# --- The mailbox -----------------------------------------------------------------------------------------------------


def test_t15_an_odd_manifest_under_one_tag_hides_no_train(real_registries: RealRegistries, tmp_path: Path) -> None:
    """Anybody who may write to a mailbox may put an image index there; only that one tag is passed over."""
    registry = real_registries.client("http")
    here = world(tmp_path / "world", stations=("besieged",), registry=registry)
    try:
        made = here.train(route=("besieged",))
        here.submit(made)
        plant_index(registry, mailbox(PartyId("besieged")), FORGED_TAG)
        here.settle()
        assert here.at_home(made.id)
    finally:
        here.close()


def plant_index(registry: HttpRegistry, repo: Repository, tag: Tag) -> None:
    kind = "application/vnd.oci.image.index.v1+json"
    raw = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": []}).encode()
    registry._http.send(
        "PUT",
        registry._url(repo, f"manifests/{tag}"),
        scopes=registry._scopes(repo, "pull,push"),
        expect={201},
        headers={"Content-Type": kind},
        payload=lambda: _Bytes(raw),
    )


class Careless(Wrapped):
    """A registry that serves an index to whoever asks for an image manifest, as some do; our client refuses it."""

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        return (FORGED_TAG, *self._inner.list_tags(repo))

    def get_manifest(self, repo: Repository, reference: Tag | Digest, *, most: int = MAX_MANIFEST) -> StoredManifest:
        if reference == FORGED_TAG:
            msg = "registry gave something else than an image manifest"
            raise RegistryMisbehaved(msg, repository=repo, reference=reference)
        return self._inner.get_manifest(repo, reference, most=most)


def test_t15_an_odd_manifest_that_is_served_hides_no_train_either(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    behind(here, "hospital-a", Careless(here.registry))
    here.settle()
    assert here.at_home(made.id)


class Undeletable(Wrapped):
    """A registry that keeps everything for good."""

    def delete_manifest(self, repo: Repository, digest: Digest) -> None:
        msg = "this registry does not delete"
        raise RegistryDenied(msg, repository=repo, digest=digest.short)


def test_t6_what_cannot_be_taken_out_of_the_mailbox_does_not_block_the_next_train(here: World) -> None:
    finished = here.train(route=("hospital-a",))
    here.submit(finished)
    here.settle()
    here.submit(finished)
    behind(here, "hospital-a", Undeletable(here.registry))
    with pytest.raises(RegistryDenied):
        here.notice("hospital-a")
    others = [here.train(route=("hospital-a",)) for _ in range(3)]
    for one in others:
        here.submit(one)
    here.notice("hospital-a")
    assert len(here.visits("hospital-a")) == 4


def test_t15_a_registry_that_brings_an_arrival_back_for_ever_makes_one_record(here: World) -> None:
    made = here.train(route=("hospital-a",))
    digest = here.submit(made)
    here.settle()
    for _ in range(5):
        here.submit(made)
        here.notice("hospital-a")
    noted = [one for one in here.houses["hospital-a"].journal.station_events() if isinstance(one, Redelivered)]
    assert [one.arrival for one in noted] == [digest]
    assert here.waits_for("hospital-a") == ()


class Losing(Wrapped):
    """A registry whose list and tags promise one arrival that it does not have."""

    def get_manifest(self, repo: Repository, reference: Tag | Digest, *, most: int = MAX_MANIFEST) -> StoredManifest:
        stored = self._inner.get_manifest(repo, reference, most=most)
        if isinstance(reference, Digest) and reference == self.lost:
            msg = "registry gave something else"
            raise RegistryMisbehaved(msg)
        return stored

    lost: Digest | None = None


def test_t15_an_arrival_that_cannot_be_read_does_not_hide_another(here: World) -> None:
    bad, good = (here.train(route=("hospital-a",)) for _ in range(2))
    registry = Losing(here.registry)
    registry.lost = here.submit(bad)
    here.submit(good)
    behind(here, "hospital-a", registry)
    here.notice("hospital-a")
    here.change("hospital-a", mailbox=MailboxMemory())  # started again: what was read of them is not here any more
    for _ in range(40):
        here.step("hospital-a")
    assert here.at_home(good.id)
    assert [visit.stumbled.code for visit in here.visits("hospital-a") if visit.stumbled] == ["registry.misbehaved"]
    registry.lost = None
    here.settle()
    assert here.at_home(bad.id)
    assert here.at_home(good.id)


class Hollow(Wrapped):
    """A registry in which one receipt's blob is missing: its manifest names what was never brought."""

    hollow: Digest | None = None

    def open_blob(self, repo: Repository, descriptor: object, *after: object) -> object:
        if getattr(descriptor, "digest", None) == self.hollow:
            msg = "no such blob"
            raise NotInRegistry(msg)
        return self._inner.open_blob(repo, descriptor, *after)  # type: ignore[arg-type] # handed on as it came


def test_t5_a_strangers_broken_receipt_does_not_hide_that_we_signed_before(here: World, tmp_path: Path) -> None:
    """The journal is older than the registry; beside our own refusal lies an entry, which is looked at before it."""
    made = here.train(route=("hospital-b", "hospital-a", "hospital-c"))
    made.pass_stop({"sums.json": b'{"sum":1,"n":1}'})
    usual = here.houses["hospital-a"].policy
    here.change("hospital-a", policy=Owners(allowed=frozenset()))
    here.submit(made)
    here.settle("hospital-a")
    here.change("hospital-a", policy=usual)
    (ours,) = here.receipts(made, ReceiptKind.REFUSAL)
    stranger = here.train(route=("hospital-a",))
    here.submit(stranger)
    here.settle("hospital-a")
    (theirs,) = here.receipts(stranger, ReceiptKind.ENTRY)
    repo = mailbox(PartyId("alice"))
    broken = pack_receipt(here.depot.read_receipt(PartyId("alice"), theirs), small=0)
    (layer,) = broken.manifest.layers
    here.registry.put_blob(repo, layer, lambda _: broken.open(layer.digest))
    tag = receipt_tag(made.id, PartyId("alice"), 1, ReceiptKind.ENTRY)
    here.registry.put_manifest(repo, tag, broken.manifest.raw, broken.manifest.media_type)
    found = here.depot.receipts_of(PartyId("alice"), made.id, range(3))
    assert [one.digest for one in found] == [broken.manifest.digest, ours.digest]
    registry = Hollow(here.registry)
    registry.hollow = layer.digest
    here.houses["hospital-a"].journal.close()
    here.change("hospital-a", journal=Journal.open(tmp_path / "older" / "journal.sqlite"))
    behind(here, "hospital-a", registry)
    here.submit(made)
    here.settle("hospital-a")
    assert [visit.refused.code for visit in here.visits("hospital-a") if visit.refused] == [Replayed.code]


def pace(here: World) -> Pace:
    return Pace(clock=here.clock, poll_seconds=1)


def turns(here: World, station: str, count: int = 12) -> None:
    shift = Shift(here.houses[station], pace(here), ROOMY)
    for _ in range(count):
        shift.turn()
        here.now += timedelta(seconds=1)


def spooled(here: World, station: str) -> set[str]:
    folder = here.folder(station) / "spool"
    return {path.name for path in folder.iterdir()} - {".sweeping"} if folder.exists() else set()  # its lock is no blob


def test_t17_junk_in_the_mailbox_leaves_nothing_in_the_spool(here: World) -> None:
    heads = spooled(here, "hospital-a")
    for _ in range(5):
        here.submit(here.train(route=("hospital-b",)), to="hospital-a")
    turns(here, "hospital-a")
    assert len(here.visits("hospital-a")) == 5
    assert all(visit.departed for visit in here.visits("hospital-a"))
    left = spooled(here, "hospital-a") - heads
    assert left == {event.envelope.hex for event in heads_of(here)}


def heads_of(here: World) -> list[HeadSigned]:
    events = here.houses["hospital-a"].journal.station_events()
    return [event for event in events if isinstance(event, HeadSigned)]


def test_t17_replays_of_an_old_train_bring_back_no_sealed_blobs(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    turns(here, "hospital-a", 30)
    code = made.manifest.code.digest.hex
    assert code not in spooled(here, "hospital-a")
    (first,) = made.envelope.signatures
    for digit in "123":
        again = copy.copy(made)
        stranger = replace(first, key_id=type(first.key_id)(digit * 64))
        again.envelope = replace(made.envelope, signatures=(first, stranger))
        here.submit(again)
        turns(here, "hospital-a", 10)
    assert [visit.refused.code for visit in here.visits("hospital-a") if visit.refused] == [Replayed.code] * 3
    assert code not in spooled(here, "hospital-a")


def test_t25_what_vanished_from_the_mailbox_is_looked_for_less_and_less(here: World) -> None:
    """A stranger puts arrivals there and takes them out again: the journal must not grow by each of them for ever."""
    digest = here.submit(here.train(route=("hospital-a",)))
    here.notice("hospital-a")
    here.registry.delete_manifest(mailbox(PartyId("hospital-a")), digest)
    until = here.now + timedelta(days=10)
    here.consortium.expires = until + timedelta(days=1)
    while here.now < until:
        here.step("hospital-a")
        here.now += timedelta(minutes=10)
    assert here.visit("hospital-a").refused is None
    assert here.visit("hospital-a").length < 70


def test_a_train_is_not_refused_for_what_was_published_since_we_looked(here: World) -> None:
    published = [replace(here.consortium.trust, bases={})]
    loaded: list[TrustStore] = []

    def load(now: datetime) -> TrustStore:
        del now
        loaded.append(published[0])
        return published[0]

    here.change("hospital-a", trust=FreshTrust(load, seconds=300))
    assert here.houses["hospital-a"].trust(here.now).bases == {}
    published[0] = here.consortium.trust
    made = here.train(route=("hospital-a",))
    here.submit(made)
    turns(here, "hospital-a", 30)
    assert here.at_home(made.id)
    assert len(loaded) == 3  # at first, when the base was not in it, and before the signature


# --- The machine -----------------------------------------------------------------------------------------------------


def test_t25_a_station_that_cannot_say_how_it_is_goes_on(here: World) -> None:
    made, folder = here.train(route=("hospital-a",)), here.folder("hospital-a")
    here.submit(made)
    until(here, "hospital-a", Phase.CLEARED)
    nowhere = folder / "no such folder" / "health.json"
    once(here.houses["hospital-a"], folder=folder, health=nowhere, version="1", pace=pace(here), terms=ROOMY)
    assert here.at_home(made.id)
    assert not nowhere.exists()


def test_t25_a_clock_that_was_ahead_does_not_stop_a_visit(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.notice("hospital-a")
    honest = here.now
    here.now += timedelta(days=400)
    here.refuse_directory = DirectoryUnavailable("away")
    here.step("hospital-a")
    here.refuse_directory = None
    here.now = honest + timedelta(seconds=1)
    turns(here, "hospital-a", 30)
    assert here.at_home(made.id)


class Broken(Wrapped):
    """A registry that sets off a bug of ours, in looking into one mailbox."""

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        if repo == mailbox(PartyId("hospital-a")):
            raise KeyError(repo)
        return self._inner.list_tags(repo)


def test_a_bug_in_looking_into_the_mailbox_does_not_stop_the_visits(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    until(here, "hospital-a", Phase.ACCEPTED)
    behind(here, "hospital-a", Broken(here.registry))
    turns(here, "hospital-a", 30)
    assert here.at_home(made.id)


# --- The run ---------------------------------------------------------------------------------------------------------


def endless(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del order, say
    return -1


def test_t19_a_run_is_watched_while_the_directory_is_kept_away(tmp_path: Path) -> None:
    here = world(tmp_path / "world", stations=("hospital-a",), program=endless)
    made = here.train(route=("hospital-a",))
    here.submit(made)
    until(here, "hospital-a", Phase.RUNNING)
    here.refuse_directory = DirectoryUnavailable("withheld")
    here.step("hospital-a")
    assert here.visit("hospital-a").stumbled is None
    here.now += timedelta(seconds=made.manifest.limits.wall_seconds)
    here.step("hospital-a")
    fault = here.visit("hospital-a").fault
    assert fault is not None
    assert fault.code == "run.timed-out"
    here.close()


def counting(order: RunOrder, say: Callable[[bytes], None]) -> int:
    """An analysis that shows whether it found what an earlier run of it had left."""
    del say
    state = order.state / "sums.json"
    before = json.loads(state.read_bytes())["n"] if state.exists() else 0
    state.write_text(json.dumps({"sum": 1, "n": before + 1}))
    return 0


@pytest.mark.parametrize("meanwhile", ["removed", "reordered"])
def test_t25_a_run_nobody_recorded_leaves_no_state_to_the_next(tmp_path: Path, meanwhile: str) -> None:
    """Killed between starting and recording it; then the container is removed, or the configuration changes."""
    here = world(tmp_path / "world", stations=("hospital-a",), program=counting)
    made = here.train(route=("hospital-a",))
    here.submit(made)
    until(here, "hospital-a", Phase.FURNISHED)
    sandbox, house = here.sandboxes["hospital-a"], here.houses["hospital-a"]
    forgotten = replace(house, journal=Journal.in_memory())
    for arrival in house.journal.arrivals():
        for position, event in enumerate(house.journal.visit(arrival).events):
            forgotten.journal.append(arrival, event, expect=position)
    here.houses["hospital-a"] = forgotten
    here.step("hospital-a")
    (name,) = sandbox.started
    while sandbox.look(name).__class__.__name__ != "Ended":
        pass
    here.houses["hospital-a"] = house  # the journal as it was before the start
    here.now += timedelta(seconds=2)
    if meanwhile == "removed":
        sandbox.remove(name)
    else:
        here.change("hospital-a", name="moved")
    here.settle("hospital-a")
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": 1, "n": 1}
    here.close()


# --- The person ------------------------------------------------------------------------------------------------------


class Doubtful:
    """A policy whose reason to ask changes."""

    def __init__(self) -> None:
        self.reason: str | None = "a person approves every train here"

    def consider(self, request: Request) -> Admit | Hold:
        del request
        return Admit() if self.reason is None else Hold(reason=self.reason)


def test_an_approval_does_not_answer_what_the_person_was_not_told(tmp_path: Path) -> None:
    policy = Doubtful()
    here = world(tmp_path / "world", stations=("hospital-a",), policy=policy)
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    here.approve("hospital-a")
    policy.reason = "files that the train expects are missing: patients/*.csv"
    here.settle()
    visit = here.visit("hospital-a")
    assert visit.admitted is None
    assert isinstance(visit.held, Held)
    assert (visit.held.at, visit.held.hold, visit.held.reason) == (here.now, HoldFor.ADMISSION, policy.reason)
    here.approve("hospital-a")
    here.settle()
    assert here.at_home(made.id)
    here.close()


def test_results_that_grew_after_the_release_are_asked_about_again(here: World) -> None:
    here.change("hospital-a", gate=gate_of(release_by_hand=True))
    made = here.train(route=("hospital-a",))
    here.submit(made)
    until_held(here, "hospital-a")
    here.approve("hospital-a")
    (room,) = here.plaintext("hospital-a")
    for folder in ("state", "outgoing"):  # in one of them alone, what was shown is still there or printed again
        (room / folder / "sums.json").write_text('{"sum": 1500, "n": 3}')
    until_held(here, "hospital-a")
    assert here.visit("hospital-a").cleared is None
    assert not here.at_home(made.id)


# --- What is written down --------------------------------------------------------------------------------------------


def test_t20_a_name_inside_a_seal_is_not_logged_when_the_disk_is_full(
    here: World, caplog: pytest.LogCaptureFixture
) -> None:
    canary = "CANARY-8c7dd922.json"

    class Full:
        def __getattr__(self, name: str) -> object:
            return getattr(rooms, name)

        def make(self, visit: Digest) -> object:
            msg = "no room on the file system"
            raise DiskFull(msg, path=f"{visit.hex}/state/{canary}")

    rooms = here.houses["hospital-a"].workrooms
    here.change("hospital-a", workrooms=Full())
    made: Train = here.train(route=("hospital-a",))
    here.submit(made)
    with caplog.at_level(logging.INFO):
        for _ in range(6):
            here.step("hospital-a")
    assert here.visit("hospital-a").stumbled is not None
    written = json.dumps([vars(record) for record in caplog.records], default=str)
    assert canary not in written
    assert "no room on the file system" in written
