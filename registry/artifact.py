"""How is a train stored in an OCI registry?

As an image manifest of our artifact type (OCI image specification 1.1, "Guidelines for artifact usage") with these
layers, in this order: the train manifest's envelope, the journey entries' envelopes in the order of the stops, the
sealed code, and, after the first stop, the sealed state. No other module knows this.

The same parts always give the same bytes, so a station knows the digest of what it pushes before it pushes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registry.oci import EMPTY, OCI_MANIFEST, Descriptor, OciManifest, make_manifest
from security.digest import Digest, digest_of
from security.errors import MalformedArtifact
from security.statement.envelope import MAX_ENVELOPE, Envelope, parse_envelope
from security.train.journey import StateRef, TrainParts
from security.train.manifest import CodeRef
from security.train.route import MAX_STOPS

TRAIN: Final = "application/vnd.pht.train.v1"
RECEIPT: Final = "application/vnd.pht.receipt.v1"
MANIFEST_LAYER: Final = "application/vnd.pht.train.manifest.v1.dsse+json"
ENTRY_LAYER: Final = "application/vnd.pht.journey.entry.v1.dsse+json"
REFUSAL_LAYER: Final = "application/vnd.pht.journey.refusal.v1.dsse+json"
CODE_LAYER: Final = "application/vnd.pht.train.code.v1+age"
STATE_LAYER: Final = "application/vnd.pht.train.state.v1+age"

MAX_ENTRY: Final = 64 << 10
"""Bytes of the envelope of a journey entry or a refusal; both are short, and signatures take up to 20 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A manifest with the small documents among its layers; sealed blobs are named, not held."""

    manifest: OciManifest
    documents: Mapping[Digest, bytes]

    @property
    def sealed(self) -> tuple[Descriptor, ...]:
        """The layers that are sealed blobs."""
        return tuple(layer for layer in self.manifest.layers if layer.digest not in self.documents)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainLayers:
    """Which layer is what, before any of them has been fetched."""

    manifest: Descriptor
    entries: tuple[Descriptor, ...]
    code: Descriptor
    state: Descriptor | None

    @property
    def documents(self) -> tuple[Descriptor, ...]:
        """The envelopes."""
        return (self.manifest, *self.entries)

    @property
    def sealed(self) -> tuple[Descriptor, ...]:
        """The sealed blobs."""
        return (self.code,) if self.state is None else (self.code, self.state)


def pack(parts: TrainParts) -> Artifact:
    """Turn a train into an artifact."""
    documents: dict[Digest, bytes] = {}
    layers = [_document(parts.manifest, MANIFEST_LAYER, documents)]
    layers += [_document(entry, ENTRY_LAYER, documents) for entry in parts.entries]
    layers.append(Descriptor(media_type=CODE_LAYER, digest=parts.code.digest, size=parts.code.size))
    if parts.state is not None:
        layers.append(Descriptor(media_type=STATE_LAYER, digest=parts.state.digest, size=parts.state.size))
    return Artifact(manifest=make_manifest(config=EMPTY, layers=layers, artifact_type=TRAIN), documents=documents)


def train_layers(manifest: OciManifest) -> TrainLayers:
    """Return the role of each layer of a train's artifact.

    The documents are fetched before anything is verified, so their number and size are bounded (attack T17).

    Raises:
        MalformedArtifact: not a train, its layers are not exactly those of one in order, or a document is too large.
    """
    _need_type(manifest, TRAIN)
    left = list(manifest.layers)
    first = _next(left, MANIFEST_LAYER)
    entries = []
    while left and left[0].media_type == ENTRY_LAYER:
        entries.append(_next(left, ENTRY_LAYER))
    code = _next(left, CODE_LAYER)
    state = _next(left, STATE_LAYER) if left else None
    if left:
        msg = "artifact has layers that do not belong to a train"
        raise MalformedArtifact(msg, media_type=left[0].media_type)
    if len(entries) > MAX_STOPS:
        msg = "artifact has more journey entries than a route can have stops"
        raise MalformedArtifact(msg, entries=len(entries), limit=MAX_STOPS)
    _need_small(first, MAX_ENVELOPE)
    for entry in entries:
        _need_small(entry, MAX_ENTRY)
    return TrainLayers(manifest=first, entries=tuple(entries), code=code, state=state)


def need_receivable(parts: TrainParts) -> None:
    """Demand of a train that whoever is sent it can read it: the limits of `train_layers`, on what `pack` prints.

    Raises:
        MalformedArtifact: a document of it is too large, or there are too many.
    """
    train_layers(pack(parts).manifest)


def unpack(layers: TrainLayers, documents: Mapping[Digest, bytes]) -> TrainParts:
    """Assemble the parts of a train from its layers and the fetched envelopes. Nothing is verified here.

    Raises:
        MalformedJson, MalformedStatement: an envelope is malformed.
    """
    state = layers.state
    return TrainParts(
        manifest=parse_envelope(documents[layers.manifest.digest]),
        entries=tuple(parse_envelope(documents[one.digest]) for one in layers.entries),
        code=CodeRef(digest=layers.code.digest, size=layers.code.size),
        state=None if state is None else StateRef(digest=state.digest, size=state.size),
    )


def pack_receipt(envelope: Envelope, media_type: str) -> Artifact:
    """Turn a receipt into an artifact; `media_type` is `ENTRY_LAYER` or `REFUSAL_LAYER`."""
    documents: dict[Digest, bytes] = {}
    layers = [_document(envelope, media_type, documents)]
    return Artifact(manifest=make_manifest(config=EMPTY, layers=layers, artifact_type=RECEIPT), documents=documents)


def receipt_layer(manifest: OciManifest, media_type: str) -> Descriptor:
    """Return the one layer of a receipt.

    Raises:
        MalformedArtifact: not a receipt of this kind.
    """
    _need_type(manifest, RECEIPT)
    left = list(manifest.layers)
    layer = _next(left, media_type)
    if left:
        msg = "receipt has more than one layer"
        raise MalformedArtifact(msg, layers=len(manifest.layers))
    _need_small(layer, MAX_ENTRY)
    return layer


def _document(envelope: Envelope, media_type: str, documents: dict[Digest, bytes]) -> Descriptor:
    raw = envelope.to_bytes()
    digest = digest_of(raw)
    documents[digest] = raw
    return Descriptor(media_type=media_type, digest=digest, size=len(raw))


def _next(left: list[Descriptor], media_type: str) -> Descriptor:
    if not left or left[0].media_type != media_type:
        msg = "artifact lacks an expected layer"
        raise MalformedArtifact(msg, expected=media_type, found=left[0].media_type if left else None)
    return left.pop(0)


def _need_type(manifest: OciManifest, artifact_type: str) -> None:
    kinds = (manifest.media_type, manifest.artifact_type, manifest.config)
    if kinds != (OCI_MANIFEST, artifact_type, EMPTY):
        msg = "artifact has the wrong type"
        raise MalformedArtifact(msg, expected=artifact_type, found=manifest.artifact_type)


def _need_small(descriptor: Descriptor, limit: int) -> None:
    if descriptor.size > limit:
        msg = "document is too large for an envelope of its kind"
        raise MalformedArtifact(msg, size=descriptor.size, limit=limit)
