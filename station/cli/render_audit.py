"""How are an export of the journal, and what an audit found, shown to a person and to a program?"""

from __future__ import annotations

from pathlib import Path

from console.answer import Answer
from security.encoding import Json
from security.keys.keyset import spell
from station.desk.audit import Audited
from station.desk.export import Exported


def render_exported(into: Path, done: Exported) -> Answer:
    """Render an export of the journal, and how far it can be relied on."""
    lines = [
        f"{done.records} records and {done.heads} signed heads in {into}; 'pht station audit verify {into}' checks them",
        *_vouched(done.records, done.proven),
        f"read the fingerprint of the station's keys to the auditor: {spell(done.fingerprint)}",
    ]
    data: dict[str, Json] = {
        "folder": str(into),
        "records": done.records,
        "heads": done.heads,
        "proven": done.proven,
        "fingerprint": done.fingerprint,
    }
    return Answer(text="\n".join(lines), data=data)


def render_audited(done: Audited) -> Answer:
    """Render what an audit found."""
    found, keys = done.found, done.keys
    spelled = spell(keys.key_set.fingerprint)
    earlier = [spell(one.fingerprint) for one in keys.earlier]
    compare = "compare it with what the station or the consortium reads out: an export can contain any keys"
    lines = [
        f"in order: {found.head.sequence} records, {len(found.visits)} visits of {keys.party}",
        *_vouched(found.head.sequence, found.proven),
        *([f"heads signed by other keys, and ignored: {done.others}"] if done.others else []),
        f"keys of the {keys.source}, fingerprint {spelled}",
        *(f"earlier keys of the {keys.source}, fingerprint {one}" for one in earlier),
        *([] if keys.compared else [compare]),
    ]
    data: dict[str, Json] = {
        "station": keys.party,
        "records": found.head.sequence,
        "head": found.head.hash,
        "visits": len(found.visits),
        "proven": found.proven,
        "otherHeads": done.others,
        "keys": keys.source,
        "fingerprint": keys.key_set.fingerprint,
        "spelled": spelled,
        "earlier": list(earlier),
    }
    return Answer(text="\n".join(lines), data=data)


def _vouched(records: int, proven: int) -> list[str]:
    """Say how far a signed head vouches; the record of its own signing is always after it."""
    rest = records - proven
    if not proven:
        return ["no signed head vouches for any record: sign one with --passphrase-file"]
    beyond = f"; nothing proves that the {rest} after them are complete" if rest else ""
    return [f"signed heads vouch for records 1 to {proven}{beyond}"]
