"""T24, T10, T11 and T1 to T9 at the owner's door: what came home is opened by its owner, after its whole journey, or not at all.

Each test mounts the attack on the artifact that waits in the owner's mailbox, as whoever can write there could, and
then looks: the right refusal, and no results on disk.
"""

from __future__ import annotations

import io
import secrets as random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from registry.artifact import SMALL, pack
from registry.blobs import BlobFolder
from registry.depot import ReceiptKind, mailbox, receipt_tag, train_tag
from registry.memory import MemoryRegistry
from registry.oci import OCI_MANIFEST
from security.archive import Member
from security.digest import Digest, digest_of
from security.errors import (
    CodeAltered,
    DigestMismatch,
    JourneyForeignEntry,
    JourneyIncomplete,
    JourneyUnlinked,
    KeyNotTrusted,
    KeyRevoked,
    Malformed,
    NotARecipient,
    PhtError,
    SealForeign,
    SealRecipients,
    SignatureInvalid,
    SignatureMissing,
)
from security.ids import PartyId, TrainId
from security.keys.keyset import Scheme, generate
from security.statement.envelope import Envelope, Signature, sign
from security.train import seal
from security.train.journey import Outcome, StateRef, TrainParts, print_entry, read_entry
from security.train.letters import Parcel, entry_recipients, open_parcel, seal_letter
from security.train.manifest import print_manifest, read_manifest
from security.train.seal import CODE_BUDGET, CodeBinding, StateBinding, open_code, seal_code
from tests.support.owners import OwnerWorld, write_train
from tests.support.trains import in_letters, members
from train_builder.follow.collect import HomeTrain, open_home_train
from train_builder.follow.follow import StopState


@pytest.fixture
def owners(tmp_path: Path) -> OwnerWorld:
    return OwnerWorld(tmp_path)


def waiting(owners: OwnerWorld, party: str = "alice") -> tuple[TrainParts, BlobFolder]:
    """Return what waits in a mailbox, with its blobs, as whoever may read it can."""
    (arrival,) = owners.depot.arrivals(PartyId(party))
    blobs = BlobFolder(owners.path / "attacker")
    return open_parcel(owners.depot.take(arrival, blobs), [owners.secrets(party).identity]).parts, blobs


def letters(owners: OwnerWorld, train: TrainId, parts: TrainParts) -> Parcel:
    """Put parts, whatever they hold, into letters for those who read this train's."""
    return in_letters(parts, owners.home().find(train).manifest, owners.world)


def laid_out(parcel: Parcel, blobs: BlobFolder) -> bytes:
    """Return the OCI manifest of a train with everything in it that there is."""
    refs = [parcel.code.digest, *(one.digest for one in parcel.states)]
    return pack(parcel, {one: blobs.at(one).read_bytes() for one in refs if blobs.has(one)}).manifest.raw


def plant(owners: OwnerWorld, train: TrainId, parts: TrainParts, blobs: BlobFolder, *, to: str = "alice") -> None:
    """Put an artifact under the tag the owner looks for, whatever it holds."""
    parcel, party = letters(owners, train, parts), PartyId(to)
    # brings every blob, under the tag of its true length
    owners.depot.send(parcel, blobs, to=party, train=train, stop=len(parts.entries))
    owners.registry.put_manifest(mailbox(party), train_tag(train, party, None), laid_out(parcel, blobs), OCI_MANIFEST)


def opening(owners: OwnerWorld, train: TrainId, *, owner: str = "alice", keys: str | None = None) -> Path:
    into = owners.path / "results"
    found = owners.bring_home(train, owner=owner)
    open_home_train(
        found, owners.home(owner), secrets=owners.secrets(keys or owner), trust=owners.world.trust, into=into
    )
    return into


def refused(
    owners: OwnerWorld, train: TrainId, error: type[PhtError], *, owner: str = "alice", keys: str | None = None
) -> None:
    with pytest.raises(error) as caught:
        opening(owners, train, owner=owner, keys=keys)
    assert caught.value.code == error.code
    left = [path for path in owners.path.iterdir() if "results" in path.name]
    assert [path for path in left if path.is_dir()] == []


def rewritten(envelope: Envelope, old: bytes, new: bytes) -> Envelope:
    assert old in envelope.payload
    return replace(envelope, payload=envelope.payload.replace(old, new))


def put(blobs: BlobFolder, data: bytes) -> Digest:
    digest = digest_of(data)
    blobs.put(digest, len(data), io.BytesIO(data))
    return digest


def looked_at(owners: OwnerWorld, train: TrainId) -> HomeTrain:
    """Return the honest train, as if the owner had not asked for it yet."""
    found = owners.bring_home(train)
    owners.home().unnote_home(train)
    return found


def test_the_honest_journey_opens(owners: OwnerWorld) -> None:
    assert (opening(owners, owners.journey()) / "sums.json").exists()


def test_t24_another_owner_cannot_open_what_it_copied_into_its_mailbox(owners: OwnerWorld) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    plant(owners, train, parts, blobs, to="mallory")
    refused(owners, train, NotARecipient, owner="mallory")


def test_t24_the_owners_home_with_another_persons_keys(owners: OwnerWorld) -> None:
    refused(owners, owners.journey(), NotARecipient, keys="mallory")


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_t24_an_incomplete_journey(owners: OwnerWorld, kept: int) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    plant(owners, train, replace(parts, entries=parts.entries[:kept]), blobs)
    refused(owners, train, JourneyIncomplete)


def test_t24_a_journey_that_misses_its_middle(owners: OwnerWorld) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    plant(owners, train, replace(parts, entries=(parts.entries[0], parts.entries[2])), blobs)
    refused(owners, train, SignatureMissing)


def test_t4_a_journey_in_another_order(owners: OwnerWorld) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    plant(owners, train, replace(parts, entries=(parts.entries[1], parts.entries[0], parts.entries[2])), blobs)
    refused(owners, train, SignatureMissing)


def test_t24_without_its_state(owners: OwnerWorld) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    plant(owners, train, replace(parts, states=()), blobs)
    refused(owners, train, JourneyIncomplete)


def test_t24_the_state_of_an_earlier_stop(owners: OwnerWorld) -> None:
    submitted = owners.submit(write_train(owners.path / "train"))
    owners.pass_stop("hospital-a")
    early = owners.pass_stop("hospital-b")
    owners.pass_stop("hospital-c")
    parts, blobs = waiting(owners)
    with BlobFolder(owners.path / "spool-hospital-b").open(early.states[0].digest) as source:
        put(blobs, source.read())
    plant(owners, submitted.record.train, replace(parts, states=early.states), blobs)
    refused(owners, submitted.record.train, DigestMismatch)


@pytest.mark.parametrize("where", [0, 40, 400, -1])
def test_t24_a_flipped_bit_in_the_state(owners: OwnerWorld, where: int) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    (state,) = parts.states
    with blobs.open(state.digest) as source:
        data = bytearray(source.read())
    data[where] ^= 1
    digest = put(blobs, bytes(data))
    plant(owners, train, replace(parts, states=(StateRef(digest=digest, size=len(data)),)), blobs)
    refused(owners, train, DigestMismatch)


def test_t24_a_registry_that_gives_other_bytes_under_the_right_digest(owners: OwnerWorld) -> None:
    train = owners.journey(left={"sums.json": random.token_bytes(SMALL)})
    parts, _ = waiting(owners)
    (state,) = parts.states
    repo = mailbox(PartyId("alice"))
    assert isinstance(owners.registry, MemoryRegistry)
    owners.registry._blobs[repo][state.digest] = b"\0" * state.size
    refused(owners, train, DigestMismatch)


def test_t24_tampering_with_what_was_kept_at_home(owners: OwnerWorld) -> None:
    train = owners.journey()
    found = owners.bring_home(train)
    (state,) = found.accepted.states
    path = owners.home().blobs.at(state.digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    refused(owners, train, DigestMismatch)
    assert (opening(owners, train) / "sums.json").exists()  # by then it was fetched again


def test_t24_a_replaced_arrival_takes_nothing_away_that_came_home_before(owners: OwnerWorld) -> None:
    train = owners.journey()
    owners.bring_home(train)
    parts, blobs = waiting(owners)
    plant(owners, train, replace(parts, entries=parts.entries[:2]), blobs)
    assert (opening(owners, train) / "sums.json").exists()


def test_t24_what_is_no_longer_whole_at_home_is_fetched_again(owners: OwnerWorld) -> None:
    train = owners.journey()
    found = owners.bring_home(train)
    home = owners.home()
    home.blobs.at(found.digest).write_bytes(b"{}")
    (state,) = found.accepted.states
    home.blobs.drop(state.digest)
    home.blobs.drop(found.digest)
    assert (opening(owners, train) / "sums.json").exists()


@pytest.mark.parametrize("stop", [0, 200])
def test_t24_junk_beside_the_train_under_its_name_does_not_deny_it(owners: OwnerWorld, stop: int) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    repo, junk = mailbox(PartyId("alice")), replace(parts, entries=parts.entries[:1])
    raw = laid_out(letters(owners, train, junk), blobs)
    owners.registry.put_manifest(repo, train_tag(train, PartyId("alice"), stop), raw, OCI_MANIFEST)
    assert (opening(owners, train) / "sums.json").exists()


def test_t24_when_nothing_under_its_name_is_the_train_that_is_told(owners: OwnerWorld) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    plant(owners, train, replace(parts, entries=parts.entries[:2]), blobs)
    owners.registry.put_manifest(
        mailbox(PartyId("alice")),
        train_tag(train, PartyId("alice"), 1),
        laid_out(letters(owners, train, replace(parts, entries=())), blobs),
        OCI_MANIFEST,
    )
    refused(owners, train, JourneyIncomplete)


def test_t3_the_entry_of_another_train(owners: OwnerWorld) -> None:
    other = owners.journey(write_train(owners.path / "other"))
    others, _ = waiting(owners)
    (arrival,) = owners.depot.arrivals(PartyId("alice"))
    owners.depot.remove(arrival)
    train = owners.journey()
    assert train != other
    parts, blobs = waiting(owners)
    plant(owners, train, replace(parts, entries=(parts.entries[0], others.entries[1], parts.entries[2])), blobs)
    refused(owners, train, JourneyForeignEntry)


def test_t7_another_train_under_this_trains_name(owners: OwnerWorld) -> None:
    owners.journey(write_train(owners.path / "other"))
    others, blobs = waiting(owners)
    (arrival,) = owners.depot.arrivals(PartyId("alice"))
    owners.depot.remove(arrival)
    train = owners.journey()
    plant(owners, train, others, blobs)
    refused(owners, train, JourneyForeignEntry)


def test_t1_an_entry_signed_by_a_stranger(owners: OwnerWorld) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    forged = sign(parts.entries[2].payload, generate([Scheme.P256]).signers)
    plant(owners, train, replace(parts, entries=(*parts.entries[:2], forged)), blobs)
    refused(owners, train, SignatureMissing)


def test_t21_one_of_two_required_signatures_stripped(owners: OwnerWorld) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    entry = parts.entries[1]
    assert len(entry.signatures) == 2
    plant(
        owners,
        train,
        replace(parts, entries=(parts.entries[0], replace(entry, signatures=entry.signatures[:1]), parts.entries[2])),
        blobs,
    )
    refused(owners, train, SignatureMissing)


def test_t24_a_changed_entry(owners: OwnerWorld) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    changed = rewritten(parts.entries[2], b'"attempt":1', b'"attempt":2')
    plant(owners, train, replace(parts, entries=(*parts.entries[:2], changed)), blobs)
    refused(owners, train, SignatureInvalid)


def test_t24_an_entry_that_hangs_on_another(owners: OwnerWorld) -> None:
    """The last station is bought: it signs properly that it came after something else."""
    train = owners.journey()
    parts, blobs = waiting(owners)
    claim = replace(read_entry(parts.entries[2].payload), previous=(digest_of(b"another entry"),))
    forged = sign(print_entry(claim), owners.secrets("hospital-c").signers)
    plant(owners, train, replace(parts, entries=(*parts.entries[:2], forged)), blobs)
    refused(owners, train, JourneyUnlinked)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"python3","main.py"', b'"python3","evil.py"'),
        (b'"memoryBytes":67108864', b'"memoryBytes":67108865'),
        (b'"maxBytes":10000', b'"maxBytes":99999'),
        (b'"party":"hospital-b"', b'"party":"hospital-a"'),
    ],
)
def test_t11_a_changed_manifest(owners: OwnerWorld, old: bytes, new: bytes) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    plant(owners, train, replace(parts, manifest=rewritten(parts.manifest, old, new)), blobs)
    refused(owners, train, SignatureInvalid)


def test_t1_the_results_redirected_to_another_key(owners: OwnerWorld) -> None:
    """Even the owner's own signature does not send results to a key that is not in the directory as its own."""
    train = owners.journey()
    parts, blobs = waiting(owners)
    manifest = replace(read_manifest(parts.manifest.payload), recipient=owners.secrets("mallory").key_set.sealing)
    forged = sign(print_manifest(manifest), owners.secrets("alice").signers)
    plant(owners, train, replace(parts, manifest=forged), blobs)
    refused(owners, train, KeyNotTrusted)


def test_t21_a_station_revoked_since(owners: OwnerWorld) -> None:
    train = owners.journey()
    owners.world.revoked.add(owners.secrets("hospital-b").key_set.fingerprint)
    refused(owners, train, KeyRevoked)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda bound: replace(bound, stop=1), SealForeign),
        (lambda bound: replace(bound, train=TrainId("0" * 64)), SealForeign),
        (lambda bound: replace(bound, sender=PartyId("hospital-b")), SealForeign),
        (lambda bound: replace(bound, previous=(digest_of(b"x"),)), SealForeign),
    ],
)
def test_t7_t8_a_state_sealed_for_something_else_by_the_last_station(
    owners: OwnerWorld, spoil: Callable[[StateBinding], StateBinding], error: type[PhtError]
) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    found = looked_at(owners, train)
    forged = owners.seal({"sums.json": b"{}"}, blobs, spoil(*found.accepted.received()))
    plant(owners, train, _resigned(owners, parts, forged), blobs)
    refused(owners, train, error)


def test_t9_a_second_reader_added_by_the_last_station(owners: OwnerWorld) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    found = looked_at(owners, train)
    sink = io.BytesIO()
    recipients = [owners.secrets(name).key_set.sealing for name in ("alice", "mallory")]
    (binding,) = found.accepted.received()
    ref = _sealed_for_two(sink, binding, recipients)
    put(blobs, sink.getvalue())
    plant(owners, train, _resigned(owners, parts, ref), blobs)
    refused(owners, train, SealRecipients)


def test_t17_more_results_than_the_manifest_allows(owners: OwnerWorld) -> None:
    train = owners.journey()
    parts, blobs = waiting(owners)
    found = looked_at(owners, train)
    forged = owners.seal({"sums.json": b"0" * ((1 << 20) + 1)}, blobs, *found.accepted.received())
    plant(owners, train, _resigned(owners, parts, forged), blobs)
    with pytest.raises(Malformed) as caught:
        opening(owners, train)
    assert caught.value.code == "malformed.too-large"
    assert not (owners.path / "results").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda files: members({**files, "extra.py": b"import os\n"}),
        lambda files: members({name: data for name, data in files.items() if name != "lib/sums.py"}),
        lambda files: members({"renamed.py": files["main.py"], "lib/sums.py": files["lib/sums.py"]}),
        lambda files: members({"main.py": files["lib/sums.py"], "lib/sums.py": files["main.py"]}),
        lambda files: members(
            {"main.py": files["main.py"] + files["lib/sums.py"][:1], "lib/sums.py": files["lib/sums.py"][1:]}
        ),
        lambda files: [replace(one, executable=True) for one in members(files)],
    ],
    ids=["added", "removed", "renamed", "swapped", "bytes moved", "mode changed"],
)
def test_t10_other_code_in_the_same_train(
    owners: OwnerWorld, spoil: Callable[[dict[str, bytes]], Sequence[Member]]
) -> None:
    """A station on the route knows every recipient and can seal other code for them; the manifest names the blob."""
    files = {"main.py": b"import lib.sums\n", "lib/sums.py": b"N = 1\n"}
    folder = write_train(owners.path / "train", files={name: data.decode() for name, data in files.items()})
    train = owners.journey(folder)
    parts, blobs = waiting(owners)
    manifest = read_manifest(parts.manifest.payload)
    sink = io.BytesIO()
    readers = [owners.secrets(name).key_set.sealing for name in ("hospital-a", "hospital-b", "hospital-c", "alice")]
    binding = CodeBinding(owner=manifest.owner.party, nonce=manifest.nonce)
    forged = seal_code(sink, spoil(files), binding=binding, recipients=readers)
    put(blobs, sink.getvalue())
    plant(owners, train, replace(parts, code=forged.ref), blobs)
    refused(owners, train, DigestMismatch)


def test_t10_a_changed_mode_is_other_content(owners: OwnerWorld) -> None:
    plain = Member(path="main.sh", size=1, executable=False, open=lambda: io.BytesIO(b"x"))
    binding = CodeBinding(owner=PartyId("alice"), nonce="0" * 32)
    recipients = [owners.secrets("alice").key_set.sealing]
    first = seal_code(io.BytesIO(), [plain], binding=binding, recipients=recipients)
    second = seal_code(io.BytesIO(), [replace(plain, executable=True)], binding=binding, recipients=recipients)
    assert first.content != second.content


def test_t10_code_whose_seal_states_another_content(owners: OwnerWorld) -> None:
    """The owner's own tool is spoiled: the manifest names a blob whose inside is not what it says it is."""
    first: list[bool] = []

    def turning() -> io.BytesIO:
        first.append(True)
        return io.BytesIO(b"a" if len(first) == 1 else b"b")  # what is hashed is not what is sealed

    member = Member(path="main.py", size=1, executable=False, open=turning)
    record = owners.submit(write_train(owners.path / "train")).record
    sink = io.BytesIO()
    readers = [owners.secrets(name).key_set.sealing for name in ("hospital-a", "hospital-b", "hospital-c", "alice")]
    binding = CodeBinding(owner=PartyId("alice"), nonce=record.manifest.nonce)
    forged = seal_code(sink, [member], binding=binding, recipients=readers)
    manifest = replace(record.manifest, code=forged.ref)
    sink.seek(0)
    into = owners.path / "code"
    into.mkdir()
    with pytest.raises(CodeAltered):
        open_code(sink, manifest=manifest, identities=[owners.secrets("alice").identity], into=into, budget=CODE_BUDGET)


def test_t1_forged_receipts_do_not_move_a_train(owners: OwnerWorld) -> None:
    record = owners.submit(write_train(owners.path / "train")).record
    owners.pass_stop("hospital-a")
    (receipt,) = owners.depot.receipts_of(PartyId("alice"), record.train, range(3))
    genuine = owners.read(record, receipt)
    later = sign(genuine.payload.replace(b'"stop":0', b'"stop":1'), generate([Scheme.ED25519]).signers)
    doubled = replace(genuine, signatures=(Signature(key_id=genuine.signatures[0].key_id, sig=b"\0" * 64),))
    for stop, envelope in ((1, later), (2, genuine), (0, doubled)):
        letter = seal_letter(envelope, entry_recipients(record.manifest, stop, owners.world.trust, owners.now))
        owners.depot.send_receipt(letter, owner=PartyId("alice"), train=record.train, stop=stop, kind=ReceiptKind.ENTRY)
        progress = owners.follow(record)
        assert progress.doubts
        assert StopState.PASSED not in {one.state for one in progress.stops[1:]}
    assert {one.stop for one in owners.depot.receipts_of(PartyId("alice"), record.train, range(3))} == {0, 1, 2}


def test_t1_a_refusal_signed_by_another_station_stops_nothing(owners: OwnerWorld) -> None:
    record = owners.submit(write_train(owners.path / "train")).record
    owners.refuse("hospital-c", record, 0, Outcome.REFUSED)
    progress = owners.follow(record)
    assert progress.stopped is None
    assert "[journey.foreign-entry]" in progress.doubts[0]


def test_receipts_under_another_name_or_out_of_line_are_doubted(owners: OwnerWorld) -> None:
    record = owners.submit(write_train(owners.path / "train")).record
    owners.pass_stop("hospital-a")
    alice = PartyId("alice")
    first = owners.read(record, owners.depot.receipts_of(alice, record.train, range(3))[0])
    owners.refuse("hospital-b", record, 1, Outcome.FAILED)
    (arrival,) = owners.depot.receipts_of(alice, record.train, range(3))[1:]
    refusal = owners.read(record, arrival)
    owners.registry.delete_manifest(mailbox(alice), arrival.digest)
    loose = replace(
        read_entry(first.payload), stop=1, station=PartyId("hospital-b"), previous=(digest_of(b"elsewhere"),)
    )
    bought = sign(print_entry(loose), owners.secrets("hospital-b").signers)
    for envelope, stop, kind, code in (
        (refusal, 0, ReceiptKind.REFUSAL, "journey.foreign-entry"),
        (bought, 1, ReceiptKind.ENTRY, "journey.unlinked"),
    ):
        letter = seal_letter(envelope, entry_recipients(record.manifest, stop, owners.world.trust, owners.now))
        owners.depot.send_receipt(letter, owner=alice, train=record.train, stop=stop, kind=kind)
        progress = owners.follow(record)
        assert [one.state for one in progress.stops] == [StopState.PASSED, StopState.WAITING, StopState.AHEAD]
        assert any(f"[{code}]" in doubt for doubt in progress.doubts)


def test_t15_a_receipt_that_is_none_does_not_hide_the_others(owners: OwnerWorld) -> None:
    record = owners.submit(write_train(owners.path / "train")).record
    owners.pass_stop("hospital-a")
    parts, blobs = waiting(owners, "hospital-b")
    plant(owners, record.train, parts, blobs)  # a train, where only receipts are expected ...
    tag = receipt_tag(record.train, PartyId("alice"), 1, ReceiptKind.REFUSAL)  # ... and under the name of one
    owners.registry.put_manifest(
        mailbox(PartyId("alice")),
        tag,
        laid_out(letters(owners, record.train, parts), blobs),
        OCI_MANIFEST,
    )
    progress = owners.follow(record)
    assert progress.stops[0].state is StopState.PASSED
    assert progress.stopped is None
    assert "[malformed.artifact]" in progress.doubts[0]


def _resigned(owners: OwnerWorld, parts: TrainParts, state: StateRef) -> TrainParts:
    """Let the last station sign that it sent this state."""
    claim = replace(read_entry(parts.entries[-1].payload), state_out=state.digest)
    entry = sign(print_entry(claim), owners.secrets("hospital-c").signers)
    return replace(parts, entries=(*parts.entries[:-1], entry), states=(state,))


def _sealed_for_two(sink: io.BytesIO, binding: StateBinding, recipients: list[str]) -> StateRef:
    """Seal a state as `seal_state` does, but for two."""
    digest, size, _ = seal._seal(
        sink, members({"sums.json": b"{}"}), meta=seal.STATE_META.compact(binding), recipients=recipients
    )
    return StateRef(digest=digest, size=size)
