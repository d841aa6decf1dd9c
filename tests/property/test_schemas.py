"""The published schemas and the parsers give the same verdicts, apart from the rules each schema says it cannot express.

Valid documents are spoiled at one or two places. What a parser accepts, its schema accepts; what a schema accepts, its
parser accepts, or refuses for a rule that stands in the schema's comment.
"""

from __future__ import annotations

import copy
import importlib.resources
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security.catalogue import CATALOGUE, Catalogue, CatalogueEntry
from security.directory.card import CARD, make_card
from security.directory.documents import parse_base, parse_party, parse_policy, print_base, print_party, print_policy
from security.directory.trust import DirectoryVersion, KeySetRecord, Party, Policy
from security.encoding import dump_json
from security.errors import Malformed, PhtError
from security.ids import PartyId, Role
from security.statement.envelope import parse_envelope, sign
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
from security.train.manifest import read_manifest
from security.train.recall import Recall, print_recall, read_recall
from security.train.seal import CODE_META, STATE_META, CodeBinding, CodeMeta
from station.journal.audit import read_head, sign_head
from station.journal.chain import START
from tests.support.search import examples
from tests.support.tables import COLUMNS
from tests.support.trains import BASE, NOW, consortium, train

ROOT = Path(__file__).parents[2]
STRICT = {"integer beyond 2^53", "nested too deeply"}  # what every schema says of the JSON it is about
HOSPITAL = PartyId("hospital-b")
ANOTHER_STATION = "statement is about the journal of another station"  # refused by whose journal it is, not by its form


@dataclass(frozen=True)
class Format:
    """A published format: a valid document, its parser."""

    schema: str
    valid: dict[str, Any]
    parse: Callable[[bytes], object]


@cache
def formats() -> dict[str, Format]:
    world = consortium()
    here = train(world).travel(2)
    alice = PartyId("alice")
    keys = world.secrets[alice]
    version = DirectoryVersion(root=1, targets=3)
    refusal = Refusal(train=here.id, stop=1, station=HOSPITAL, outcome=Outcome.FAILED, directory=version, time=NOW)
    answer = StationAnswer(train=here.id, stop=1, station=HOSPITAL, text="call us", time=NOW)
    record = KeySetRecord(key_set=keys.key_set, since=NOW, until=NOW + timedelta(days=1), revoked=NOW)
    party = Party(party=alice, title="Alice", roles=frozenset({Role.OWNER, Role.STATION}), key_sets=(record,))
    station = world.secrets[HOSPITAL]
    ended = sign_head(START, station=HOSPITAL, signers=station.signers, now=NOW)

    def head(raw: bytes) -> object:
        return read_head(sign(raw, station.signers), station.key_set, station=HOSPITAL)

    card = make_card(keys, party=alice, title="Alice", roles=[Role.OWNER], now=NOW)
    code = CodeMeta(binding=CodeBinding(owner=alice, nonce=here.manifest.nonce), content=BASE)
    catalogue = Catalogue(
        station=HOSPITAL,
        made_at=NOW,
        data=(
            CatalogueEntry(
                name="heart",
                columns=tuple(replace(one, description="what it means") for one in COLUMNS),
                patient="patient",
                patients="100-199",
                least_patients=10,
            ),
            CatalogueEntry(name="images", description="a folder"),
        ),
    )
    found = (
        Format("catalogue", json.loads(CATALOGUE.print(catalogue)), CATALOGUE.read),
        Format("train-manifest", json.loads(here.envelope.payload), read_manifest),
        Format("journey-entry", json.loads(here.entries[1].payload), read_entry),
        Format("refusal", json.loads(print_refusal(refusal)), read_refusal),
        Format("answer", json.loads(print_answer(answer)), read_answer),
        Format("recall", json.loads(print_recall(Recall(train=here.id, time=NOW, reason="a mistake"))), read_recall),
        Format("envelope", json.loads(here.entries[1].to_bytes()), parse_envelope),
        Format("journal-head", json.loads(ended.payload), head),
        Format("party-card", json.loads(card.payload), CARD.read),
        Format("directory-party", json.loads(print_party(party)), parse_party),
        Format("directory-base", json.loads(print_base(world.bases[BASE])), parse_base),
        Format("directory-policy", json.loads(print_policy(Policy())), parse_policy),
        Format("meta-code", CODE_META.record.write(code), CODE_META.parse),
        Format("meta-state", STATE_META.record.write(here.binding()), STATE_META.parse),
    )
    return {one.schema: one for one in found}


NAMES = (
    "catalogue",
    "train-manifest",
    "journey-entry",
    "refusal",
    "answer",
    "recall",
    "envelope",
    "journal-head",
    "party-card",
    "directory-party",
    "directory-base",
    "directory-policy",
    "meta-code",
    "meta-state",
)


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    raw = importlib.resources.files("security.schemas").joinpath(f"{name}.json").read_bytes()
    return jsonschema.Draft202012Validator(json.loads(raw))


def places(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*at, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*at, index))


POOL: tuple[object, ...] = (
    *(None, True, False, 0, 1, -1, 1.5, 199, 200, 2**53, 2**53 + 1, [], {}, [1], [""], [["a"]], {"a": 1}),
    *("", " ", "x", "a\n", "\x00", "é", "..", "a/../b", "/a", "a//b", "a/", "*", "A", "-", "a-", "a" * 41, "a" * 61),
    *("a" * 2001, "a" * 4097, "sha256:" + "0" * 64, "sha256:" + "A" * 64, "0" * 64, "0" * 32, "passed", "refused"),
    *("2026-02-28T12:00:00Z", "2026-02-30T12:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+00:00", "LANG"),
    *("0000-01-01T00:00:00Z", "application/json", "text", "sequence", "code", "base", "owner", "hospital-a", "A=="),
)


@st.composite
def spoiled(draw: st.DrawFn, name: str) -> Any:
    document = copy.deepcopy(formats()[name].valid)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from([place for place in places(document) if place]))
        around: Any = document
        for step in way:
            around = around[step]
        match draw(st.sampled_from(["replace", "drop", "add", "double", "edit"])):
            case "replace":
                around[last] = copy.deepcopy(draw(st.sampled_from(POOL)))
            case "drop":
                del around[last]
            case "add" if isinstance(around, dict):
                around[
                    draw(st.sampled_from(["extra", "LANG", "schema", "legalBasis", "LD_PRELOAD", "TRAIN_X", "A\n"]))
                ] = "x"
            case "double" if isinstance(around, list):
                around.append(copy.deepcopy(around[int(last)]))
            case _ if isinstance(around[last], str):
                text = around[last]
                at = draw(st.integers(0, len(text)))
                around[last] = (
                    text[:at] + draw(st.sampled_from(["", "x", "\n", "\x00", "/", ".", " ", "é", "0"])) + text[at + 1 :]
                )
            case _:
                around[last] = None
        if not list(places(document))[1:]:
            break
    return document


@pytest.mark.parametrize("name", NAMES)
def test_a_valid_document_passes_both(name: str) -> None:
    form = formats()[name]
    validator(name).validate(form.valid)
    form.parse(dump_json(form.valid))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_parser_and_schema_agree(name: str, data: st.DataObject) -> None:
    document = data.draw(spoiled(name))
    schema_says = validator(name).is_valid(document)
    refusal: PhtError | None = None
    try:
        formats()[name].parse(dump_json(document))
    except Malformed as error:
        refusal = error
    if refusal is None:
        assert schema_says, "the parser accepts what its schema refuses"
    elif schema_says:
        beyond = refusal.message in STRICT or refusal.message == ANOTHER_STATION or told(refusal, name)
        assert beyond, f"the schema accepts what its parser refuses: {refusal}"


def told(refusal: PhtError, name: str) -> bool:
    """Whether a document was refused for a rule that its schema tells in a comment, because it cannot express it."""
    rule = refusal.fields.get("rule")
    return isinstance(rule, str) and rule != "" and rule in json.dumps(validator(name).schema, ensure_ascii=False)


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(validator(name).schema)
    assert str(validator(name).schema["$id"]) == f"urn:pht:schema:{name}:v1"  # type: ignore[index]


def test_every_schema_is_tested() -> None:
    published = {path.name.removesuffix(".json") for path in importlib.resources.files("security.schemas").iterdir()}
    assert published - {"__init__.py", "__pycache__"} == set(NAMES)


def test_every_statement_has_a_schema() -> None:
    """From the code, not from the schemas: what is signed anywhere is published."""
    stated = {
        name
        for package in ("security", "registry", "train_builder", "station")
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r"urn:pht:statement:([a-z0-9:-]+)", path.read_text(encoding="utf-8"))
    }
    published = set()
    for name in NAMES:
        properties: dict[str, Any] = validator(name).schema["properties"]  # type: ignore[index] # no schema of ours is true
        if "predicateType" in properties:
            assert properties["predicateType"]["const"] == f"urn:pht:statement:{name}:v1"
            published.add(f"{name}:v1")
    assert stated == published
