"""How does a train come out of a mailbox: its letters first, and what is sealed once they are believed?

What a station or an owner keeps of it is an artifact of the same kind, with the letters, and with code and states named but
never in it: so what is sealed can be removed, and what was signed stays.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from functools import partial

from registry.artifact import Artifact, TrainLayers, pack, train_layers, unpack
from registry.blobs import BlobSink, BlobSource, read_document
from registry.bundle import MAX_BUNDLE
from registry.check import read_blob
from registry.names import Repository
from registry.oci import MAX_MANIFEST, OCI_MANIFEST, Descriptor, parse_manifest
from registry.port import Progress, Registry, StoredManifest
from security.digest import Digest, digest_of
from security.errors import DigestMismatch, FileMissing
from security.train.letters import MAX_MANIFEST_LETTER, Parcel


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A train of which the letters were fetched. Nothing in it is believed."""

    parcel: Parcel
    layers: TrainLayers


def take_letters(registry: Registry, repo: Repository, stored: StoredManifest, here: BlobSource | None = None) -> Taken:
    """Fetch the letters of a train by its OCI manifest; that with the train's own manifest may be `here` already.

    Raises:
        MalformedArtifact: what waits there is not a train.
        DigestMismatch, NotInRegistry: the registry gave other bytes, or has them no more.
    """
    layers = layers_in(stored)
    letters = layers.held.get(layers.letters.digest)
    if letters is None:
        letters = read_blob(registry, repo, layers.letters, limit=MAX_BUNDLE)
    return Taken(parcel=unpack(layers, take_manifest(registry, repo, layers, here), letters), layers=layers)


def take_manifest(registry: Registry, repo: Repository, layers: TrainLayers, here: BlobSource | None = None) -> bytes:
    """Fetch the letter with a train's manifest, unless it is `here` or came with the artifact.

    Raises:
        DigestMismatch, NotInRegistry: the registry gave other bytes, or has them no more.
    """
    wanted = layers.manifest
    held = layers.held.get(wanted.digest)
    if held is None and here is not None:
        with contextlib.suppress(FileMissing, DigestMismatch):
            held = read_document(here, wanted.digest, limit=MAX_MANIFEST_LETTER)
    return read_blob(registry, repo, wanted, limit=MAX_MANIFEST_LETTER) if held is None else held


def fetch_sealed(
    registry: Registry, repo: Repository, taken: Taken, into: BlobSink, progress: Progress | None = None
) -> None:
    """Fetch code and state of a train.

    Raises:
        DigestMismatch, NotInRegistry: the registry gave other bytes, or has them no more.
    """
    layers = taken.layers
    for descriptor in layers.sealed:
        if descriptor.digest in layers.held:
            into.put(descriptor.digest, descriptor.size, io.BytesIO(layers.held[descriptor.digest]))
        else:
            into.fetch(descriptor.digest, descriptor.size, partial(registry.open_blob, repo, descriptor))
        if progress is not None:
            progress(descriptor.size)


def keep_letters(parcel: Parcel, into: BlobSink) -> Artifact:
    """Store a train's letters; return what they are kept as: see `kept_as`."""
    kept = kept_as(parcel)
    for digest, data in {kept.manifest.digest: kept.manifest.raw, **kept.documents}.items():
        into.put(digest, len(data), io.BytesIO(data))
    return kept


def kept_as(parcel: Parcel) -> Artifact:
    """Return what a train's letters are stored as: with code and states named and not in it.

    Of a train that has made no stop yet the letter with its manifest lies by itself: who boards it is not sent that again.
    """
    return pack(parcel, known=() if parcel.entries else (digest_of(parcel.manifest),))


def load(kept: Digest, source: BlobSource) -> Parcel:
    """Assemble a train again from what `keep_letters` stored, without the registry.

    Raises:
        FileMissing, DigestMismatch, Malformed: it is not there as it was.
    """
    layers = layers_of(kept, source)

    def read(part: Descriptor, limit: int) -> bytes:
        held = layers.held.get(part.digest)
        return read_document(source, part.digest, limit=limit) if held is None else held

    return unpack(layers, read(layers.manifest, MAX_MANIFEST_LETTER), read(layers.letters, MAX_BUNDLE))


def layers_of(kept: Digest, source: BlobSource) -> TrainLayers:
    """Return which blobs a train that was kept consists of.

    Raises:
        FileMissing, DigestMismatch, Malformed: its OCI manifest is not there as it was.
    """
    raw = read_document(source, kept, limit=MAX_MANIFEST)
    return layers_in(StoredManifest(raw=raw, media_type=OCI_MANIFEST, digest=kept))


def layers_in(stored: StoredManifest) -> TrainLayers:
    """Return the parts that an OCI manifest names.

    Raises:
        MalformedArtifact, MalformedJson: it is not that of a train.
    """
    return train_layers(parse_manifest(stored.raw, stored.media_type))
