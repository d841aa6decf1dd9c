"""How do parties send each other trains and receipts through a registry?

Every party has a *mailbox*, the repository ``mailbox/<party>``. A train waits there under ``t-<hash>``, a receipt in its
owner's mailbox under ``r-<hash>``, where the hash is of the train's id, the mailbox's party, the stop and the kind. Who
knows the train can tell its tags; to everybody else they say nothing, and those of one train in two mailboxes have
nothing in common. An id is the hash of a statement that only its readers have, so it cannot be guessed either.

Tags are hints from anyone who may write to the mailbox: each is resolved to a digest once, and only the digest is used
from then on (attack T13).

Who knows what they are looking for asks for it by name: whatever else lies in a mailbox, however much, costs them nothing.
Lists are for who cannot know: a station that looks for arrivals, and whoever clears a mailbox.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from registry.artifact import (
    SMALL,
    pack,
    pack_receipt,
    receipt_layer,
)
from registry.blobs import BlobSink, BlobSource, read_document
from registry.check import read_blob
from registry.errors import ForeignRealm, ForeignRedirect, NotInRegistry, RegistryMisbehaved, RegistryTooLong
from registry.names import Repository, Tag
from registry.oci import MAX_MANIFEST, parse_manifest
from registry.port import Progress, Registry, StoredManifest
from registry.publish import publish, reader_of
from registry.taken import Taken, fetch_sealed, keep_letters, layers_in, load, take_letters, take_manifest
from security.digest import Digest
from security.errors import DigestMismatch, Malformed
from security.ids import PartyId, TrainId
from security.train.journey import StateRef
from security.train.letters import Parcel
from security.train.manifest import CodeRef
from security.train.route import LONGEST, Route

_TRAIN_TAG = re.compile(r"t-[0-9a-f]{64}")
_RECEIPT_TAG, _BESIDE_TRAINS = re.compile(r"r-[0-9a-f]{64}"), re.compile(r"[pr]-[0-9a-f]{64}")
_TRAIN: Final = "train"
HOME: Final = "home"
"""What stands in a tag for the number of a stop where a train is at home: how many stops it made says nothing."""
_NOWHERE: Final[Mapping[Digest, PartyId]] = MappingProxyType({})


class ReceiptKind(StrEnum):
    """What a receipt is: a journey entry, a refusal, what a person tells about a refusal; or an owner's recall of a train."""

    ENTRY = "entry"
    REFUSAL = "refusal"
    ANSWER = "answer"
    RECALL = "recall"  # the only one that is in a station's mailbox


OF_A_STOP: Final = (ReceiptKind.ENTRY, ReceiptKind.REFUSAL, ReceiptKind.ANSWER)
"""What a station tells the owner about a stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A train waiting in a mailbox. ``digest`` is its OCI manifest's; which train it is, nobody knows yet."""

    mailbox: PartyId
    tag: Tag
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An arrival and its manifest, of which nothing is believed."""

    arrival: Arrival
    stored: StoredManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A receipt waiting in an owner's mailbox. What its tag says is a claim until what is in it has been verified."""

    train: TrainId
    stop: int
    kind: ReceiptKind
    stored: StoredManifest = field(repr=False)

    @property
    def digest(self) -> Digest:
        """The digest of its OCI manifest."""
        return self.stored.digest


def mailbox(party: PartyId) -> Repository:
    """Return the repository that is a party's mailbox."""
    return Repository(f"mailbox/{party}")


def train_tag(train: TrainId, party: PartyId, stop: int | None) -> Tag:
    """Return the tag under which a train waits in a party's mailbox for a stop, or, without one, for its owner at home."""
    return Tag(f"t-{_hashed(train, party, stop, _TRAIN)}")


def part_tag(train: TrainId, party: PartyId, stop: int, sender: int) -> Tag:
    """Return the tag under which what one of several stops sent waits for a stop; the first of them uses `train_tag`."""
    return Tag(f"p-{_hashed(train, party, stop, f'part {sender}')}")


def receipt_tag(train: TrainId, owner: PartyId, stop: int, kind: ReceiptKind) -> Tag:
    """Return the tag under which a receipt about a stop waits in the owner's mailbox."""
    return Tag(f"r-{_hashed(train, owner, stop, kind.value)}")


def _hashed(train: TrainId, party: PartyId, stop: int | None, kind: str) -> str:
    place = HOME if stop is None else stop
    return hashlib.sha256(f"pht-tag-v1\n{train}\n{party}\n{place}\n{kind}\n".encode()).hexdigest()


class Depot:
    """The parties' view of a registry. Every sending method may be repeated until it has returned."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def arrivals(self, party: PartyId, train: TrainId | None = None) -> tuple[Arrival, ...]:
        """Return the trains that wait for a party, or one train, the farthest on its way first.

        A tag that names no manifest of ours is skipped and does not hide the others: any stranger who may write to the
        mailbox could put it there.
        """
        tags = self._tags(party, _TRAIN_TAG)
        if train is not None:
            tags = _present(tags, (train_tag(train, party, stop) for stop in (None, *range(LONGEST - 1, -1, -1))))
        return tuple(
            Arrival(mailbox=party, tag=tag, digest=stored.digest) for tag, stored in self._resolved(party, tags).items()
        )

    def receipt_tags(self, owner: PartyId) -> tuple[Tag, ...]:
        """Return the tags of the receipts in a mailbox, whatever trains they are about."""
        return self._tags(owner, _RECEIPT_TAG)

    def all_tags(self, party: PartyId) -> tuple[tuple[Tag, ...], frozenset[Tag]]:
        """Return the tags in a party's mailbox that can be trains, sorted, and those that can be receipts, recalls or parts."""
        tags = self.registry.list_tags(mailbox(party))
        return tuple(filter(_TRAIN_TAG.fullmatch, tags)), frozenset(filter(_BESIDE_TRAINS.fullmatch, tags))

    def look_up(self, party: PartyId, tag: Tag, *, most: int = MAX_MANIFEST) -> Waiting | None:
        """Return what waits under a train's tag; None if nothing does, or no manifest that can be ours.

        Raises:
            RegistryTooLong: it has more than `most` bytes, and can be ours.
        """
        stored = self._named(mailbox(party), tag, most)
        if stored is None:
            return None
        return Waiting(arrival=Arrival(mailbox=party, tag=tag, digest=stored.digest), stored=stored)

    def arrival(self, party: PartyId, train: TrainId, stop: int | None) -> Arrival | None:
        """Return the train that waits for a party at a stop, or at home without one, asked for by name."""
        found = self.look_up(party, train_tag(train, party, stop))
        return None if found is None else found.arrival

    def part(self, party: PartyId, train: TrainId, stop: int, sender: int) -> Arrival | None:
        """Return what one of several stops sent to a party for a stop, and is not the first of them; None if it is not there."""
        found = self.look_up(party, part_tag(train, party, stop, sender))
        return None if found is None else found.arrival

    def claim_size(self, waiting: Waiting) -> int:
        """Return the bytes that `claimed_manifest` fetches at most; none if the letter came with the artifact.

        Raises:
            MalformedArtifact, MalformedJson: what waits there is not a train.
        """
        layers = layers_in(waiting.stored)
        return 0 if layers.manifest.digest in layers.held else layers.manifest.size

    def claimed_manifest(self, waiting: Waiting, here: BlobSource | None = None) -> bytes:
        """Fetch the one letter that says whose train this is, if it is one and not `here`, and nothing else.

        Raises:
            MalformedArtifact, MalformedJson, DigestMismatch: what waits there is not a train.
            NotInRegistry: it is incomplete.
        """
        return take_manifest(self.registry, mailbox(waiting.arrival.mailbox), layers_in(waiting.stored), here)

    def take(
        self,
        arrival: Arrival,
        into: BlobSink,
        *,
        accept: Callable[[Parcel], None] | None = None,
        wanted: Callable[[], bool] = lambda: True,
        stored: StoredManifest | None = None,
        progress: Progress | None = None,
    ) -> Parcel:
        """Fetch a train: its OCI manifest (unless that is `stored` here) and its letters first; then code and state.

        They are not fetched if `accept` raises, or `wanted`, asked next, says no. Opening and verifying in `accept`
        prevents a stranger who can write to the mailbox from filling the disk; `wanted`, a party who is none (T17).

        Raises:
            MalformedArtifact: what waits there is not a train.
            DigestMismatch: bytes from the registry do not match their digest.
            NotInRegistry: it is gone, or incomplete.
        """
        taken = self.letters(arrival, stored)
        keep_letters(taken.parcel, into)
        if accept is not None:
            accept(taken.parcel)
        if wanted():
            self.fetch(arrival, taken, into, progress)
        return taken.parcel

    def letters(self, arrival: Arrival, stored: StoredManifest | None = None, here: BlobSource | None = None) -> Taken:
        """Fetch the letters of a train, but what is `here` of them, and its OCI manifest unless that is `stored` here.

        Raises:
            MalformedArtifact: what waits there is not a train.
            DigestMismatch: bytes from the registry do not match their digest.
            NotInRegistry: it is gone, or incomplete.
        """
        repo = mailbox(arrival.mailbox)
        if stored is None or stored.digest != arrival.digest:
            stored = self.registry.get_manifest(repo, arrival.digest)
        return take_letters(self.registry, repo, stored, here)

    def fetch(self, arrival: Arrival, taken: Taken, into: BlobSink, progress: Progress | None = None) -> None:
        """Fetch code and state of a train whose letters are here.

        Raises:
            DigestMismatch: bytes from the registry do not match their digest.
            NotInRegistry: it is gone, or incomplete.
        """
        fetch_sealed(self.registry, mailbox(arrival.mailbox), taken, into, progress)

    load = staticmethod(load)

    def send(
        self,
        parcel: Parcel,
        blobs: BlobSource,
        *,
        to: PartyId,
        train: TrainId,
        stop: int | None,
        part: int | None = None,
        near: Mapping[Digest, PartyId] = _NOWHERE,
        known: Collection[Digest] = (),
        progress: Progress | None = None,
    ) -> Digest:
        """Put a train into a party's mailbox for a stop, or for home: the blobs, then the manifest with its tag; then check that it is there.

        `part` is the stop that sends, where several send to one, unless it is the first of them. What the manifest itself can
        hold needs no blob, unless it is `known` to who receives it: that is not fetched again. What lies in a mailbox already, as `near`
        says, is mounted from there, not uploaded.

        Raises:
            RegistryMisbehaved: the registry accepted the manifest but does not have it.
        """
        refs: tuple[CodeRef | StateRef, ...] = (parcel.code, *parcel.states)
        small = [one.digest for one in refs if one.size <= SMALL and one.digest not in known]
        held = {one: read_document(blobs, one, limit=SMALL) for one in small}
        artifact, repo = pack(parcel, held, known=known), mailbox(to)
        for descriptor in artifact.parts:
            there, source = near.get(descriptor.digest), artifact if descriptor.digest in artifact.documents else blobs
            if there is None or not self.registry.mount_blob(repo, descriptor.digest, mailbox(there)):
                self.registry.put_blob(repo, descriptor, reader_of(source, descriptor.digest), progress)
        tag = train_tag(train, to, stop) if stop is None or part is None else part_tag(train, to, stop, part)
        return publish(self.registry, artifact, repo, tag)

    def remove(self, arrival: Arrival) -> None:
        """Remove a train from the mailbox; it may be absent.

        Raises:
            RegistryDenied: this registry does not allow deletion.
        """
        self.registry.delete_manifest(mailbox(arrival.mailbox), arrival.digest)

    def send_receipt(self, letter: bytes, *, owner: PartyId, train: TrainId, stop: int, kind: ReceiptKind) -> Digest:
        """Put a station's sealed statement about a stop into the owner's mailbox."""
        receipt, repo = pack_receipt(letter), mailbox(owner)
        for part in receipt.parts:
            self.registry.put_blob(repo, part, reader_of(receipt, part.digest))
        return publish(self.registry, receipt, repo, receipt_tag(train, owner, stop, kind))

    def receipts_of(
        self, owner: PartyId, train: TrainId, stops: Iterable[int], kinds: Iterable[ReceiptKind] = OF_A_STOP
    ) -> tuple[Receipt, ...]:
        """Return the receipts of these stops of a train that wait for its owner, asked for by name."""
        found = []
        for stop, kind in itertools.product(stops, kinds):
            stored = self._named(mailbox(owner), receipt_tag(train, owner, stop, kind))
            if stored is not None:
                found.append(Receipt(train=train, stop=stop, kind=kind, stored=stored))
        return tuple(found)

    def read_receipt(self, owner: PartyId, receipt: Receipt) -> bytes:
        """Fetch the letter with a receipt. The caller opens it, and verifies what is in it.

        Raises:
            MalformedArtifact: what waits there is not a receipt.
        """
        layer = receipt_layer(parse_manifest(receipt.stored.raw, receipt.stored.media_type))
        if layer.held is not None:
            return layer.held
        return read_blob(self.registry, mailbox(owner), layer.letter, limit=layer.letter.size)

    def forget(self, party: PartyId, trains: Mapping[TrainId, Route]) -> int:
        """Remove everything of these trains from a party's own mailbox, arrivals and receipts; return how many.

        Only for trains that can run nowhere any more: a station whose journal was restored from a backup finds what it
        signed in the owner's mailbox (attack T5). The blobs stay until the registry is swept. A manifest that another
        train's tag names as well is left: otherwise anyone who writes to the mailbox could have a train removed (T13).

        Raises:
            RegistryDenied: this registry does not allow deletion.
        """
        ours = {tag for train, route in trains.items() for tag in _every_tag(train, party, route)}
        named = self._resolved(party, (*self._tags(party, _TRAIN_TAG), *self.receipt_tags(party)))
        others = {stored.digest for tag, stored in named.items() if tag not in ours}
        gone = {stored.digest for tag, stored in named.items() if tag in ours} - others
        for digest in sorted(gone):
            self.registry.delete_manifest(mailbox(party), digest)
        return len(gone)

    def _tags(self, party: PartyId, form: re.Pattern[str]) -> tuple[Tag, ...]:
        return tuple(tag for tag in self.registry.list_tags(mailbox(party)) if form.fullmatch(tag))

    def _resolved(self, party: PartyId, tags: Iterable[Tag]) -> Mapping[Tag, StoredManifest]:
        """Return what tags name now, in their order, without those that can name neither a train nor a receipt."""
        found = {tag: self._named(mailbox(party), tag) for tag in tags}
        return {tag: stored for tag, stored in found.items() if stored is not None}

    def _named(self, repo: Repository, tag: Tag, most: int = MAX_MANIFEST) -> StoredManifest | None:
        """Return the manifest a tag names now, if it can be that of a train or a receipt."""
        try:
            return self.registry.get_manifest(repo, tag, most=most)
        except (ForeignRedirect, ForeignRealm):
            raise  # concerns the registry as a whole: its operator must act
        except (NotInRegistry, RegistryMisbehaved, Malformed, DigestMismatch) as error:
            if isinstance(error, RegistryTooLong) and most < MAX_MANIFEST:
                raise
            return None


def _present(listed: Collection[Tag], wanted: Iterable[Tag]) -> tuple[Tag, ...]:
    """Return which of the wanted tags are there, in the order in which they are wanted."""
    there, found = frozenset(listed), []
    for tag in wanted if there else ():
        if tag in there:
            found.append(tag)
            if len(found) == len(there):
                break
    return tuple(found)


def _every_tag(train: TrainId, party: PartyId, route: Route) -> Iterable[Tag]:
    """Yield every tag that a train, or a receipt about it, can have in a party's mailbox."""
    yield train_tag(train, party, None)
    for stop in route.indices:
        yield train_tag(train, party, stop)
        for kind in ReceiptKind:
            yield receipt_tag(train, party, stop, kind)
