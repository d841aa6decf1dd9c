"""What travels is sealed for those who need it: strangers, other stations and earlier ones read nothing of it.

A registry is read whole here, as its operator can: every blob that was ever in it, every manifest, every tag.
"""

from __future__ import annotations

import io
import itertools
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from registry.artifact import pack
from registry.bundle import read_bundle
from registry.depot import ReceiptKind, mailbox, train_tag
from registry.memory import MemoryRegistry
from registry.names import Reference, Repository, Tag
from registry.oci import OCI_MANIFEST
from security.age import HybridIdentity, PassphraseRecipient, Unwrapper, another_like, decrypt
from security.age.header import write_header
from security.age.stanza import Stanza
from security.digest import Digest, digest_of
from security.errors import BudgetExceeded, HeaderInvalid, MalformedStatement, NotARecipient, PhtError, SealRecipients
from security.ids import PartyId
from security.statement.envelope import MAX_ENVELOPE, Envelope, sign
from security.train.journey import Outcome
from security.train.letters import (
    LEAST,
    MAX_ENTRY,
    MAX_ENTRY_LETTER,
    MAX_JOURNEY,
    MAX_MANIFEST_LETTER,
    Parcel,
    check_readers,
    entry_recipients,
    open_letter,
    open_manifest,
    open_parcel,
    refusal_recipients,
    seal_letter,
    with_common,
)
from security.train.manifest import print_manifest, told_manifest
from security.train.route import MAX_STOPS
from security.train.seal import seal_note
from security.train.verify import verify_train
from station.admission.policy import Owners
from station.errors import KeysElsewhere
from tests.support.owners import OwnerWorld, write_train
from tests.support.trains import MAIL, NOW, Train, consortium, train
from tests.support.world import ROUTE, MemoryBlobs, World, world
from train_builder.follow.follow import StopState

ALICE = PartyId("alice")
PRIVATE = (
    *(
        "breast-cancer",
        "describe tumours",
        "ethics 1/2026",
        "GDPR Art. 9",
        "patients",
        "measurements",
        "main.py",
        "sums.json",
    ),
    *("hospital-a", "hospital-b", "hospital-c", "alice", "outcome", "refused", "passed", "payload", "signatures"),
)


class Read(MemoryRegistry):
    """A registry that somebody reads whole, and that forgets nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[Repository, list[Tag]] = {}
        self.manifests: list[bytes] = []

    def put_manifest(self, repo: Repository, reference: Reference, raw: bytes, media_type: str) -> Digest:
        digest = super().put_manifest(repo, reference, raw, media_type)
        if not isinstance(reference, Digest):
            self.tags.setdefault(repo, []).append(reference)
        self.manifests.append(raw)
        return digest

    @property
    def blobs(self) -> dict[Digest, bytes]:
        """Everything that was ever stored, whether as a blob or in a manifest: of bundles, each letter."""
        inside = [b64decode(text) for raw in self.manifests for text in json.loads(raw).get("annotations", {}).values()]
        found = [*inside, *(data for held in self._blobs.values() for data in held.values() if data != b"{}")]
        files = itertools.chain.from_iterable([one] if one.startswith(b"age") else read_bundle(one) for one in found)
        return {digest_of(data): data for data in files}


@pytest.fixture
def registry() -> Read:
    return Read()


@pytest.fixture
def here(registry: Read, tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world", stations=(*ROUTE, "hospital-d"), registry=registry)
    yield made
    made.close()


@pytest.fixture
def journey(here: World) -> Train:
    """A train that went all its way, and one that was refused at its second stop."""
    made, unwanted = here.train(), here.train(owner="alice")
    here.submit(made)
    here.settle()
    assert here.at_home(made.id)
    here.change("hospital-b", policy=Owners(allowed=frozenset()))
    here.submit(unwanted)
    here.settle()
    assert here.outcome(unwanted) is Outcome.REFUSED
    return made


def opened_by(identity: Unwrapper, blobs: dict[Digest, bytes]) -> set[Digest]:
    """Which of the blobs a key opens."""
    found = set()
    for digest, data in blobs.items():
        try:
            decrypt(io.BytesIO(data), [identity])
        except PhtError:
            continue
        found.add(digest)
    return found


def test_who_reads_the_whole_registry_learns_nothing_of_a_train(journey: Train, registry: Read) -> None:
    small = list(registry.blobs.values())
    assert len(small) > 10
    assert all(data.startswith(b"age-encryption.org/v1\n") for data in small)
    read = b"\n".join([*small, *registry.manifests, *(tag.encode() for tags in registry.tags.values() for tag in tags)])
    assert [word for word in PRIVATE if word.encode() in read] == []
    assert journey.id.encode() not in read


@pytest.mark.usefixtures("journey")
def test_tags_link_no_mailboxes(registry: Read) -> None:
    boxes = registry.tags
    assert set(boxes) == {mailbox(PartyId(name)) for name in (*ROUTE, "alice")}
    for tags in boxes.values():
        assert all(re.fullmatch(r"[tr]-[0-9a-f]{64}", tag) for tag in tags)
        assert len(set(tags)) == len(tags)
    assert not any(set(one) & set(other) for one, other in itertools.combinations(boxes.values(), 2))


def test_a_receipt_does_not_tell_whether_it_is_a_refusal(journey: Train, registry: Read) -> None:
    """Not by its tag, its type or its part; an entry of the last stop and a refusal have the same size."""
    receipts = [one for one in map(json.loads, registry.manifests) if "receipt" in one["artifactType"]]
    assert len(receipts) == 5  # three entries, and those of the train that was refused at its second stop
    assert (
        len(
            {
                (one["artifactType"], *(layer["mediaType"] for layer in one["layers"]), *one["annotations"])
                for one in receipts
            }
        )
        == 1
    )
    made, keys = journey, journey.world.secrets[PartyId("hospital-c")]
    entry = seal_letter(made.envelope, entry_recipients(made.manifest, 2, made.world.trust, NOW))
    refusal = seal_letter(made.envelope, refusal_recipients(made.manifest, keys.key_set.sealing))
    assert len(entry) == len(refusal)


@pytest.mark.usefixtures("journey")
def test_a_station_that_is_not_on_the_route_opens_nothing(here: World, registry: Read) -> None:
    stranger = here.consortium.secrets[PartyId("hospital-d")].identity
    assert opened_by(stranger, registry.blobs) == set()
    assert opened_by(here.consortium.secrets[PartyId("mallory")].identity, registry.blobs) == set()


def test_an_entry_is_read_by_its_station_by_later_ones_and_by_the_owner(here: World, journey: Train) -> None:
    (arrival,) = here.depot.arrivals(ALICE, journey.id)
    parcel = here.depot.take(arrival, MemoryBlobs())
    keys = {name: here.consortium.secrets[PartyId(name)].identity for name in (*ROUTE, "alice", "hospital-d")}
    keys["mail"] = MAIL

    def readers(letter: bytes) -> set[str]:
        """Return who opens it; whoever opens the manifest has the key in it."""
        known = {name for name, identity in keys.items() if opens(parcel.manifest, identity)}
        held = {one: with_common(journey.manifest, [keys[one]]) if one in known else (keys[one],) for one in keys}
        return {name for name, identities in held.items() if opens(letter, *identities)}

    assert readers(parcel.manifest) == {*ROUTE, "alice", "mail"}
    assert [readers(entry) for entry in parcel.entries] == [
        {"hospital-a", "hospital-b", "hospital-c", "alice", "mail"},
        {"hospital-b", "hospital-c", "alice", "mail"},
        {"hospital-c", "alice", "mail"},
    ]


def test_a_refusal_is_read_by_its_station_and_by_the_owner(here: World) -> None:
    made = here.train()
    here.change("hospital-b", policy=Owners(allowed=frozenset()))
    here.submit(made)
    here.settle()
    (receipt,) = here.receipts(made, ReceiptKind.REFUSAL)
    letter = here.depot.read_receipt(ALICE, receipt)
    found = {name: opens(letter, here.consortium.secrets[PartyId(name)].identity) for name in (*ROUTE, "alice")}
    assert found == {"hospital-a": False, "hospital-b": True, "hospital-c": False, "alice": True}
    assert opens(letter, MAIL)


def test_letters_travel_unchanged(here: World, journey: Train) -> None:
    """A hop adds one letter, its station's; the others go on byte for byte."""
    (arrival,) = here.depot.arrivals(ALICE, journey.id)
    parcel = here.depot.take(arrival, MemoryBlobs())
    assert parcel.manifest == journey.parcel.manifest
    receipts = here.receipts(journey, ReceiptKind.ENTRY)
    assert list(parcel.entries) == [here.depot.read_receipt(ALICE, one) for one in receipts]
    for number, name in enumerate(ROUTE):
        fetched = here.visits(name)[0].fetched
        assert fetched is not None
        came = here.depot.load(fetched.parts.digest, here.houses[name].spool)
        assert (came.manifest, came.entries) == (parcel.manifest, parcel.entries[:number])


# --- T9: a reader added, or left out


def spoiled(made: Train, letter: bytes, *, at: int | None) -> Parcel:
    parcel = made.parcel
    if at is None:
        return replace(parcel, manifest=letter)
    return replace(parcel, entries=tuple(letter if one == at else old for one, old in enumerate(parcel.entries)))


def recipients(made: Train, at: int | None) -> list[str]:
    stations = [made.world.secrets[one].key_set.sealing for one in made.manifest.route.parties]
    return [*stations[at or 0 :], made.manifest.recipient, made.manifest.mail]


@pytest.mark.parametrize("at", [None, 0, 1])
@pytest.mark.parametrize("change", ["added", "left out"])
def test_t9_a_letter_with_other_readers_is_refused_by_the_next_station(
    here: World, at: int | None, change: str
) -> None:
    made = here.train().travel(2)
    envelope = made.envelope if at is None else made.entries[at]
    readers = recipients(made, at)
    readers = [*readers, str(HybridIdentity.generate().recipient)] if change == "added" else readers[:-1]
    parcel = spoiled(made, seal_letter(envelope, readers), at=at)
    here.depot.send(parcel, MemoryBlobs(made.blobs), to=PartyId("hospital-c"), train=made.id, stop=2)
    here.settle("hospital-c")
    assert [visit.refused.code for visit in here.visits("hospital-c") if visit.refused] == ["seal.recipients"]
    assert not here.houses["hospital-c"].spool.has(made.manifest.code.digest)
    assert here.sandboxes["hospital-c"].started == []


def test_t9_what_all_parties_read_is_sealed_for_each_of_them_by_nobody(here: World) -> None:
    """As many readers as there are parties, and who knows which: under the key of the train there are no others."""
    made = here.train().travel(1)
    parcel = spoiled(made, seal_letter(made.entries[0], recipients(made, 0)), at=0)
    here.depot.send(parcel, MemoryBlobs(made.blobs), to=PartyId("hospital-b"), train=made.id, stop=1)
    here.settle("hospital-b")
    assert [visit.refused.code for visit in here.visits("hospital-b") if visit.refused] == ["seal.recipients"]


@pytest.mark.parametrize("kind", ["an entry that not all read", "the manifest"])
def test_t9_what_not_all_parties_read_is_not_sealed_under_their_key(here: World, kind: str) -> None:
    """The first station reads no entry of the second, and whoever the manifest is for has no key of it yet."""
    made = here.train().travel(2)
    (common,) = entry_recipients(made.manifest, 0, made.world.trust, NOW)
    at = None if kind == "the manifest" else 1
    parcel = spoiled(made, seal_letter(made.envelope if at is None else made.entries[at], [common]), at=at)
    here.depot.send(parcel, MemoryBlobs(made.blobs), to=PartyId("hospital-c"), train=made.id, stop=2)
    here.settle("hospital-c")
    assert [visit.refused.code for visit in here.visits("hospital-c") if visit.refused] == ["seal.recipients"]
    assert here.sandboxes["hospital-c"].started == []


def test_t9_a_common_letter_takes_nobody_in_beside_the_key(here: World) -> None:
    """By the format: a passphrase is the only recipient of its file."""
    made = here.train().travel(1)
    (common,) = entry_recipients(made.manifest, 0, made.world.trust, NOW)
    assert isinstance(common, PassphraseRecipient)
    stanzas = [one.wrap(bytes(16)) for one in (common, HybridIdentity.generate().recipient)]
    forged = write_header(stanzas, bytes(16)) + bytes(64)
    with pytest.raises(HeaderInvalid):
        open_letter(forged, with_common(made.manifest, []))


def test_t17_a_common_letter_asks_for_no_work(here: World) -> None:
    """Who may write to a mailbox could have every reader stretch a passphrase for minutes."""
    made = here.train().travel(1)
    costly = PassphraseRecipient(made.manifest.letter_key.encode(), 2)
    with pytest.raises(HeaderInvalid):
        open_letter(seal_letter(made.entries[0], [costly]), with_common(made.manifest, []))


def test_the_key_of_a_trains_letters_is_in_no_rendering_of_it(here: World) -> None:
    """`pht station show` and `pht train inspect` have tests of their own for what they print."""
    made = here.train()
    assert made.manifest.letter_key not in repr(made.manifest)
    assert made.manifest.letter_key not in str(told_manifest(made.envelope.payload))


@pytest.mark.parametrize("at", [None, 1])
def test_t9_a_letter_with_one_more_reader_is_refused_at_home(tmp_path: Path, at: int | None) -> None:
    place = OwnerWorld(tmp_path)
    name = place.journey()
    (arrival,) = place.depot.arrivals(ALICE)
    blobs = MemoryBlobs()
    parcel = place.depot.take(arrival, blobs)
    record = place.home().find(name)
    letter = parcel.manifest if at is None else parcel.entries[at]
    envelope = open_manifest(letter, [record.mail]).envelope
    readers = [place.secrets(one).key_set.sealing for one in (*record.manifest.route.parties, "mallory")]
    again = seal_letter(envelope, [*readers[at or 0 :], record.manifest.recipient, record.manifest.mail])
    other = (
        replace(parcel, manifest=again)
        if at is None
        else replace(parcel, entries=(parcel.entries[0], again, parcel.entries[2]))
    )
    place.registry.put_manifest(
        mailbox(ALICE), train_tag(name, ALICE, None), pack(other, blobs.blobs).manifest.raw, OCI_MANIFEST
    )
    with pytest.raises(SealRecipients):
        place.bring_home(name)


def test_t9_a_receipt_with_one_more_reader_is_doubted(tmp_path: Path) -> None:
    place = OwnerWorld(tmp_path)
    record = place.submit(write_train(tmp_path / "train")).record
    place.pass_stop("hospital-a")
    place.pass_stop("hospital-b")
    _, receipt = place.depot.receipts_of(ALICE, record.train, range(3))
    envelope = place.read(record, receipt)
    readers = entry_recipients(record.manifest, 1, place.world.trust, place.now)
    letter = seal_letter(envelope, [*readers, place.secrets("mallory").key_set.sealing])
    place.depot.send_receipt(letter, owner=ALICE, train=record.train, stop=1, kind=ReceiptKind.ENTRY)
    found = place.follow(record)
    assert found.stops[1].state is StopState.WAITING
    assert "[seal.recipients]" in found.doubts[0]


# --- Letters that are not for us


def test_t15_letters_for_others_under_our_names_hide_nothing(tmp_path: Path) -> None:
    place = OwnerWorld(tmp_path)
    name = place.journey()
    record, mallory = place.home().find(name), place.secrets("mallory").key_set.sealing
    junk = seal_letter(record.envelope, [mallory])
    code = {record.parcel.code.digest: place.home().blobs.at(record.parcel.code.digest).read_bytes()}
    raw = pack(replace(record.parcel, manifest=junk), code).manifest.raw
    place.registry.put_manifest(mailbox(ALICE), train_tag(name, ALICE, 200), raw, OCI_MANIFEST)
    place.depot.send_receipt(junk, owner=ALICE, train=name, stop=2, kind=ReceiptKind.REFUSAL)
    found = place.follow(record)
    assert found.passed
    assert "[seal.not-a-recipient]" in found.doubts[0]
    assert place.bring_home(name).accepted.train == name


def test_t5_a_letter_for_others_under_our_receipts_name_keeps_no_train(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    junk = seal_letter(made.envelope, [here.consortium.secrets[PartyId("mallory")].key_set.sealing])
    for kind in ReceiptKind:
        here.depot.send_receipt(junk, owner=ALICE, train=made.id, stop=0, kind=kind)
    here.settle()
    assert here.at_home(made.id)


def test_a_train_sealed_for_keys_of_ours_that_are_not_here_waits(here: World) -> None:
    """Nobody can tell it from one that is sealed for somebody else; refusing it would be for good."""
    made = here.train(route=("hospital-a",))
    here.submit(made)
    _, new = here.consortium.rotate("hospital-a")
    here.change("hospital-a", secrets=new)
    here.step("hospital-a")
    here.step("hospital-a")
    stumbled = here.visit("hospital-a").stumbled
    assert stumbled is not None
    assert stumbled.code == KeysElsewhere.code
    assert here.waits_for("hospital-a") != ()


def test_an_owner_who_lost_the_home_folder_reads_the_letters_with_the_keys(tmp_path: Path) -> None:
    place = OwnerWorld(tmp_path)
    name = place.journey()
    (place.home().path / "trains").rename(tmp_path / "lost")
    assert place.home().records() == ()
    assert place.bring_home(name).accepted.train == name


def test_the_key_for_the_mail_opens_no_results(tmp_path: Path) -> None:
    place = OwnerWorld(tmp_path)
    found = place.bring_home(place.journey())
    mail = place.home().find("latest").mail
    (state,) = found.accepted.states
    with place.home().blobs.open(state.digest) as sealed, pytest.raises(NotARecipient):
        decrypt(sealed, [mail])
    with place.home().blobs.open(found.parts.code.digest) as sealed, pytest.raises(NotARecipient):
        decrypt(sealed, [mail])
    (lies,) = (place.home().path / "trains").glob("*/mail.txt")
    assert lies.stat().st_mode & 0o077 == 0


# --- Letters


def test_a_letter_is_padded_with_as_many_zeros_as_are_due() -> None:
    made, identity = train(consortium()), HybridIdentity.generate()
    to = str(identity.recipient)
    small = sign(b"{}", made.world.secrets[ALICE].signers)
    assert len(seal_letter(small, [to])) == len(
        seal_letter(sign(b"{ }" * 99, [*made.world.secrets[ALICE].signers]), [to])
    )
    raw = small.to_bytes()
    for content in (raw, raw.ljust(LEAST - 1, b"\0"), raw.ljust(LEAST + 1, b"\0")):
        with pytest.raises(MalformedStatement):
            open_letter(seal_note(content, to), [identity])
    assert open_letter(seal_note(raw.ljust(LEAST, b"\0"), to), [identity]).envelope == small


def test_t17_a_statement_larger_than_one_of_its_kind_is_refused() -> None:
    identity = HybridIdentity.generate()
    large = sign(b'"' + b" " * MAX_ENTRY + b'"', consortium().secrets[ALICE].signers)
    with pytest.raises(BudgetExceeded):
        open_letter(seal_letter(large, [str(identity.recipient)]), [identity])


def test_t17_the_largest_letters_that_are_due_are_within_the_limits() -> None:
    one = HybridIdentity.generate()
    alone, envelope = seal_letter(_sized(MAX_ENTRY), [str(one.recipient)]), _sized(6000)
    stanza = len(seal_letter(envelope, [str(one.recipient), str(HybridIdentity.generate().recipient)])) - len(
        seal_letter(envelope, [str(one.recipient)])
    )
    assert len(alone) + (MAX_STOPS + 1) * stanza <= MAX_ENTRY_LETTER
    assert (
        len(seal_letter(_sized(MAX_ENVELOPE), [str(one.recipient)])) + (MAX_STOPS + 1) * stanza <= MAX_MANIFEST_LETTER
    )
    usual = len(seal_letter(envelope, [str(one.recipient)]))
    assert sum(usual + (left + 1) * stanza for left in range(1, MAX_STOPS + 1)) <= MAX_JOURNEY


def _sized(size: int) -> Envelope:
    signers = consortium().secrets[ALICE].signers
    return sign(b"0" * ((size - 400) // 4 * 3), signers)


@pytest.mark.parametrize("mail", ["recipient", "another kind", "none"])
def test_a_manifest_whose_mail_key_cannot_be_used_is_none(mail: str) -> None:
    """Stations would have to seal for it, and would fail for ever."""
    made = train(consortium())
    valid = print_manifest(made.manifest)
    x25519 = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg"
    found = {"recipient": made.manifest.recipient, "another kind": x25519, "none": "age1x"}[mail]
    spoiled_bytes = valid.replace(made.manifest.mail.encode(), found.encode())
    forged = sign(spoiled_bytes, made.world.secrets[ALICE].signers)
    with pytest.raises(MalformedStatement):
        verify_train(replace(made.parts, manifest=forged), made.world.trust, here=PartyId("hospital-a"), now=NOW)


def test_the_count_is_of_parties_also_where_one_is_visited_twice() -> None:
    made = train(consortium(), route=("hospital-a", "hospital-b", "hospital-a")).travel(2)
    parcel = made.parcel
    opened = open_parcel(parcel, [made.world.secrets[PartyId("hospital-a")].identity])
    accepted = verify_train(opened.parts, made.world.trust, here=PartyId("hospital-a"), now=NOW)
    check_readers(opened, accepted)
    assert [one.readers for one in (opened.manifest, *opened.entries)] == [4, 1, 1]
    assert another_like(MAIL.recipient).recipient.kind == MAIL.recipient.kind


@dataclass
class Counting:
    """An identity that counts the stanzas it was tried on."""

    identity: Unwrapper
    tried: int = 0

    def unwrap(self, stanza: Stanza, /) -> bytes | None:
        self.tried += 1
        return self.identity.unwrap(stanza)


def test_of_a_letter_that_was_opened_only_the_place_is_remembered() -> None:
    """The parts of a round bring the same letter: it is opened at once, and with nothing but a key (attack T26)."""
    made = train(consortium(), route=("hospital-a", "hospital-b", "hospital-c"))
    reader = Counting(made.world.secrets[PartyId("hospital-c")].identity)
    opened = [open_parcel(made.parcel, [reader]) for _ in range(3)]
    assert opened[0] == opened[1] == opened[2]
    assert reader.tried == 3 + 1 + 1
    with pytest.raises(NotARecipient):
        open_parcel(made.parcel, [another_like(MAIL.recipient)])


def opens(letter: bytes, *identities: Unwrapper) -> bool:
    try:
        open_manifest(letter, identities)
    except NotARecipient:
        return False
    return True
