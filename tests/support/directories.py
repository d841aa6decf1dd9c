"""A consortium with its workspace, a place to publish at that an attacker may own, and participants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from security.digest import Digest
from security.directory.card import PartyCard, make_card, parse_card
from security.directory.client import DirectorySink, load_trust
from security.directory.publish import Published, publish
from security.directory.root import Lifetimes, init_workspace, open_online_key, open_root_key, open_targets_key
from security.directory.trust import Policy, TrustStore
from security.directory.workspace import Workspace, add_party
from security.errors import BudgetExceeded, NotPublished
from security.files import read_file
from security.ids import PartyId, Role
from security.keys.keyset import Scheme, Secrets, SoftwareSigner, generate
from security.keys.store import KeyFolder, create_folder

PASSPHRASE = b"correct horse battery"
QUICK = 8  # scrypt work for tests: these passphrases protect nothing


@dataclass
class Place:
    """A directory in memory. `before_write` may stop a publication; `served` may be changed by an attacker."""

    served: dict[str, bytes] = field(default_factory=dict)
    before_write: Callable[[str], None] = lambda _name: None

    def read(self, name: str, limit: int) -> bytes:
        if name not in self.served:
            msg = "no such file in the directory"
            raise NotPublished(msg, name=name)
        if len(self.served[name]) > limit:
            msg = "file of the directory is too long"
            raise BudgetExceeded(msg, name=name)
        return self.served[name]

    def write(self, name: str, data: bytes) -> None:
        self.before_write(name)
        self.served[name] = data


@dataclass
class House:
    """The consortium at home."""

    workspace: Workspace
    secrets: dict[str, Secrets] = field(default_factory=dict)
    passphrase: bytes = PASSPHRASE

    @property
    def root(self) -> bytes:
        return read_file(self.workspace.published / "1.root.json")

    def root_signers(self) -> list[SoftwareSigner]:
        return [open_root_key(path, self.passphrase) for path in sorted(self.workspace.root_keys.iterdir())]

    def targets_key(self) -> SoftwareSigner:
        return open_targets_key(self.workspace, self.passphrase)

    def online_key(self) -> SoftwareSigner:
        return open_online_key(self.workspace, self.passphrase)

    def publish(
        self,
        sink: DirectorySink,
        *,
        now: datetime | None = None,
        refresh: bool = False,
        lifetimes: Lifetimes | None = None,
    ) -> Published:
        return publish(
            self.workspace,
            sink,
            targets_key=None if refresh else self.targets_key(),
            online_key=self.online_key(),
            lifetimes=lifetimes or Lifetimes(),
            now=now or clock(),
        )

    def admit(self, party: str, role: Role = Role.STATION, schemes: Sequence[Scheme] = (Scheme.ED25519,)) -> Digest:
        secrets = generate(schemes)
        self.secrets[party] = secrets
        add_party(self.workspace, card_of(secrets, party, role), now=clock())
        return secrets.key_set.fingerprint


def clock() -> datetime:
    """Read the clock: `tuf.ngclient` judges expiry by it, so that directories in tests are made about now."""
    return datetime.now(UTC).replace(microsecond=0)


def house(
    folder: Path,
    *,
    keys: int = 3,
    threshold: int = 2,
    now: datetime | None = None,
    policy: Policy | None = None,
    passphrase: bytes = PASSPHRASE,
) -> House:
    workspace = init_workspace(
        folder,
        root_passphrases=[passphrase] * keys,
        threshold=threshold,
        targets_passphrase=passphrase,
        online_passphrase=passphrase,
        policy=policy or Policy(),
        lifetimes=Lifetimes(),
        now=now or clock(),
        log_n=QUICK,
    )
    return House(workspace, passphrase=passphrase)


def card_of(secrets: Secrets, party: str, role: Role = Role.STATION) -> PartyCard:
    return parse_card(
        make_card(secrets, party=PartyId(party), title=party.title(), roles={role}, now=clock()).to_bytes()
    )


def key_folder(
    folder: Path, secrets: Secrets, party: str, role: Role = Role.STATION, *, passphrase: bytes = PASSPHRASE
) -> KeyFolder:
    """Put keys by in a folder whose passphrase is quickly tried."""
    return create_folder(
        folder,
        secrets,
        party=PartyId(party),
        title=party.title(),
        roles=frozenset({role}),
        passphrase=passphrase,
        now=clock(),
        log_n=QUICK,
    )


def participant(cache: Path, place: Place, root: bytes) -> Callable[[], TrustStore]:
    """Return what a participant with its own cache does to read the directory."""
    return lambda: load_trust(place, cache, root, clock())
