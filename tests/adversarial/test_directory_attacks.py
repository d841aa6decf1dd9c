"""T21: whoever owns the place the directory lies at, or one of its keys, tries to have something else believed."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from tuf.api.metadata import (
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)

from registry.errors import ForeignRedirect, RegistryMisbehaved
from security.digest import Digest, digest_of
from security.directory.client import FolderDirectory, check_root, load_trust, pin_root
from security.directory.root import Lifetimes, RootChange, rotate_keys
from security.directory.trust import TrustStore
from security.directory.workspace import approve_base, revoke, rotate_party
from security.errors import (
    BudgetExceeded,
    DigestMismatch,
    DirectoryExpired,
    DirectoryRejected,
    DirectoryRolledBack,
    DirectoryUnavailable,
    KeyNotTrusted,
    KeyOutsideValidity,
    KeyRevoked,
    MalformedArtifact,
    MalformedJson,
    NotPinned,
    NotPublished,
    PartyUnknown,
    Refused,
    SignatureMissing,
)
from security.ids import PartyId, Role
from security.keys.keyset import Scheme, SoftwareSigner, generate, spell
from security.statement.envelope import sign, verify
from tests.support.directories import PASSPHRASE, QUICK, House, Place, card_of, clock, house, participant

A = PartyId("hospital-a")
DAY = timedelta(days=1)


@pytest.fixture
def home(tmp_path: Path) -> House:
    made = house(tmp_path / "workspace")
    made.admit(A)
    return made


@pytest.fixture
def place(home: House) -> Place:
    made = Place()
    home.publish(made)
    return made


@pytest.fixture
def look(tmp_path: Path, home: House, place: Place) -> Callable[[], TrustStore]:
    return participant(tmp_path / "cache", place, home.root)


def resigned(raw: bytes, *signers: SoftwareSigner) -> bytes:
    metadata = Metadata.from_bytes(raw)
    metadata.signatures.clear()
    for signer in signers:
        metadata.sign(signer.for_tuf(), append=True)
    return metadata.to_bytes()


S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


def signed(body: S, *signers: SoftwareSigner) -> bytes:
    return resigned(Metadata(body).to_bytes(), *signers)


def forge_online(place: Place, key: SoftwareSigner, targets_version: int, targets: bytes, version: int) -> None:
    """Make the online metadata name other targets, with whatever key the attacker has."""
    until = clock() + DAY
    listed = {"targets.json": MetaFile.from_data(targets_version, targets, ["sha256"])}
    snapshot = signed(Snapshot(version=version, expires=until, meta=listed), key)
    named = MetaFile.from_data(version, snapshot, ["sha256"])
    place.served[f"{version}.snapshot.json"] = snapshot
    place.served["timestamp.json"] = signed(Timestamp(version=version, expires=until, snapshot_meta=named), key)


def forge_targets(place: Place, home: House, body: Targets, *, by: SoftwareSigner) -> None:
    raw = signed(body, by)
    place.served[f"{body.version}.targets.json"] = raw
    forge_online(place, home.online_key(), body.version, raw, 2)


# --- Rollback, freeze, expiry ----------------------------------------------------------------------------------------


def test_t21_an_older_directory_than_one_seen_is_refused(
    home: House, place: Place, look: Callable[[], TrustStore]
) -> None:
    before = dict(place.served)
    home.admit("hospital-b")
    home.publish(place)
    assert look().version.targets == 2
    place.served = before
    with pytest.raises(DirectoryRolledBack) as caught:
        look()
    assert caught.value.code == "directory.rolled-back"
    home.publish(place)
    assert look().version.targets == 3, "and the participant recovers by itself"


def test_t21_an_older_list_under_a_newer_timestamp_is_refused(
    home: House, place: Place, look: Callable[[], TrustStore]
) -> None:
    old = place.served["1.targets.json"]
    revoke(home.workspace, A, None, since=clock(), now=clock())
    home.publish(place)
    look()
    forge_online(place, home.online_key(), 1, old, 3)  # a stolen online key must not undo a revocation
    with pytest.raises(DirectoryRolledBack):
        look()


def test_t21_a_mixture_of_two_versions_is_refused(home: House, place: Place, look: Callable[[], TrustStore]) -> None:
    old = place.served["1.snapshot.json"]
    home.publish(place)
    place.served["2.snapshot.json"] = old
    with pytest.raises(DirectoryRejected):
        look()
    assert home.publish(place).versions["snapshot"] == 3
    place.served["3.targets.json"] = place.served["1.targets.json"]
    with pytest.raises(DirectoryRejected):
        look()


def test_t21_a_directory_that_is_no_longer_renewed_is_refused(home: House, place: Place, tmp_path: Path) -> None:
    home.publish(place, now=clock() - 8 * DAY)
    with pytest.raises(DirectoryExpired) as caught:
        load_trust(place, tmp_path / "cache", home.root, clock())
    assert caught.value.hint is not None


def test_t21_withheld_news_is_noticed_by_the_callers_clock(
    look: Callable[[], TrustStore], home: House, place: Place, tmp_path: Path
) -> None:
    look()
    with pytest.raises(DirectoryExpired):
        load_trust(place, tmp_path / "cache", home.root, clock() + 8 * DAY)


@pytest.mark.parametrize("role", ["targets", "snapshot", "timestamp"])
def test_t21_each_part_expires_by_itself(home: House, place: Place, tmp_path: Path, role: str) -> None:
    lifetimes = replace(Lifetimes(), **{role: timedelta(hours=1)})
    home.publish(place, now=clock() - timedelta(hours=2), lifetimes=lifetimes)
    with pytest.raises(DirectoryExpired):
        load_trust(place, tmp_path / "cache", home.root, clock())


def test_t21_an_expired_root_is_refused_until_it_is_renewed(tmp_path: Path) -> None:
    old = house(tmp_path / "workspace", now=clock() - 400 * DAY)
    place = Place()
    old.publish(place)
    with pytest.raises(DirectoryExpired):
        load_trust(place, tmp_path / "cache", old.root, clock())
    rotate_keys(
        old.workspace,
        old.root_signers(),
        RootChange(),
        passphrase=None,
        lifetimes=Lifetimes(),
        now=clock(),
        log_n=QUICK,
    )
    old.publish(place)
    assert load_trust(place, tmp_path / "cache", old.root, clock()).version.root == 2


# --- Parties and keys ------------------------------------------------------------------------------------------------


def test_t21_unknown_revoked_and_expired_keys_are_told_apart(
    home: House, place: Place, look: Callable[[], TrustStore]
) -> None:
    first = home.secrets[A].key_set
    with pytest.raises(PartyUnknown):
        look().current(PartyId("hospital-z"), Role.STATION, clock())
    assert look().current(A, Role.STATION, clock()) == first

    second = generate([Scheme.P256])
    rotate_party(home.workspace, card_of(second, A), overlap=timedelta(0), now=clock())
    home.publish(place)
    trust = look()
    assert trust.current(A, Role.STATION, clock()) == second.key_set
    with pytest.raises(KeyOutsideValidity):
        trust.pinned(A, Role.STATION, first.fingerprint, clock())
    with pytest.raises(KeyNotTrusted):
        trust.pinned(A, Role.STATION, generate([Scheme.ED25519]).key_set.fingerprint, clock())

    revoke(home.workspace, A, str(first.fingerprint), since=clock(), now=clock())
    home.publish(place)
    with pytest.raises(KeyRevoked):
        look().pinned(A, Role.STATION, first.fingerprint, clock())
    revoke(home.workspace, A, None, since=clock(), now=clock())
    home.publish(place)
    with pytest.raises(KeyRevoked):
        look().current(A, Role.STATION, clock())


def test_t21_one_of_two_required_signatures_stripped_is_refused(
    home: House, place: Place, look: Callable[[], TrustStore]
) -> None:
    home.admit("hospital-b", schemes=[Scheme.ED25519, Scheme.ML_DSA_65])
    home.publish(place)
    required = look().current(PartyId("hospital-b"), Role.STATION, clock())
    envelope = sign(b"{}", home.secrets["hospital-b"].signers)
    assert verify(envelope, required).value == b"{}"
    for kept in envelope.signatures:
        with pytest.raises(SignatureMissing):
            verify(replace(envelope, signatures=(kept,)), required)


# --- Foreign signatures ----------------------------------------------------------------------------------------------


def test_t21_another_consortiums_directory_is_refused(
    look: Callable[[], TrustStore], place: Place, tmp_path: Path
) -> None:
    mallory = house(tmp_path / "mallory")
    look()
    mallory.publish(place)
    mallory.publish(place)
    with pytest.raises(DirectoryRejected):
        look()


def test_t21_a_root_with_too_few_signatures_is_refused(
    home: House, place: Place, look: Callable[[], TrustStore]
) -> None:
    one, *_ = home.root_signers()
    root = Metadata[Root].from_bytes(home.root).signed
    root.version, root.roles[Root.type].threshold = 2, 1
    place.served["2.root.json"] = signed(root, one)
    with pytest.raises(DirectoryRejected):
        look()
    doubled = Metadata[Root].from_bytes(place.served["2.root.json"])
    stranger = SoftwareSigner.generate(Scheme.ED25519)
    doubled.sign(stranger.for_tuf(), append=True)  # a second signature, but not a second root key
    place.served["2.root.json"] = doubled.to_bytes()
    with pytest.raises(DirectoryRejected):
        look()


def test_t21_the_threshold_also_binds_the_consortium(home: House) -> None:
    for signers in ([], home.root_signers()[:1], [SoftwareSigner.generate(Scheme.ED25519)] * 2):
        with pytest.raises(KeyNotTrusted):
            rotate_keys(
                home.workspace,
                signers,
                RootChange(),
                passphrase=None,
                lifetimes=Lifetimes(),
                now=clock(),
                log_n=QUICK,
            )
    assert sorted(path.name for path in home.workspace.published.glob("*.root.json")) == ["1.root.json"]


def test_t21_a_dropped_root_key_no_longer_counts(home: House, place: Place, look: Callable[[], TrustStore]) -> None:
    signers = home.root_signers()
    change = RootChange(drop_root_keys=(signers[0].for_tuf().public_key.keyid,))
    rotate_keys(home.workspace, signers, change, passphrase=None, lifetimes=Lifetimes(), now=clock(), log_n=QUICK)
    home.publish(place)
    assert look().version.root == 2
    root = Metadata[Root].from_bytes(place.served["2.root.json"]).signed
    root.version = 3
    place.served["3.root.json"] = signed(root, *signers[:2])
    with pytest.raises(DirectoryRejected):
        look()


def test_t21_a_skipped_root_is_refused(home: House, place: Place, look: Callable[[], TrustStore]) -> None:
    root = Metadata[Root].from_bytes(home.root).signed
    root.version = 3
    place.served["2.root.json"] = signed(root, *home.root_signers())
    with pytest.raises(DirectoryRolledBack):
        look()


def test_t21_a_list_signed_with_the_online_key_is_refused(
    home: House, place: Place, look: Callable[[], TrustStore]
) -> None:
    body = Metadata[Targets].from_bytes(place.served["1.targets.json"]).signed
    body.version = 2
    forge_targets(place, home, body, by=home.online_key())
    with pytest.raises(DirectoryRejected):
        look()


def test_t21_a_list_that_delegates_is_refused(home: House, place: Place, look: Callable[[], TrustStore]) -> None:
    body = Metadata[Targets].from_bytes(place.served["1.targets.json"]).signed
    body.version, body.delegations = 2, Delegations(keys={}, roles={})
    forge_targets(place, home, body, by=home.targets_key())
    with pytest.raises(DirectoryRejected):
        look()


@pytest.mark.parametrize("name", ["../../outside", "party.HOSPITAL.json", "a/b.json", "party.x.json\n"])
def test_t21_a_list_with_an_impossible_name_is_refused(
    home: House, place: Place, look: Callable[[], TrustStore], tmp_path: Path, name: str
) -> None:
    target = TargetFile.from_data(name, b"{}", ["sha256"])
    before = sorted(tmp_path.iterdir())
    body = Targets(version=2, expires=clock() + DAY, targets={name: target})
    forge_targets(place, home, body, by=home.targets_key())
    with pytest.raises(DirectoryRejected):
        look()
    assert sorted(tmp_path.iterdir()) == sorted({*before, tmp_path / "cache"})


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b'{"signatures": [], "signed": {}}', b"[" * 100_000])
def test_t21_rubbish_is_refused(place: Place, look: Callable[[], TrustStore], name: str, content: bytes) -> None:
    place.served[name] = content
    with pytest.raises(DirectoryRejected):
        look()


@pytest.mark.parametrize("name", ["timestamp.json", "1.snapshot.json", "1.targets.json"])
def test_t21_metadata_without_its_signature_is_refused(place: Place, look: Callable[[], TrustStore], name: str) -> None:
    place.served[name] = resigned(place.served[name])
    with pytest.raises(DirectoryRejected):
        look()


# --- Documents -------------------------------------------------------------------------------------------------------


def test_t21_a_document_with_other_content_is_refused(place: Place, look: Callable[[], TrustStore]) -> None:
    (name,) = (name for name in place.served if ".party." in name)
    good = place.served[name]
    for other in (good.replace(b"Hospital", b"Hospitax"), good + b"\n", good[:-1], b""):
        place.served[name] = other
        with pytest.raises(DirectoryRejected):
            look()
    place.served[name] = good
    assert A in look().parties


def test_t21_a_document_signed_by_mistake_is_still_refused(
    home: House, place: Place, look: Callable[[], TrustStore]
) -> None:
    raw = b'{"type": "pht-party-v1"}'
    target = TargetFile.from_data("party.x.json", raw, ["sha256"])
    place.served[f"{digest_of(raw).hex}.party.x.json"] = raw
    forge_targets(
        place, home, Targets(version=2, expires=clock() + DAY, targets={"party.x.json": target}), by=home.targets_key()
    )
    with pytest.raises(DirectoryRejected) as caught:
        look()
    assert caught.value.code == "directory.rejected"


def test_t21_a_document_in_the_cache_is_not_believed(look: Callable[[], TrustStore], tmp_path: Path) -> None:
    look()
    cached = tmp_path / "cache" / "targets" / "party.hospital-a.json"
    cached.write_bytes(cached.read_bytes().replace(b"Hospital", b"Hospitax"))
    assert look().parties[A].title == "Hospital-A"


# --- The place -------------------------------------------------------------------------------------------------------


class Away:
    """A place that cannot be reached."""

    def read(self, name: str, limit: int) -> bytes:
        msg = "the place is away"
        raise DirectoryUnavailable(msg, name=name, limit=limit)


class Endless:
    """A place that never stops sending, whatever the limit."""

    def read(self, name: str, limit: int) -> bytes:  # noqa: ARG002 - the port's signature
        return bytes(6_000_000)


def test_t21_a_place_that_is_away_may_come_back(home: House, look: Callable[[], TrustStore], tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnavailable) as caught:
        load_trust(Away(), tmp_path / "cache", home.root, clock())
    assert caught.value.exit == 20
    assert A in look().parties


def test_t21_endless_files_are_refused(home: House, tmp_path: Path) -> None:
    with pytest.raises(DirectoryRejected):
        load_trust(Endless(), tmp_path / "cache", home.root, clock())


def test_t21_a_file_beyond_the_limit_is_refused(place: Place, look: Callable[[], TrustStore]) -> None:
    place.served["timestamp.json"] = bytes(6_000_000)
    with pytest.raises(DirectoryRejected) as caught:
        look()
    assert caught.value.code == "directory.rejected"


@pytest.mark.parametrize(
    "refusal",
    [MalformedArtifact, MalformedJson, DigestMismatch, BudgetExceeded, RegistryMisbehaved, ForeignRedirect],
)
def test_t21_what_a_place_gives_instead_refuses_the_directory_and_nothing_else(
    home: House, place: Place, look: Callable[[], TrustStore], tmp_path: Path, refusal: type[Refused]
) -> None:
    """A station that took it for a verdict on the train at hand would refuse an honest one for good."""

    class Damaged:
        def read(self, name: str, limit: int) -> bytes:
            if name != self.bad:
                return place.read(name, limit)
            msg = "as a registry's reader says it"
            raise refusal(msg)

        bad = "timestamp.json"

    damaged = Damaged()
    for bad in [name for name in place.served if name != "1.root.json"]:
        damaged.bad = bad
        with pytest.raises(DirectoryRejected) as caught:
            load_trust(damaged, tmp_path / bad, home.root, clock())
        assert caught.value.code == "directory.rejected"
    assert A in look().parties


def test_t21_between_new_keys_and_their_first_timestamp_nothing_is_believed_and_nothing_lost(
    home: House, place: Place, look: Callable[[], TrustStore]
) -> None:
    before = look().version
    change = RootChange(replace_targets=True, replace_online=True)
    rotate_keys(
        home.workspace,
        home.root_signers(),
        change,
        passphrase=PASSPHRASE,
        lifetimes=Lifetimes(),
        now=clock(),
        log_n=QUICK,
    )
    old = place.served["timestamp.json"]
    home.publish(place)
    new, place.served["timestamp.json"] = place.served["timestamp.json"], old
    for _ in range(2):
        with pytest.raises(DirectoryRejected):
            look()
    place.served["timestamp.json"] = new
    after = look().version
    assert (after.root, after.targets) == (before.root + 1, before.targets + 1)


def test_t21_changes_made_at_once_do_not_undo_each_other(home: House) -> None:
    """Of two administrators, one revokes a stolen key set while the other gives the party a new one."""
    for _ in range(7):
        rotate_party(home.workspace, card_of(generate([Scheme.ED25519]), A), overlap=DAY, now=clock())
    stolen = [record.key_set.fingerprint for record in home.workspace.staged().parties[A].key_sets]
    new = card_of(generate([Scheme.ED25519]), A)
    together = threading.Barrier(len(stolen) + 1)

    def revoking(fingerprint: Digest) -> None:
        together.wait()
        revoke(home.workspace, A, fingerprint, since=clock(), now=clock())

    def rotating() -> None:
        together.wait()
        rotate_party(home.workspace, new, overlap=DAY, now=clock())

    with ThreadPoolExecutor(len(stolen) + 1) as administrators:
        work = [administrators.submit(revoking, one) for one in stolen] + [administrators.submit(rotating)]
        for one in work:
            one.result()
    records = home.workspace.staged().parties[A].key_sets
    assert [record.key_set.fingerprint for record in records if record.revoked] == stolen
    assert [record.key_set for record in records if not record.revoked] == [new.key_set]


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_t15_a_stick_with_something_else_than_files_holds_nobody_up(home: House, tmp_path: Path, kind: str) -> None:
    stick = tmp_path / "stick"
    home.publish(FolderDirectory(stick))
    (stick / "timestamp.json").unlink()
    match kind:
        case "pipe":
            os.mkfifo(stick / "timestamp.json")
        case "device":
            (stick / "timestamp.json").symlink_to("/dev/zero")
        case _:
            (stick / "timestamp.json").mkdir()
    with pytest.raises(DirectoryUnavailable) as caught:
        load_trust(FolderDirectory(stick), tmp_path / "cache", home.root, clock())
    assert caught.value.code == "directory.unavailable"


def test_t21_a_withheld_file_is_not_a_refusal(home: House, place: Place, tmp_path: Path) -> None:
    for name in [name for name in place.served if not name.endswith(("root.json", "timestamp.json"))]:
        kept = place.served.pop(name)
        with pytest.raises(DirectoryUnavailable):
            load_trust(place, tmp_path / name, home.root, clock())
        place.served[name] = kept
        assert A in load_trust(place, tmp_path / name, home.root, clock()).parties


def test_t21_an_empty_place_holds_no_directory(home: House, tmp_path: Path) -> None:
    with pytest.raises(NotPublished):
        load_trust(Place(), tmp_path / "cache", home.root, clock())


# --- Pinning ---------------------------------------------------------------------------------------------------------


def test_t21_only_the_root_that_was_read_out_is_pinned(home: House, place: Place, tmp_path: Path) -> None:
    fingerprint = spell(digest_of(home.root))
    assert pin_root(place, fingerprint) == home.root
    mallory = house(tmp_path / "mallory")
    mallory.publish(place)
    with pytest.raises(NotPinned) as caught:
        pin_root(place, fingerprint)
    assert caught.value.code == "directory.not-pinned"
    with pytest.raises(NotPublished):
        pin_root(Place(), fingerprint)


def test_t21_what_is_no_signed_root_is_not_pinned(home: House, place: Place) -> None:
    one, *_ = home.root_signers()
    for raw in (b"", b"{}", place.served["timestamp.json"], resigned(home.root), resigned(home.root, one)):
        with pytest.raises(NotPinned):
            check_root(raw)


def test_t21_a_participant_does_not_start_from_something_else(place: Place, tmp_path: Path) -> None:
    for raw in (b"", b"{}", place.served["timestamp.json"]):
        with pytest.raises(NotPinned):
            load_trust(place, tmp_path / "cache", raw, clock())


def test_t21_a_cache_of_another_consortium_gives_nothing_away(
    home: House, place: Place, look: Callable[[], TrustStore], tmp_path: Path
) -> None:
    mallory = house(tmp_path / "mallory")
    mallory.admit("mallory")
    elsewhere = Place()
    for _ in range(3):
        mallory.publish(elsewhere)
    participant(tmp_path / "cache", elsewhere, mallory.root)()
    assert set(look().parties) == {A}
    shutil.rmtree(tmp_path / "cache")
    assert set(look().parties) == {A}
    approve_base(home.workspace, "python", digest_of(b"x"), note="")
    home.publish(place)
    assert look().base_named("python").digest == digest_of(b"x")
