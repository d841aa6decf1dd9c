"""Is the space of what was removed given back, and is nothing lost that anybody needs?"""

from __future__ import annotations

import io
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from registry.blobs import BlobFolder
from registry.check import put_bytes
from registry.depot import Depot, ReceiptKind, mailbox, receipt_tag
from registry.errors import NotInRegistry, RegistryInTheWay, RegistryNotSwept, RegistryUnavailable
from registry.http.auth import Credentials
from registry.layout import LayoutRegistry
from registry.memory import MemoryRegistry
from registry.names import Repository, Tag, location
from registry.oci import EMPTY, EMPTY_BYTES, Descriptor, OciManifest, make_manifest
from registry.open import open_registry
from registry.port import Registry
from registry.server.config import ServerSettings
from registry.server.process import RunningServer, down, status, sweep, up
from security.errors import DigestMismatch, FileMissing
from security.files import locked
from security.ids import PartyId
from tests.support.desk import Desk
from tests.support.engine import Engine
from tests.support.trains import LARGE, Train, consortium, train

REPO, OTHER = Repository("mailbox/hospital-a"), Repository("mailbox/hospital-b")
SIZE = 1 << 20


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "registry"
    yield folder
    down(folder, sleep=time.sleep)


@pytest.fixture
def layout(tmp_path: Path) -> LayoutRegistry:
    folder = tmp_path / "layout"
    folder.mkdir()
    return LayoutRegistry(folder)


def client(server: RunningServer) -> Registry:
    return open_registry(location(server.address), sleep=time.sleep)


def store(registry: Registry, tag: str, *, layer: Descriptor | None = None) -> OciManifest:
    put_bytes(registry, REPO, EMPTY_BYTES, EMPTY.media_type)
    layers = [layer or put_bytes(registry, REPO, secrets.token_bytes(SIZE), "x/y")]
    manifest = make_manifest(config=EMPTY, layers=layers, annotations={"tag": tag})
    registry.put_manifest(REPO, Tag(tag), manifest.raw, manifest.media_type)
    return manifest


def readable(registry: Registry, manifest: OciManifest) -> bool:
    with registry.open_blob(REPO, manifest.layers[0]) as source:
        return len(source.read()) == SIZE


def later() -> datetime:
    """A moment after everything that was written until now."""
    return datetime.now(UTC) + timedelta(minutes=1)


# --- The registry's program ------------------------------------------------------------------------------------------


def test_what_was_deleted_gives_its_space_back_and_the_rest_stays(state: Path) -> None:
    settings = ServerSettings(state=state)
    server = up(settings, sleep=time.sleep)
    registry = client(server)
    gone, kept = store(registry, "gone"), store(registry, "kept")
    shared = store(registry, "shared", layer=kept.layers[0])
    registry.delete_manifest(REPO, gone.digest)
    registry.delete_manifest(REPO, shared.digest)
    swept = sweep(settings, sleep=time.sleep)
    assert swept.restarted
    assert SIZE <= swept.freed < SIZE + 10_000
    running = status(state)
    assert running is not None
    assert running.address == server.address
    assert not registry.has_blob(REPO, gone.layers[0].digest)
    assert readable(registry, kept)
    assert registry.list_tags(REPO) == (Tag("kept"),)
    assert sweep(settings, sleep=time.sleep).freed == 0


def test_a_registry_that_is_down_stays_down(state: Path) -> None:
    settings = ServerSettings(state=state)
    registry = client(up(settings, sleep=time.sleep))
    registry.delete_manifest(REPO, store(registry, "gone").digest)
    down(state, sleep=time.sleep)
    swept = sweep(settings, sleep=time.sleep)
    assert not swept.restarted
    assert swept.freed >= SIZE
    assert status(state) is None


def test_an_empty_registry_is_swept(state: Path) -> None:
    settings = ServerSettings(state=state)
    up(settings, sleep=time.sleep)
    assert sweep(settings, sleep=time.sleep).freed == 0
    assert status(state) is not None


def test_a_train_whose_manifest_was_still_to_come_is_sent_again(state: Path, tmp_path: Path) -> None:
    settings = ServerSettings(state=state)
    registry = client(up(settings, sleep=time.sleep))
    it = train(consortium(), files=LARGE)
    ours = spool_of(it, tmp_path / "ours")

    class Swept:
        """A registry that is swept right before the first manifest arrives."""

        def __init__(self) -> None:
            self.done = False

        def __getattr__(self, name: str) -> object:
            if name == "put_manifest" and not self.done:
                self.done = True
                assert sweep(settings, sleep=time.sleep).freed > 0
            return getattr(registry, name)

    depot = Depot(Swept())  # type: ignore[arg-type] # has all that the registry has
    to = PartyId("hospital-a")
    with pytest.raises(NotInRegistry) as caught:
        depot.send(it.parcel, ours, to=to, train=it.id, stop=len(it.entries))
    assert caught.value.code == "registry.not-found"
    head = depot.send(it.parcel, ours, to=to, train=it.id, stop=len(it.entries))
    (arrival,) = depot.arrivals(to)
    assert arrival.digest == head
    assert depot.take(arrival, BlobFolder(tmp_path / "theirs")) == it.parcel


def test_a_registry_with_other_settings_is_left_running(state: Path) -> None:
    up(ServerSettings(state=state), sleep=time.sleep)
    account = Credentials(username="a", password="b")  # noqa: S106 - refused before it is used
    with pytest.raises(RegistryInTheWay) as caught:
        sweep(ServerSettings(state=state, accounts=(account,)), sleep=time.sleep)
    assert caught.value.code == "registry.in-the-way"
    assert status(state) is not None


def test_a_collection_that_fails_leaves_the_registry_running(state: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    real = shutil.which("docker-registry") or shutil.which("registry")
    failing = programs / "docker-registry"
    failing.write_text(f'#!/bin/sh\n[ "$1" = serve ] && exec {real} "$@"\necho cannot; exit 7\n')
    failing.chmod(0o755)
    settings = ServerSettings(state=state, search_path=str(programs))
    registry = client(up(settings, sleep=time.sleep))
    kept = store(registry, "kept")
    with pytest.raises(RegistryNotSwept) as caught:
        sweep(settings, sleep=time.sleep)
    assert caught.value.code == "registry.not-swept"
    assert "sweep.log" in str(caught.value.hint)
    assert (state / "sweep.log").read_text() == "cannot\n"
    assert readable(registry, kept)


def test_a_folder_without_a_registry(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(FileMissing):
            sweep(ServerSettings(state=folder), sleep=time.sleep)


@pytest.mark.engine
def test_a_container_is_swept(state: Path, tmp_path: Path, engine_with_a_registry: Engine) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    docker = shutil.which("docker")
    assert docker is not None
    (programs / "docker").symlink_to(docker)
    settings = ServerSettings(state=state, search_path=str(programs), engine=engine_with_a_registry.url)
    server = up(settings, sleep=time.sleep)
    assert server.runs == "container registry:2"
    registry = client(server)
    gone, kept = store(registry, "gone"), store(registry, "kept")
    registry.delete_manifest(REPO, gone.digest)
    swept = sweep(settings, sleep=time.sleep)
    assert swept.restarted
    assert swept.freed >= SIZE
    assert readable(registry, kept)


# --- A folder --------------------------------------------------------------------------------------------------------


def test_a_layout_is_swept_of_what_no_manifest_refers_to(layout: LayoutRegistry) -> None:
    gone, kept = store(layout, "gone"), store(layout, "kept")
    moved = store(layout, "kept")  # the tag moves: the first one stays by its digest
    put_bytes(layout, REPO, secrets.token_bytes(SIZE), "x/y")
    layout.delete_manifest(REPO, gone.digest)
    assert layout.repositories() == (REPO,)
    swept = layout.sweep(REPO, before=later())
    assert (swept.blobs, swept.freed) == (2, 2 * SIZE)
    assert not layout.has_blob(REPO, gone.layers[0].digest)
    assert readable(layout, kept)
    assert readable(layout, moved)
    assert layout.get_manifest(REPO, kept.digest).raw == kept.raw
    assert layout.sweep(REPO, before=later()).blobs == 0


def test_what_is_younger_is_left_and_a_mount_counts_from_when_it_was_made(layout: LayoutRegistry) -> None:
    old = put_bytes(layout, REPO, secrets.token_bytes(SIZE), "x/y")
    time.sleep(0.05)
    moment = datetime.now(UTC)
    time.sleep(0.05)
    young = put_bytes(layout, REPO, secrets.token_bytes(SIZE), "x/y")
    assert layout.sweep(REPO, before=moment - timedelta(hours=1)).blobs == 0
    assert layout.mount_blob(OTHER, old.digest, REPO)
    assert layout.sweep(OTHER, before=moment).blobs == 0
    assert layout.sweep(REPO, before=later()).freed == SIZE  # the other is still held by its mount
    assert not layout.has_blob(REPO, young.digest)
    assert layout.has_blob(OTHER, old.digest)


def test_a_manifest_that_waits_for_a_sweep_does_not_name_what_it_took_away(
    layout: LayoutRegistry, tmp_path: Path
) -> None:
    store(layout, "before")
    blob = put_bytes(layout, REPO, secrets.token_bytes(SIZE), "x/y")
    manifest = make_manifest(config=EMPTY, layers=[blob], annotations={})
    folder = tmp_path / "layout" / REPO
    with ThreadPoolExecutor() as other:
        with locked(folder / ".lock"):
            sent = other.submit(layout.put_manifest, REPO, Tag("late"), manifest.raw, manifest.media_type)
            time.sleep(0.2)
            (folder / "blobs" / "sha256" / blob.digest.hex).unlink()  # as a sweep does, which holds the lock meanwhile
        with pytest.raises(NotInRegistry):
            sent.result()
    assert layout.list_tags(REPO) == (Tag("before"),)


def test_files_of_a_writer_that_was_killed_go_and_files_of_others_stay(layout: LayoutRegistry, tmp_path: Path) -> None:
    store(layout, "kept")
    blobs = tmp_path / "layout" / REPO / "blobs" / "sha256"
    (blobs / ".abc.x1.part").write_bytes(b"half")
    (blobs / "README").write_bytes(b"not ours")
    assert layout.sweep(REPO, before=later()).blobs == 1
    assert (blobs / "README").exists()


def test_a_repository_that_cannot_be_read_is_left_alone_and_hides_no_other(
    layout: LayoutRegistry, tmp_path: Path
) -> None:
    kept = store(layout, "kept")
    put_bytes(layout, REPO, secrets.token_bytes(SIZE), "x/y")
    put_bytes(layout, OTHER, secrets.token_bytes(SIZE), "x/y")
    path = tmp_path / "layout" / REPO / "blobs" / "sha256" / kept.digest.hex
    path.write_bytes(path.read_bytes().replace(b"x/y", b"x/z"))
    with pytest.raises(DigestMismatch):
        layout.sweep(REPO, before=later())
    assert len(list(path.parent.iterdir())) == 4
    desk = Desk(path=tmp_path, whole=tmp_path)
    typed = desk.pht("--json", "registry", "sweep", "layout:layout", "--hours", "0")
    assert typed.exit == 10
    assert typed.document["left"] == [str(REPO)]
    assert typed.document["freed"] == SIZE
    assert list((tmp_path / "layout" / OTHER / "blobs" / "sha256").iterdir()) == []


def test_a_folder_that_was_taken_away_is_not_taken_for_an_empty_registry(tmp_path: Path) -> None:
    desk = Desk(path=tmp_path, whole=tmp_path)
    assert desk.pht("--json", "registry", "sweep", "layout:absent").code == RegistryUnavailable.code


# --- What is forgotten -----------------------------------------------------------------------------------------------

ALICE = PartyId("alice")


def spool_of(it: Train, path: Path) -> BlobFolder:
    spool = BlobFolder(path)
    for digest, data in it.blobs.items():
        spool.put(digest, len(data), io.BytesIO(data))
    return spool


@pytest.mark.parametrize("backing", ["memory", "layout"])
def test_a_train_is_forgotten_with_its_receipts_and_no_other_train_is(backing: str, tmp_path: Path) -> None:
    world, folder = consortium(), tmp_path / "registry"
    folder.mkdir()
    depot = Depot(MemoryRegistry() if backing == "memory" else LayoutRegistry(folder))
    over, going = train(world).travel(2), train(world).travel(2)
    for it in (over, going):
        depot.send(it.parcel, spool_of(it, tmp_path / it.id), to=ALICE, train=it.id, stop=len(it.entries))
        for stop, entry in enumerate(it.parcel.entries):
            depot.send_receipt(entry, owner=ALICE, train=it.id, stop=stop, kind=ReceiptKind.ENTRY)
    assert depot.forget(ALICE, {over.id: over.manifest.route}) == 3
    assert depot.receipts_of(ALICE, over.id, range(3)) == ()
    assert len(depot.receipts_of(ALICE, going.id, range(3))) == 2
    assert depot.arrivals(ALICE) == depot.arrivals(ALICE, going.id) != ()
    assert depot.forget(ALICE, {over.id: over.manifest.route}) == 0


def test_t13_a_foreign_tag_does_not_have_another_train_forgotten(tmp_path: Path) -> None:
    world, depot = consortium(), Depot(MemoryRegistry())
    over, going = train(world).travel(2), train(world).travel(2)
    digest = depot.send(
        going.parcel, spool_of(going, tmp_path / "going"), to=ALICE, train=going.id, stop=len(going.entries)
    )
    stored = depot.registry.get_manifest(mailbox(ALICE), digest)
    depot.registry.put_manifest(
        mailbox(ALICE), receipt_tag(over.id, ALICE, 0, ReceiptKind.ENTRY), stored.raw, stored.media_type
    )
    assert depot.forget(ALICE, {over.id: over.manifest.route}) == 0
    assert [one.digest for one in depot.arrivals(ALICE)] == [digest]
