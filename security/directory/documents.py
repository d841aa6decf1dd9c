"""What do the directory's documents look like?

They are small JSON files in a flat name space: ``party.<party>.json``, ``base.<name>.json`` and ``policy.json``. TUF
signs them as targets; the parsers here still accept only one form of each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from security.digest import Digest
from security.directory.trust import Base, DirectoryVersion, KeySetRecord, Party, Policy, TrustStore
from security.encoding import Fields, dump_pretty, parse_json, parse_time, print_time
from security.errors import DirectoryRejected, InvalidInput, MalformedStatement
from security.ids import PartyId
from security.keys.form import MAX_TITLE, parse_key_set, parse_line, parse_party_id, parse_roles

MAX_DOCUMENT: Final = 256 << 10
MAX_KEY_SETS: Final = 32
POLICY_FILE: Final = "policy.json"
_BASE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,48}[a-z0-9])?")  # so that <sha256>.base.<name>.json is an OCI tag


def party_file(party: PartyId) -> str:
    """Return the name of a party's document in the directory."""
    return f"party.{party}.json"


def base_file(name: str) -> str:
    """Return the name of a base image's document in the directory.

    Raises:
        InvalidInput: the name is not 1 to 50 of a-z, 0-9, '.', '_' and '-'.
    """
    if _BASE_NAME.fullmatch(name) is None:
        msg = (
            "not a name for a base image (1 to 50 of a-z, 0-9, '.', '_' and '-', the first and last a letter or digit)"
        )
        raise InvalidInput(msg, value=repr(name)[:80])
    return f"base.{name}.json"


def print_party(party: Party) -> bytes:
    """Print the document of a party."""
    return dump_pretty(
        {
            "type": "pht-party-v1",
            "party": party.party,
            "title": party.title,
            "roles": sorted(party.roles),
            "keySets": [
                {
                    "fingerprint": record.key_set.fingerprint,
                    "signing": [key.pem for key in record.key_set.signing],
                    "sealing": record.key_set.sealing,
                    "since": print_time(record.since),
                    "until": None if record.until is None else print_time(record.until),
                    "revoked": record.revoked,
                }
                for record in party.key_sets
            ],
        }
    )


def parse_party(raw: bytes) -> Party:
    """Parse the document of a party.

    Raises:
        MalformedJson, MalformedStatement: not one, or a fingerprint in it is not that of its keys.
    """
    fields = Fields(parse_json(raw, limit=MAX_DOCUMENT), "party")
    fields.constant("type", "pht-party-v1")
    name, title = parse_party_id(fields), parse_line(fields, "title", most=MAX_TITLE)
    roles = parse_roles(fields)
    records = tuple(_key_set_record(one) for one in fields.objects("keySets", least=1, most=MAX_KEY_SETS))
    fields.end()
    if len({record.key_set.fingerprint for record in records}) != len(records):
        msg = "party has a key set twice"
        raise MalformedStatement(msg, party=name)
    return Party(party=name, title=title, roles=roles, key_sets=records)


def print_base(base: Base) -> bytes:
    """Print the document of a base image."""
    document = {"name": base.name, "digest": base.digest, "note": base.note, "withdrawn": base.withdrawn}
    return dump_pretty({"type": "pht-base-v1", **document})


def parse_base(raw: bytes) -> Base:
    """Parse the document of a base image.

    Raises:
        MalformedJson, MalformedStatement: not one.
    """
    fields = Fields(parse_json(raw, limit=MAX_DOCUMENT), "base")
    fields.constant("type", "pht-base-v1")
    base = Base(
        name=fields.text("name", most=50),
        digest=Digest(fields.text("digest", most=71)),
        note=parse_line(fields, "note", most=500, least=0),
        withdrawn=fields.flag("withdrawn"),
    )
    fields.end()
    return base


def print_policy(policy: Policy) -> bytes:
    """Print the policy document."""
    document = {"maxTrainDays": policy.max_train_days, "postQuantum": policy.post_quantum}
    return dump_pretty({"type": "pht-policy-v1", **document})


def parse_policy(raw: bytes) -> Policy:
    """Parse the policy document.

    Raises:
        MalformedJson, MalformedStatement: not one.
    """
    fields = Fields(parse_json(raw, limit=MAX_DOCUMENT), "policy")
    fields.constant("type", "pht-policy-v1")
    policy = Policy(
        max_train_days=fields.number("maxTrainDays", least=1, most=3650), post_quantum=fields.flag("postQuantum")
    )
    fields.end()
    return policy


def parse_trust(documents: Mapping[str, bytes], *, version: DirectoryVersion, expires: datetime) -> TrustStore:
    """Make a trust store of the directory's verified documents, by file name.

    Raises:
        MalformedJson, MalformedStatement: a document is not what its name says.
        DirectoryRejected: a document is missing or unknown, or they contradict each other.
    """
    parties: dict[PartyId, Party] = {}
    bases: dict[Digest, Base] = {}
    policy: Policy | None = None
    for name, raw in sorted(documents.items()):
        if name == POLICY_FILE:
            policy = parse_policy(raw)
        elif name.startswith("party."):
            party = parse_party(raw)
            _demand_name(name, party_file(party.party))
            parties[party.party] = party
        elif name.startswith("base."):
            base = parse_base(raw)
            _demand_name(name, f"base.{base.name}.json")
            if bases.setdefault(base.digest, base) is not base:
                msg = "a base image is in the directory under two names"
                raise DirectoryRejected(msg, digest=base.digest.short)
        else:
            msg = "unknown document in the directory"
            raise DirectoryRejected(msg, name=name[:80], hint="a newer version of this software may know it")
    if policy is None:
        msg = "the directory has no policy document"
        raise DirectoryRejected(msg)
    return TrustStore(
        version=version,
        expires=expires,
        parties=MappingProxyType(parties),
        bases=MappingProxyType(bases),
        policy=policy,
    )


def _key_set_record(fields: Fields) -> KeySetRecord:
    key_set = parse_key_set(fields)
    if Digest(fields.text("fingerprint", most=71)) != key_set.fingerprint:
        msg = "fingerprint is not that of the keys"
        raise MalformedStatement(msg, field=f"{fields.where}.fingerprint")
    since = fields.time("since")
    ends = fields.take("until")
    until = None if ends is None else parse_time(str(ends), where=f"{fields.where}.until")
    revoked = fields.flag("revoked")
    fields.end()
    if until is not None and until < since:
        msg = "key set ends before it begins"
        raise MalformedStatement(msg, field=f"{fields.where}.until")
    return KeySetRecord(key_set=key_set, since=since, until=until, revoked=revoked)


def _demand_name(found: str, expected: str) -> None:
    if found != expected:
        msg = "document in the directory has another name than its content"
        raise DirectoryRejected(msg, name=found[:80], expected=expected[:80])
