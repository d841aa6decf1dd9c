"""How do statements about a train travel, so that only those who need them can read them?

Each in a *letter*: its envelope, padded with zeros, in an age file for those who verify it later. A letter is sealed once,
by whoever signed the statement, and travels unchanged. Who carries it sees its digest and its padded size.

- The manifest: for every station of the route, and its owner.
- A journey entry: for the station that signed it, every station that comes after it in the route, and the owner.
- A refusal: for the station that signed it, and the owner.

A station reads what it has signed itself, because its journal may have been restored from an older backup (attack T5). The
owner reads with two keys, the one that results are sealed for and the train's own (`TrainManifest.mail`). Everyone counts
the recipients of what they open: one more than these, and somebody has been let in (attack T9).

An entry that every party of the train reads is a *common* letter: that of a boarding, of a departure, of any stop of a round, and
of the first stop of a sequence. It is sealed under the key in the manifest (`TrainManifest.letter_key`), which exactly these
parties have. To age that is a passphrase, of 256 random bits, so nothing is stretched; no other recipient may be beside it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from security.age import (
    PASSPHRASE,
    PassphraseIdentity,
    PassphraseRecipient,
    Recipient,
    Unwrapper,
    decrypt_small,
    encrypt,
    parse_recipient,
)
from security.archive import padme
from security.digest import Digest, digest_of
from security.directory.trust import TrustStore
from security.errors import BudgetExceeded, MalformedStatement, SealRecipients
from security.ids import Role
from security.statement.envelope import MAX_ENVELOPE, Envelope, parse_envelope
from security.train.journey import StateRef, TrainParts, read_entry
from security.train.manifest import CodeRef, TrainManifest, read_manifest
from security.train.route import MAX_STOPS, Stop
from security.train.verify import AcceptedTrain

LEAST: Final = 2048
"""Bytes that every statement is padded to: an entry and a refusal under one kind of key have the same size."""
MAX_ENTRY: Final = 256 << 10
"""Bytes of the envelope of a journey entry or a refusal; they are short, but for one with a boarding pass that has fifty seeds."""
_STANZA: Final = 2 << 10  # a hybrid recipient takes some 1 600 bytes of the header
_HEADER: Final = (MAX_STOPS + 2) * _STANZA
_UNSTRETCHED: Final = 1
"""Logarithm of the work factor for a passphrase that nobody can guess; a letter that asks for more work is none of ours (attack T17)."""


def _most(envelope: int) -> int:
    padded = envelope + envelope // 8
    return _HEADER + padded + padded // 2048 + _STANZA


MAX_MANIFEST_LETTER: Final = _most(MAX_ENVELOPE)
MAX_ENTRY_LETTER: Final = _most(MAX_ENTRY)
_KNOWN: Final = 256
_PLACES: Final[dict[Digest, int]] = {}
"""Which recipient we were of the letters that were opened last. Of keys and of what is in a letter, nothing stays here (attack T26)."""
MAX_JOURNEY: Final = 48 << 20
"""Bytes of all entries' letters together. Those of the longest route take 34 MiB under hybrid keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A train as it travels: letters that not everybody can open, and the sealed code and state, by name.

    From one stop to the next there is one state at most. Where several stops send to one, what they sent is `joined` there.
    """

    manifest: bytes
    entries: tuple[bytes, ...]
    code: CodeRef
    states: tuple[StateRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What was in a letter, and for how many it is sealed. Nothing in it is believed yet.

    `ours` is which of its recipients we are, counted from the end (-1). A `common` one is sealed under the key of its train.
    """

    envelope: Envelope
    readers: int
    ours: int
    common: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedParcel:
    """The letters of a parcel, opened."""

    manifest: Letter
    entries: tuple[Letter, ...]
    code: CodeRef
    states: tuple[StateRef, ...]

    @property
    def parts(self) -> TrainParts:
        """What is to be verified."""
        return TrainParts(
            manifest=self.manifest.envelope,
            entries=tuple(one.envelope for one in self.entries),
            code=self.code,
            states=self.states,
        )


def seal_letter(envelope: Envelope, recipients: Iterable[str | Recipient]) -> bytes:
    """Seal a statement for its readers (age recipients)."""
    raw, sealed = envelope.to_bytes(), io.BytesIO()
    readers = [parse_recipient(one) if isinstance(one, str) else one for one in dict.fromkeys(recipients)]
    with encrypt(sealed, readers) as plain:
        plain.write(raw.ljust(_padded(raw), b"\0"))
    return sealed.getvalue()


def open_letter(letter: bytes, identities: Sequence[Unwrapper], *, limit: int = MAX_ENTRY, ours: int = 0) -> Letter:
    """Open a letter; the envelope in it may have up to `limit` bytes, and `ours` is which recipient we probably are.

    Raises:
        NotARecipient: it is for others.
        SealBroken: it was changed, or is no letter.
        MalformedJson, MalformedStatement, BudgetExceeded: there is no envelope in it, or none that is padded as it must be.
    """
    opened, ours = decrypt_small(io.BytesIO(letter), identities, ours=ours)
    with opened as plain:
        content, readers, common = plain.read(), len(plain.stanzas), plain.stanzas[0].kind == PASSPHRASE
    raw = content.rstrip(b"\0")
    if len(raw) > limit:
        msg = "statement is too large for one of its kind"
        raise BudgetExceeded(msg, bytes=len(raw), limit=limit)
    if len(content) != _padded(raw):
        msg = "statement is not padded as it must be"
        raise MalformedStatement(msg)
    return Letter(envelope=parse_envelope(raw), readers=readers, ours=ours, common=common)


def open_manifest(letter: bytes, identities: Sequence[Unwrapper], *, ours: int = 0) -> Letter:
    """Open the letter with a train's manifest, the one kind that may be large; see `open_letter`."""
    return open_letter(letter, identities, limit=MAX_ENVELOPE, ours=ours)


def with_common(manifest: TrainManifest, identities: Iterable[Unwrapper]) -> tuple[Unwrapper, ...]:
    """Return what opens the letters about a train: the key they have in common, and one's own."""
    return (PassphraseIdentity(manifest.letter_key.encode(), _UNSTRETCHED), *identities)


def open_parcel(parcel: Parcel, identities: Sequence[Unwrapper]) -> OpenedParcel:
    """Open every letter of a train; see `open_letter`. Nothing is verified here.

    Which recipient we are is guessed, as none is named: they are in the order of the route, where we come after the stations
    that wrote the entries; and counted from the end, where the owner's keys are, we have one place in all letters.
    """
    which = digest_of(parcel.manifest)
    manifest = open_manifest(parcel.manifest, identities, ours=_PLACES.get(which, len(parcel.entries)))
    _remember(which, manifest.ours)
    opening = with_common(read_manifest(manifest.envelope.payload), identities) if parcel.entries else ()
    entries = tuple(open_letter(one, opening, ours=manifest.ours) for one in parcel.entries)
    return OpenedParcel(manifest=manifest, entries=entries, code=parcel.code, states=parcel.states)


def _remember(letter: Digest, ours: int) -> None:
    """Keep which recipient we were: a train under way brings the same letter with its manifest with every part of every round."""
    _PLACES[letter] = ours
    for old in list(_PLACES)[:-_KNOWN]:
        _PLACES.pop(old, None)  # another thread may have been first


def joined(parcels: Sequence[Parcel], identities: Sequence[Unwrapper]) -> Parcel:
    """Put together what several stops sent to one, in their order. Nothing is verified here.

    An entry that several of them bring is taken from the first; they are put in the order of the stops they say they are about.

    Raises:
        NotARecipient, SealBroken, Malformed: what is there are not letters with journey entries for us.
    """
    letters: dict[Digest, tuple[int, bytes]] = {}
    for parcel in parcels:
        for letter, opened in zip(parcel.entries, open_parcel(parcel, identities).entries, strict=True):
            claim = read_entry(opened.envelope.payload)
            letters.setdefault(opened.envelope.digest, (claim.stop, letter))
    first = parcels[0]
    return Parcel(
        manifest=first.manifest,
        entries=tuple(letter for _, letter in sorted(letters.values())),
        code=first.code,
        states=tuple(one for parcel in parcels for one in parcel.states),
    )


def check_room(parcel: Parcel) -> None:
    """Demand that the next to read the journey will take it with our entry.

    Raises:
        BudgetExceeded: there is no room for another entry.
    """
    size = sum(map(len, parcel.entries))
    if size > MAX_JOURNEY - MAX_ENTRY_LETTER:
        msg = "journey entries are too large together"
        raise BudgetExceeded(msg, bytes=size, limit=MAX_JOURNEY - MAX_ENTRY_LETTER)


def manifest_recipients(code_readers: Sequence[str], mail: str) -> tuple[str, ...]:
    """Return who reads the manifest: whoever reads the code, and the owner with the key of the train."""
    return (*code_readers, mail)


def entry_recipients(
    manifest: TrainManifest, stop: int, trust: TrustStore, now: datetime
) -> tuple[str, ...] | tuple[Recipient]:
    """Return who reads the entry about a stop, by the keys the directory has for whom the signed route names.

    Raises:
        KeyNotTrusted, KeyRevoked, KeyOutsideValidity, PartyUnknown: one of them cannot be sealed to.
    """
    readers = manifest.route.readers(stop)
    # Asked also where the key is one they have in common: a party whose keys are revoked meanwhile is not written to.
    stations = [trust.pinned(one.party, Role.STATION, one.key_set, now).sealing for one in readers]
    if is_common(manifest, stop):
        return (common_recipient(manifest),)
    return tuple(dict.fromkeys((*stations, manifest.recipient, manifest.mail)))


def common_recipient(manifest: TrainManifest) -> Recipient:
    """Return the one recipient of a letter that every party of the train reads."""
    return PassphraseRecipient(manifest.letter_key.encode(), _UNSTRETCHED)


def is_common(manifest: TrainManifest, stop: int) -> bool:
    """Whether the entry about a stop is read by every party of the train, of which there are several.

    What is for one station alone is sealed like a refusal, so that nobody who carries it can tell which of them it is.
    """
    everybody = manifest.route.places
    return len(everybody) > 1 and frozenset(manifest.route.readers(stop)) >= frozenset(everybody)


def refusal_recipients(manifest: TrainManifest, station: str) -> tuple[str, ...]:
    """Return who reads a refusal: the station that signs it, and the owner. Needs no directory."""
    return tuple(dict.fromkeys((station, manifest.recipient, manifest.mail)))


def check_readers(opened: OpenedParcel, accepted: AcceptedTrain) -> None:
    """Demand that the letters of a verified train have the readers that its route gives them, by number (attack T9).

    Raises:
        SealRecipients: one has more or fewer.
    """
    manifest = accepted.manifest.value
    _need_readers(opened.manifest, manifest, manifest.route.places)
    proven = {entry.digest: entry.value.stop for entry in accepted.journey.entries}
    for letter in opened.entries:
        check_entry_readers(letter, manifest, proven[letter.envelope.digest])


def check_entry_readers(letter: Letter, manifest: TrainManifest, stop: int) -> None:
    """Demand the number of readers that the entry about a stop has; see `check_readers`."""
    if not is_common(manifest, stop):
        _need_readers(letter, manifest, manifest.route.readers(stop))
    elif not letter.common:
        msg = "a letter that all parties of a train read is not sealed under the key they have in common"
        raise SealRecipients(msg, found=letter.readers)


def check_refusal_readers(letter: Letter, manifest: TrainManifest, stop: int) -> None:
    """Demand the number of readers that a refusal at a stop has; see `check_readers`."""
    _need_readers(letter, manifest, (manifest.route.stop(stop),))


def _need_readers(letter: Letter, manifest: TrainManifest, stations: Iterable[Stop]) -> None:
    parties = {manifest.owner.party, *(one.party for one in stations)}
    expected = len(parties) + 1  # the owner has two keys
    if letter.readers != expected:
        msg = "the recipients of a letter are not those of the route"
        raise SealRecipients(msg, expected=expected, found=letter.readers)


def _padded(raw: bytes) -> int:
    return max(LEAST, padme(len(raw)))
