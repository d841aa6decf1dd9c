"""A manifest is read in one form, and nothing is signed that nobody would read."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from security.digest import digest_of
from security.encoding import dump_json
from security.errors import InvalidInput, Malformed, MalformedStatement
from security.ids import PartyId, Role
from security.statement.envelope import MAX_ENVELOPE, MAX_PAYLOAD, parse_envelope, sign
from security.train.manifest import Approval, Output, TrainManifest, print_manifest, read_manifest, train_id
from tests.support.trains import NOW, Train, consortium, train


@cache
def valid() -> Train:
    return train(consortium())


def spoiled(path: str, value: object) -> bytes:
    document = copy.deepcopy(json.loads(valid().envelope.payload))
    at: Any = document
    *way, last = path.split(".")
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    if value is ...:
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return dump_json(document)


SHA = "sha256:" + "0" * 64
STOP = {"party": "hospital-a", "keySet": SHA}
NEED = {"name": "patients", "description": "d", "files": []}
OUTPUT = {"path": "a.json", "mediaType": "application/json", "maxBytes": 1}


def test_what_is_printed_is_read_again() -> None:
    it = valid()
    assert read_manifest(it.envelope.payload) == it.manifest
    assert it.verified.value == it.manifest
    assert train_id(it.verified) == it.id
    assert print_manifest(it.manifest) == it.envelope.payload


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("predicateType", "urn:pht:statement:journey-entry:v1"),
        ("extra", 1),
        ("subject", []),
        ("subject.0.name", "data"),
        ("subject.0.digest", {"sha512": "0" * 128}),
        ("subject.0.digest.sha256", "0" * 64),
        ("subject.0.digest.sha256", "A" * 64),
        ("subject.0.digest.sha1", "0" * 40),
        ("subject.1", {"name": "code", "digest": {"sha256": "0" * 64}}),
        ("predicate", []),
        ("predicate.extra", 1),
        ("predicate.name", ...),
        *(
            ("predicate.name", name)
            for name in ("", "A", "-a", "a-", "a b", "a\n", "a" * 61, "\N{CYRILLIC SMALL LETTER A}")
        ),
        ("predicate.purpose", ""),
        ("predicate.purpose", "p" * 2001),
        ("predicate.approval", {"reference": "r", "extra": 1}),
        ("predicate.approval", {"reference": "r", "legalBasis": None}),
        ("predicate.owner", {"party": "Alice", "keySet": SHA}),
        ("predicate.owner", {"party": "alice", "keySet": "sha256:0"}),
        ("predicate.owner", {"party": "alice", "keySet": SHA, "keys": []}),
        ("predicate.code", {"digest": SHA, "size": 1, "urls": ["x"]}),
        *(("predicate.code.size", size) for size in (0, -1, 1.0, True, "1")),
        *(("predicate.base", base) for base in ({"digest": SHA}, "sha256:0", SHA + ":latest", None)),
        ("predicate.command", []),
        ("predicate.command", ["a"] * 65),
        ("predicate.command", ["a", ""]),
        ("predicate.command", ["a\0b"]),
        ("predicate.command", "python3 main.py"),
        ("predicate.environment", []),
        *(
            (f"predicate.environment.{name}", "x")
            for name in (
                "LD_PRELOAD",
                "PATH",
                "PYTHONPATH",
                "TRAIN_",
                "TRAIN_x",
                "tz",
                "LC_",
                "TZ\n",
                "XTZ",
                "HTTP_PROXY",
            )
        ),
        ("predicate.environment.TZ", "v" * 1001),
        ("predicate.environment.TZ", "a\0b"),
        ("predicate.environment.TZ", 1),
        ("predicate.data", [NEED, NEED]),
        ("predicate.data", [NEED] * 33),
        ("predicate.data.0.name", "Patients"),
        *(
            ("predicate.data.0.files", [pattern])
            for pattern in ("/a", "../a", "a/../b", "a//b", "a/", ".", "a/.", "[a]", "a b", "a\n", "a" * 201)
        ),
        ("predicate.data.0.extra", 1),
        ("predicate.outputs", []),
        ("predicate.outputs", [OUTPUT] * 65),
        *(("predicate.outputs.0.path", path) for path in ("/a", "..", "a/..", "./a", "a\\b", "a\0", "")),
        *(("predicate.outputs.0.mediaType", kind) for kind in ("json", "Application/json", "a/b;c=d", "a/b\n", "/")),
        ("predicate.outputs.0.maxBytes", -1),
        ("predicate.outputs.0.schema", None),
        ("predicate.outputs.0.schema", True),
        ("predicate.limits.memoryBytes", (16 << 20) - 1),
        ("predicate.limits.cpuMillis", 49),
        ("predicate.limits.cpuMillis", 1_024_001),
        ("predicate.limits.wallSeconds", 0),
        ("predicate.limits.wallSeconds", 31 * 86400 + 1),
        ("predicate.limits.processes", 0),
        ("predicate.limits.outputBytes", -1),
        ("predicate.limits.gpus", 1),
        ("predicate.route.kind", "parallel"),
        ("predicate.route.stops", []),
        ("predicate.route.stops", [STOP] * 201),
        ("predicate.route.extra", 1),
        ("predicate.recipient", ""),
        ("predicate.recipient", "a" * 4097),
        *(
            ("predicate.validUntil", until)
            for until in ("2026-03-01T11:00:00Z", "2026-02-01T00:00:00Z", "2027-03-02T11:00:01Z")
        ),
        *(("predicate.validFrom", since) for since in ("2026-03-01", "2026-02-30T00:00:00Z", None, 1)),
        *(("predicate.nonce", nonce) for nonce in ("", "0" * 31, "0" * 33, "A" * 32, "g" * 32)),
    ],
)
def test_anything_else_than_a_manifest_is_refused(path: str, value: object) -> None:
    with pytest.raises(Malformed) as caught:
        read_manifest(spoiled(path, value))
    assert caught.value.code == "malformed.statement"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("predicate.environment", {"LANG": "C", "LC_ALL": "C", "TRAIN_ROUNDS": "3", "PYTHONHASHSEED": "0"}),
        ("predicate.data", []),
        ("predicate.data.0.files", ["a/*.csv", "b?.txt", "..a", "a..b", "*"]),
        ("predicate.outputs", [OUTPUT | {"schema": {}}, OUTPUT | {"path": "*/x.csv"}]),
        ("predicate.validUntil", "2027-03-02T11:00:00Z"),
        ("predicate.approval", {"reference": "r"}),
    ],
)
def test_what_a_manifest_may_also_say(path: str, value: object) -> None:
    payload = spoiled(path, value)
    assert json.loads(print_manifest(read_manifest(payload))) == json.loads(payload)


def nested(depth: int) -> Any:
    return {"not": nested(depth - 1)} if depth else {}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "No Name"},
        {"purpose": ""},
        {"purpose": "\ud800"},
        {"approval": Approval(reference="\udfff")},
        {"valid_until": NOW - timedelta(days=1)},
        {"valid_until": NOW.replace(microsecond=5)},
        {"outputs": (Output(path="a", media_type="a/b", max_bytes=1, schema=nested(30)),)},
        {"outputs": (Output(path="a", media_type="a/b", max_bytes=2**60),)},
        {"outputs": (Output(path="a", media_type="a/b", max_bytes=1, schema={"maximum": float("inf")}),)},
        {"outputs": (Output(path="a", media_type="a/b", max_bytes=1, schema={"const": "x" * (5 << 20)}),)},
        {"outputs": (Output(path="a", media_type="a/b", max_bytes=1, schema={"const": "x" * MAX_PAYLOAD}),)},
    ],
)
def test_nothing_is_printed_that_no_station_would_read(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        print_manifest(replace(valid().manifest, **changes))
    assert caught.value.exit == 40


def test_the_largest_manifest_goes_into_an_envelope() -> None:
    it = valid()
    empty = sized(it.manifest, 0)
    largest = print_manifest(sized(it.manifest, MAX_PAYLOAD - len(print_manifest(empty))))
    assert len(largest) == MAX_PAYLOAD
    raw = sign(largest, it.world.secrets[PartyId("alice")].signers).to_bytes()
    assert len(raw) <= MAX_ENVELOPE
    assert read_manifest(parse_envelope(raw).payload).name == it.manifest.name


def sized(manifest: TrainManifest, size: int) -> TrainManifest:
    output = Output(path="a", media_type="a/b", max_bytes=1, schema={"const": "x" * size})
    return replace(manifest, outputs=(output,))


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("sums.json", "sums.json", True),
        ("sums.json", "Sums.json", False),
        ("*.json", "a.json", True),
        ("*.json", "a/b.json", False),
        ("*/*.json", "a/b.json", True),
        ("a?.csv", "ab.csv", True),
        ("a?.csv", "a/.csv", False),
        ("*", "a\nb", True),
        ("a.c", "abc", False),
        ("a*" * 99, "a" * 5000, True),
        ("a*" * 99 + "b", "a" * 5000, False),
    ],
)
def test_a_pattern_covers_whole_names(pattern: str, path: str, covered: bool) -> None:
    assert Output(path=pattern, media_type="a/b", max_bytes=1).covers(path) is covered


def test_a_subject_is_asked_for_by_its_only_name() -> None:
    with pytest.raises(MalformedStatement):
        read_manifest(spoiled("subject.1", {"name": "code", "digest": {"sha256": digest_of(b"").hex}}))


def test_stops_are_counted_from_nought_and_home_comes_after_the_last() -> None:
    it = train(consortium(), route=("hospital-a", "hospital-b", "hospital-a"))
    route = it.manifest.route
    assert (route.home, route.of(PartyId("hospital-a")), route.of(PartyId("x"))) == (3, (0, 2), ())
    assert it.manifest.expected_at(3) == it.manifest.owner
    assert [it.manifest.role_at(index) for index in (2, 3)] == [Role.STATION, Role.OWNER]
    start, end = it.manifest.valid_from, it.manifest.valid_until
    second = timedelta(seconds=1)
    assert [it.manifest.is_valid_at(at) for at in (start - second, start, end - second, end)] == [
        False,
        True,
        True,
        False,
    ]
