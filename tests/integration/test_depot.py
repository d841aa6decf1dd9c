"""Mailboxes and receipts over real backings, and what a writer to a mailbox can try: T13, T14, T17."""

from __future__ import annotations

import base64
import io
import pathlib
import secrets as random
from dataclasses import replace

import pytest

from registry.artifact import (
    CODE_LAYER,
    LETTERS_LAYER,
    MANIFEST_LAYER,
    SMALL,
    STATE_LAYER,
    TRAIN,
    pack,
    pack_receipt,
    train_layers,
)
from registry.blobs import BlobFolder
from registry.depot import Arrival, Depot, ReceiptKind, mailbox, train_tag
from registry.errors import RegistryMisbehaved
from registry.layout import LayoutRegistry
from registry.memory import MemoryRegistry
from registry.names import Reference, Repository, Tag
from registry.oci import DOCKER_MANIFEST, EMPTY, EMPTY_BYTES, OCI_MANIFEST, Descriptor, make_manifest, parse_manifest
from registry.taken import keep_letters, kept_as, load
from security.digest import Digest, digest_of
from security.errors import (
    BudgetExceeded,
    DigestMismatch,
    MalformedArtifact,
    MalformedStatement,
    PhtError,
    SealBroken,
)
from security.ids import PartyId
from security.train.journey import StateRef, TrainParts
from security.train.letters import LEAST, MAX_ENTRY_LETTER, MAX_JOURNEY, Parcel, open_parcel
from security.train.manifest import CodeRef
from security.train.route import LONGEST, MOST_ABOARD, MOST_STATIONS, Stop
from security.train.route_kinds import BoardedRoute, RoundsRoute
from security.train.seal import seal_note
from security.train.verify import verify_train
from tests.support.metered import Metered
from tests.support.trains import NOW, Consortium, Train, consortium, train

A, B, ALICE = PartyId("hospital-a"), PartyId("hospital-b"), PartyId("alice")


@pytest.fixture(scope="module")
def parties() -> Consortium:
    return consortium()


@pytest.fixture(params=["memory", "layout"])
def depot(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Depot:
    folder = tmp_path / "registry"
    folder.mkdir()
    return Depot(MemoryRegistry() if request.param == "memory" else LayoutRegistry(folder))


def opened(parcel: Parcel, parties: Consortium, party: PartyId) -> TrainParts:
    return open_parcel(parcel, [parties.secrets[party].identity]).parts


def spool_of(it: Train, path: pathlib.Path) -> BlobFolder:
    spool = BlobFolder(path)
    for digest, data in it.blobs.items():
        spool.put(digest, len(data), io.BytesIO(data))
    return spool


def test_what_is_sent_arrives_once_and_can_be_loaded_without_the_registry(
    depot: Depot, parties: Consortium, tmp_path: pathlib.Path
) -> None:
    it = train(parties).travel(1)
    ours = spool_of(it, tmp_path / "ours")
    head = depot.send(it.parcel, ours, to=B, train=it.id, stop=it.stop)
    assert depot.send(it.parcel, ours, to=B, train=it.id, stop=it.stop) == head
    (arrival,) = depot.arrivals(B)
    assert (arrival.tag, arrival.digest) == (train_tag(it.id, B, 1), head)
    assert depot.arrivals(A) == ()

    theirs = BlobFolder(tmp_path / "theirs")
    assert depot.take(arrival, theirs) == it.parcel
    assert it.state is not None
    with theirs.open(it.state.digest) as state:
        assert state.read() == it.blobs[it.state.digest]
    depot.remove(arrival)
    depot.remove(arrival)
    assert depot.arrivals(B) == ()
    assert depot.load(kept_as(it.parcel).manifest.digest, theirs) == it.parcel


class Losing(MemoryRegistry):
    """Loses what was put there so many times: a party that takes it at once looks like this, and so does a registry that forgets."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        digest = super().put_manifest(repo, reference, raw, media_type)
        if self.times:
            self.times -= 1
            self.delete_manifest(repo, digest)
        return digest


def test_what_was_taken_before_its_sender_looked_is_put_there_again(
    parties: Consortium, tmp_path: pathlib.Path
) -> None:
    it = train(parties).travel(1)
    depot = Depot(Losing(2))
    head = depot.send(it.parcel, spool_of(it, tmp_path), to=B, train=it.id, stop=it.stop)
    assert [one.digest for one in depot.arrivals(B)] == [head]


def test_a_registry_that_never_has_what_it_accepted_is_told(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties).travel(1)
    with pytest.raises(RegistryMisbehaved):
        Depot(Losing(99)).send(it.parcel, spool_of(it, tmp_path), to=B, train=it.id, stop=it.stop)


def test_a_small_train_is_one_document(depot: Depot, parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties).travel(1)
    head = depot.send(it.parcel, spool_of(it, tmp_path / "ours"), to=B, train=it.id, stop=it.stop)
    stored = depot.registry.get_manifest(mailbox(B), head)
    manifest = parse_manifest(stored.raw, stored.media_type)
    assert manifest.blobs == (EMPTY, EMPTY)
    assert set(train_layers(manifest).held.values()) >= set(it.blobs.values())


def test_what_is_sealed_is_kept_apart_from_the_letters(
    depot: Depot, parties: Consortium, tmp_path: pathlib.Path
) -> None:
    """So that it can be removed when the train has left, and what was signed stays."""
    it = train(parties).travel(1)
    depot.send(it.parcel, spool_of(it, tmp_path / "ours"), to=B, train=it.id, stop=it.stop)
    (arrival,) = depot.arrivals(B)
    theirs = BlobFolder(tmp_path / "theirs")
    depot.take(arrival, theirs)
    for digest in it.blobs:
        theirs.drop(digest)
    assert depot.load(kept_as(it.parcel).manifest.digest, theirs) == it.parcel
    left = b"".join(path.read_bytes() for path in theirs.path.iterdir())
    assert not any(base64.b64encode(data)[:64] in left or data[:64] in left for data in it.blobs.values())


def test_large_parts_are_blobs_of_their_own(depot: Depot, parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    it.pass_stop({"noise.bin": random.token_bytes(SMALL)})
    assert it.state is not None
    assert it.state.size > SMALL
    parcel = replace(it.parcel, manifest=random.token_bytes(SMALL + 1))
    head = depot.send(parcel, spool_of(it, tmp_path / "ours"), to=B, train=it.id, stop=it.stop)
    manifest = parse_manifest(depot.registry.get_manifest(mailbox(B), head).raw, OCI_MANIFEST)
    assert [one.media_type for one in manifest.layers] == [MANIFEST_LAYER, STATE_LAYER]
    theirs, (arrival,) = BlobFolder(tmp_path / "theirs"), depot.arrivals(B)
    assert depot.take(arrival, theirs) == parcel
    assert theirs.at(it.state.digest).read_bytes() == it.blobs[it.state.digest]
    assert depot.load(kept_as(parcel).manifest.digest, theirs) == parcel


def test_what_its_receiver_knows_is_neither_in_the_document_nor_fetched(
    parties: Consortium, tmp_path: pathlib.Path
) -> None:
    it, theirs, registry = train(parties).travel(1), BlobFolder(tmp_path / "theirs"), Metered()
    depot = Depot(registry)
    spool, known = spool_of(it, tmp_path / "ours"), (digest_of(it.parcel.manifest), it.parcel.code.digest)
    begun = replace(it.parcel, entries=(), states=())
    depot.take(
        Arrival(mailbox=A, tag=train_tag(it.id, A, 0), digest=depot.send(begun, spool, to=A, train=it.id, stop=0)),
        theirs,
    )
    head = depot.send(it.parcel, spool, to=B, train=it.id, stop=1, known=known)
    layers = train_layers(parse_manifest(depot.registry.get_manifest(mailbox(B), head).raw, OCI_MANIFEST))
    assert not layers.held.keys() & set(known)
    (arrival,) = depot.arrivals(B)
    assert depot.letters(arrival, here=theirs).parcel == it.parcel
    waiting = depot.look_up(B, arrival.tag)
    assert waiting is not None
    assert depot.claimed_manifest(waiting, theirs) == it.parcel.manifest
    assert registry.opened == []
    for path in theirs.path.iterdir():
        path.write_bytes(b"damaged")
    assert depot.letters(arrival, here=theirs).parcel == it.parcel
    assert registry.opened == [known[0]]


def test_code_is_mounted_from_the_senders_mailbox(depot: Depot, parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    large = random.token_bytes(SMALL + 1)
    code = CodeRef(digest=digest_of(large), size=len(large))
    it.blobs[code.digest] = large
    depot.send(replace(it.parcel, code=code), spool_of(it, tmp_path / "alice"), to=A, train=it.id, stop=it.stop)
    it.travel(1)
    del it.blobs[code.digest]
    onward = replace(it.parcel, code=code)
    depot.send(onward, spool_of(it, tmp_path / "a"), to=B, train=it.id, stop=it.stop, near={code.digest: A})
    assert depot.registry.has_blob(mailbox(B), code.digest)


def test_receipts_wait_for_their_owner(depot: Depot, parties: Consortium) -> None:
    it, other = train(parties).travel(2), train(parties).travel(1)
    for stop, entry in enumerate(it.parcel.entries):
        depot.send_receipt(entry, owner=ALICE, train=it.id, stop=stop, kind=ReceiptKind.ENTRY)
    depot.send_receipt(other.receipt(0), owner=ALICE, train=other.id, stop=0, kind=ReceiptKind.ENTRY)
    found = depot.receipts_of(ALICE, it.id, range(3))
    assert [receipt.stop for receipt in found] == [0, 1]
    assert [depot.read_receipt(ALICE, receipt) for receipt in found] == list(it.parcel.entries)
    assert len(depot.receipt_tags(ALICE)) == 3
    assert depot.arrivals(ALICE) == ()


def test_t13_a_tag_moved_after_the_look_changes_nothing(
    depot: Depot, parties: Consortium, tmp_path: pathlib.Path
) -> None:
    it, other = train(parties), train(parties)
    depot.send(it.parcel, spool_of(it, tmp_path / "one"), to=A, train=it.id, stop=it.stop)
    (arrival,) = depot.arrivals(A)
    depot.send(
        other.parcel, spool_of(other, tmp_path / "two"), to=A, train=it.id, stop=other.stop
    )  # same tag, another train
    taken = depot.take(arrival, BlobFolder(tmp_path / "a"))
    assert taken == it.parcel


def test_t13_a_train_under_another_trains_tag_is_what_it_is(
    depot: Depot, parties: Consortium, tmp_path: pathlib.Path
) -> None:
    it, other = train(parties), train(parties)
    depot.send(other.parcel, spool_of(other, tmp_path / "two"), to=A, train=it.id, stop=other.stop)
    (arrival,) = depot.arrivals(A)
    assert depot.arrivals(A, it.id) == (arrival,)
    taken = opened(depot.take(arrival, BlobFolder(tmp_path / "a")), parties, A)
    assert verify_train(taken, parties.trust, here=A, now=NOW).train == other.id


def test_t17_nothing_large_is_fetched_of_a_train_that_is_not_believed(
    depot: Depot, parties: Consortium, tmp_path: pathlib.Path
) -> None:
    foreign = train(consortium())
    depot.send(foreign.parcel, spool_of(foreign, tmp_path / "mallory"), to=A, train=foreign.id, stop=foreign.stop)
    (arrival,) = depot.arrivals(A)
    into = BlobFolder(tmp_path / "a")

    def accept(parcel: Parcel) -> None:
        verify_train(opened(parcel, foreign.world, A), parties.trust, here=A, now=NOW)

    with pytest.raises(PhtError) as caught:
        depot.take(arrival, into, accept=accept)
    assert caught.value.code == "key.not-trusted"
    assert not into.has(foreign.manifest.code.digest)


@pytest.mark.parametrize(
    ("entries", "size"),
    [(LONGEST + 1, 100), (1, MAX_ENTRY_LETTER + 1), (200, MAX_JOURNEY // 200 + 1), (200, MAX_JOURNEY // 100)],
)
def test_t17_no_more_documents_are_fetched_than_a_train_can_have(
    depot: Depot, parties: Consortium, tmp_path: pathlib.Path, entries: int, size: int
) -> None:
    """They are held in memory and kept in the spool before anybody knows who signed them."""
    it = train(parties)
    depot.send(it.parcel, spool_of(it, tmp_path / "alice"), to=A, train=it.id, stop=it.stop)
    spoiled = pack(replace(it.parcel, entries=(bytes(size),) * entries), it.blobs)
    for layer in spoiled.manifest.layers:
        data = spoiled.documents.get(layer.digest, EMPTY_BYTES)
        depot.registry.put_blob(mailbox(A), layer, lambda at, held=data: io.BytesIO(held[at:]))  # type: ignore[misc] # default argument
    depot.registry.put_manifest(mailbox(A), train_tag(it.id, A, 0), spoiled.manifest.raw, OCI_MANIFEST)
    (arrival,), spool = depot.arrivals(A), BlobFolder(tmp_path / "spool")
    with pytest.raises(MalformedArtifact) as caught:
        depot.take(arrival, spool)
    assert caught.value.code == "malformed.artifact"
    assert not spool.path.exists() or list(spool.path.iterdir()) == []


def test_t17_a_state_is_not_fetched_beyond_what_the_signed_limits_allow_for(
    depot: Depot, parties: Consortium, tmp_path: pathlib.Path
) -> None:
    """Its digest is signed, its size is the claim of whoever laid the artifact out."""
    it = train(parties).travel(1)
    assert it.state is not None
    endless = replace(it.parcel, states=(StateRef(digest=it.state.digest, size=1 << 40),))
    registry = depot.registry
    depot.send(it.parcel, spool_of(it, tmp_path / "a"), to=B, train=it.id, stop=it.stop)
    state = Descriptor(media_type=STATE_LAYER, digest=it.state.digest, size=it.state.size)
    registry.put_blob(mailbox(B), state, lambda at: io.BytesIO(it.blobs[state.digest][at:]))
    raw = pack(endless, {it.parcel.code.digest: it.blobs[it.parcel.code.digest]}).manifest.raw
    registry.put_manifest(mailbox(B), train_tag(it.id, B, 1), raw, OCI_MANIFEST)
    spool, (arrival,) = BlobFolder(tmp_path / "spool"), depot.arrivals(B)

    def accept(parcel: Parcel) -> None:
        verify_train(opened(parcel, parties, B), parties.trust, here=B, now=NOW)

    with pytest.raises(BudgetExceeded) as caught:
        depot.take(arrival, spool, accept=accept)
    assert caught.value.code == "malformed.too-large"
    assert not spool.has(it.state.digest)
    assert not spool.has(it.manifest.code.digest)


def test_t14_a_train_is_an_oci_manifest_and_no_docker_one(parties: Consortium) -> None:
    """It would be taken, and then not be read again from the spool."""
    raw = pack(train(parties).parcel).manifest.raw.replace(OCI_MANIFEST.encode(), DOCKER_MANIFEST.encode())
    with pytest.raises(MalformedArtifact):
        train_layers(parse_manifest(raw, DOCKER_MANIFEST))


def test_t13_a_damaged_blob_in_the_spool_is_noticed(depot: Depot, parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    depot.send(it.parcel, spool_of(it, tmp_path / "alice"), to=A, train=it.id, stop=it.stop)
    (arrival,) = depot.arrivals(A)
    into = BlobFolder(tmp_path / "a")
    depot.take(arrival, into)
    kept = kept_as(it.parcel).manifest.digest
    into.at(kept).write_bytes(into.at(kept).read_bytes().replace(b"application/vnd", b"Application/vnd", 1))
    with pytest.raises(DigestMismatch):
        depot.load(kept, into)


def test_what_all_sent_who_can_board_a_train_is_one_train_where_it_departs(
    parties: Consortium, tmp_path: pathlib.Path
) -> None:
    """Fifty stations and a junction beside them: the states that come before the departure are kept in one document."""
    stops = tuple(Stop(party=PartyId(f"h{one}"), key_set=digest_of(b"%d" % one)) for one in range(MOST_STATIONS + 1))
    route = BoardedRoute(then=RoundsRoute(stations=stops[:-1], junction=stops[-1], most=1))
    sent = tuple(StateRef(digest=digest_of(b"%d" % one), size=1) for one in route.before(route.departure))
    joined, into = replace(train(parties).travel(1).parcel, states=sent), BlobFolder(tmp_path / "a")
    assert load(keep_letters(joined, into).manifest.digest, into) == joined


def test_t14_parts_must_be_exactly_those_of_a_train(parties: Consortium) -> None:
    good = pack(train(parties).travel(1).parcel, small=0).manifest
    head, letters, code, state = good.layers
    for layers in (
        [],
        [EMPTY],
        [head, letters],
        [letters, code],
        [head, code],
        [head, letters, code, EMPTY],
        [head, letters, state],
        [head, code, letters, state],
        [letters, head, code, state],
        [head, letters, code, *[state] * (MOST_ABOARD + 1)],
        [head, letters, letters, code],
        [head, Descriptor(media_type=letters.media_type, digest=letters.digest, size=1 << 40), code],
        [Descriptor(media_type=head.media_type, digest=head.digest, size=1 << 40), letters, code],
    ):
        with pytest.raises(MalformedArtifact):
            train_layers(make_manifest(config=EMPTY, layers=layers, artifact_type=TRAIN))
    for spoiled in (
        make_manifest(config=EMPTY, layers=good.layers),
        make_manifest(config=EMPTY, layers=good.layers, artifact_type="application/vnd.pht.receipt.v1"),
        make_manifest(config=code, layers=good.layers, artifact_type=TRAIN),
    ):
        with pytest.raises(MalformedArtifact):
            train_layers(spoiled)


@pytest.mark.parametrize(
    "annotations",
    [
        {LETTERS_LAYER: "YWJj"},  # twice
        {"application/vnd.pht.receipt.v1+age": "YWJj"},
        {"org.opencontainers.image.title": "a train"},
        {CODE_LAYER: "YWJ"},
        {CODE_LAYER: "YWJj\n"},
        {CODE_LAYER: "YW J j"},
        {CODE_LAYER: "YWK="[:-2] + "l="},  # spare bits
        {CODE_LAYER: ""},
        {CODE_LAYER: base64.b64encode(bytes(SMALL + 1)).decode()},
    ],
)
def test_t14_a_part_lies_in_one_place_in_one_form(parties: Consortium, annotations: dict[str, str]) -> None:
    head, letters, code = pack(train(parties).parcel, small=0).manifest.layers
    layers = [head, letters] if CODE_LAYER in annotations else [head, letters, code]
    made = make_manifest(config=EMPTY, layers=layers, artifact_type=TRAIN, annotations=annotations)
    with pytest.raises(MalformedArtifact):
        train_layers(made)


def test_a_receipt_is_not_a_train_and_other_tags_are_not_looked_at(
    depot: Depot, parties: Consortium, tmp_path: pathlib.Path
) -> None:
    it = train(parties).travel(1)
    receipt = pack_receipt(it.receipt(0))
    repo = mailbox(A)
    depot.registry.put_blob(repo, EMPTY, lambda at: io.BytesIO(EMPTY_BYTES[at:]))
    depot.registry.put_manifest(repo, train_tag(it.id, A, 0), receipt.manifest.raw, OCI_MANIFEST)
    depot.registry.put_manifest(repo, Tag("latest"), receipt.manifest.raw, OCI_MANIFEST)
    (arrival,) = depot.arrivals(A)
    with pytest.raises(MalformedArtifact):
        depot.take(arrival, BlobFolder(tmp_path / "a"))


@pytest.mark.parametrize("sealed", [False, True], ids=["no letter", "no envelope in it"])
def test_a_letter_that_is_none_is_refused(
    depot: Depot, parties: Consortium, tmp_path: pathlib.Path, *, sealed: bool
) -> None:
    it, repo = train(parties), mailbox(A)
    junk = b'{"payload": "e30=", "payloadType": "application/json", "signatures": []}'
    if sealed:
        junk = seal_note(junk.ljust(LEAST, b"\0"), parties.secrets[A].key_set.sealing)
    depot.send(it.parcel, spool_of(it, tmp_path / "alice"), to=A, train=it.id, stop=it.stop)
    made = pack(replace(it.parcel, manifest=junk), it.blobs).manifest
    depot.registry.put_manifest(repo, train_tag(it.id, A, 0), made.raw, OCI_MANIFEST)
    (arrival,) = depot.arrivals(A)
    taken = depot.take(arrival, BlobFolder(tmp_path / "a"))
    with pytest.raises(MalformedStatement if sealed else SealBroken):
        opened(taken, parties, A)


def test_the_artifact_of_a_train_is_always_the_same_bytes(parties: Consortium) -> None:
    it = train(parties).travel(2)
    first, again = pack(it.parcel).manifest, pack(it.parcel).manifest
    assert first.raw == again.raw
    assert parse_manifest(first.raw, OCI_MANIFEST) == first
