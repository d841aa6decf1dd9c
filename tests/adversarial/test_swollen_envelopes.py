"""Can signatures that prove nothing make a train unreadable one stop later? (T17)

Anybody may add signatures of their own to an envelope. What is printed again at the next stop is longer than what arrived
where that had no padding, so that an envelope at the limit went over it.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from registry.artifact import CODE_LAYER, ENTRY_LAYER, MANIFEST_LAYER, MAX_ENTRY, STATE_LAYER, TRAIN
from registry.check import put_bytes
from registry.depot import mailbox, train_tag
from registry.oci import EMPTY, EMPTY_BYTES, OCI_EMPTY, OCI_MANIFEST, Descriptor, make_manifest
from security.digest import Digest, digest_of
from security.ids import KeyId, PartyId
from security.keys.keyset import Scheme, generate
from security.statement.envelope import MAX_ENVELOPE, Envelope, Signature, sign, signed_by
from security.train.manifest import print_manifest
from station.visit.plan import Phase, phase_of
from tests.support.trains import Train
from tests.support.world import ROUTE, World, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path)
    yield made
    made.close()


def swollen(envelope: Envelope, limit: int, *, count: int = 7, most: int = 16_384) -> bytes:
    """Print an envelope with signatures of nobody's keys, without padding, in exactly `limit` bytes or what is possible."""

    def printed(sizes: Sequence[int]) -> bytes:
        document = json.loads(envelope.to_bytes())
        for number, size in enumerate(sizes):
            document["signatures"].append({"keyid": f"{number:064x}", "sig": "A" * size})
        for one in document["signatures"]:
            one["sig"] = one["sig"].rstrip("=")
        document["payload"] = document["payload"].rstrip("=")
        return json.dumps(document, separators=(",", ":")).encode()

    sizes = [2] * count
    for place in range(count):
        room = limit - len(printed(sizes))
        grown = min(most, sizes[place] + room) - 2
        sizes[place] += max(0, grown // 4 * 4)
    return printed(sizes)


def plant(here: World, made: Train, documents: Sequence[bytes], to: str) -> Digest:
    """Put a train with these documents into a mailbox, as anybody who may write there can."""
    repo = mailbox(PartyId(to))
    put_bytes(here.registry, repo, EMPTY_BYTES, OCI_EMPTY)
    kinds = [MANIFEST_LAYER, *[ENTRY_LAYER] * (len(documents) - 1)]
    layers = [put_bytes(here.registry, repo, raw, kind) for raw, kind in zip(documents, kinds, strict=True)]
    code = made.manifest.code
    sealed = [Descriptor(media_type=CODE_LAYER, digest=code.digest, size=code.size)]
    if made.state is not None:
        sealed.append(Descriptor(media_type=STATE_LAYER, digest=made.state.digest, size=made.state.size))
    for one in sealed:
        here.registry.put_blob(repo, one, lambda at, digest=one.digest: io.BytesIO(made.blobs[digest][at:]))  # type: ignore[misc]
    manifest = make_manifest(config=EMPTY, layers=[*layers, *sealed], artifact_type=TRAIN)
    return here.registry.put_manifest(repo, train_tag(made.id, made.stop), manifest.raw, OCI_MANIFEST)


def test_a_swollen_entry_comes_home_all_the_same(here: World, tmp_path: Path) -> None:
    made = here.train()
    made.pass_stop({"sums.json": b'{"sum":1,"n":1}'})
    (entry,) = made.entries
    raw = swollen(entry, MAX_ENTRY)
    assert len(raw) in range(MAX_ENTRY - 3, MAX_ENTRY + 1)
    again = Envelope(
        payload=entry.payload,
        payload_type=entry.payload_type,
        signatures=(*entry.signatures, *_junk(raw)),
    )
    assert len(again.to_bytes()) > MAX_ENTRY  # so that the next stop would not read what is printed again
    arrival = plant(here, made, [made.envelope.to_bytes(), raw], ROUTE[1])
    here.settle()
    assert here.at_home(made.id)
    assert json.loads(here.results(made, tmp_path / "out")["sums.json"])["n"] == 4
    visit = here.visit(ROUTE[1])
    assert visit.arrival == arrival
    assert visit.fetched is not None
    assert digest_of(raw) in {blob.digest for blob in visit.fetched.documents}  # as it arrived: the evidence
    assert (here.folder(ROUTE[1]) / "spool" / digest_of(raw).hex).read_bytes() == raw


def _junk(raw: bytes) -> tuple[Signature, ...]:
    found = json.loads(raw)["signatures"][1:]
    return tuple(
        Signature(key_id=KeyId(one["keyid"]), sig=base64.b64decode(one["sig"] + "=" * (-len(one["sig"]) % 4)))
        for one in found
    )


def test_signatures_of_nobody_do_not_travel(here: World) -> None:
    made = here.train(route=("hospital-a", "hospital-b"))
    plant(here, made, [swollen(made.envelope, 200_000)], "hospital-a")
    here.settle("hospital-a")
    (arrival,) = here.depot.arrivals(PartyId("hospital-b"))
    stored = here.registry.get_manifest(mailbox(PartyId("hospital-b")), arrival.digest)
    sizes = [one["size"] for one in json.loads(stored.raw)["layers"] if one["mediaType"].endswith("dsse+json")]
    assert sizes[0] == len(made.envelope.to_bytes())
    here.settle()
    assert here.at_home(made.id)


def test_a_train_that_nobody_after_us_could_read_is_refused_before_it_runs(here: World) -> None:
    """Its owner's own statement leaves no room for the padding that the next stop prints."""
    made = here.train(route=("hospital-a", "hospital-b"))
    keys = here.consortium.secrets[PartyId("alice")]
    payload = print_manifest(made.manifest)
    frame = len(sign(b"", keys.signers).to_bytes())
    room = (MAX_ENVELOPE - frame) * 3 // 4 - len(payload)
    for spare in range(room + 3, room - 6, -1):  # the white space is signed: JSON does not mind
        envelope = sign(payload + b" " * spare, keys.signers)
        document = json.loads(envelope.to_bytes())
        document["payload"] = document["payload"].rstrip("=")
        document["signatures"][0]["sig"] = document["signatures"][0]["sig"].rstrip("=")
        raw = json.dumps(document, separators=(",", ":")).encode()
        if len(raw) <= MAX_ENVELOPE < len(envelope.to_bytes()):
            break
    else:
        pytest.fail("there is no such statement")
    spoiled = replace(made, envelope=envelope)
    plant(here, spoiled, [raw], "hospital-a")
    here.settle("hospital-a")
    visit = here.visit("hospital-a")
    assert visit.refused is not None
    assert visit.refused.code == "malformed.artifact"
    assert visit.started is None
    assert phase_of(visit) is Phase.GONE


def test_signed_by_keeps_the_statement_and_every_signature_of_the_key_set() -> None:
    keys, others = generate([Scheme.ED25519, Scheme.P256]), generate([Scheme.ED25519])
    both = sign(b"{}", [*keys.signers, *others.signers])
    kept = signed_by(both, keys.key_set)
    assert kept.digest == both.digest
    assert {one.key_id for one in kept.signatures} == {key.key_id for key in keys.key_set.signing}
