"""What does a mailbox full of junk cost those who look for a train or a receipt in it? Requests, counted. (T13, T17)"""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry.artifact import CODE_LAYER, LETTERS_LAYER, MANIFEST_LAYER, SMALL, STATE_LAYER, TRAIN
from registry.bundle import print_bundle
from registry.check import put_bytes
from registry.depot import Depot, mailbox, train_tag
from registry.errors import RegistryUnavailable
from registry.memory import MemoryRegistry
from registry.names import Reference, Repository, Tag
from registry.oci import EMPTY, EMPTY_BYTES, MAX_MANIFEST, OCI_EMPTY, OCI_MANIFEST, Descriptor, make_manifest
from registry.port import StoredManifest
from security.digest import NOTHING, CheckedReader, Digest, Prefix, digest_of
from security.encoding import Json
from security.ids import PartyId
from security.keys.keyset import Scheme, generate
from security.statement.envelope import sign
from security.train.letters import seal_letter
from station.daemon.loop import Shift
from station.daemon.pace import Pace
from station.house.mailbox import LOOKS, MailboxMemory
from station.steps.notice import FEW
from tests.support.liar import Liar, Reply
from tests.support.owners import OwnerWorld, write_train
from tests.support.trains import CODE, Train
from tests.support.world import ROOMY, World, world
from train_builder.errors import NotHomeYet
from train_builder.follow.follow import StopState

STATION, OWNER = PartyId("hospital-a"), PartyId("alice")
MANY = 50_001
JUNK = 1_600


class Counting(MemoryRegistry):
    """Counts requests by what they ask for, and lists a mailbox as full of tags that nothing waits under."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.read: Counter[str] = Counter()  # bytes
        self.padding: dict[Repository, tuple[Tag, ...]] = {}

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        self.asked["list"] += 1
        return tuple(sorted((*super().list_tags(repo), *self.padding.get(repo, ()))))

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = MAX_MANIFEST) -> StoredManifest:
        self.asked["tag" if isinstance(reference, Tag) else "digest"] += 1
        stored = super().get_manifest(repo, reference, most=most)
        self.read["manifests"] += len(stored.raw)
        return stored

    def open_blob(self, repo: Repository, descriptor: Descriptor, after: Prefix = NOTHING) -> CheckedReader:
        self.asked["blob"] += 1
        self.read["blobs"] += descriptor.size
        return super().open_blob(repo, descriptor, after)


class Unlisted(Counting):
    """The owner's mailbox cannot be listed: whoever knows the name of what they look for does not need to."""

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        assert repo != mailbox(OWNER), "listed, although the tags are known"
        return super().list_tags(repo)


def names(count: int, what: str = "t") -> tuple[Tag, ...]:
    return tuple(Tag(f"{what}-{digest_of(b'%d' % number).hex}") for number in range(count))


# --- The owner -------------------------------------------------------------------------------------------------------


@pytest.fixture
def owner(tmp_path: Path) -> OwnerWorld:
    return OwnerWorld(tmp_path, registry=Unlisted())


def asked(owner: OwnerWorld) -> Counter[str]:
    assert isinstance(owner.registry, Unlisted)
    return owner.registry.asked


def test_submit_follow_and_open_ask_for_known_tags_only(owner: OwnerWorld) -> None:
    record = owner.submit(write_train(owner.path / "train")).record
    stops = len(record.manifest.route.indices)
    asked(owner).clear()
    found = owner.follow(record)
    assert found.stops[0].state is StopState.WAITING
    assert asked(owner) == {"tag": 2 * stops}
    asked(owner).clear()
    with pytest.raises(NotHomeYet):
        owner.bring_home(record.train)
    assert asked(owner) == {"tag": 1 + 2 * stops}
    for station in ("hospital-a", "hospital-b", "hospital-c"):
        owner.pass_stop(station)
    assert owner.follow(record).passed
    owner.bring_home(record.train)


def test_a_train_made_elsewhere_is_asked_for_under_its_one_name(owner: OwnerWorld) -> None:
    record = owner.submit(write_train(owner.path / "train")).record
    for station in ("hospital-a", "hospital-b", "hospital-c"):
        owner.pass_stop(station)
    shutil.rmtree(owner.path / "home-alice" / "trains")
    asked(owner).clear()
    found = owner.bring_home(record.train)
    assert found.accepted.train == record.train
    assert asked(owner)["tag"] == 1


def test_a_station_asks_by_name_whether_it_has_signed_before(tmp_path: Path) -> None:
    here = world(tmp_path, stations=(STATION,), registry=Unlisted())
    try:
        made = here.train(route=(STATION,))
        here.submit(made)
        for _ in range(20):
            here.step(STATION)
        assert here.visit(STATION).departed is not None
    finally:
        here.close()


# --- The station -----------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path, stations=(STATION,), registry=Counting())
    yield made
    made.close()


def registry_of(here: World) -> Counting:
    assert isinstance(here.registry, Counting)
    return here.registry


def junk(here: World, number: int, *, signed: bool) -> None:
    """Put something into the mailbox that has the form of a train: no letter at all, or one that a stranger signed."""
    repo, registry = mailbox(STATION), here.registry
    put_bytes(registry, repo, EMPTY_BYTES, OCI_EMPTY)
    raw = b"junk %d" % number
    if signed:
        reader = here.consortium.secrets[STATION].key_set.sealing
        raw = seal_letter(sign(b"junk %d" % number, STRANGER.signers), [reader])
    document = put_bytes(registry, repo, raw, MANIFEST_LAYER)
    letters = put_bytes(registry, repo, print_bundle([]), LETTERS_LAYER)
    code = put_bytes(registry, repo, b"code", CODE_LAYER)
    manifest = make_manifest(config=EMPTY, layers=[document, letters, code], artifact_type=TRAIN)
    tag = Tag(f"t-{digest_of(raw).hex}")
    registry.put_manifest(repo, tag, manifest.raw, OCI_MANIFEST)


STRANGER = generate([Scheme.ED25519])


def large_letters(here: World, count: int, size: int = 4 << 20, tags: Iterator[Tag] | None = None) -> None:
    """Put trains into the mailbox whose letters nobody can open, each as large as one may be, or of `size` bytes."""
    repo, registry = mailbox(STATION), here.registry
    put_bytes(registry, repo, EMPTY_BYTES, OCI_EMPTY)
    for number in range(count):
        tag = next(tags) if tags else None
        head = put_bytes(registry, repo, (tag or f"{number:08}")[-8:].encode() * (size // 8), MANIFEST_LAYER)
        letters = put_bytes(registry, repo, print_bundle([]), LETTERS_LAYER)
        code = put_bytes(registry, repo, b"code", CODE_LAYER)
        manifest = make_manifest(config=EMPTY, layers=[head, letters, code], artifact_type=TRAIN)
        registry.put_manifest(repo, tag or Tag(f"t-{head.digest.hex}"), manifest.raw, OCI_MANIFEST)


def large_manifests(here: World, count: int, tags: Iterator[Tag] | None = None) -> None:
    """Put trains into the mailbox that lie in their manifests, as large as it goes, and are none."""
    repo, registry = mailbox(STATION), here.registry
    put_bytes(registry, repo, EMPTY_BYTES, OCI_EMPTY)
    for number in range(count):
        tag = next(tags) if tags else None
        part = base64.b64encode((tag or f"{number:08}")[-8:].encode() * (SMALL // 8)).decode()
        parts = dict.fromkeys((MANIFEST_LAYER, LETTERS_LAYER, CODE_LAYER, STATE_LAYER), part)
        manifest = make_manifest(config=EMPTY, layers=[EMPTY], artifact_type=TRAIN, annotations=parts)
        registry.put_manifest(repo, tag or Tag(f"t-{manifest.digest.hex}"), manifest.raw, OCI_MANIFEST)


def looks_until_begun(here: World, arrival: Digest, *, most: int) -> int:
    for count in range(1, most + 1):
        here.notice(STATION)
        if here.houses[STATION].journal.find(arrival) is not None:
            return count
    pytest.fail("the train was not noticed")


@pytest.mark.parametrize("signed", [False, True])
def test_a_train_does_not_wait_for_junk(here: World, signed: bool) -> None:
    """1 600 arrivals that are none: the train is begun within the looks it takes to see every tag once, after few others."""
    for number in range(JUNK):
        junk(here, number, signed=signed)
    made = here.train(route=(STATION,))
    arrival = here.submit(made)
    registry = registry_of(here)
    registry.asked.clear()
    looks = looks_until_begun(here, arrival, most=-(-(JUNK + 1) // (LOOKS - 64)))
    assert registry.asked["list"] == looks
    assert registry.asked["tag"] <= looks * LOOKS
    assert registry.asked["blob"] <= JUNK + 1
    assert len(here.visits(STATION)) <= FEW + 1


def test_large_letters_of_junk_are_read_up_to_a_limit_and_after_a_small_train(here: World) -> None:
    large_letters(here, 60)
    here.notice(STATION)  # what is there before a train comes has its turn, too
    registry = registry_of(here)
    assert 0 < registry.read["blobs"] <= 64 << 20
    arrival = here.submit(here.train(route=(STATION,)))
    registry.read.clear()
    looks_until_begun(here, arrival, most=1)
    assert registry.read["blobs"] <= 64 << 20
    for _ in range(4):
        registry.read.clear()
        here.notice(STATION)
        assert registry.read["blobs"] <= 64 << 20
    assert registry.asked["blob"] == 60  # each once, in the end; the small train had its letters in its manifest


def test_large_manifests_of_junk_are_read_up_to_a_limit_and_no_small_train_waits_for_them(here: World) -> None:
    count, size = 200, 4 * SMALL
    large_manifests(here, count)
    arrival = here.submit(here.train(route=(STATION,)))
    registry = registry_of(here)
    looks_until_begun(here, arrival, most=1)
    assert size * 60 < registry.read["manifests"] < (32 << 20) + size + (1 << 20)
    looked = registry.read["manifests"]
    for _ in range(-(-count // 60)):
        registry.read.clear()
        here.notice(STATION)
        assert registry.read["manifests"] < (32 << 20) + size + (1 << 20)
        looked += registry.read["manifests"]
    assert looked > count * size  # each has had its turn
    assert len(here.houses[STATION].mailbox.seen) == count + 1


def test_a_train_whose_manifest_is_not_small_has_its_turn_among_large_ones(here: World) -> None:
    large_manifests(here, 200)
    made = here.train(route=(STATION,), files={**CODE, "weights.bin": os.urandom(90 << 10)})
    arrival = here.submit(made)
    assert len(here.registry.get_manifest(mailbox(STATION), arrival).raw) > 64 << 10
    large = next(one for one in here.depot.arrivals(STATION) if one.digest != arrival).digest
    a_look = (32 << 20) // len(here.registry.get_manifest(mailbox(STATION), large).raw)
    looks_until_begun(here, arrival, most=-(-(200 + 1) // a_look))


def with_a_large_manifest(here: World) -> Train:
    """Make a train whose manifest, not its code, is large: it declares outputs under long schemas."""
    (output,) = here.train(route=(STATION,)).manifest.outputs
    schemas: list[Json] = [{"description": f"{number:09}" * 6_000} for number in range(16)]
    outputs = tuple(replace(output, path=f"{number}.json", schema=one) for number, one in enumerate(schemas))
    return here.train(route=(STATION,), outputs=outputs)


@pytest.mark.parametrize("where", ["manifests", "letters"])
def test_a_large_train_does_not_wait_for_what_is_new_before_each_look(here: World, where: str) -> None:
    """Whoever knows its name puts as much before it as one look reads, and before every later look behind it."""
    if where == "manifests":
        made = here.train(route=(STATION,), files={**CODE, "weights.bin": os.urandom(90 << 10)})
    else:
        made = with_a_large_manifest(here)
    arrival, tag = here.submit(made), train_tag(made.id, STATION, 0)

    def flood(step: int) -> Iterator[Tag]:
        return (Tag(f"t-{int(tag.removeprefix('t-'), 16) + step * number:064x}") for number in itertools.count(1))

    before, behind = flood(-1), flood(1)
    for look in range(4):
        if where == "manifests":
            large_manifests(here, 60, behind if look else before)
        else:
            large_letters(here, 80, len(made.parcel.manifest) - 8, behind if look else before)
        here.notice(STATION)
        if here.houses[STATION].journal.find(arrival) is not None:
            assert look > 0  # or nothing was put before it
            return
    pytest.fail("the train was not noticed")


def announced_letters(here: World, count: int, size: int, tags: Iterator[Tag]) -> None:
    """Put trains into the mailbox whose letters are announced to have `size` bytes, and have a few."""
    repo, registry = mailbox(STATION), here.registry
    put_bytes(registry, repo, EMPTY_BYTES, OCI_EMPTY)
    letters = put_bytes(registry, repo, print_bundle([]), LETTERS_LAYER)
    code = put_bytes(registry, repo, b"code", CODE_LAYER)
    for tag in itertools.islice(tags, count):
        head = replace(put_bytes(registry, repo, tag.encode(), MANIFEST_LAYER), size=size)
        manifest = make_manifest(config=EMPTY, layers=[head, letters, code], artifact_type=TRAIN)
        registry.put_manifest(repo, tag, manifest.raw, OCI_MANIFEST)


@pytest.mark.parametrize("smaller", [1, 0, -1])
def test_a_large_train_does_not_wait_for_letters_that_are_announced_before_each_look(here: World, smaller: int) -> None:
    """To announce a letter costs nothing. What came later does not pass what waits, whether it is smaller or larger."""
    made = with_a_large_manifest(here)
    size = len(made.parcel.manifest)
    a_look, tags = (64 << 20) // size, iter(names(10_000))
    announced_letters(here, 3 * a_look, size - smaller, tags)
    arrival = here.submit(made)
    for _ in range(8):
        announced_letters(here, a_look, size - smaller, tags)
        here.notice(STATION)
        if here.houses[STATION].journal.find(arrival) is not None:
            return
    pytest.fail("the train was not noticed")


def test_junk_is_read_once_and_looked_into_a_few_at_a_time(here: World) -> None:
    for number in range(60):
        junk(here, number, signed=False)
    registry = registry_of(here)
    for _ in range(3):
        here.notice(STATION)
    assert registry.asked["blob"] == 60
    assert len(here.visits(STATION)) == FEW
    first = here.train(route=(STATION,))
    here.submit(first)
    here.notice(STATION)  # the next look finds it, though nothing of the junk is gone
    assert len(here.visits(STATION)) == FEW + 1
    here.settle()
    assert here.at_home(first.id)
    refused = [visit for visit in here.visits(STATION) if visit.refused]
    assert len(refused) == 60  # each has its record, in the end
    assert here.waits_for(STATION) == ()


def test_a_mailbox_of_50_001_tags_is_looked_through_piece_by_piece(here: World) -> None:
    registry = registry_of(here)
    registry.padding[mailbox(STATION)] = names(MANY)
    registry.asked.clear()
    here.notice(STATION)
    assert (registry.asked["list"], registry.asked["tag"]) == (1, LOOKS)
    here.houses[STATION].mailbox.seen = dict.fromkeys(names(MANY))  # as after the looks it takes
    made = here.train(route=(STATION,))
    arrival = here.submit(made)
    registry.asked.clear()
    assert looks_until_begun(here, arrival, most=1) == 1  # what was never looked at comes first
    assert registry.asked["tag"] <= LOOKS


def test_no_train_waits_for_tags_that_are_put_before_its_own_ahead_of_each_look(here: World) -> None:
    """Whoever sees a train's tag puts as many before it as one look resolves, where it goes on, and again before each."""
    made = here.train(route=(STATION,))
    arrival = here.submit(made)
    number = int(train_tag(made.id, STATION, 0).removeprefix("t-"), 16)
    before = (Tag(f"t-{number - 100_000 + step:064x}") for step in itertools.count())
    registry = registry_of(here)
    for _ in range(3):
        added = tuple(itertools.islice(before, LOOKS))
        registry.padding[mailbox(STATION)] = (*registry.padding.get(mailbox(STATION), ()), *added)
        here.notice(STATION)
        if here.houses[STATION].journal.find(arrival) is not None:
            return
    pytest.fail("the train was not noticed")


def test_every_tag_is_looked_at_in_turn_and_a_moved_one_again() -> None:
    tags, memory = names(5_000), MailboxMemory()
    looked: Counter[Tag] = Counter()
    for _ in range(-(-5_000 // (LOOKS - 64))):
        chosen = memory.choose(tuple(sorted(tags)), ())
        assert len(chosen) == len(set(chosen)) <= LOOKS
        for tag in chosen:
            memory.looked_at(tag)
            looked[tag] += 1
    assert looked.keys() == set(tags)
    again: Counter[Tag] = Counter()
    for _ in range(-(-5_000 // LOOKS)):
        for tag in memory.choose(tuple(sorted(tags)), ()):
            memory.looked_at(tag)
            again[tag] += 1
    assert again.keys() == set(tags)
    few = names(10)
    assert set(memory.choose(few, ())) == set(few)
    assert memory.seen.keys() <= set(few)  # what is not there any more is forgotten


def test_trains_of_owners_who_are_not_admitted_do_not_stand_before_others(here: World) -> None:
    unwanted = [here.train(owner="mallory", route=(STATION,)) for _ in range(FEW + 5)]
    for one in unwanted:
        here.submit(one)
    made = here.train(route=(STATION,))
    arrival = here.submit(made)
    here.notice(STATION)
    arrivals = {visit.arrival for visit in here.visits(STATION)}
    assert arrival in arrivals
    assert len(arrivals) == FEW + 1


def test_a_tag_that_cannot_be_read_now_does_not_hide_the_others(here: World) -> None:
    broken = names(1)[0]

    class Broken(Counting):
        def get_manifest(self, repo: Repository, reference: Reference, *, most: int = MAX_MANIFEST) -> StoredManifest:
            if reference == broken:
                msg = "the server fails on this one"
                raise RegistryUnavailable(msg)
            return super().get_manifest(repo, reference, most=most)

    registry = Broken()
    here.registry = registry
    here.change(STATION, depot=Depot(registry))
    registry.padding[mailbox(STATION)] = (broken,)
    made = here.train(route=(STATION,))
    here.submit(made)
    shift = Shift(here.houses[STATION], Pace(clock=here.clock, poll_seconds=1), ROOMY)
    for _ in range(40):
        shift.turn()
        here.now += timedelta(seconds=1)
    assert here.at_home(made.id)


def test_the_registry_on_the_network_lists_50_001_tags() -> None:
    liar = Liar()
    try:
        tags = names(MANY)
        path = f"/v2/{mailbox(STATION)}/tags/list"
        liar.says("GET", path, Reply(body=json.dumps({"name": str(mailbox(STATION)), "tags": tags}).encode()))
        assert len(liar.client().list_tags(mailbox(STATION))) == MANY
        assert len(liar.asked) == 1
    finally:
        liar.close()
