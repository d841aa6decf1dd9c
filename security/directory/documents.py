"""What do the directory's documents look like?

They are small JSON files in a flat name space: ``party.<party>.json``, ``base.<name>.json`` and ``policy.json``. TUF
signs them as targets; the parsers here still accept only one form of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from security.digest import Digest
from security.directory.trust import BASE_NAME, Base, DirectoryVersion, Party, Policy, TrustStore
from security.errors import DirectoryRejected, InvalidInput
from security.forms.document import Document
from security.forms.record import Record
from security.ids import PartyId

MAX_DOCUMENT: Final = 256 << 10
POLICY_FILE: Final = "policy.json"


def party_file(party: PartyId) -> str:
    """Return the name of a party's document in the directory."""
    return f"party.{party}.json"


def base_file(name: str) -> str:
    """Return the name of a base image's document in the directory.

    Raises:
        InvalidInput: the name is not 1 to 50 of a-z, 0-9, '.', '_' and '-'.
    """
    if not BASE_NAME.accepts(name):
        msg = (
            "not a name for a base image (1 to 50 of a-z, 0-9, '.', '_' and '-', the first and last a letter or digit)"
        )
        raise InvalidInput(msg, value=repr(name)[:80])
    return f"base.{name}.json"


PARTY: Final = Document(
    record=Record(Party, type="pht-party-v1"),
    name="directory-party",
    title="A party in the directory: party.<party>.json",
    where="party",
    limit=MAX_DOCUMENT,
)
BASE: Final = Document(
    record=Record(Base, type="pht-base-v1"),
    name="directory-base",
    title="A base image in the directory: base.<name>.json",
    where="base",
    limit=MAX_DOCUMENT,
)
POLICY: Final = Document(
    record=Record(Policy, type="pht-policy-v1"),
    name="directory-policy",
    title="The consortium's policy: policy.json",
    where="policy",
    limit=MAX_DOCUMENT,
)

parse_party, print_party = PARTY.parse, PARTY.pretty
parse_base, print_base = BASE.parse, BASE.pretty
parse_policy, print_policy = POLICY.parse, POLICY.pretty


def parse_trust(documents: Mapping[str, bytes], *, version: DirectoryVersion, expires: datetime) -> TrustStore:
    """Make a trust store from the directory's verified documents, by file name.

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
                msg = "a base image has two names in the directory"
                raise DirectoryRejected(msg, digest=base.digest.short)
        else:
            msg = "unknown document in the directory"
            raise DirectoryRejected(msg, name=name[:80], hint="a newer version of this software may support it")
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


def _demand_name(found: str, expected: str) -> None:
    if found != expected:
        msg = "a document's name in the directory does not match its content"
        raise DirectoryRejected(msg, name=found[:80], expected=expected[:80])
