"""The design document is true: its examples are parsed and verified, its verification is that of the module.

What an example is of is in the comment above its block.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import security.train.verify
from registry.artifact import receipt_layer, train_layers
from registry.depot import ReceiptKind, mailbox, receipt_tag, train_tag
from registry.names import Tag
from registry.oci import OCI_MANIFEST, parse_manifest
from security.digest import Digest, digest_of
from security.directory.card import CARD
from security.directory.documents import parse_base, parse_party, parse_policy, print_base, print_party, print_policy
from security.directory.workspace import approve_base
from security.encoding import dump_json, parse_json
from security.ids import PartyId, TrainId
from security.statement.envelope import PAYLOAD_TYPE, Envelope, parse_envelope, parse_statement, verify
from security.train.journey import read_entry, read_refusal
from security.train.manifest import read_manifest
from station.journal.audit import HEAD_TYPE, audit, read_export
from tests.support.directories import Place, house

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"<!-- example: ([a-z-]+) -->\n```[a-z]+\n(.*?)\n```\n", TEXT, re.DOTALL))


def document(name: str) -> Any:
    return json.loads(EXAMPLES[name])


def printed(name: str) -> bytes:
    """Return an example as it is signed and stored: without white space."""
    return dump_json(parse_json(EXAMPLES[name].encode()))


def named(statement: str) -> Digest:
    """Return the name of a statement: the digest of its signed bytes."""
    return Envelope(payload=printed(statement), payload_type=PAYLOAD_TYPE, signatures=()).digest


def test_every_format_has_an_example() -> None:
    blocks = re.findall(r"(.*)\n```jsonl?\n", TEXT)
    assert [line for line in blocks if not line.startswith("<!-- example: ")] == []
    schemas = {path.stem for path in (ROOT / "security" / "schemas").glob("*.json")}
    others = {"route", "directory-files", "train-artifact", "receipt-artifact", "tags", "proof", "audit-export"}
    assert set(EXAMPLES) == schemas | others


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "security" / "schemas").glob("*.json")))
def test_an_example_is_as_its_schema_says(name: str) -> None:
    schema = json.loads((ROOT / "security" / "schemas" / f"{name}.json").read_bytes())
    jsonschema.Draft202012Validator(schema).validate(document(name))


def test_statements_are_read_and_belong_together() -> None:
    manifest, entry, refusal = (
        read_manifest(printed("train-manifest")),
        read_entry(printed("journey-entry")),
        read_refusal(printed("refusal")),
    )
    train = named("train-manifest")
    assert {entry.train, refusal.train} == {train.hex}
    assert manifest.route.stop(entry.stop).party == entry.station == refusal.station
    proof = document("proof")
    assert proof["manifest"] == train
    assert proof["stops"][entry.stop]["entry"] == named("journey-entry")
    assert proof["stops"][entry.stop]["previous"] == list(entry.previous)


def test_what_is_signed_is_signed_with_the_keys_in_the_directory() -> None:
    (record,) = parse_party(printed("directory-party")).key_sets
    envelope = parse_envelope(printed("envelope"))
    assert verify(envelope, record.key_set).value == printed("refusal")
    assert CARD.read(printed("party-card")).key_set == record.key_set


def test_what_is_in_the_seals_is_of_this_train() -> None:
    code, state = document("meta-code"), document("meta-state")
    assert code["nonce"] == document("train-manifest")["predicate"]["nonce"]
    assert state["train"] == named("train-manifest").hex
    assert state["previous"] == list(read_entry(printed("journey-entry")).previous)


def test_documents_of_the_directory_are_read() -> None:
    assert json.loads(print_party(parse_party(printed("directory-party")))) == document("directory-party")
    assert json.loads(print_base(parse_base(printed("directory-base")))) == document("directory-base")
    assert json.loads(print_policy(parse_policy(printed("directory-policy")))) == document("directory-policy")


def test_the_files_of_a_directory_are_those_that_are_published(tmp_path: Path) -> None:
    home, place = house(tmp_path / "workspace"), Place()
    home.admit("alice")
    approve_base(home.workspace, "python", digest_of(b"python"), note="")
    home.publish(place)

    def shape(name: str) -> str:
        return re.sub(r"party\.[a-z]+", "party.NAME", re.sub(r"[0-9a-f]{64}|^\d+", "N", name))

    shown = EXAMPLES["directory-files"].splitlines()
    assert {shape(name) for name in shown} == {shape(name) for name in place.served}
    digest = digest_of(print_party(parse_party(printed("directory-party"))))
    assert f"{digest.hex}.party.kiel.json" in shown
    assert list(map(Tag, shown)) == shown


def test_artifacts_are_read() -> None:
    train, receipt = (parse_manifest(printed(name), OCI_MANIFEST) for name in ("train-artifact", "receipt-artifact"))
    layers = train_layers(train)
    assert layers.code.digest == read_manifest(printed("train-manifest")).code.digest
    assert tuple(one.digest for one in layers.states) == read_entry(printed("journey-entry")).states_in
    assert receipt_layer(receipt).letter.size == 2229


def test_tags_are_those_of_this_train() -> None:
    train, alice = TrainId(named("train-manifest").hex), PartyId("alice")
    boxes = [line.split(":") for line in EXAMPLES["tags"].splitlines()]
    assert boxes == [
        [mailbox(PartyId("kiel")), train_tag(train, PartyId("kiel"), 1)],
        *sorted(
            [mailbox(alice), receipt_tag(train, alice, stop, kind)]
            for stop, kind in ((0, ReceiptKind.ENTRY), (1, ReceiptKind.REFUSAL))
        ),
    ]


def test_the_exported_journal_is_in_order_and_ends_where_its_head_says() -> None:
    found = audit(read_export(io.BytesIO(EXAMPLES["audit-export"].encode() + b"\n")))
    statement = parse_statement(printed("journal-head"), predicate_type=HEAD_TYPE)
    assert statement.subject("journal") == found.head.hash
    assert document("journal-head")["predicate"]["records"] == found.head.sequence
    assert [visit.arrival for visit in found.visits] == [digest_of(printed("train-artifact"))]


def test_the_verification_is_told_as_the_module_tells_it() -> None:
    def steps(text: str) -> dict[int, str]:
        found = re.findall(r"^(\d+)\. +(.*?)(?=\n\d+\. |\n\n)", text, re.DOTALL | re.MULTILINE)
        return {int(number): " ".join(step.split()) for number, step in found}

    chapter = TEXT[TEXT.index("## 4. ") : TEXT.index("When a seal is opened")]
    told = steps(re.sub(r"\s\*[^*]+\*", "", chapter))
    assert told == steps(security.train.verify.__doc__ or "")
    assert list(told) == list(range(1, 13))
