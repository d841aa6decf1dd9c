"""How do parties send each other trains and receipts through a registry?

Every party has a *mailbox*, the repository ``mailbox/<party>``. A train waits there under ``train-<id>-<stop>``, where
the stop is its next one; receipts wait in the owner's mailbox under ``entry-<id>-<stop>`` and
``refusal-<id>-<stop>``. Tags are hints from anyone who may write to the mailbox: each is resolved to a digest once, and
only the digest is used from then on (attack T13).

Who knows what they are looking for asks for it by name: whatever else lies in a mailbox, however much, costs them nothing.
Lists are for who cannot know: a station that looks for arrivals, and whoever clears a mailbox.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Final

from registry.artifact import (
    ENTRY_LAYER,
    REFUSAL_LAYER,
    Artifact,
    TrainLayers,
    pack,
    pack_receipt,
    receipt_layer,
    train_layers,
    unpack,
)
from registry.blobs import BlobSink, BlobSource, read_document
from registry.check import put_bytes, read_blob
from registry.errors import ForeignRealm, ForeignRedirect, NotInRegistry, RegistryMisbehaved
from registry.names import Repository, Tag
from registry.oci import EMPTY_BYTES, MAX_MANIFEST, OCI_EMPTY, OCI_MANIFEST, Descriptor, parse_manifest
from registry.port import Progress, Registry, StoredManifest
from security.digest import Digest
from security.errors import DigestMismatch, Malformed
from security.ids import PartyId, TrainId
from security.statement.envelope import MAX_ENVELOPE, Envelope, parse_envelope
from security.train.journey import TrainParts

_TRAIN_TAG = re.compile(r"train-([0-9a-f]{64})-([0-9]{1,3})")
_RECEIPT_TAG = re.compile(r"(entry|refusal)-([0-9a-f]{64})-([0-9]{1,3})")


class ReceiptKind(StrEnum):
    """What a receipt is: a journey entry, or a refusal."""

    ENTRY = "entry"
    REFUSAL = "refusal"


_LAYER: Final = {ReceiptKind.ENTRY: ENTRY_LAYER, ReceiptKind.REFUSAL: REFUSAL_LAYER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A train waiting in a mailbox. ``train`` and ``stop`` are what its tag claims; ``digest`` is its manifest's."""

    mailbox: PartyId
    tag: Tag
    digest: Digest
    train: TrainId
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An arrival and its manifest, of which nothing is believed."""

    arrival: Arrival
    stored: StoredManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A receipt waiting in an owner's mailbox. Its tag is a claim until its envelope has been verified."""

    train: TrainId
    stop: int
    kind: ReceiptKind
    digest: Digest


def mailbox(party: PartyId) -> Repository:
    """Return the repository that is a party's mailbox."""
    return Repository(f"mailbox/{party}")


def train_tag(train: TrainId, stop: int) -> Tag:
    """Return the tag under which a train waits for a stop, or for its owner, at `Route.home`."""
    return Tag(f"train-{train}-{stop}")


class Depot:
    """The parties' view of a registry. Every sending method may be repeated until it has returned."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def arrivals(self, party: PartyId) -> tuple[Arrival, ...]:
        """Return the trains that wait for a party.

        A tag that names no manifest of ours is skipped and does not hide the others: any stranger who may write to the
        mailbox could put it there.
        """
        found = (self.look_up(party, tag) for tag in self.train_tags(party))
        return tuple(one.arrival for one in found if one is not None)

    def train_tags(self, party: PartyId) -> tuple[Tag, ...]:
        """Return the tags in a party's mailbox that can be trains, sorted; what they name is not looked up."""
        return tuple(tag for tag in self.registry.list_tags(mailbox(party)) if _TRAIN_TAG.fullmatch(tag) is not None)

    def look_up(self, party: PartyId, tag: Tag) -> Waiting | None:
        """Return what waits under a train's tag; None if nothing does, or no manifest that can be ours."""
        match = _TRAIN_TAG.fullmatch(tag)
        stored = None if match is None else self._named(mailbox(party), tag)
        if match is None or stored is None:
            return None
        train, stop = TrainId(match[1]), int(match[2])
        return Waiting(
            arrival=Arrival(mailbox=party, tag=tag, digest=stored.digest, train=train, stop=stop), stored=stored
        )

    def arrival(self, party: PartyId, train: TrainId, stop: int) -> Arrival | None:
        """Return the train that waits for a party at a stop, asked for by name."""
        found = self.look_up(party, train_tag(train, stop))
        return None if found is None else found.arrival

    def claim_size(self, waiting: Waiting) -> int:
        """Return the bytes that `claimed_manifest` will fetch.

        Raises:
            MalformedArtifact, MalformedJson: what waits there is not a train.
        """
        return _layers(waiting.stored).manifest.size

    def claimed_manifest(self, waiting: Waiting) -> Envelope:
        """Fetch the one document that says whose train this is, if it is one, and nothing else.

        Raises:
            MalformedArtifact, MalformedJson, MalformedStatement, DigestMismatch: what waits there is not a train.
            NotInRegistry: it is incomplete.
        """
        descriptor = _layers(waiting.stored).manifest
        repo = mailbox(waiting.arrival.mailbox)
        return parse_envelope(read_blob(self.registry, repo, descriptor, limit=MAX_ENVELOPE))

    def take(
        self,
        arrival: Arrival,
        into: BlobSink,
        *,
        accept: Callable[[TrainParts], None] | None = None,
        wanted: Callable[[], bool] = lambda: True,
        progress: Progress | None = None,
    ) -> TrainParts:
        """Fetch a train: its OCI manifest and its envelopes first; then the sealed blobs.

        They are not fetched if `accept` raises, or `wanted`, asked next, says no. Verifying in `accept` prevents a
        stranger who can write to the mailbox from filling the disk; `wanted`, a party who is none (attack T17).

        Raises:
            MalformedArtifact, MalformedJson, MalformedStatement: what waits there is not a train.
            DigestMismatch: bytes from the registry do not match their digest.
            NotInRegistry: it is gone, or incomplete.
        """
        repo = mailbox(arrival.mailbox)
        stored = self.registry.get_manifest(repo, arrival.digest)
        layers = _layers(stored)
        into.put(stored.digest, len(stored.raw), io.BytesIO(stored.raw))
        documents = {}
        for descriptor in layers.documents:
            documents[descriptor.digest] = read_blob(self.registry, repo, descriptor, limit=MAX_ENVELOPE)
            into.put(descriptor.digest, descriptor.size, io.BytesIO(documents[descriptor.digest]))
        parts = unpack(layers, documents)
        if accept is not None:
            accept(parts)
        for descriptor in layers.sealed if wanted() else ():
            if not into.has(descriptor.digest):
                with self.registry.open_blob(repo, descriptor) as source:
                    into.put(descriptor.digest, descriptor.size, source)
            if progress is not None:
                progress(descriptor.size)
        return parts

    def load(self, arrival: Digest, source: BlobSource) -> TrainParts:
        """Assemble a train again from what `take` stored, without the registry."""
        layers = self.layers(arrival, source)
        documents = {one.digest: read_document(source, one.digest, limit=MAX_ENVELOPE) for one in layers.documents}
        return unpack(layers, documents)

    def layers(self, arrival: Digest, source: BlobSource) -> TrainLayers:
        """Return which blobs `take` stored: as they arrived, which need not be how they would be printed again."""
        raw = read_document(source, arrival, limit=MAX_MANIFEST)
        return _layers(StoredManifest(raw=raw, media_type=OCI_MANIFEST, digest=arrival))

    def send(
        self,
        parts: TrainParts,
        blobs: BlobSource,
        *,
        to: PartyId,
        train: TrainId,
        stop: int,
        mount_from: PartyId | None = None,
        progress: Progress | None = None,
    ) -> Digest:
        """Put a train into a party's mailbox for a stop: the blobs, then the manifest with its tag; then check that it is there.

        Blobs that the sender's own mailbox holds (the code) are mounted, not uploaded.

        Raises:
            RegistryMisbehaved: the registry accepted the manifest but does not have it.
        """
        artifact, repo = pack(parts), mailbox(to)
        for descriptor in artifact.sealed:
            self._carry(descriptor, blobs, repo, None if mount_from is None else mailbox(mount_from), progress)
        return self._publish(artifact, repo, train_tag(train, stop))

    def remove(self, arrival: Arrival) -> None:
        """Remove a train from the mailbox; it may be absent.

        Raises:
            RegistryDenied: this registry does not allow deletion.
        """
        self.registry.delete_manifest(mailbox(arrival.mailbox), arrival.digest)

    def send_receipt(
        self, envelope: Envelope, *, owner: PartyId, train: TrainId, stop: int, kind: ReceiptKind
    ) -> Digest:
        """Put a station's signed statement about a stop into the owner's mailbox."""
        artifact = pack_receipt(envelope, _LAYER[kind])
        return self._publish(artifact, mailbox(owner), Tag(f"{kind.value}-{train}-{stop}"))

    def receipts_of(self, owner: PartyId, train: TrainId, stops: Iterable[int]) -> tuple[Receipt, ...]:
        """Return the receipts of these stops of a train that wait for its owner, asked for by name."""
        found = []
        for stop in stops:
            for kind in ReceiptKind:
                stored = self._named(mailbox(owner), Tag(f"{kind.value}-{train}-{stop}"))
                if stored is not None:
                    found.append(Receipt(train=train, stop=stop, kind=kind, digest=stored.digest))
        return tuple(found)

    def receipts(self, owner: PartyId, train: TrainId | None = None) -> tuple[Receipt, ...]:
        """List the receipts that wait for an owner, of one train or of all; malformed ones hide no others."""
        found = []
        for tag in self.registry.list_tags(mailbox(owner)):
            match = _RECEIPT_TAG.fullmatch(tag)
            if match is None or (train is not None and match[2] != train):
                continue
            stored = self._named(mailbox(owner), tag)
            if stored is not None:
                kind = ReceiptKind(match[1])
                found.append(Receipt(train=TrainId(match[2]), stop=int(match[3]), kind=kind, digest=stored.digest))
        return tuple(sorted(found, key=lambda one: (one.train, one.stop, one.kind)))

    def read_receipt(self, owner: PartyId, receipt: Receipt) -> Envelope:
        """Fetch a receipt's envelope. The caller verifies it.

        Raises:
            MalformedArtifact, MalformedJson, MalformedStatement: what waits there is not a receipt.
        """
        stored = self.registry.get_manifest(mailbox(owner), receipt.digest)
        layer = receipt_layer(parse_manifest(stored.raw, stored.media_type), _LAYER[receipt.kind])
        return parse_envelope(read_blob(self.registry, mailbox(owner), layer, limit=MAX_ENVELOPE))

    def forget(self, party: PartyId, trains: Collection[TrainId]) -> int:
        """Remove everything of these trains from a party's own mailbox, arrivals and receipts; return how many.

        Only for trains that can run nowhere any more: a station whose journal was restored from a backup finds what it
        signed in the owner's mailbox (attack T5). The blobs stay until the registry is swept. A manifest that another
        train's tag names as well is left: otherwise anyone who writes to the mailbox could have a train removed (T13).

        Raises:
            RegistryDenied: this registry does not allow deletion.
        """
        repo = mailbox(party)
        named = [(one.train, one.digest) for one in self.arrivals(party)]
        named += [(one.train, one.digest) for one in self.receipts(party)]
        others = {digest for train, digest in named if train not in trains}
        gone = {digest for train, digest in named if train in trains} - others
        for digest in sorted(gone):
            self.registry.delete_manifest(repo, digest)
        return len(gone)

    def _named(self, repo: Repository, tag: Tag) -> StoredManifest | None:
        """Return the manifest a tag names now, if it can be that of a train or a receipt."""
        try:
            return self.registry.get_manifest(repo, tag)
        except (ForeignRedirect, ForeignRealm):
            raise  # concerns the registry as a whole: its operator must act
        except (NotInRegistry, RegistryMisbehaved, Malformed, DigestMismatch):
            return None

    def _carry(
        self,
        descriptor: Descriptor,
        blobs: BlobSource,
        repo: Repository,
        near: Repository | None,
        progress: Progress | None,
    ) -> None:
        if self.registry.has_blob(repo, descriptor.digest):
            return
        if near is not None and self.registry.mount_blob(repo, descriptor.digest, near):
            return

        def open_at(offset: int) -> BinaryIO:
            source = blobs.open(descriptor.digest)
            source.seek(offset)
            return source

        self.registry.put_blob(repo, descriptor, open_at, progress)

    def _publish(self, artifact: Artifact, repo: Repository, tag: Tag) -> Digest:
        put_bytes(self.registry, repo, EMPTY_BYTES, OCI_EMPTY)
        for layer in artifact.manifest.layers:
            if layer.digest in artifact.documents:
                put_bytes(self.registry, repo, artifact.documents[layer.digest], layer.media_type)
        self.registry.put_manifest(repo, tag, artifact.manifest.raw, OCI_MANIFEST)
        held = self.registry.get_manifest(repo, artifact.manifest.digest)
        if held.raw != artifact.manifest.raw:
            msg = "registry does not have the manifest it accepted"
            raise RegistryMisbehaved(msg, repository=repo, tag=tag)
        return artifact.manifest.digest


def _layers(stored: StoredManifest) -> TrainLayers:
    return train_layers(parse_manifest(stored.raw, stored.media_type))
