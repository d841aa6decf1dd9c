"""Whose keys are trusted, for what and when, and which base images are approved?

A `TrustStore` is a value made from the directory's documents (`security.directory.documents`) after TUF has verified them
(`security.directory.client`). Nothing here reads a file or a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final

from security.digest import Digest
from security.encoding import print_time
from security.errors import (
    BaseNotApproved,
    DirectoryExpired,
    DirectoryRejected,
    KeyNotTrusted,
    KeyOutsideValidity,
    KeyRevoked,
    NotYet,
    OutsideValidity,
    PartyUnknown,
)
from security.forms.form import Number, Text
from security.forms.many import Many
from security.forms.record import Inline, Rule
from security.ids import PartyId, Role
from security.keys.form import Roles, Title
from security.keys.keyset import KeySet, Scheme

MAX_KEY_SETS: Final = 32
BASE_NAME: Final = Text(
    most=50,
    pattern="[a-z0-9](?:[a-z0-9._-]{0,48}[a-z0-9])?",  # so that <sha256>.base.<name>.json is an OCI tag
    says="the name of an approved base image",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetRecord:
    """A key set of a party, in force from `since` until just before `until`.

    ``revoked`` is since when somebody else may have had it: what it signed before still counts, nothing later, and nobody
    begins anything with it any more.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            says="a key set does not end before it begins",
            holds=lambda one: one.until is None or one.since <= one.until,
            field="until",
        ),
    )

    key_set: Annotated[KeySet, Inline()]
    fingerprint: Digest = field(init=False)
    since: datetime
    until: datetime | None
    revoked: datetime | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", self.key_set.fingerprint)

    def covers(self, moment: datetime) -> bool:
        """Whether `moment` lies within its validity; says nothing about revocation."""
        return self.since <= moment and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A member of the consortium, with every key set it ever had."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            says="no key set occurs twice",
            holds=lambda party: len({one.fingerprint for one in party.key_sets}) == len(party.key_sets),
            field="keySets",
        ),
    )

    party: PartyId
    title: Title
    roles: Roles
    key_sets: Annotated[tuple[KeySetRecord, ...], Many(least=1, most=MAX_KEY_SETS)]

    @property
    def revoked(self) -> bool:
        """Whether nothing this party signs is trusted any more."""
        return all(record.revoked is not None for record in self.key_sets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base image, approved by digest unless `withdrawn`."""

    name: Annotated[str, BASE_NAME]
    digest: Digest
    note: Annotated[str, Text(least=0, most=500, line=True)]
    withdrawn: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The minimum that the whole consortium requires; a station may require more.

    ``max_train_days`` is the longest validity of a train. With ``post_quantum``, a key set counts only if it signs with
    ML-DSA-65 among others and has a hybrid recipient for sealing.
    """

    max_train_days: Annotated[int, Number(least=1, most=3650)] = 90
    post_quantum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryVersion:
    """Which directory a decision was made with: the versions of its root and of its targets."""

    root: Annotated[int, Number(least=1)]
    targets: Annotated[int, Number(least=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustStore:
    """What the verified directory says. `expires` is the earliest expiry of the metadata it was made from.

    Raises:
        DirectoryRejected: a signing or sealing key belongs to two parties, so that a signature would not show whose
            it is.
    """

    version: DirectoryVersion
    expires: datetime
    parties: Mapping[PartyId, Party]
    bases: Mapping[Digest, Base]
    policy: Policy

    def __post_init__(self) -> None:
        holders: dict[str, PartyId] = {}
        for party in self.parties.values():
            for record in party.key_sets:
                for key in (*(one.key_id for one in record.key_set.signing), record.key_set.sealing):
                    if holders.setdefault(key, party.party) != party.party:
                        msg = "a key belongs to two parties"
                        raise DirectoryRejected(msg, key=key[:20], first=holders[key], second=party.party)

    def current(self, party: PartyId, role: Role, now: datetime) -> KeySet:
        """Return the key set to use for `party` now: the newest in force; of two equally new, the one listed later.

        Raises:
            PartyUnknown, KeyRevoked, KeyOutsideValidity, KeyNotTrusted: there is none, and why.
        """
        known = self._party(party, role).key_sets
        living = [record for record in known if record.revoked is None]
        if not living:
            msg = "every key set of the party is revoked"
            raise KeyRevoked(msg, party=party)
        valid = [record for record in living if record.covers(now)]
        if not valid:
            msg = "no key set of the party is in force now"
            raise KeyOutsideValidity(msg, party=party, at=print_time(now))
        return self._strong(party, max(reversed(valid), key=lambda record: record.since).key_set)

    def pinned(self, party: PartyId, role: Role, fingerprint: Digest, at: datetime) -> KeySet:
        """Return the key set a signed document names for what is still to be done, if it is in force `at` that time.

        One that is revoked does not count, whatever its date: nobody runs or seals anything for keys that were stolen.

        Raises:
            PartyUnknown, KeyNotTrusted, KeyRevoked, KeyOutsideValidity: it does not count, and why.
            NotYet: it will.
        """
        record = self._named(party, role, fingerprint)
        if record.revoked is not None:
            raise _revoked(party, record)
        if at < record.since:
            msg = "key set is not in force yet"
            since = print_time(record.since)
            raise NotYet(msg, party=party, key_set=record.fingerprint.short, since=since, at=print_time(at))
        return self._in_force(party, record, at)

    def signer(self, party: PartyId, role: Role, fingerprint: Digest, at: datetime) -> KeySet:
        """Return the key set that signed something `at` a time in the past, if it counted then.

        The time is the signer's own claim. Whoever stole the keys can claim an early one, which is why a revocation is
        dated by when the keys were certainly still safe, and not by when somebody noticed.

        Raises:
            PartyUnknown, KeyNotTrusted, KeyOutsideValidity: it never did, or not then.
            KeyRevoked: it was no longer safe then.
        """
        record = self._named(party, role, fingerprint)
        if record.revoked is not None and at >= record.revoked:
            raise _revoked(party, record)
        return self._in_force(party, record, at)

    def key_set(self, party: PartyId, role: Role, fingerprint: Digest) -> KeySet:
        """Return a key set of a party, whether or not it still counts: for what was verified with it already.

        Raises:
            PartyUnknown, KeyNotTrusted: the directory does not know it.
        """
        return self._record(self._party(party, role), fingerprint).key_set

    def approved_base(self, digest: Digest) -> Base:
        """Return the base image of that digest.

        Raises:
            BaseNotApproved: unknown, or withdrawn.
        """
        base = self.bases.get(digest)
        if base is None:
            msg = "base image is not in the directory"
            raise BaseNotApproved(msg, digest=digest.short)
        return _not_withdrawn(base)

    def base_named(self, name: str) -> Base:
        """Return the approved base image of that name.

        Raises:
            BaseNotApproved: unknown, or withdrawn.
        """
        for base in self.bases.values():
            if base.name == name:
                return _not_withdrawn(base)
        msg = "base image is not in the directory"
        approved = ", ".join(sorted(base.name for base in self.approved_bases()))
        raise BaseNotApproved(msg, name=name[:60], approved=approved or "none")

    def approved_bases(self) -> tuple[Base, ...]:
        """Return the base images that trains may run on: those that are not withdrawn, in the directory's order."""
        return tuple(base for base in self.bases.values() if not base.withdrawn)

    def holding(self, role: Role) -> tuple[Party, ...]:
        """Return the parties that have `role`, in the directory's order, whether or not their keys are still valid."""
        return tuple(party for party in self.parties.values() if role in party.roles)

    def check_fresh(self, now: datetime) -> None:
        """Refuse to decide anything by an expired directory (attack T21: freeze).

        Raises:
            DirectoryExpired: a part of its metadata has expired.
        """
        if now >= self.expires:
            msg = "the directory has expired"
            raise DirectoryExpired(msg, expired=print_time(self.expires), version=self.version.targets)

    def check_duration(self, since: datetime, until: datetime) -> None:
        """Refuse a train whose validity is longer than the consortium allows.

        Raises:
            OutsideValidity: longer than the policy's ``max_train_days``.
        """
        if until - since > timedelta(days=self.policy.max_train_days):
            msg = "train is valid for longer than the directory's policy allows"
            raise OutsideValidity(msg, days=(until - since).days, most=self.policy.max_train_days)

    def _named(self, party: PartyId, role: Role, fingerprint: Digest) -> KeySetRecord:
        for record in self._party(party, role).key_sets:
            if record.fingerprint == fingerprint:
                return record
        msg = "the key set is not in the directory"
        raise KeyNotTrusted(msg, party=party, key_set=fingerprint.short)

    def _in_force(self, party: PartyId, record: KeySetRecord, at: datetime) -> KeySet:
        if not record.covers(at):
            msg = "key set was not in force"
            raise KeyOutsideValidity(msg, party=party, key_set=record.fingerprint.short, at=print_time(at))
        return self._strong(party, record.key_set)

    def _party(self, party: PartyId, role: Role) -> Party:
        known = self.parties.get(party)
        if known is None:
            msg = "the directory has no such party"
            raise PartyUnknown(msg, party=party)
        if role not in known.roles:
            msg = "the party does not have this role in the directory"
            raise PartyUnknown(msg, party=party, role=role.value)
        return known

    def _record(self, party: Party, fingerprint: Digest) -> KeySetRecord:
        for record in party.key_sets:
            if record.fingerprint == fingerprint:
                return record
        msg = "the key set is not in the directory"
        raise KeyNotTrusted(msg, party=party.party, key_set=fingerprint.short)

    def _strong(self, party: PartyId, key_set: KeySet) -> KeySet:
        if self.policy.post_quantum and not is_post_quantum(key_set):
            msg = "the directory's policy requires post-quantum keys"
            raise KeyNotTrusted(msg, party=party, key_set=key_set.fingerprint.short)
        return key_set


def is_post_quantum(key_set: KeySet) -> bool:
    """Whether both signing and sealing withstand a quantum computer.

    A Bech32 text has its last ``1`` after the human-readable part, so ``age1pq1`` can only be the hybrid recipient.
    """
    return key_set.sealing.startswith("age1pq1") and any(key.scheme is Scheme.ML_DSA_65 for key in key_set.signing)


def _revoked(party: PartyId, record: KeySetRecord) -> KeyRevoked:
    msg = "key set is revoked"
    since = None if record.revoked is None else print_time(record.revoked)
    return KeyRevoked(msg, party=party, key_set=record.fingerprint.short, since=since)


def _not_withdrawn(base: Base) -> Base:
    if base.withdrawn:
        msg = "approval of the base image was withdrawn"
        raise BaseNotApproved(msg, name=base.name, digest=base.digest.short)
    return base
