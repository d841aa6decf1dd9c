"""How does whoever audits a station get its journal, and know that it is all of it?"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from console.answer import Answer
from console.prompts import card_at, clock, confirmed, passphrase_option
from security.digest import Digest
from security.encoding import Json
from security.errors import KeyNotTrusted, SignatureMissing
from security.files import expect_new, make_folder, making_folder, read_file, told, write_file, writing
from security.ids import PartyId
from security.keys.keyset import KeySet, confirms, spell
from security.keys.store import PUBLIC, read_folder
from security.statement.envelope import MAX_ENVELOPE, Verified, parse_envelope
from station.cli.folder import PATH, by_option, config_at, existing_journal, person, secrets_of, station_option
from station.daemon.heads import sign_end, signed_heads
from station.house.config import FILE, StationConfig
from station.house.spool import Spool
from station.journal.audit import SignedHead, export, read_export, read_head
from station.journal.audit import audit as audit_records

_JOURNAL: Final = "journal.jsonl"
_MOST_PUBLIC: Final = 64 << 10


@click.group()
def audit() -> None:
    """Export the journal for whoever audits this station, and verify it, here or there."""


@audit.command("export")
@click.argument("into", type=PATH)
@station_option
@by_option
@passphrase_option
def audit_export(into: Path, folder: Path, by: str | None, passphrase_file: Path | None) -> Answer:
    """Write the journal as JSON lines, the heads signed so far, and the public keys, into the new folder INTO.

    With --passphrase-file, its end is signed first: the heads then vouch for all of it but the record of this signing.
    """
    config = config_at(folder)
    expect_new(into)
    spool = Spool(config.spool)
    with existing_journal(config) as journal:
        journal.check()
        if passphrase_file is not None:
            secrets, purpose = secrets_of(config, passphrase_file), f"sign the journal's head for {person(by)}"
            sign_end(journal, spool, secrets, station=config.party, now=clock.now(), purpose=purpose)
        with making_folder(into) as new:
            heads = signed_heads(journal, spool)
            for sequence, raw in heads:
                write_file(new / f"head-{sequence}.json", raw, replace=False)
            for name, keys in {".": config.keys, **_earlier(config)}.items():
                public = read_file(keys / PUBLIC, limit=_MOST_PUBLIC)
                write_file(make_folder(new / name) / PUBLIC, public, mode=0o644, replace=False)
            with writing(new / _JOURNAL, replace=False) as out:
                export(journal.records(), out)
            records = journal.head().sequence
    proven = max((sequence for sequence, _ in heads), default=0)
    fingerprint = read_folder(config.keys).key_set.fingerprint
    lines = [
        f"{records} records and {len(heads)} signed heads in {into}; 'pht station audit verify {into}' checks them",
        *_vouched(records, proven),
        f"read the fingerprint of the station's keys to whoever audits: {spell(fingerprint)}",
    ]
    data: dict[str, Json] = {
        "folder": str(into),
        "records": records,
        "heads": len(heads),
        "proven": proven,
        "fingerprint": fingerprint,
    }
    return Answer(text="\n".join(lines), data=data)


def _earlier(config: StationConfig) -> dict[str, Path]:
    """Name the folders of earlier keys in an export."""
    return {f"earlier-{number}": folder for number, folder in enumerate(config.earlier_keys, start=1)}


def _vouched(records: int, proven: int) -> list[str]:
    """Say how far a signed head vouches; the record of its own signing is always after it."""
    rest = records - proven
    if not proven:
        return ["no signed head vouches for any record: sign one with --passphrase-file"]
    return [
        f"signed heads vouch for records 1 to {proven}; nothing proves that the {rest} after them are all there are"
    ]


# --- Verifying, here or elsewhere ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """Whose journal it should be, and which keys its heads must be signed with; `source` says who told.

    `earlier` are those of before a rotation. A head by yet other keys proves nothing, whoever put it there.
    """

    party: PartyId
    key_set: KeySet
    source: str
    earlier: tuple[KeySet, ...] = ()

    def confirmed(self, fingerprints: Sequence[str]) -> _Keys:
        """Return these keys with only those earlier ones whose fingerprints somebody was told: an export can bring any.

        Raises:
            KeyNotTrusted: none of them is the newest keys', or one of them is nobody's.
        """
        mine, *others = sorted(fingerprints, key=lambda text: not confirms(text, self.key_set.fingerprint))
        confirmed(self.key_set.fingerprint, mine, who="the station")
        for text in others:
            if not any(confirms(text, one.fingerprint) for one in (self.key_set, *self.earlier)):
                msg = "no keys have the fingerprint that was read out"
                raise KeyNotTrusted(msg, given=text[:80], hint="the station's own folder names its earlier keys")
        told = tuple(one for one in self.earlier if any(confirms(text, one.fingerprint) for text in others))
        return replace(self, earlier=told)

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


@audit.command("verify")
@click.argument("exported", type=PATH, required=False)
@station_option
@click.option("--card", type=PATH, help="The station's party card: whose journal it should be.")
@click.option(
    "--fingerprint",
    "fingerprints",
    metavar="HEX",
    multiple=True,
    help="Of the station's keys, as it or the consortium read it out to you; once more for each of its earlier keys.",
)
@click.pass_context
def audit_verify(
    context: click.Context, exported: Path | None, folder: Path, card: Path | None, fingerprints: tuple[str, ...]
) -> Answer:
    """Verify this station's journal, or the copy in EXPORTED, against itself and the heads that were signed.

    Away from the station, the keys are those of --card, or those in the export: anybody could have put others there, so
    compare their fingerprints with what the station or the consortium reads out, or give that with --fingerprint. Then
    keys with another fingerprint count for nothing.
    """
    given = context.get_parameter_source("folder") is not click.core.ParameterSource.DEFAULT
    at_home = given or exported is None or (folder / FILE).exists()
    keys = _keys(exported, folder if at_home else None, card)
    if fingerprints:
        keys = keys.confirmed(fingerprints)
    with contextlib.ExitStack() as stack:
        records, raws = stack.enter_context(_live(folder) if exported is None else _copy(exported))
        heads, others = keys.heads(raws)
        checked = audit_records(records, heads)
    spelled, sure = spell(keys.key_set.fingerprint), bool(fingerprints) or keys.source != "export"
    earlier = [spell(one.fingerprint) for one in keys.earlier]
    lines = [
        f"in order: {checked.head.sequence} records, {len(checked.visits)} visits of {keys.party}",
        *_vouched(checked.head.sequence, checked.proven),
        *([f"heads signed by keys that are not known here, and left aside: {others}"] if others else []),
        f"keys of the {keys.source}, fingerprint {spelled}",
        *(f"earlier keys of the {keys.source}, fingerprint {one}" for one in earlier),
        *(
            []
            if sure
            else ["compare that with what the station or the consortium reads out: an export can bring any keys"]
        ),
    ]
    data: dict[str, Any] = {
        "station": keys.party,
        "records": checked.head.sequence,
        "head": checked.head.hash,
        "visits": len(checked.visits),
        "proven": checked.proven,
        "otherHeads": others,
        "keys": keys.source,
        "fingerprint": keys.key_set.fingerprint,
        "spelled": spelled,
        "earlier": earlier,
    }
    return Answer(text="\n".join(lines), data=data)


def _keys(exported: Path | None, station: Path | None, card: Path | None) -> _Keys:
    if card is not None:
        found = card_at(card)
        return _Keys(party=found.party, key_set=found.key_set, source="card")
    if station is not None:
        config = config_at(station)
        earlier = _key_sets(config.party, config.earlier_keys)
        return _Keys(party=config.party, key_set=read_folder(config.keys).key_set, source="station", earlier=earlier)
    folder = exported or Path()
    public = read_folder(folder)
    earlier = _key_sets(public.party, sorted(folder.glob("earlier-*")))
    return _Keys(party=public.party, key_set=public.key_set, source="export", earlier=earlier)


def _key_sets(party: PartyId, folders: Iterable[Path]) -> tuple[KeySet, ...]:
    return tuple(one.key_set for one in map(read_folder, folders) if one.party == party)


@contextlib.contextmanager
def _live(folder: Path) -> Iterator[tuple[Iterator[tuple[bytes, Digest]], list[bytes]]]:
    config = config_at(folder)
    with existing_journal(config) as journal:
        yield journal.records(), [raw for _, raw in signed_heads(journal, Spool(config.spool))]


@contextlib.contextmanager
def _copy(exported: Path) -> Iterator[tuple[Iterator[tuple[bytes, Digest]], list[bytes]]]:
    raws = [read_file(path, limit=MAX_ENVELOPE) for path in sorted(exported.glob("head-*.json"))]
    path = exported / _JOURNAL
    with contextlib.ExitStack() as stack:
        with told(path):
            records = read_export(stack.enter_context(path.open("rb")))
        yield records, raws
