"""Can signatures that prove nothing make a train unreadable one stop later? (T17)

Whoever signs a statement may add signatures of nobody to it. What is printed again is longer than what arrived where that
had no padding, and would go over the limit; but a letter is never printed again: it travels as it was sealed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from registry.depot import ReceiptKind
from security.age import Recipient, encrypt, parse_recipient
from security.archive import padme
from security.errors import MalformedStatement
from security.ids import KeyId, PartyId
from security.statement.envelope import (
    MAX_ENVELOPE,
    MAX_PAYLOAD,
    MAX_SIGNATURES,
    PAYLOAD_TYPE,
    Envelope,
    Signature,
    parse_envelope,
    sign,
)
from security.train.letters import (
    LEAST,
    MAX_ENTRY,
    MAX_ENTRY_LETTER,
    MAX_JOURNEY,
    entry_recipients,
    manifest_recipients,
)
from security.train.manifest import MANIFEST, Output
from tests.support.trains import NOW, Train
from tests.support.world import ROUTE, MemoryBlobs, World, world


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


def in_a_letter(raw: bytes, readers: Sequence[str | Recipient]) -> bytes:
    sealed = io.BytesIO()
    with encrypt(sealed, [parse_recipient(one) if isinstance(one, str) else one for one in readers]) as plain:
        plain.write(raw.ljust(max(LEAST, padme(len(raw))), b"\0"))
    return sealed.getvalue()


def of_size(made: Train, size: int) -> Envelope:
    """Sign, by hand, a manifest of a statement's size that our own tools would not print."""

    def printed(filler: int) -> bytes:
        output = Output(path="a", media_type="a/b", max_bytes=1, schema={"const": "x" * filler})
        return MANIFEST.print(replace(made.manifest, outputs=(*made.manifest.outputs, output)))

    return sign(printed(size - len(printed(0))), made.world.secrets[made.manifest.owner.party].signers)


@pytest.mark.parametrize("owner", ["alice", "mallory"])
@pytest.mark.parametrize(("size", "passes"), [(MAX_PAYLOAD, True), (MAX_PAYLOAD + 1, False), (3_110_097, False)])
def test_a_swollen_manifest_is_judged_and_not_stuck(here: World, owner: str, size: int, passes: bool) -> None:
    """It was taken in, and then nobody could read the reprint: a visit stuck for ever, and blamed on the disk."""
    made = here.train(owner=owner)
    signed = of_size(made, size)
    raw = swollen(signed, MAX_ENVELOPE)
    parties = (*ROUTE, owner)
    readers = [here.consortium.secrets[PartyId(one)].key_set.sealing for one in parties]
    made.manifest, made.envelope = MANIFEST.read(signed.payload), signed
    made.letters[signed.to_bytes()] = in_a_letter(raw, manifest_recipients(readers, made.manifest.mail))
    here.submit(made)
    here.settle()
    visit = here.visit("hospital-a")
    assert visit.held is None
    assert visit.refused is not None
    assert visit.refused.by == ("admit" if passes else "fetch")  # read again from the spool by then, or never taken in
    assert bool(here.receipts(made, ReceiptKind.REFUSAL)) == passes
    assert here.waits_for("hospital-a") == ()


@pytest.mark.parametrize(("less", "code"), [(0, "malformed.too-large"), (1, "seal.header")])
def test_a_journey_that_the_next_station_would_not_take_goes_no_further(here: World, less: int, code: str) -> None:
    """With one entry more it would be too large to be read: refused while nothing was run, not one stop later."""
    made = here.train()
    fat = (bytes(MAX_ENTRY_LETTER),) * (MAX_JOURNEY // MAX_ENTRY_LETTER - less)
    parcel = replace(made.parcel, entries=fat)
    here.depot.send(parcel, MemoryBlobs(made.blobs), to=PartyId("hospital-a"), train=made.id, stop=0)
    here.settle()
    refused = here.visit("hospital-a").refused
    assert refused is not None
    assert (refused.by, refused.code) == ("fetch", code)


def test_every_envelope_that_can_be_read_can_be_printed_and_read_again() -> None:
    signature = bytes(12_288)
    signatures = tuple(Signature(key_id=KeyId(f"{number:064x}"), sig=signature) for number in range(MAX_SIGNATURES))
    largest = Envelope(payload=bytes(MAX_PAYLOAD), payload_type=PAYLOAD_TYPE, signatures=signatures)
    assert len(largest.to_bytes()) <= MAX_ENVELOPE
    assert parse_envelope(largest.to_bytes()) == largest
    with pytest.raises(MalformedStatement):
        parse_envelope(replace(largest, payload=bytes(MAX_PAYLOAD + 1), signatures=signatures[:1]).to_bytes())


def test_a_swollen_entry_comes_home_all_the_same(here: World, tmp_path: Path) -> None:
    made = here.train()
    made.pass_stop({"sums.json": b'{"sum":1,"n":1}'})
    (entry,) = made.entries
    raw = swollen(entry, MAX_ENTRY)
    assert len(raw) > 100_000
    assert (
        len(raw) < len(parse_envelope(raw).to_bytes()) <= MAX_ENTRY
    )  # whoever comes after us reads what is printed again
    made.letters[entry.to_bytes()] = in_a_letter(raw, entry_recipients(made.manifest, 0, here.consortium.trust, NOW))
    here.submit(made)
    here.settle()
    assert here.at_home(made.id)
    assert json.loads(here.results(made, tmp_path / "out")["sums.json"])["n"] == 4
