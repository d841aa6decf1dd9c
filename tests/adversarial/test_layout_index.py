"""What does an unsigned index of a folder say about trains, and who can make others wait for it? Nothing, and nobody."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from registry.check import put_bytes
from registry.depot import Depot, ReceiptKind, mailbox
from registry.errors import NotInRegistry, RegistryFull, RegistryUnavailable
from registry.layout import LayoutRegistry
from registry.layout_index import REF_NAME
from registry.names import Repository, Tag
from registry.oci import (
    EMPTY,
    EMPTY_BYTES,
    OCI_EMPTY,
    OCI_MANIFEST,
    Descriptor,
    OciManifest,
    make_manifest,
    print_index,
)
from security.digest import digest_of
from security.ids import PartyId
from station.visit.plan import Phase, phase_of
from tests.support.trains import Train
from tests.support.world import World, world

OWNER, STATION, NEXT = PartyId("alice"), PartyId("hospital-a"), PartyId("hospital-b")
REPO = Repository("mailbox/alice")
SPOILED: Mapping[str, Callable[[bytes], bytes]] = {
    "cut": lambda raw: raw[: len(raw) // 2],
    "empty": lambda raw: b"",  # noqa: ARG005 - whatever was there
    "foreign": lambda raw: b'{"schemaVersion":1,"fsLayers":[]}',  # noqa: ARG005 - whatever was there
    "wide": lambda raw: b'{"schemaVersion":2,"manifests":[' + b"{}," * 2_000_000 + b"{}]}",  # noqa: ARG005
    "large": lambda raw: raw + b" " * (64 << 20),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "registry"
    made.mkdir()
    return made


@pytest.fixture
def here(tmp_path: Path, folder: Path) -> Iterator[World]:
    made = world(tmp_path / "world", stations=(STATION, NEXT), registry=LayoutRegistry(folder))
    yield made
    made.close()


def index_of(folder: Path, party: PartyId) -> Path:
    return folder / mailbox(party) / "index.json"


def under_way(here: World) -> Train:
    """A train whose owner's mailbox holds something already."""
    stranger = here.train(route=(STATION,))
    here.depot.send_receipt(b"a letter", owner=OWNER, train=stranger.id, stop=0, kind=ReceiptKind.ENTRY)
    made = here.train(route=(STATION, NEXT))
    here.submit(made)
    return made


def turn(here: World, times: int) -> None:
    for _ in range(times):
        here.step(STATION)


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_index_of_another_mailbox_refuses_no_train(here: World, folder: Path, how: str) -> None:
    """The owner's mailbox is asked before a train is accepted; a station that cannot read it waits, and goes on."""
    made = under_way(here)
    index = index_of(folder, OWNER)
    sound = index.read_bytes()
    index.write_bytes(SPOILED[how](sound))
    turn(here, 4)
    visit = here.visit(STATION)
    assert (phase_of(visit), visit.refused) == (Phase.FETCHED, None)
    assert visit.stumbled is not None
    assert visit.stumbled.code == "registry.index"
    index.write_bytes(sound)
    here.settle()
    assert here.at_home(made.id)


def test_a_spoiled_index_turns_no_cleared_result_into_a_refusal(here: World, folder: Path) -> None:
    made = under_way(here)
    while not here.visits(STATION) or phase_of(here.visit(STATION)) is not Phase.READY:
        here.step(STATION)
    index = index_of(folder, OWNER)
    sound = index.read_bytes()
    index.write_bytes(sound[:-40])
    turn(here, 3)
    assert phase_of(here.visit(STATION)) is Phase.READY
    index.write_bytes(sound)
    here.settle()
    assert here.at_home(made.id)
    assert here.receipts(made, ReceiptKind.REFUSAL) == ()


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_index_of_the_next_mailbox_makes_a_signed_train_wait(here: World, folder: Path, how: str) -> None:
    """What was signed is sent when it can be: nothing is signed again, and nothing refused."""
    here.submit(here.train(route=(NEXT,)))  # so that the mailbox has an index
    made = under_way(here)
    while not here.visits(STATION) or phase_of(here.visit(STATION)) is not Phase.SIGNED:
        here.step(STATION)
    index, signed = index_of(folder, NEXT), here.visit(STATION).signed
    sound = index.read_bytes()
    index.write_bytes(SPOILED[how](sound))
    turn(here, 3)
    visit = here.visit(STATION)
    assert (phase_of(visit), visit.refused) == (Phase.SIGNED, None)
    assert visit.stumbled is not None
    assert (visit.stumbled.step, visit.stumbled.code) == ("push", "registry.index")
    index.write_bytes(sound)
    here.settle()
    assert here.visit(STATION).signed == signed
    assert here.at_home(made.id)
    assert here.receipts(made, ReceiptKind.REFUSAL) == ()


def test_a_spoiled_manifest_in_the_owners_mailbox_refuses_no_train(here: World, folder: Path) -> None:
    """A tag of this very train names bytes that were changed: they are nobody's, and say nothing."""
    made = here.train(route=(STATION, NEXT))
    here.depot.send_receipt(b"a letter", owner=OWNER, train=made.id, stop=0, kind=ReceiptKind.ENTRY)
    blob = next(
        path
        for path in (folder / mailbox(OWNER) / "blobs" / "sha256").iterdir()
        if b"artifactType" in path.read_bytes()
    )
    blob.write_bytes(blob.read_bytes().replace(b"artifactType", b"ArtifactType"))
    here.submit(made)
    here.settle()
    assert here.at_home(made.id)


def planted(folder: Path, count: int) -> OciManifest:
    """Write an index of so many receipts of one manifest, as many stations would in years."""
    registry = LayoutRegistry(folder)
    put_bytes(registry, REPO, EMPTY_BYTES, OCI_EMPTY)
    manifest = make_manifest(config=EMPTY, layers=())
    registry.put_manifest(REPO, Tag("first"), manifest.raw, OCI_MANIFEST)
    entries = [
        Descriptor(
            media_type=OCI_MANIFEST,
            digest=digest_of(b"%d" % number),
            size=700,
            annotations={REF_NAME: f"entry-{digest_of(b'%d' % number).hex}-0"},
        )
        for number in range(count - 1)
    ]
    (named,) = json.loads((folder / REPO / "index.json").read_bytes())["manifests"]
    kept = Descriptor(
        media_type=OCI_MANIFEST, digest=manifest.digest, size=len(manifest.raw), annotations=named["annotations"]
    )
    (folder / REPO / "index.json").write_bytes(print_index([*entries, kept]))
    return manifest


def test_many_receipts_can_be_read_added_and_taken_out(folder: Path) -> None:
    """4 MiB of index, or 14 980 receipts, used to be the end of it."""
    manifest = planted(folder, 16_000)
    assert (folder / REPO / "index.json").stat().st_size > 4 << 20
    registry = LayoutRegistry(folder)
    assert registry.get_manifest(REPO, Tag("first")).digest == manifest.digest
    registry.put_manifest(REPO, Tag("second"), manifest.raw, OCI_MANIFEST)
    registry.delete_manifest(REPO, digest_of(b"7"))
    assert len(registry.list_tags(REPO)) == 16_000
    with pytest.raises(NotInRegistry):
        registry.get_manifest(REPO, digest_of(b"7"))


def test_a_full_repository_takes_nothing_more_and_gives_everything_back(folder: Path) -> None:
    manifest = planted(folder, 10)
    registry = LayoutRegistry(folder, room=10)
    with pytest.raises(RegistryFull) as caught:
        registry.put_manifest(REPO, Tag("eleventh"), manifest.raw, OCI_MANIFEST)
    assert caught.value.exit == RegistryUnavailable.exit  # the train waits
    registry.put_manifest(REPO, Tag("first"), manifest.raw, OCI_MANIFEST)  # which is there already
    registry.delete_manifest(REPO, digest_of(b"3"))
    registry.put_manifest(REPO, Tag("eleventh"), manifest.raw, OCI_MANIFEST)
    assert len(registry.list_tags(REPO)) == 10


def test_a_lock_that_is_held_makes_a_writer_unavailable_and_does_not_hang_it(folder: Path) -> None:
    manifest = planted(folder, 3)
    patience = LayoutRegistry(folder, patience=0.1)
    reader = os.open(folder / REPO / ".lock", os.O_RDONLY)
    try:
        fcntl.flock(reader, fcntl.LOCK_EX)
        for act in (
            lambda: patience.put_manifest(REPO, Tag("t"), manifest.raw, OCI_MANIFEST),
            lambda: patience.delete_manifest(REPO, manifest.digest),
        ):
            with pytest.raises(RegistryUnavailable) as caught:
                act()
            assert "let go" in caught.value.message
        assert patience.get_manifest(REPO, Tag("first")).digest == manifest.digest
    finally:
        os.close(reader)
    patience.put_manifest(REPO, Tag("t"), manifest.raw, OCI_MANIFEST)


def test_a_reader_cannot_open_the_lock(folder: Path) -> None:
    manifest = planted(folder, 3)
    lock = folder / REPO / ".lock"
    assert lock.stat().st_mode & 0o777 == 0o600
    lock.chmod(0o666)  # as a stick may bring it
    LayoutRegistry(folder).put_manifest(REPO, Tag("t"), manifest.raw, OCI_MANIFEST)
    assert lock.stat().st_mode & 0o777 == 0o600


def test_a_station_goes_on_once_the_lock_is_free(here: World, folder: Path) -> None:
    made = here.train(route=(STATION, NEXT))
    here.submit(made)
    index_folder = folder / mailbox(STATION)
    here.change(STATION, depot=Depot(LayoutRegistry(folder, patience=0.05)))
    while not here.visits(STATION) or phase_of(here.visit(STATION)) is not Phase.LEAVING:
        here.step(STATION)
    reader = os.open(index_folder / ".lock", os.O_RDONLY)
    try:
        fcntl.flock(reader, fcntl.LOCK_EX)
        turn(here, 1)
        assert phase_of(here.visit(STATION)) is Phase.LEAVING
    finally:
        os.close(reader)
    here.settle()
    assert here.at_home(made.id)
