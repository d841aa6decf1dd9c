"""The consortium's side, and a participant's, over folders on a real file system."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from security.digest import digest_of
from security.directory.client import DirectorySink, FolderDirectory, load_trust
from security.directory.documents import parse_party, print_party
from security.directory.publish import unpublished
from security.directory.root import (
    Lifetimes,
    RootChange,
    RootState,
    init_workspace,
    open_root_key,
    open_targets_key,
    root_state,
    rotate_keys,
)
from security.directory.trust import MAX_KEY_SETS, Policy
from security.directory.workspace import (
    Workspace,
    add_party,
    approve_base,
    revoke,
    rotate_party,
    was_withdrawn,
    withdraw_base,
)
from security.errors import (
    BudgetExceeded,
    DirectoryRejected,
    DirectoryUnavailable,
    FileExists,
    FileMissing,
    InvalidInput,
    KeyUnreadable,
    MalformedJson,
    MalformedStatement,
    NotPublished,
    PartyUnknown,
)
from security.files import read_file, write_file
from security.ids import PartyId, Role
from security.keys.errors import WrongPassphrase
from security.keys.keyset import KeySet, Scheme, SoftwareSigner, generate
from security.keys.store import lock
from tests.support.directories import PASSPHRASE, QUICK, House, Place, card_of, clock, house

A = PartyId("hospital-a")
DIGEST = digest_of(b"a base image")


@pytest.fixture
def home(tmp_path: Path) -> House:
    made = house(tmp_path / "workspace")
    made.admit(A)
    return made


def change(home: House, **what: object) -> RootState:
    return rotate_keys(
        home.workspace,
        home.root_signers(),
        replace(RootChange(), **what),  # type: ignore[arg-type] # each test names the fields it changes
        passphrase=PASSPHRASE,
        lifetimes=Lifetimes(),
        now=clock(),
        log_n=QUICK,
    )


class PowerCutError(Exception):
    """The machine stops here."""


def cut_after(writes: int) -> Place:
    left = iter(range(writes))

    def count(_name: str) -> None:
        if next(left, None) is None:
            raise PowerCutError

    return Place(before_write=count)


# --- Publishing ------------------------------------------------------------------------------------------------------


def test_a_folder_is_a_directory(home: House, tmp_path: Path) -> None:
    folder = FolderDirectory(tmp_path / "www" / "directory")
    home.publish(folder)
    trust = load_trust(folder, tmp_path / "cache", home.root, clock())
    assert trust.current(A, Role.STATION, clock()) == home.secrets[A].key_set
    assert (tmp_path / "www" / "directory" / "timestamp.json").stat().st_mode & 0o777 == 0o644
    with pytest.raises(NotPublished):
        folder.read("2.root.json", 100)
    with pytest.raises(NotPublished):
        folder.read("../workspace/lock", 100)
    with pytest.raises(BudgetExceeded):
        folder.read("1.root.json", 100)
    (tmp_path / "www" / "directory" / "9.root.json").mkdir()
    with pytest.raises(DirectoryUnavailable):
        folder.read("9.root.json", 100)
    with pytest.raises(DirectoryUnavailable):
        FolderDirectory(tmp_path / "not mounted").read("1.root.json", 100)


def test_every_name_could_be_an_oci_tag(home: House) -> None:
    approve_base(home.workspace, "x" * 50, DIGEST, note="")
    home.admit("y" * 40)
    place = Place()
    home.publish(place)
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert all(len(name) <= 128 and set(name) <= allowed and name[0] not in ".-" for name in place.served)


def test_a_new_version_tells_what_changed(home: House, tmp_path: Path) -> None:
    place = Place()
    assert unpublished(home.workspace) == {"party.hospital-a.json": "added", "policy.json": "added"}
    home.publish(place)
    assert unpublished(home.workspace) == {}
    approve_base(home.workspace, "python", DIGEST, note="built in CI")
    revoke(home.workspace, A, None, since=clock(), now=clock())
    assert unpublished(home.workspace) == {"base.python.json": "added", "party.hospital-a.json": "changed"}
    assert load_trust(place, tmp_path / "cache", home.root, clock()).bases == {}, "staged is not published"
    home.publish(place)
    assert load_trust(place, tmp_path / "cache", home.root, clock()).approved_base(DIGEST).name == "python"


def test_the_online_key_alone_renews(home: House, tmp_path: Path) -> None:
    place = Place()
    with pytest.raises(InvalidInput):
        home.publish(place, refresh=True)
    home.publish(place, now=clock() - timedelta(days=6))
    early = load_trust(place, tmp_path / "cache", home.root, clock())
    approve_base(home.workspace, "python", DIGEST, note="")
    for path in home.workspace.path.glob("targets-*.age"):
        path.unlink()
    renewed = home.publish(place, refresh=True)
    assert renewed.versions == {"root": 1, "targets": 1, "snapshot": 2, "timestamp": 2}
    late = load_trust(place, tmp_path / "cache", home.root, clock())
    assert late.expires > early.expires
    assert late.bases == {}, "a renewal publishes nothing that is only staged"
    with pytest.raises(FileMissing):
        home.publish(place)


@pytest.mark.parametrize("rotated", [False, True])
def test_a_publication_cut_anywhere_harms_nobody_and_is_repeated(tmp_path: Path, rotated: bool) -> None:
    home = house(tmp_path / "workspace")
    home.admit(A)
    first = Place()
    home.publish(first)
    home.admit("hospital-b")
    if rotated:
        change(home, replace_targets=True, replace_online=True)
    for writes in range(20):
        place = cut_after(writes)
        place.served = dict(first.served)
        cache = tmp_path / f"cache-{writes}"
        assert load_trust(first, cache, home.root, clock()).version.targets == 1
        try:
            home.publish(place)
            whole = True
        except PowerCutError:
            whole = False
            try:
                met = load_trust(place, cache, home.root, clock())
                assert met.version.targets == 1
            except DirectoryRejected:  # between the new root and the new timestamp; see security/directory/publish.py
                assert rotated
                assert "2.root.json" in place.served
        place.before_write = lambda _name: None
        home.publish(place)
        assert set(load_trust(place, cache, home.root, clock()).parties) == {A, "hospital-b"}
        if whole:
            break
    else:
        pytest.fail("the publication never ended")
    assert writes >= 7


def test_the_timestamp_is_written_last(home: House) -> None:
    order: list[str] = []
    place = Place(before_write=order.append)
    home.publish(place)
    assert order[-2:] == ["1.root.json", "timestamp.json"]
    assert order[-4:-2] == ["1.targets.json", "1.snapshot.json"]


def test_a_workspace_cut_while_signing_goes_on(home: House, tmp_path: Path) -> None:
    home.publish(Place())
    published = home.workspace.published
    (published / "2.targets.json").write_bytes((published / "1.targets.json").read_bytes())
    (published / ".timestamp.json.x.part").write_bytes(b"half")
    place = Place()
    assert home.publish(place).versions["targets"] == 3
    assert A in load_trust(place, tmp_path / "cache", home.root, clock()).parties


# --- Keys ------------------------------------------------------------------------------------------------------------


def test_all_keys_can_be_changed_and_participants_follow(home: House, tmp_path: Path) -> None:
    place = Place()
    home.publish(place)
    load_trust(place, tmp_path / "old", home.root, clock())
    stale_targets, stale_online = home.targets_key(), home.online_key()
    before = root_state(home.workspace)
    state = change(
        home,
        replace_targets=True,
        replace_online=True,
        add_root_keys=2,
        drop_root_keys=(before.root_keys[0],),
        threshold=3,
    )
    assert (state.version, len(state.root_keys), state.threshold) == (2, 4, 3)
    assert state.fingerprint == before.fingerprint, "the pin stays"
    for key in (stale_targets, None):
        with pytest.raises(KeyUnreadable):
            _publish_with(home, place, key, stale_online)
    with pytest.raises(KeyUnreadable):
        home.publish(place, refresh=True)
    home.publish(place)
    for cache in ("old", "new"):
        assert load_trust(place, tmp_path / cache, home.root, clock()).version.root == 2
    change(home)
    home.publish(place, refresh=True)
    assert load_trust(place, tmp_path / "old", home.root, clock()).version.root == 3


def _publish_with(home: House, place: DirectorySink, targets: object, online: object) -> None:
    from security.directory.publish import publish

    publish(home.workspace, place, targets_key=targets, online_key=online, lifetimes=Lifetimes(), now=clock())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "what",
    [
        {"threshold": 4},
        {"drop_root_keys": ("00000000",)},
        {"drop_root_keys": ("",)},
        {"add_root_keys": 14},
    ],
)
def test_impossible_roots_are_not_made(home: House, what: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        change(home, **what)
    assert root_state(home.workspace).version == 1


def test_too_few_keys_would_be_left(home: House) -> None:
    first, second, _ = root_state(home.workspace).root_keys
    with pytest.raises(InvalidInput):
        change(home, drop_root_keys=(first, second))


@pytest.mark.parametrize(("keys", "threshold"), [(1, 2), (3, 0), (17, 2)])
def test_a_threshold_fits_its_keys(tmp_path: Path, keys: int, threshold: int) -> None:
    with pytest.raises(InvalidInput):
        house(tmp_path / "workspace", keys=keys, threshold=threshold)
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_is_made_once_and_its_keys_are_private(home: House) -> None:
    with pytest.raises(FileExists):
        house(home.workspace.path)
    keys = list(home.workspace.path.rglob("*.age"))
    assert len(keys) == 5
    assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
    with pytest.raises(WrongPassphrase):
        open_targets_key(home.workspace, b"another passphrase")
    with pytest.raises(InvalidInput):
        init_workspace(
            home.workspace.path.parent / "short",
            root_passphrases=[b"short"],
            threshold=1,
            targets_passphrase=PASSPHRASE,
            online_passphrase=PASSPHRASE,
            policy=Policy(),
            lifetimes=Lifetimes(),
            now=clock(),
            log_n=QUICK,
        )
    assert [path.name for path in home.workspace.path.parent.iterdir()] == ["workspace"]


def test_new_keys_are_not_made_without_a_passphrase(home: House) -> None:
    with pytest.raises(InvalidInput):
        rotate_keys(
            home.workspace,
            home.root_signers(),
            RootChange(replace_online=True),
            passphrase=None,
            lifetimes=Lifetimes(),
            now=clock(),
            log_n=QUICK,
        )
    assert root_state(home.workspace).version == 1


def test_a_root_key_file_holds_one_key(home: House, tmp_path: Path) -> None:
    two = b"".join(signer.to_pkcs8() for signer in home.root_signers()[:2])
    write_file(tmp_path / "two.age", lock(two, PASSPHRASE, log_n=QUICK))
    with pytest.raises(KeyUnreadable):
        open_root_key(tmp_path / "two.age", PASSPHRASE)


@pytest.mark.parametrize("content", [b"", b"{}", b"not json"])
def test_a_damaged_workspace_signs_nothing(home: House, content: bytes) -> None:
    place = Place()
    home.publish(place)
    before = dict(place.served)
    (home.workspace.published / "timestamp.json").write_bytes(content)
    with pytest.raises(DirectoryRejected):
        home.publish(place)
    (home.workspace.published / "timestamp.json").write_bytes(before["1.snapshot.json"])
    with pytest.raises(DirectoryRejected):
        home.publish(place)
    assert place.served == before


def test_what_is_no_workspace_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(FileMissing):
        Workspace(tmp_path)


# --- Staging ---------------------------------------------------------------------------------------------------------


def test_a_party_is_added_once_and_rotated_with_an_overlap(home: House) -> None:
    old, new = home.secrets[A], generate([Scheme.ED25519, Scheme.ML_DSA_65])
    with pytest.raises(FileExists):
        add_party(home.workspace, card_of(new, A), now=clock())
    with pytest.raises(PartyUnknown):
        rotate_party(home.workspace, card_of(new, "nobody"), overlap=timedelta(0), now=clock())
    with pytest.raises(InvalidInput):
        rotate_party(home.workspace, card_of(new, A, Role.OWNER), overlap=timedelta(0), now=clock())
    with pytest.raises(InvalidInput):
        rotate_party(home.workspace, card_of(old, A), overlap=timedelta(0), now=clock())
    with pytest.raises(InvalidInput):
        rotate_party(home.workspace, card_of(new, A), overlap=timedelta(days=-1), now=clock())
    now = clock()
    rotate_party(home.workspace, card_of(new, A), overlap=timedelta(days=14), now=now)
    trust = home.workspace.staged()
    assert trust.current(A, Role.STATION, now) == new.key_set
    assert trust.pinned(A, Role.STATION, old.key_set.fingerprint, now + timedelta(days=13)) == old.key_set
    (first, second) = trust.parties[A].key_sets
    assert (first.until, second.until) == (now + timedelta(days=14), None)


def test_a_later_rotation_does_not_lengthen_an_ending(home: House) -> None:
    now = clock()
    for day, overlap in ((0, 14), (1, 100)):
        card = card_of(generate([Scheme.ED25519]), A)
        rotate_party(home.workspace, card, overlap=timedelta(days=overlap), now=now + timedelta(days=day))
    first, second, third = home.workspace.staged().parties[A].key_sets
    assert (first.until, second.until, third.until) == (now + timedelta(days=14), now + timedelta(days=101), None)


def test_the_number_of_key_sets_is_bounded(home: House) -> None:
    party = home.workspace.staged().parties[A]
    (record,) = party.key_sets
    sealing = record.key_set.sealing
    signing = (SoftwareSigner.generate(Scheme.ED25519).public for _ in range(MAX_KEY_SETS))
    many = replace(party, key_sets=tuple(replace(record, key_set=KeySet.of([key], sealing)) for key in signing))
    path = home.workspace.work / "party.hospital-a.json"
    path.write_bytes(print_party(many))
    with pytest.raises(InvalidInput):
        rotate_party(home.workspace, card_of(generate([Scheme.ED25519]), A), overlap=timedelta(0), now=clock())
    assert parse_party(read_file(path)) == many


def test_a_party_with_anothers_key_is_not_staged(home: House) -> None:
    with pytest.raises(DirectoryRejected):
        add_party(home.workspace, card_of(home.secrets[A], "hospital-b"), now=clock())
    assert not (home.workspace.work / "party.hospital-b.json").exists()


def test_only_what_is_there_is_revoked(home: House) -> None:
    with pytest.raises(PartyUnknown):
        revoke(home.workspace, PartyId("nobody"), None, since=clock(), now=clock())
    with pytest.raises(InvalidInput):
        revoke(home.workspace, A, "0" * 32, since=clock(), now=clock())
    assert not home.workspace.staged().parties[A].revoked
    assert revoke(home.workspace, A, None, since=clock(), now=clock()).revoked


def test_base_images_are_approved_and_withdrawn(home: House) -> None:
    approve_base(home.workspace, "python", DIGEST, note="")
    approve_base(home.workspace, "python", DIGEST, note="a better note")
    with pytest.raises(FileExists):
        approve_base(home.workspace, "python", digest_of(b"other"), note="")
    with pytest.raises(DirectoryRejected):
        approve_base(home.workspace, "python-again", DIGEST, note="")
    with pytest.raises(InvalidInput):
        approve_base(home.workspace, "python", DIGEST, note="two\nlines")
    with pytest.raises(FileMissing):
        withdraw_base(home.workspace, "perl")
    assert withdraw_base(home.workspace, "python").withdrawn


def test_an_image_whose_name_was_given_to_another_is_still_known_and_approved_no_more(home: House) -> None:
    """What ran on it is verified by whoever opens its results: the directory must know it."""
    other, third = digest_of(b"other"), digest_of(b"third")
    approve_base(home.workspace, "python", DIGEST, note="the first")
    withdraw_base(home.workspace, "python")
    approve_base(home.workspace, "python", other, note="")
    staged = home.workspace.staged()
    assert {digest: base.withdrawn for digest, base in staged.bases.items()} == {DIGEST: True, other: False}
    assert (staged.base_named("python").digest, staged.bases[DIGEST].note) == (other, "the first")
    assert was_withdrawn(home.workspace, "python", DIGEST)
    assert not was_withdrawn(home.workspace, "python", third)
    withdraw_base(home.workspace, "python")
    approve_base(home.workspace, "python", DIGEST, note="")  # after all
    bases = home.workspace.staged().bases
    assert {digest: base.withdrawn for digest, base in bases.items()} == {DIGEST: False, other: True}
    assert bases[DIGEST].name == "python"
    assert not was_withdrawn(home.workspace, "python", DIGEST)


def test_a_change_of_two_documents_that_was_cut_off_is_whole_once_it_is_repeated(home: House) -> None:
    other = digest_of(b"other")
    approve_base(home.workspace, "python", DIGEST, note="")
    withdraw_base(home.workspace, "python")
    before = (home.workspace.work / "base.python.json").read_bytes()
    approve_base(home.workspace, "python", other, note="")
    (home.workspace.work / "base.python.json").write_bytes(before)  # the other document was written first
    with pytest.raises(DirectoryRejected):
        home.workspace.staged()
    approve_base(home.workspace, "python", other, note="")
    bases = home.workspace.staged().bases
    assert {digest: base.withdrawn for digest, base in bases.items()} == {DIGEST: True, other: False}


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("party.x.json", b"{", MalformedJson),
        ("notes.json", b"{}", DirectoryRejected),
        ("policy.json", b'{"type": "pht-policy-v1"}', MalformedStatement),
    ],
)
def test_a_document_spoiled_by_hand_is_not_signed(
    home: House, name: str, content: bytes, error: type[Exception]
) -> None:
    (home.workspace.work / name).write_bytes(content)
    place = Place()
    with pytest.raises(error):
        home.publish(place)
    assert place.served == {}
    assert not list(home.workspace.published.glob("*.targets.json"))


# --- One cache, many processes ---------------------------------------------------------------------------------------

READER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from security.directory.client import FolderDirectory, load_trust
folder, cache, root = map(Path, sys.argv[1:])
for _ in range(10):
    print(load_trust(FolderDirectory(folder), cache, root.read_bytes(), datetime.now(UTC)).version.targets)
"""


def test_processes_share_a_cache_while_the_directory_changes(home: House, tmp_path: Path) -> None:
    folder = FolderDirectory(tmp_path / "directory")
    home.publish(folder)
    arguments = [str(tmp_path / "directory"), str(tmp_path / "cache"), str(home.workspace.published / "1.root.json")]
    readers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", READER, *arguments], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for _ in range(5):
        home.publish(folder)
    outputs = [reader.communicate(timeout=120)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 4
    for output in outputs:
        seen = [int(line) for line in output.split()]
        assert len(seen) == 10
        assert seen == sorted(seen)


def test_threads_share_a_cache(home: House, tmp_path: Path) -> None:
    place = Place()
    home.publish(place)
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: load_trust(place, tmp_path / "cache", home.root, clock()), range(24)))
    assert {store.version.targets for store in stores} == {1}
