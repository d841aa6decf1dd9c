"""What will the consortium publish next?

The workspace is the consortium's own folder::

    work/           the documents as they will be published next; plain JSON, may be edited by hand
    published/      every metadata file and document signed so far: what a directory is filled from
    root-keys/      root keys, each in an age passphrase file, until they are moved to their holders
    targets-….age   the key that signs the list of documents
    online-….age    the key that signs snapshot and timestamp; the only one an unattended renewal needs

Nothing in this module signs. Changes are staged in ``work/`` and take effect with `security.directory.publish.publish`. One change
is made at a time, under the lock that a publication holds too: so that two administrators cannot undo each other's changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from security.digest import Digest
from security.directory.card import PartyCard
from security.directory.documents import (
    BASE,
    MAX_DOCUMENT,
    base_file,
    parse_base,
    parse_party,
    parse_trust,
    party_file,
    print_base,
    print_party,
)
from security.directory.trust import MAX_KEY_SETS, Base, DirectoryVersion, KeySetRecord, Party, TrustStore
from security.encoding import print_time
from security.errors import FileExists, FileMissing, InvalidInput, PartyUnknown
from security.files import locked, read_file, told, write_file
from security.ids import PartyId
from security.keys.keyset import confirms

_KEPT_OF_NAME: Final = 37
"""Characters: with a hyphen and the twelve digits after it as many as a name of a base image may have."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The consortium's folder.

    Raises:
        FileMissing: there is no workspace at that path.
    """

    path: Path

    def __post_init__(self) -> None:
        if not (self.work.is_dir() and self.published.is_dir()):
            msg = "not the workspace of a directory"
            raise FileMissing(msg, path=self.path, hint=f"make one: pht directory init {self.path}")

    @property
    def work(self) -> Path:
        """Where the staged documents lie."""
        return self.path / "work"

    @property
    def published(self) -> Path:
        """Where signed files lie."""
        return self.path / "published"

    @property
    def root_keys(self) -> Path:
        """Where root keys are created."""
        return self.path / "root-keys"

    @property
    def lock(self) -> Path:
        """The lock that a command holds while it changes something."""
        return self.path / "lock"

    def documents(self) -> Mapping[str, bytes]:
        """Read the staged documents, by file name."""
        paths = sorted(self.work.glob("[!.]*.json"))
        return MappingProxyType({path.name: read_file(path, limit=MAX_DOCUMENT) for path in paths})

    def staged(self) -> TrustStore:
        """Return what participants will see once the staged documents are published.

        Raises:
            Malformed, DirectoryRejected: a document is wrong, or they contradict each other.
        """
        ends_never = datetime.max.replace(microsecond=0, tzinfo=UTC)
        return parse_trust(self.documents(), version=DirectoryVersion(root=0, targets=0), expires=ends_never)


def add_party(workspace: Workspace, card: PartyCard, *, now: datetime) -> Party:
    """Stage a new party. The caller has confirmed the card's fingerprint.

    Raises:
        FileExists: the directory has a party of that name.
        DirectoryRejected: one of its keys belongs to another party.
    """
    with locked(workspace.lock):
        path = workspace.work / party_file(card.party)
        if path.exists():
            msg = "the party is already in the directory"
            raise FileExists(msg, party=card.party, hint="to replace its keys: pht directory rotate")
        record = KeySetRecord(key_set=card.key_set, since=_minute(now), until=None, revoked=None)
        return _stage(workspace, Party(party=card.party, title=card.title, roles=card.roles, key_sets=(record,)))


def rotate_party(workspace: Workspace, card: PartyCard, *, overlap: timedelta, now: datetime) -> Party:
    """Stage a new key set of a party; the older ones end after `overlap`, during which trains under way may finish.

    Raises:
        PartyUnknown: the directory has no party of that name.
        InvalidInput: the card's roles are not the party's, its keys are or were the party's, or `overlap` is negative.
    """
    with locked(workspace.lock):
        party = _party(workspace, card.party)
        if card.roles != party.roles:
            msg = "the card's roles are not those of the party in the directory"
            raise InvalidInput(msg, card=", ".join(sorted(card.roles)), directory=", ".join(sorted(party.roles)))
        if any(record.key_set.fingerprint == card.key_set.fingerprint for record in party.key_sets):
            msg = "the party already has or had this key set"
            raise InvalidInput(msg, party=party.party)
        if overlap < timedelta(0) or len(party.key_sets) >= MAX_KEY_SETS:
            msg = "the overlap is negative, or the party has too many key sets"
            raise InvalidInput(msg, party=party.party)
        end = _whole(now) + overlap
        older = tuple(
            record
            if record.until is not None and record.until <= end
            else replace(record, until=max(end, record.since))
            for record in party.key_sets
        )
        newest = KeySetRecord(key_set=card.key_set, since=_minute(now), until=None, revoked=None)
        return _stage(workspace, replace(party, title=card.title, key_sets=(*older, newest)))


def revocable(workspace: Workspace, party: PartyId, key_set: str | None) -> frozenset[Digest]:
    """Return the fingerprints that `revoke` would revoke, with the same errors; changes nothing."""
    known = _party(workspace, party)
    chosen = frozenset(
        record.key_set.fingerprint
        for record in known.key_sets
        if key_set is None or confirms(key_set, record.key_set.fingerprint)
    )
    if not chosen:
        msg = "the party has no such key set"
        raise InvalidInput(msg, party=party, key_set=key_set, hint="'pht directory show' lists them")
    return chosen


def revoke(workspace: Workspace, party: PartyId, key_set: str | None, *, since: datetime, now: datetime) -> Party:
    """Stage the revocation of a party, or of the one key set with that fingerprint, as of `since`.

    What was signed before `since` still counts. A key set that was revoked as of an earlier time stays so.

    Raises:
        PartyUnknown: the directory has no such party.
        InvalidInput: the party has no such key set, or `since` is still to come.
    """
    if since > now:
        msg = "keys are revoked as of now or of a time that is past"
        raise InvalidInput(msg, since=print_time(since))
    with locked(workspace.lock):
        known = _party(workspace, party)
        chosen = revocable(workspace, party, key_set)
        records = tuple(
            replace(record, revoked=min(_minute(since), record.revoked or since))
            if record.key_set.fingerprint in chosen
            else record
            for record in known.key_sets
        )
        return _stage(workspace, replace(known, key_sets=records))


def approve_base(workspace: Workspace, name: str, digest: Digest, *, note: str) -> Base:
    """Stage the approval of a base image. A name once withdrawn may be given to another image.

    The one that had it stays in the directory, withdrawn and under a name of its own: what ran on it is still to be verified. Two files
    change then, and are consistent again at the latest when this is repeated.

    Raises:
        FileExists: the name belongs to another approved image.
        InvalidInput: the note or the name is invalid.
        DirectoryRejected: the image is approved under another name.
    """
    with locked(workspace.lock):
        path = workspace.work / base_file(name)
        older = parse_base(read_file(path)) if path.exists() else None
        if older is not None and older.digest != digest and not older.withdrawn:
            msg = "another base image is approved under this name"
            raise FileExists(
                msg, name=name, digest=older.digest.short, hint="withdraw it first, or choose another name"
            )
        base = Base(name=name, digest=digest, note=note, withdrawn=False)
        if not BASE.record.accepts(base):
            msg = "the note must be one line of up to 500 characters"
            raise InvalidInput(msg)
        changed = {base_file(name): print_base(base)}
        if older is not None and older.digest != digest:
            moved = replace(older, name=_own_name(older))
            changed = {base_file(moved.name): print_base(moved), **changed}
        _write(workspace, changed, gone=_moved(workspace, digest))
        return base


def was_withdrawn(workspace: Workspace, name: str, digest: Digest) -> bool:
    """Whether this image was approved under this name, and its approval withdrawn; or under another that was given away since."""
    if _moved(workspace, digest):
        return True
    path = workspace.work / base_file(name)
    if not path.exists():
        return False
    base = parse_base(read_file(path))
    return base.withdrawn and base.digest == digest


def withdraw_base(workspace: Workspace, name: str) -> Base:
    """Stage the withdrawal of a base image: no train on it is accepted any more.

    Raises:
        FileMissing: there is no such base image.
    """
    with locked(workspace.lock):
        path = workspace.work / base_file(name)
        if not path.exists():
            msg = "the directory has no such base image"
            raise FileMissing(msg, name=name, hint="'pht directory show' lists them")
        return _stage_base(workspace, replace(parse_base(read_file(path)), withdrawn=True))


def _party(workspace: Workspace, party: PartyId) -> Party:
    path = workspace.work / party_file(party)
    if not path.exists():
        msg = "the directory has no such party"
        raise PartyUnknown(msg, party=party, hint="'pht directory show' lists them")
    return parse_party(read_file(path))


def _stage(workspace: Workspace, party: Party) -> Party:
    _write(workspace, {party_file(party.party): print_party(party)})
    return party


def _stage_base(workspace: Workspace, base: Base) -> Base:
    _write(workspace, {base_file(base.name): print_base(base)})
    return base


def _own_name(base: Base) -> str:
    """Return the name of an image whose name was given to another."""
    return f"{base.name[:_KEPT_OF_NAME]}-{base.digest.short}"


def _moved(workspace: Workspace, digest: Digest) -> frozenset[str]:
    """Return the document in which an image is kept whose name was given to another, if it is."""
    names = (path.name for path in workspace.work.glob(f"base.*-{digest.short}.json"))
    found = {name: parse_base(read_file(workspace.work / name)) for name in names}
    return frozenset(name for name, base in found.items() if base.withdrawn and base.digest == digest)


def _write(workspace: Workspace, changed: Mapping[str, bytes], gone: frozenset[str] = frozenset()) -> None:
    """Write staged documents, and remove those that are `gone`, if the directory is still consistent then."""
    kept = {name: data for name, data in workspace.documents().items() if name not in gone}
    parse_trust(
        {**kept, **changed}, version=DirectoryVersion(root=0, targets=0), expires=datetime.max.replace(tzinfo=UTC)
    )
    for name, data in changed.items():
        write_file(workspace.work / name, data, mode=0o644)
    for name in gone - changed.keys():
        with told(workspace.work / name):
            (workspace.work / name).unlink(missing_ok=True)


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _minute(moment: datetime) -> datetime:
    """Round down to the minute, as stations do in what they sign.

    So a new key set's first entry does not precede it, and what was signed after a revocation does not seem older.
    """
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
