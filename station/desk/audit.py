"""Is a station's journal, or an exported copy of it, complete, unchanged, and signed with its keys?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from security.directory.card import PartyCard
from security.errors import KeyNotTrusted, SignatureMissing
from security.files import read_file, told
from security.ids import PartyId
from security.keys.keyset import KeySet, check_fingerprint, confirms
from security.keys.store import read_folder
from security.statement.envelope import MAX_ENVELOPE, Verified, parse_envelope
from station.daemon.heads import signed_heads
from station.desk.export import EARLIER, HEADS, JOURNAL
from station.desk.opening import journal_of
from station.house.config import StationConfig
from station.house.spool import Spool
from station.journal.audit import Audit, SignedHead, audit, read_export, read_head


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditKeys:
    """Whose journal it should be, and which keys its heads must be signed with; `source` says where they come from.

    `earlier` are those from before a rotation. A head signed by any other key proves nothing.
    """

    party: PartyId
    key_set: KeySet
    source: str
    earlier: tuple[KeySet, ...] = ()
    compared: bool = True
    """Whether their origin is known: an export can contain any keys."""

    def confirmed(self, fingerprints: Sequence[str]) -> AuditKeys:
        """Return these keys with only those earlier ones whose fingerprints were read out to the auditor.

        Raises:
            KeyNotTrusted: no fingerprint is that of the newest keys, or one is that of none of these keys.
        """
        mine, *others = sorted(fingerprints, key=lambda text: not confirms(text, self.key_set.fingerprint))
        check_fingerprint(mine, self.key_set.fingerprint)
        for text in others:
            if not any(confirms(text, one.fingerprint) for one in (self.key_set, *self.earlier)):
                msg = "none of the keys has this fingerprint"
                raise KeyNotTrusted(msg, given=text[:80], hint="the station's own folder names its earlier keys")
        told = tuple(one for one in self.earlier if any(confirms(text, one.fingerprint) for text in others))
        return replace(self, earlier=told, compared=True)

    def heads(self, raws: Iterable[bytes]) -> tuple[list[Verified[SignedHead]], int]:
        """Verify signed heads; return them, and how many others were signed by none of these keys.

        Raises:
            SignatureRejected: one is not what its keys signed, or all of them were signed by others.
        """
        known: list[Verified[SignedHead]] = []
        others: list[SignatureMissing] = []
        for envelope in map(parse_envelope, raws):
            missing: SignatureMissing | None = None
            for key_set in (self.key_set, *self.earlier):
                try:
                    known.append(read_head(envelope, key_set, station=self.party))
                    break
                except SignatureMissing as error:
                    missing = error
            else:
                others += [missing] if missing else []
        if others and not known:
            raise others[0]
        return known, len(others)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """A journal that is in order, the keys it was held against, and how many heads were signed by other keys."""

    found: Audit
    keys: AuditKeys
    others: int


def keys_of_card(card: PartyCard) -> AuditKeys:
    """Return the keys that a station's card names."""
    return AuditKeys(party=card.party, key_set=card.key_set, source="card")


def keys_of_station(config: StationConfig) -> AuditKeys:
    """Return the keys that a station's own folder names."""
    earlier = _key_sets(config.party, config.earlier_keys)
    return AuditKeys(party=config.party, key_set=read_folder(config.keys).key_set, source="station", earlier=earlier)


def keys_in_export(exported: Path) -> AuditKeys:
    """Return the keys that an export contains; their fingerprints are yet to be compared."""
    public = read_folder(exported)
    earlier = _key_sets(public.party, sorted(exported.glob(EARLIER)))
    return AuditKeys(party=public.party, key_set=public.key_set, source="export", earlier=earlier, compared=False)


def audit_station(config: StationConfig, keys: AuditKeys) -> Audited:
    """Audit the journal of the station itself.

    Raises:
        JournalDamaged, JournalTruncated, SignatureRejected: it is not in order.
    """
    with journal_of(config) as journal:
        heads, others = keys.heads(raw for _, raw in signed_heads(journal, Spool(config.spool)))
        return Audited(found=audit(journal.records(), heads), keys=keys, others=others)


def audit_export(exported: Path, keys: AuditKeys) -> Audited:
    """Audit what `export_journal` wrote; see `audit_station`."""
    heads, others = keys.heads(read_file(path, limit=MAX_ENVELOPE) for path in sorted(exported.glob(HEADS)))
    path = exported / JOURNAL
    with told(path):
        source = path.open("rb")
    with source:
        return Audited(found=audit(read_export(source), heads), keys=keys, others=others)


def _key_sets(party: PartyId, folders: Iterable[Path]) -> tuple[KeySet, ...]:
    return tuple(one.key_set for one in map(read_folder, folders) if one.party == party)
