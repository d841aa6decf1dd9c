"""How is a train stored in an OCI registry?

As an image manifest of our artifact type (OCI image specification 1.1, "Guidelines for artifact usage") with these
layers, in this order: the letter with the train manifest, the letters with the journey entries in the order of the
stops, the sealed code, and, after the first stop, the sealed state. All of them are age files: nothing in an artifact
tells what a train is about, or whether a receipt is an entry or a refusal. No other module knows this.

The same parts always give the same bytes, so a station knows the digest of what it pushes before it pushes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from registry.oci import EMPTY, OCI_MANIFEST, Descriptor, OciManifest, make_manifest
from security.digest import Digest, digest_of
from security.errors import MalformedArtifact
from security.train.journey import StateRef
from security.train.letters import MAX_ENTRY_LETTER, MAX_JOURNEY, MAX_MANIFEST_LETTER, Parcel
from security.train.manifest import CodeRef
from security.train.route import MAX_STOPS

TRAIN: Final = "application/vnd.pht.train.v1"
RECEIPT: Final = "application/vnd.pht.receipt.v1"
MANIFEST_LAYER: Final = "application/vnd.pht.train.manifest.v1+age"
ENTRY_LAYER: Final = "application/vnd.pht.journey.entry.v1+age"
RECEIPT_LAYER: Final = "application/vnd.pht.receipt.v1+age"
CODE_LAYER: Final = "application/vnd.pht.train.code.v1+age"
STATE_LAYER: Final = "application/vnd.pht.train.state.v1+age"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A manifest with the letters among its layers; code and state are named, not held."""

    manifest: OciManifest
    documents: Mapping[Digest, bytes]

    @property
    def sealed(self) -> tuple[Descriptor, ...]:
        """The layers that are code and state."""
        return tuple(layer for layer in self.manifest.layers if layer.digest not in self.documents)

    def open(self, digest: Digest) -> BinaryIO:
        """Open one of the letters, as a `registry.blobs.BlobSource` does."""
        return io.BytesIO(self.documents[digest])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainLayers:
    """Which layer is what, before any of them has been fetched."""

    manifest: Descriptor
    entries: tuple[Descriptor, ...]
    code: Descriptor
    state: Descriptor | None

    @property
    def documents(self) -> tuple[Descriptor, ...]:
        """The letters."""
        return (self.manifest, *self.entries)

    @property
    def sealed(self) -> tuple[Descriptor, ...]:
        """Code and state."""
        return (self.code,) if self.state is None else (self.code, self.state)


def pack(parcel: Parcel) -> Artifact:
    """Turn a train into an artifact."""
    documents: dict[Digest, bytes] = {}
    layers = [_document(parcel.manifest, MANIFEST_LAYER, documents)]
    layers += [_document(entry, ENTRY_LAYER, documents) for entry in parcel.entries]
    layers.append(Descriptor(media_type=CODE_LAYER, digest=parcel.code.digest, size=parcel.code.size))
    if parcel.state is not None:
        layers.append(Descriptor(media_type=STATE_LAYER, digest=parcel.state.digest, size=parcel.state.size))
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
    _need_small(first, MAX_MANIFEST_LETTER)
    for entry in entries:
        _need_small(entry, MAX_ENTRY_LETTER)
    if sum(entry.size for entry in entries) > MAX_JOURNEY:
        msg = "journey entries are too large together"
        raise MalformedArtifact(msg, size=sum(entry.size for entry in entries), limit=MAX_JOURNEY)
    return TrainLayers(manifest=first, entries=tuple(entries), code=code, state=state)


def unpack(layers: TrainLayers, documents: Mapping[Digest, bytes]) -> Parcel:
    """Assemble a train from its layers and the fetched letters, which stay closed."""
    state = layers.state
    return Parcel(
        manifest=documents[layers.manifest.digest],
        entries=tuple(documents[one.digest] for one in layers.entries),
        code=CodeRef(digest=layers.code.digest, size=layers.code.size),
        state=None if state is None else StateRef(digest=state.digest, size=state.size),
    )


def pack_receipt(letter: bytes) -> Artifact:
    """Turn the letter with a receipt into an artifact."""
    documents: dict[Digest, bytes] = {}
    layers = [_document(letter, RECEIPT_LAYER, documents)]
    return Artifact(manifest=make_manifest(config=EMPTY, layers=layers, artifact_type=RECEIPT), documents=documents)


def receipt_layer(manifest: OciManifest) -> Descriptor:
    """Return the one layer of a receipt.

    Raises:
        MalformedArtifact: not a receipt.
    """
    _need_type(manifest, RECEIPT)
    left = list(manifest.layers)
    layer = _next(left, RECEIPT_LAYER)
    if left:
        msg = "receipt has more than one layer"
        raise MalformedArtifact(msg, layers=len(manifest.layers))
    _need_small(layer, MAX_ENTRY_LETTER)
    return layer


def _document(letter: bytes, media_type: str, documents: dict[Digest, bytes]) -> Descriptor:
    digest = digest_of(letter)
    documents[digest] = letter
    return Descriptor(media_type=media_type, digest=digest, size=len(letter))


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
        msg = "letter is too large for one of its kind"
        raise MalformedArtifact(msg, size=descriptor.size, limit=limit)
