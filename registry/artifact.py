"""How is a train stored in an OCI registry?

As an image manifest of our artifact type (OCI image specification 1.1, "Guidelines for artifact usage") with up to four
parts, in this order: the letter with the train's manifest, those with its entries (`registry.bundle`), the sealed code, and,
after the first stop, the sealed state. A train that a station keeps has the states of all stops before it, as layers. A receipt
has one, its letter. All of them are, or consist of, age files: nothing in an artifact tells what a train is about, or whether
a receipt is an entry or a refusal. No other module knows this.

A part is a layer, or, if it is `SMALL`, lies in the manifest itself: as base64, in an annotation that is named as the layer's
type would be. A small train is one document, which is there or not. What its receiver knows already is a layer, however small:
it is mounted from another mailbox, and neither sent nor fetched again.

The same parts always give the same bytes, so a station knows the digest of what it pushes before it pushes.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO, Final

from registry.bundle import MAX_BUNDLE, print_bundle, read_bundle
from registry.oci import EMPTY, OCI_MANIFEST, Descriptor, OciManifest, make_manifest
from security.digest import Digest, digest_of
from security.errors import MalformedArtifact
from security.train.journey import StateRef
from security.train.letters import MAX_ENTRY_LETTER, MAX_MANIFEST_LETTER, Parcel
from security.train.manifest import CodeRef
from security.train.route import MOST_ABOARD

TRAIN: Final = "application/vnd.pht.train.v1"
RECEIPT: Final = "application/vnd.pht.receipt.v1"
MANIFEST_LAYER: Final = "application/vnd.pht.train.manifest.v1+age"
LETTERS_LAYER: Final = "application/vnd.pht.train.letters.v1+tar"
RECEIPT_LAYER: Final = "application/vnd.pht.receipt.v1+age"
CODE_LAYER: Final = "application/vnd.pht.train.code.v1+age"
STATE_LAYER: Final = "application/vnd.pht.train.state.v1+age"

SMALL: Final = 128 << 10
"""Bytes of a part that may lie in the manifest: four of them are far below what registries take."""
_NONE_HELD: Final[Mapping[Digest, bytes]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A manifest with the parts that are layers. The letters among them are held, code and state only named."""

    manifest: OciManifest
    documents: Mapping[Digest, bytes]

    @property
    def parts(self) -> tuple[Descriptor, ...]:
        """Its parts that are layers."""
        return tuple(one for one in self.manifest.layers if one != EMPTY)

    def open(self, digest: Digest) -> BinaryIO:
        """Open the letters, as a `registry.blobs.BlobSource` does."""
        return io.BytesIO(self.documents[digest])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainLayers:
    """What a train consists of; `held` are the parts that the manifest itself had."""

    manifest: Descriptor
    letters: Descriptor
    code: Descriptor
    states: tuple[Descriptor, ...]
    held: Mapping[Digest, bytes]

    @property
    def sealed(self) -> tuple[Descriptor, ...]:
        """Code and states."""
        return (self.code, *self.states)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptLayer:
    """The one part of a receipt; `held` if the manifest itself had it."""

    letter: Descriptor
    held: bytes | None


def pack(
    parcel: Parcel,
    held: Mapping[Digest, bytes] = _NONE_HELD,
    *,
    small: int = SMALL,
    known: Collection[Digest] = (),
) -> Artifact:
    """Turn a train into an artifact. The letters, and what is `held` of code and state, go into the manifest if `small`, and not `known`."""
    letters = print_bundle(parcel.entries)
    parts = [
        _part(parcel.manifest, MANIFEST_LAYER),
        _part(letters, LETTERS_LAYER),
        Descriptor(media_type=CODE_LAYER, digest=parcel.code.digest, size=parcel.code.size),
    ]
    parts += [Descriptor(media_type=STATE_LAYER, digest=one.digest, size=one.size) for one in parcel.states]
    documents = {parts[0].digest: parcel.manifest, parts[1].digest: letters}
    inside = {**documents, **(held if len(parcel.states) <= 1 else _NONE_HELD)}
    inside = {digest: data for digest, data in inside.items() if digest not in known}
    return _packed(parts, documents, inside, TRAIN, small)


def train_layers(manifest: OciManifest) -> TrainLayers:
    """Return the parts of a train's artifact.

    The letters are fetched before anything is verified, so their size is bounded (attack T17).

    Raises:
        MalformedArtifact: not a train, its parts are not exactly those of one in order, or the letters are too large.
    """
    held: dict[Digest, bytes] = {}
    left = _parts(manifest, TRAIN, (MANIFEST_LAYER, LETTERS_LAYER, CODE_LAYER, STATE_LAYER), held)
    head, letters, code = (_next(left, kind) for kind in (MANIFEST_LAYER, LETTERS_LAYER, CODE_LAYER))
    states = tuple(_next(left, STATE_LAYER) for _ in range(min(len(left), MOST_ABOARD)))
    if left:
        msg = "artifact has parts that do not belong to a train"
        raise MalformedArtifact(msg, media_type=left[0].media_type)
    _need_small(head, MAX_MANIFEST_LETTER)
    _need_small(letters, MAX_BUNDLE)
    return TrainLayers(manifest=head, letters=letters, code=code, states=states, held=held)


def unpack(layers: TrainLayers, manifest: bytes, letters: bytes) -> Parcel:
    """Assemble a train from its parts and the fetched letters, which stay closed.

    Raises:
        MalformedArtifact: they are no letters of a train.
    """
    return Parcel(
        manifest=manifest,
        entries=read_bundle(letters),
        code=CodeRef(digest=layers.code.digest, size=layers.code.size),
        states=tuple(StateRef(digest=one.digest, size=one.size) for one in layers.states),
    )


def pack_receipt(letter: bytes, *, small: int = SMALL) -> Artifact:
    """Turn the letter with a receipt into an artifact; it goes into the manifest if it is `small`."""
    part = _part(letter, RECEIPT_LAYER)
    return _packed([part], {part.digest: letter}, {part.digest: letter}, RECEIPT, small)


def receipt_layer(manifest: OciManifest) -> ReceiptLayer:
    """Return the one part of a receipt.

    Raises:
        MalformedArtifact: not a receipt.
    """
    held: dict[Digest, bytes] = {}
    left = _parts(manifest, RECEIPT, (RECEIPT_LAYER,), held)
    letter = _next(left, RECEIPT_LAYER)
    if left:
        msg = "receipt has more than one part"
        raise MalformedArtifact(msg, parts=1 + len(left))
    _need_small(letter, MAX_ENTRY_LETTER)
    return ReceiptLayer(letter=letter, held=held.get(letter.digest))


def _packed(
    parts: Sequence[Descriptor],
    documents: Mapping[Digest, bytes],
    known: Mapping[Digest, bytes],
    kind: str,
    small: int,
) -> Artifact:
    inside = {one.media_type: known[one.digest] for one in parts if one.size <= small and one.digest in known}
    layers = [one for one in parts if one.media_type not in inside] or [EMPTY]
    manifest = make_manifest(
        config=EMPTY,
        layers=layers,
        artifact_type=kind,
        annotations={name: base64.b64encode(data).decode() for name, data in inside.items()},
    )
    named = {one.digest for one in layers}
    return Artifact(manifest=manifest, documents={one: data for one, data in documents.items() if one in named})


def _parts(
    manifest: OciManifest, artifact_type: str, order: Sequence[str], held: dict[Digest, bytes]
) -> list[Descriptor]:
    """Return the parts in their order, wherever they lie; put what the manifest has of them into `held`."""
    kinds = (manifest.media_type, manifest.artifact_type, manifest.config)
    if kinds != (OCI_MANIFEST, artifact_type, EMPTY):
        msg = "artifact has the wrong type"
        raise MalformedArtifact(msg, expected=artifact_type, found=manifest.artifact_type)
    layers = [] if manifest.layers == (EMPTY,) else list(manifest.layers)
    inside = {name: _decoded(text) for name, text in manifest.annotations.items()}
    if not inside.keys() <= set(order) - {one.media_type for one in layers}:
        msg = "a part is there twice, or does not belong there"  # two readers could take different ones (attack T14)
        raise MalformedArtifact(msg, parts=sorted(name[:80] for name in inside))
    found = []
    for name in order:
        if name in inside:
            found.append(_part(inside[name], name))
            held[found[-1].digest] = inside[name]
        elif layers and layers[0].media_type == name:
            found.append(layers.pop(0))
    return found + layers


def _decoded(text: str) -> bytes:
    try:
        data = binascii.a2b_base64(text.encode(), strict_mode=True)
    except ValueError:
        data = b""
    if not 0 < len(data) <= SMALL or base64.b64encode(data).decode() != text:
        msg = "a part in the manifest is not base64, or too large for that"
        raise MalformedArtifact(msg, limit=SMALL)
    return data


def _part(data: bytes, media_type: str) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest_of(data), size=len(data))


def _next(left: list[Descriptor], media_type: str) -> Descriptor:
    if not left or left[0].media_type != media_type:
        msg = "artifact lacks an expected part"
        raise MalformedArtifact(msg, expected=media_type, found=left[0].media_type if left else None)
    return left.pop(0)


def _need_small(descriptor: Descriptor, limit: int) -> None:
    if descriptor.size > limit:
        msg = "letter is too large for one of its kind"
        raise MalformedArtifact(msg, size=descriptor.size, limit=limit)
