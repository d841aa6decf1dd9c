"""Does a manifest say the same after any journey, and nothing after any damage?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import RegistryMisbehaved
from registry.http.auth import parse_challenges
from registry.names import location
from registry.oci import OCI_MANIFEST, Descriptor, OciManifest, make_manifest, parse_index, parse_manifest, print_index
from security.digest import digest_of
from security.errors import InvalidInput, Malformed, MalformedArtifact

words = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12)
notes_on = st.dictionaries(words, st.text(st.characters(codec="utf-8"), max_size=30), max_size=3)
descriptors = st.builds(
    lambda kind, data, size, notes: Descriptor(
        media_type=f"application/vnd.{kind}", digest=digest_of(data), size=size, annotations=notes
    ),
    words,
    st.binary(max_size=8),
    st.integers(0, 1 << 45),
    notes_on,
)
manifests = st.builds(
    lambda config, layers, kind, notes: make_manifest(
        config=config, layers=layers, artifact_type=kind, annotations=notes
    ),
    descriptors,
    st.lists(descriptors, max_size=4),
    st.none() | words.map(lambda word: f"application/vnd.{word}"),
    notes_on,
)


@given(manifests)
def test_round_trip(manifest: OciManifest) -> None:
    again = parse_manifest(manifest.raw, OCI_MANIFEST)
    assert again == manifest
    assert make_manifest(
        config=again.config, layers=again.layers, artifact_type=again.artifact_type, annotations=again.annotations
    ).digest == digest_of(again.raw)


@given(
    manifests,
    words,
    st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=5) | st.lists(st.integers(0, 9), max_size=2),
)
def test_field_nobody_asked_for(manifest: OciManifest, name: str, value: object) -> None:
    document = json.loads(manifest.raw)
    for place in (document, document["config"], *document["layers"]):
        place["x-" + name] = value
        with pytest.raises(MalformedArtifact):
            parse_manifest(json.dumps(document).encode(), OCI_MANIFEST)
        del place["x-" + name]


def refused_or_shown(manifest: OciManifest, raw: bytes) -> None:
    """Nothing in a manifest is read over: another document is another manifest, and its digest is that of its bytes."""
    try:
        found = parse_manifest(raw, OCI_MANIFEST)
    except Malformed:
        return
    assert (found.raw, found.digest) == (raw, digest_of(raw))
    same_document = json.loads(raw) == json.loads(manifest.raw)
    assert (replace(found, raw=manifest.raw) == parse_manifest(manifest.raw, OCI_MANIFEST)) is same_document


@given(manifests, st.data())
def test_a_changed_byte_is_refused_or_shows_in_what_is_read(manifest: OciManifest, data: st.DataObject) -> None:
    raw = bytearray(manifest.raw)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw((st.integers(0x20, 0x7E) | st.integers(0, 0xFF)).filter(lambda byte: byte != raw[place]))
    refused_or_shown(manifest, bytes(raw))


@given(manifests, st.integers(0, 9) | words | words.map(lambda word: f"application/vnd.{word}"))
def test_a_changed_value_is_refused_or_shows_in_what_is_read(manifest: OciManifest, other: int | str) -> None:
    document = json.loads(manifest.raw)
    for node, name in values_in(document):
        value, node[name] = node[name], other
        refused_or_shown(manifest, json.dumps(document).encode())
        node[name] = value


def values_in(node: Any) -> Iterator[tuple[Any, str | int]]:
    """Every value in a document that is no object and no list, as where it lies."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict | list):
            yield from values_in(value)
        else:
            yield node, name


@given(st.binary(max_size=200))
def test_noise_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_manifest(raw, OCI_MANIFEST)


@given(st.lists(descriptors, max_size=5))
def test_index_round_trip(entries: list[Descriptor]) -> None:
    assert parse_index(print_index(entries)) == tuple(entries)


@given(st.text(max_size=60) | st.from_regex(r'[A-Za-z]{1,8} [a-z]{1,5}="?[a-z,= "]{0,10}"?', fullmatch=True))
def test_challenges_are_read_or_refused(header: str) -> None:
    try:
        found = parse_challenges(header)
    except RegistryMisbehaved:
        return
    assert all(challenge.scheme for challenge in found)


@given(st.text(max_size=40).map(lambda text: "https://" + text) | st.text(max_size=40))
def test_addresses_are_read_or_refused(text: str) -> None:
    try:
        place = location(text)
    except InvalidInput:
        return
    assert location(str(place)) == place
