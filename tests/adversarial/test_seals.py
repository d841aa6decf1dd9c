"""Attacks on sealed code and states: T7 to T10, T22, T24. Each seal here is made and opened for real."""

from __future__ import annotations

import io
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from security.age import encrypt, parse_recipient
from security.archive import Budget, pack
from security.digest import Digest, digest_of
from security.encoding import dump_json, parse_json
from security.errors import (
    ArchiveRejected,
    BudgetExceeded,
    CodeAltered,
    DigestMismatch,
    NotARecipient,
    PhtError,
    SealBroken,
    SealForeign,
    SealRecipients,
)
from security.ids import PartyId
from security.train.journey import StateRef
from security.train.manifest import CodeRef
from security.train.route import SequenceRoute
from security.train.seal import StateBinding, open_code, open_state
from security.train.verify import verify_train
from tests.support.trains import CODE, NOW, Consortium, Train, consortium, members, train

A, B, C, ALICE = PartyId("hospital-a"), PartyId("hospital-b"), PartyId("hospital-c"), PartyId("alice")
BUDGET = Budget(total_bytes=1 << 20, member_bytes=1 << 20, members=100)
FILES: Mapping[str, bytes] = {"sums.json": b'{"n": 3}'}


@pytest.fixture(scope="module")
def parties() -> Consortium:
    return consortium()


def received(it: Train, here: PartyId) -> StateBinding:
    (binding,) = verify_train(it.parts, it.world.trust, here=here, now=NOW).received()
    return binding


def opened(it: Train, ref: StateRef, binding: StateBinding, into: pathlib.Path, reader: PartyId) -> dict[str, bytes]:
    into.mkdir()
    identity = it.world.secrets[reader].identity
    source = io.BytesIO(it.blobs[ref.digest])
    unpacked = open_state(source, ref, binding=binding, identities=[identity], into=into, budget=BUDGET)
    return {name: (into / name).read_bytes() for name in unpacked.files}


def raw_seal(
    it: Train, meta: object, files: Mapping[str, bytes], recipients: list[str], *, executable: str = ""
) -> StateRef:
    """Seal anything for anybody, as an attacker can; one of the files, if named, as a program."""
    sink = io.BytesIO()
    with encrypt(sink, [parse_recipient(one) for one in recipients]) as plain:
        pack(plain, dump_json(meta), [replace(one, executable=one.path == executable) for one in members(files)])
    data = sink.getvalue()
    it.blobs[digest_of(data)] = data
    return StateRef(digest=digest_of(data), size=len(data))


def meta_of(binding: StateBinding) -> dict[str, object]:
    return {
        "version": 1,
        "kind": "state",
        "train": str(binding.train),
        "stop": binding.stop,
        "sender": str(binding.sender),
        "recipients": [str(one) for one in binding.recipients],
        "previous": [str(one) for one in binding.previous],
    }


def test_an_honest_state_opens_for_the_next_station_only(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    it.pass_stop(FILES)
    assert it.state is not None
    assert opened(it, it.state, received(it, B), tmp_path / "b", B) == FILES
    for reader in (A, C, ALICE):
        with pytest.raises(NotARecipient):
            opened(it, it.state, received(it, B), tmp_path / reader, reader)
        assert list((tmp_path / reader).iterdir()) == []


def test_t24_the_final_state_opens_for_the_owner_only(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties, route=["hospital-a"])
    binding = it.binding()
    it.pass_stop(FILES)
    assert it.state is not None
    assert opened(it, it.state, binding, tmp_path / "alice", ALICE) == FILES
    for reader in (A, PartyId("mallory")):
        with pytest.raises(NotARecipient):
            opened(it, it.state, binding, tmp_path / reader, reader)


def test_t7_a_state_of_a_twin_train_is_refused(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    twin = train(parties, code=it.manifest.code, nonce=it.manifest.nonce, name="twin")
    theirs = twin.seal({"sums.json": b"{}"})
    it.blobs |= twin.blobs
    it.pass_stop()
    with pytest.raises(SealForeign):
        opened(it, theirs, received(it, B), tmp_path / "b", B)
    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize("field", ["train", "stop", "sender", "recipients", "previous"])
def test_t8_a_state_sealed_by_or_for_another_is_refused(
    parties: Consortium, tmp_path: pathlib.Path, field: str
) -> None:
    it = train(parties)
    honest = it.binding()
    other = {
        "train": train(parties).id,
        "stop": 1,
        "sender": C,
        "recipients": (C,),
        "previous": (digest_of(b"another entry"),),
    }
    meta = meta_of(honest) | meta_of(replace(honest, **{field: other[field]}))  # type: ignore[arg-type] # by name
    forged = raw_seal(it, meta, FILES, [parties.secrets[B].key_set.sealing])
    with pytest.raises(SealForeign) as caught:
        opened(it, forged, honest, tmp_path / "b", B)
    assert caught.value.code == "seal.foreign"
    assert list((tmp_path / "b").iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ({"extra": 1}, "malformed.statement"),
        ({"kind": "code"}, "seal.foreign"),
        ({"version": 2}, "seal.foreign"),
        ({"version": True}, "malformed.statement"),
        ({"version": 1.0}, "malformed.statement"),
        ({"stop": "0"}, "seal.foreign"),
        ({"stop": False}, "seal.foreign"),
        ({"stop": 0.0}, "seal.foreign"),
        ({"stop": None}, "seal.foreign"),
    ],
)
def test_t8_an_unknown_meta_is_refused(
    parties: Consortium, tmp_path: pathlib.Path, spoil: dict[str, object], code: str
) -> None:
    it = train(parties)
    forged = raw_seal(it, meta_of(it.binding()) | spoil, FILES, [parties.secrets[B].key_set.sealing])
    with pytest.raises(PhtError) as caught:
        opened(it, forged, it.binding(), tmp_path / "b", B)
    assert caught.value.code == code
    assert list((tmp_path / "b").iterdir()) == []


def test_t9_a_state_with_a_second_reader_is_refused(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    readers = [parties.secrets[B].key_set.sealing, parties.secrets[PartyId("mallory")].key_set.sealing]
    leaky = raw_seal(it, meta_of(it.binding()), FILES, readers)
    with pytest.raises(SealRecipients) as caught:
        opened(it, leaky, it.binding(), tmp_path / "b", B)
    assert caught.value.code == "seal.recipients"


def test_t9_code_with_another_number_of_readers_is_refused(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    two = tuple(map(it.manifest.route.stop, (0, 1)))
    shorter = replace(it.manifest, route=SequenceRoute(stops=two))
    with pytest.raises(SealRecipients):
        code(it, tmp_path / "code", A, shorter)


def code(it: Train, into: pathlib.Path, reader: PartyId, manifest: object = None) -> Digest:
    into.mkdir()
    chosen = it.manifest if manifest is None else manifest
    source = io.BytesIO(it.blobs[chosen.code.digest])  # type: ignore[attr-defined] # a manifest
    identities = [it.world.secrets[reader].identity]
    return open_code(source, manifest=chosen, identities=identities, into=into, budget=BUDGET)  # type: ignore[arg-type] # a manifest


def test_code_opens_for_every_stop_and_the_owner_and_nobody_else(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    found = {code(it, tmp_path / reader, reader) for reader in (A, B, C, ALICE)}
    assert len(found) == 1
    for name, data in CODE.items():
        assert (tmp_path / "hospital-c" / name).read_bytes() == data
    with pytest.raises(NotARecipient):
        code(it, tmp_path / "mallory", PartyId("mallory"))


def test_code_of_an_owner_who_is_a_station_too_is_sealed_for_each_party_once(
    parties: Consortium, tmp_path: pathlib.Path
) -> None:
    it = train(parties, owner="hospital-a", route=("hospital-b", "hospital-a", "hospital-b"))
    assert {code(it, tmp_path / reader, reader) for reader in (A, B)} == {code(it, tmp_path / "again", A)}
    with pytest.raises(NotARecipient):
        code(it, tmp_path / "c", C)


def test_t10_code_of_another_owner_cannot_be_borrowed(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    thief = train(parties, owner="mallory", code=it.manifest.code)
    thief.blobs |= it.blobs
    with pytest.raises(SealForeign):
        code(thief, tmp_path / "a", A)
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize(
    ("files", "executable"),
    [
        (CODE | {"extra.py": b""}, ""),
        ({"main.py": CODE["main.py"]}, ""),
        ({"Main.py": CODE["main.py"], "lib/sums.py": CODE["lib/sums.py"]}, ""),
        ({"main.py": CODE["lib/sums.py"], "lib/sums.py": CODE["main.py"]}, ""),
        ({"main.py": CODE["main.py"] + CODE["lib/sums.py"][:1], "lib/sums.py": CODE["lib/sums.py"][1:]}, ""),
        (CODE, "lib/sums.py"),
    ],
    ids=["added", "removed", "renamed", "swapped", "bytes moved", "mode changed"],
)
def test_t10_other_content_under_the_old_content_digest_is_refused(
    parties: Consortium, tmp_path: pathlib.Path, files: dict[str, bytes], executable: str
) -> None:
    it = train(parties)
    honest = code(it, tmp_path / "honest", A)
    meta = {"version": 1, "kind": "code", "owner": "alice", "nonce": it.manifest.nonce, "content": str(honest)}
    readers = [parties.secrets[party].key_set.sealing for party in (A, B, C, ALICE)]
    ref = raw_seal(it, meta, files, readers, executable=executable)
    manifest = replace(it.manifest, code=CodeRef(digest=ref.digest, size=ref.size))
    with pytest.raises(CodeAltered) as caught:
        code(it, tmp_path / "a", A, manifest)
    assert caught.value.code == "code.altered"


def test_t10_a_changed_mode_is_another_content() -> None:
    plain = pack(io.BytesIO(), None, members(CODE)).content
    executable = [replace(one, executable=True) for one in members(CODE)]
    assert pack(io.BytesIO(), None, executable).content != plain


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda data: data[:-1], DigestMismatch),
        (lambda data: data + b"\0", BudgetExceeded),
        (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], DigestMismatch),
        (lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:], DigestMismatch),
        (lambda data: data[:0], DigestMismatch),
    ],
    ids=["cut", "appended", "header flipped", "payload flipped", "empty"],
)
def test_t22_a_damaged_blob_is_refused_by_its_digest(
    parties: Consortium, tmp_path: pathlib.Path, spoil: Callable[[bytes], bytes], error: type[PhtError]
) -> None:
    it = train(parties)
    it.pass_stop(FILES)
    assert it.state is not None
    it.blobs[it.state.digest] = spoil(it.blobs[it.state.digest])
    with pytest.raises(PhtError) as caught:
        opened(it, it.state, received(it, B), tmp_path / "b", B)
    assert type(caught.value) is error


def test_t22_a_seal_damaged_by_its_sender_is_refused(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    honest = it.seal({"sums.json": bytes(200_000)})
    data = it.blobs[honest.digest]
    for spoiled in (data[:-1], data[:-65552], data[:70000] + data[-16:], data[:-1] + bytes([data[-1] ^ 1])):
        ref = StateRef(digest=digest_of(spoiled), size=len(spoiled))
        it.blobs[ref.digest] = spoiled
        with pytest.raises(SealBroken):
            opened(it, ref, it.binding(), tmp_path / ref.digest.hex, B)


def test_t17_a_state_beyond_the_budget_is_refused(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    large = it.seal({"a.bin": bytes((1 << 20) + 1)})
    with pytest.raises(BudgetExceeded):
        opened(it, large, it.binding(), tmp_path / "large", B)
    many = it.seal({f"{number}.txt": b"" for number in range(101)})
    with pytest.raises(BudgetExceeded):
        opened(it, many, it.binding(), tmp_path / "many", B)


def test_sizes_say_little(parties: Consortium) -> None:
    it = train(parties)
    sizes = {it.seal({"sums.json": bytes(length)}).size for length in range(1, 4000, 97)}
    assert len(sizes) == 1


def test_meta_cannot_be_smuggled_in_as_a_file(parties: Consortium) -> None:
    with pytest.raises(ArchiveRejected):
        train(parties).seal({"META.json": b"{}"})


def test_t23_meta_is_strict_json(parties: Consortium, tmp_path: pathlib.Path) -> None:
    it = train(parties)
    honest = dump_json(meta_of(it.binding()))
    assert parse_json(honest) == meta_of(it.binding())
    sink = io.BytesIO()
    with encrypt(sink, [parse_recipient(parties.secrets[B].key_set.sealing)]) as plain:
        pack(plain, honest.replace(b'{"kind"', b'{"kind":"state","kind"'), members(FILES))
    ref = StateRef(digest=digest_of(sink.getvalue()), size=len(sink.getvalue()))
    it.blobs[ref.digest] = sink.getvalue()
    with pytest.raises(PhtError) as caught:
        opened(it, ref, it.binding(), tmp_path / "b", B)
    assert caught.value.code == "malformed.json"
