"""What does a station work with?

Everything a step needs, as one frozen bundle of ports: a step gets nothing from anywhere else, so a test, a rehearsal
and a hospital differ in this value only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from registry.depot import Depot
from security.digest import Digest
from security.directory.trust import Base, TrustStore
from security.ids import PartyId
from security.keys.keyset import Secrets
from station.admission.policy import Rule
from station.data.port import DataSet
from station.errors import KeysElsewhere
from station.gate.port import GateRule
from station.house.expected import Expected
from station.house.mailbox import MailboxMemory
from station.house.passes import PassKeys
from station.house.proofs import Proofs
from station.house.spool import Spool
from station.house.usage import Copies
from station.house.workroom import Workrooms
from station.journal.journal import Journal
from station.sandbox.image import BaseImage
from station.sandbox.port import Sandbox

TrustLoader: TypeAlias = Callable[[datetime], TrustStore]
"""Gives the consortium's directory as it is now.

Raises `DirectoryRejected` or one of its leaves if what is published cannot be believed, `DirectoryUnavailable` or
`RegistryUnavailable` if it cannot be reached.
"""

BaseLoader: TypeAlias = Callable[[Base], BaseImage]
"""Gives an approved base image, verified down to its layers' digests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """One station. `name` tells its containers from those of other stations on the same engine.

    `secrets` are its keys, `earlier` those it had before: a train under way names the ones it was made for.

    With `by_analysis`, the policy is told the digest of the analysis, for which the code is opened; with `withhold`, an owner whose train does not pass
    is told that only.
    """

    party: PartyId
    name: str
    secrets: Secrets = field(repr=False)
    depot: Depot
    journal: Journal
    spool: Spool
    workrooms: Workrooms
    passes: PassKeys
    sandbox: Sandbox
    trust: TrustLoader
    base_image: BaseLoader
    data: Mapping[str, DataSet]
    policy: Rule
    gate: GateRule
    by_analysis: bool = False
    withhold: bool = False
    earlier: tuple[Secrets, ...] = field(default=(), repr=False)
    settings: Digest | None = None
    """The digest of the station.yaml this house was opened with."""
    spoiled: set[str] = field(default_factory=set, repr=False, compare=False)
    """The names of runs whose workroom was on a read-only disk: see `station.sandbox.watch`."""
    mailbox: MailboxMemory = field(default_factory=MailboxMemory, repr=False, compare=False)
    expected: Expected = field(default_factory=Expected, repr=False, compare=False)
    copies: Copies = field(default_factory=Copies, repr=False, compare=False)
    proofs: Proofs = field(default_factory=Proofs, repr=False, compare=False)

    def keys(self, fingerprint: Digest) -> Secrets:
        """Return the key set of ours that a train names.

        Raises:
            KeysElsewhere: it is in none of our key folders.
        """
        for one in self.keyring:
            if one.key_set.fingerprint == fingerprint:
                return one
        msg = "the train was made for a key set of this station that is not here"
        raise KeysElsewhere(
            msg, wanted=fingerprint.short, here=", ".join(k.key_set.fingerprint.short for k in self.keyring)
        )

    @property
    def keyring(self) -> tuple[Secrets, ...]:
        """All key sets of ours that are here, the present one first."""
        return (self.secrets, *self.earlier)
