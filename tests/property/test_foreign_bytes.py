"""Whatever bytes a stranger sends: every parser that meets them reads them, or refuses them with an error of ours.

Each starts from something valid, of which a few pieces are cut, doubled, or replaced by what parsers stumble over.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.artifact import pack as pack_artifact
from registry.artifact import train_layers
from registry.base.archive import from_stream
from registry.bundle import print_bundle, read_bundle
from registry.http.answers import Answer, failure, next_page, redacted, resolved
from registry.http.auth import _read_token, parse_challenges
from registry.http.remote import _tags
from registry.names import Repository, location
from registry.oci import OCI_MANIFEST, parse_index, parse_manifest, print_index
from security.age import (
    PassphraseIdentity,
    PassphraseRecipient,
    X25519Identity,
    armored,
    dearmor,
    decrypt,
    encrypt,
    parse_identity,
    parse_recipient,
)
from security.archive import Budget, pack, unpack
from security.directory.card import make_card, parse_card
from security.directory.client import check_root, load_trust
from security.directory.documents import parse_base, parse_party, parse_policy, print_base, print_party, print_policy
from security.directory.trust import DirectoryVersion, Policy
from security.encoding import parse_json
from security.errors import PhtError
from security.ids import PartyId, Role
from security.keys.keyset import PublicKey, Secrets
from security.keys.store import parse_identity_file, parse_private, parse_signers
from security.statement.envelope import parse_envelope, parse_statement
from security.train.journey import (
    Outcome,
    Refusal,
    StationAnswer,
    print_answer,
    print_refusal,
    read_answer,
    read_entry,
    read_refusal,
)
from security.train.letters import open_manifest
from security.train.manifest import read_manifest
from tests.support.directories import House, Place, clock, house
from tests.support.trains import BASE, NOW, consortium, members, train

PIECES = [
    *(b"", b"\0", b"\n", b"\r\n", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xef\xbb\xbf", b"\\"),
    *(b'"', b"[", b"]", b"{", b"}", b",", b":", b"=", b"-", b"/", b"..", b"%", b" ", b"null", b"true", b"-0", b"0"),
    *(b"1.0", b"1e400", b"-1", b"NaN", b"Infinity", b"9007199254740993", b"9" * 5000, b"[" * 5000, b'{"a":' * 30),
    *(b"<", b">", b"http://[", b"https://x:y@z/", b"?", b"#", b"*", b"\\/", b"-> X25519 \n", b"---", b"ustar", b"1e9"),
    *("é".encode(), "\u202e".encode(), "\N{ARABIC-INDIC DIGIT ONE}".encode(), b"A" * 70, b"=" * 4, b"9999-12-31"),
    *(b"0001-01-01T00:00:00Z", b"-----BEGIN X-----\n", b"2147483648", b"scrypt", b"99", b"\x80" * 12, b"7" * 11),
]


@dataclass(frozen=True)
class Door:
    """Where foreign bytes come in: something valid, and what reads it."""

    valid: bytes
    read: Callable[[bytes], object]


@cache
def doors() -> dict[str, Door]:
    world = consortium()
    here = train(world).travel(1)
    alice = PartyId("alice")
    keys = world.secrets[alice]
    version = DirectoryVersion(root=1, targets=3)
    refusal = Refusal(
        train=here.id, stop=1, station=PartyId("hospital-b"), outcome=Outcome.FAILED, directory=version, time=NOW
    )
    answer = StationAnswer(train=here.id, stop=1, station=PartyId("hospital-b"), text="call us", time=NOW)
    artifact = pack_artifact(here.parcel).manifest
    card = make_card(keys, party=alice, title="Alice", roles=[Role.OWNER], now=NOW).to_bytes()
    return {
        "json": Door(here.envelope.payload, parse_json),
        "envelope": Door(here.entries[0].to_bytes(), parse_envelope),
        "statement": Door(here.entries[0].payload, parse_statement),
        "manifest": Door(here.envelope.payload, read_manifest),
        "entry": Door(here.entries[0].payload, read_entry),
        "refusal": Door(print_refusal(refusal), read_refusal),
        "answer": Door(print_answer(answer), read_answer),
        "card": Door(card, parse_card),
        "party": Door(print_party(world.trust.parties[alice]), parse_party),
        "base": Door(print_base(world.bases[BASE]), parse_base),
        "policy": Door(print_policy(Policy()), parse_policy),
        "public key": Door(keys.key_set.signing[0].pem.encode(), lambda raw: PublicKey.of_pem(raw.decode("latin-1"))),
        **_of_seals(keys),
        "letter": Door(here.parcel.manifest, lambda raw: open_manifest(raw, [keys.identity])),
        "artifact": Door(artifact.raw, lambda raw: train_layers(parse_manifest(raw, OCI_MANIFEST))),
        "bundle": Door(print_bundle(here.parcel.entries), read_bundle),
        "index": Door(print_index([artifact.descriptor]), parse_index),
        **_of_registries(),
    }


def _of_seals(keys: Secrets) -> dict[str, Door]:
    ours, plain = X25519Identity.generate(), _packed()
    sealed = _sealed(ours.recipient, plain)
    hybrid = keys.identity.recipient
    text = io.BytesIO()
    with armored(text) as sink:
        sink.write(sealed)
    secret = PassphraseIdentity(b"a passphrase", max_log_n=3)
    wrapped = io.BytesIO()
    with encrypt(wrapped, [PassphraseRecipient(b"a passphrase", log_n=2)]) as writer:
        writer.write(plain)
    return {
        "seal": Door(sealed, lambda raw: decrypt(io.BytesIO(raw), [ours]).read()),
        "hybrid seal": Door(_sealed(hybrid, plain), lambda raw: decrypt(io.BytesIO(raw), [keys.identity]).read()),
        "passphrase seal": Door(wrapped.getvalue(), lambda raw: decrypt(io.BytesIO(raw), [secret]).read()),
        "armor": Door(text.getvalue(), lambda raw: decrypt(dearmor(io.BytesIO(raw)), [ours]).read()),
        "archive": Door(plain, _unpacked),
        "recipient": Door(str(ours.recipient).encode(), lambda raw: parse_recipient(raw.decode("latin-1"))),
        "hybrid recipient": Door(str(hybrid).encode(), lambda raw: parse_recipient(raw.decode("latin-1"))),
        "identity": Door(ours.secret_text().encode(), lambda raw: parse_identity(raw.decode("latin-1"))),
        "identity file": Door(ours.secret_text().encode(), lambda raw: parse_identity_file(raw, Path("keys"))),
        "private file": Door(_private(ours, keys), lambda raw: parse_private(raw, Path("keys"))),
        "signing keys": Door(_pkcs8(keys), lambda raw: parse_signers(raw, Path("keys"))),
    }


def _of_registries() -> dict[str, Door]:
    challenge = 'Bearer realm="https://x/token",service="x",scope="repository:a:pull", Basic realm="y"'
    tags = b'{"name":"mailbox/a","tags":["train-1","x"]}'
    return {
        "challenge": Door(challenge.encode(), lambda raw: parse_challenges(raw.decode("latin-1"))),
        "token": Door(b'{"token":"abc.def"}', _read_token),
        "tags": Door(tags, lambda raw: _tags(raw, Repository("mailbox/a"))),
        "trouble": Door(b'{"errors":[{"code":"DENIED"}]}', lambda raw: failure("GET", _answer(raw))),
        "next page": Door(b'</v2/a/tags/list?last=b>; rel="next"', lambda raw: next_page(_answer(raw))),
        "address": Door(b"https://host.example:5000/prefix", _addressed),
        "saved image": Door(_image(), _saved),
    }


def _packed() -> bytes:
    sink = io.BytesIO()
    pack(sink, b'{"kind":"state"}', members({"a/b.json": b"{}", "c.txt": b"x" * 600}))
    return sink.getvalue()


def _image() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("manifest.json", "a/" + "b" * 150 + "/layer.tar"):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = 600, 1.5
            tar.addfile(member, io.BytesIO(b"x" * 600))
    return sink.getvalue()


def _sealed(recipient: object, plain: bytes) -> bytes:
    sink = io.BytesIO()
    with encrypt(sink, [parse_recipient(str(recipient))]) as writer:
        writer.write(plain)
    return sink.getvalue()


def _private(ours: X25519Identity, keys: Secrets) -> bytes:
    return b"".join([ours.secret_text().encode(), b"\n", *(b"# " + line for line in _pkcs8(keys).splitlines(True))])


def _pkcs8(keys: Secrets) -> bytes:
    return b"".join(signer.to_pkcs8() for signer in keys.signers)  # type: ignore[attr-defined] # kept in software


def _read_meta(raw: bytes) -> None:
    parse_json(raw)


def _unpacked(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        budget = Budget(total_bytes=1 << 16, member_bytes=1 << 16, members=9)
        unpack(io.BytesIO(raw), into=Path(folder), budget=budget, check_meta=_read_meta)


def _saved(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        from_stream(io.BytesIO(raw), Path(folder))


def _answer(raw: bytes) -> Answer:
    text = raw.decode("latin-1")
    return Answer(status=400, url="https://host/v2/", headers={"link": text, "retry-after": text}, body=raw)


def _addressed(raw: bytes) -> None:
    text = raw.decode("latin-1")
    redacted(text)
    resolved("https://host/v2/", text)
    location(text)


NAMES = (
    *("json", "envelope", "statement", "manifest", "entry", "refusal", "answer", "card", "party", "base", "policy"),
    *("public key", "seal", "hybrid seal", "passphrase seal", "armor", "archive", "recipient", "hybrid recipient"),
    *(
        "identity",
        "identity file",
        "private file",
        "signing keys",
        "letter",
        "artifact",
        "bundle",
        "index",
        "challenge",
        "token",
        "tags",
        "trouble",
    ),
    *("next page", "address", "saved image"),
)


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    raw = valid
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.sampled_from([0, 1, 2, 5, 20, 512])))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8) | st.just(raw[start:end] * 2))
        raw = raw[:start] + piece + raw[end:]
    return raw


def test_every_door_is_tried() -> None:
    assert set(NAMES) == set(doors())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_valid_is_read(name: str) -> None:
    doors()[name].read(doors()[name].valid)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_t23_only_our_errors_come_out(name: str, data: st.DataObject) -> None:
    door = doors()[name]
    raw = data.draw(damaged(door.valid) | st.binary(max_size=200))
    with contextlib.suppress(PhtError):
        door.read(raw)


@pytest.fixture(scope="module")
def published() -> Iterator[tuple[House, Place, Path]]:
    with tempfile.TemporaryDirectory() as folder:
        home, place = house(Path(folder) / "workspace"), Place()
        home.admit("hospital-a")
        home.publish(place)
        yield home, place, Path(folder) / "cache"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_t21_only_our_errors_come_out_of_a_directory(published: tuple[House, Place, Path], data: st.DataObject) -> None:
    home, place, cache = published
    name = data.draw(st.sampled_from(sorted(place.served)))
    raw = data.draw(damaged(place.served[name]) | st.binary(max_size=200))
    shutil.rmtree(cache, ignore_errors=True)
    with contextlib.suppress(PhtError):
        check_root(raw)
    with contextlib.suppress(PhtError):
        load_trust(Place(served=place.served | {name: raw}), cache, home.root, clock())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_t21_a_damaged_cache_is_made_anew_or_told(published: tuple[House, Place, Path], data: st.DataObject) -> None:
    home, place, cache = published
    shutil.rmtree(cache, ignore_errors=True)
    load_trust(place, cache, home.root, clock())
    kept = sorted(path for path in cache.rglob("*") if path.is_file())
    path = data.draw(st.sampled_from(kept))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    with contextlib.suppress(PhtError):
        assert PartyId("hospital-a") in load_trust(place, cache, home.root, clock()).parties
