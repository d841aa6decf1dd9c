"""How is a new station made?

Folders, keys, a party card, the pinned root, and a configuration that explains itself. What is there already is never
overwritten: a second run continues where the first one stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from registry.places import Login, source_at
from security.digest import Digest
from security.directory.card import make_card
from security.directory.client import pin_root, read_root
from security.errors import InvalidInput
from security.files import make_folder, write_file
from security.ids import PartyId, Role
from security.keys.keyset import Scheme, generate
from security.keys.store import create_folder, open_folder
from station.house.config import CEILING, FILE, StationConfig, load_config, parse_config
from station.house.places import ENGINE

ROOT_FILE = "root.json"
KEYS = "keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStation:
    """What a person decides about a new station. `admit` are the owners whose trains it may run, `by_hand` if asked first."""

    folder: Path
    party: PartyId
    title: str
    registry: str
    login: Login
    directory: str | None
    data: Mapping[str, Path]
    admit: Sequence[PartyId]
    engine: str | None
    passphrase_file: Path | None
    by_hand: bool
    release: Sequence[str] = ()
    """The media types that leave without a person, besides small typed JSON."""

    @property
    def asks(self) -> bool:
        """Whether a person approves every train, and releases every result."""
        return self.by_hand or not self.admit


@dataclass(frozen=True, slots=True, kw_only=True)
class StationMade:
    """What a new station has: its configuration, its card, and the fingerprint to read out over the phone."""

    config: StationConfig
    card: Path
    fingerprint: Digest


def make_station(
    new: NewStation, *, passphrase: bytes, root: bytes | None, schemes: Sequence[Scheme], now: datetime
) -> StationMade:
    """Make a station in a folder that is empty, or where an earlier attempt stopped.

    Raises:
        FileExists: the folder holds a station already.
        ConfigInvalid, InvalidInput: what was decided is not possible; nothing was made.
    """
    file = new.folder / FILE
    text = print_config(new).encode()
    config = parse_config(text, file=file)  # so that nothing is made of what could not be read again
    for name, folder in new.data.items():
        if not folder.is_dir():
            if folder.exists():
                msg = "a data set is a folder, and this is a file"
                raise InvalidInput(
                    msg, data=name, file=folder, hint=f"name the folder it is in: --data {name}={folder.parent}"
                )
            msg = "the folder of a data set does not exist"
            raise InvalidInput(msg, data=name, folder=folder, hint="make or mount it, or name another one")
    for path in (new.folder, config.folder, config.workrooms):
        make_folder(path)
    if config.keys.exists():
        secrets = open_folder(config.keys, passphrase)
    else:
        secrets = generate(schemes)  # not opened again, which takes as long as making them
        create_folder(
            config.keys,
            secrets,
            party=new.party,
            title=new.title,
            roles=frozenset({Role.STATION}),
            passphrase=passphrase,
            now=now,
        )
    card = new.folder / f"{new.party}.card.json"
    if not card.exists():
        roles = frozenset({Role.STATION})
        envelope = make_card(secrets, party=new.party, title=new.title, roles=roles, now=now)
        write_file(card, envelope.to_bytes() + b"\n", mode=0o644, replace=False)
    if root is not None and not config.directory.root_file.exists():
        write_file(config.directory.root_file, root, mode=0o644, replace=False)
    write_file(file, text, replace=False)  # last: a folder with this file is a station
    return StationMade(config=load_config(file), card=card, fingerprint=secrets.key_set.fingerprint)


def pinned_root(file: Path | None, fingerprint: str | None, place: str, login: Login) -> bytes | None:
    """Return the directory's root: from `file`, or as published at `place` if it has this fingerprint; None without both.

    Raises:
        InvalidInput: both are given.
        NotPinned: it is no root, or not the one with this fingerprint.
    """
    if file is not None and fingerprint is not None:
        msg = "give the root as a file or by its fingerprint, not both"
        raise InvalidInput(msg)
    if file is not None:
        return read_root(file)
    return pin_root(source_at(place, login), fingerprint) if fingerprint is not None else None


def print_config(new: NewStation) -> str:
    """Print a configuration with everything that can be set, and why."""
    login = "".join(f"  {line}\n" for line in _login(new.login))
    data = "".join(
        f'  {name}:\n    folder: {_quoted(str(path.absolute()))}\n    description: ""\n'
        for name, path in new.data.items()
    )
    owners = "".join(f"\n    - {_quoted(owner)}" for owner in new.admit) or " []"
    passphrase = (
        f"passphrase_file: {_quoted(str(new.passphrase_file.absolute()))}"
        if new.passphrase_file
        else "# passphrase_file: passphrase       # a private file (mode 600); without it, --passphrase-file or a prompt"
    )
    directory = f"location: {_quoted(new.directory)}" if new.directory else "# location: the registry itself"
    engine = f"engine: {_quoted(new.engine or ENGINE)}"
    return f"""\
# A station of the Personal Health Train. 'pht station check' reads this file and says what is missing.
# The daemon reads it when it starts: restart it after a change.
# Relative paths are relative to this file. Secrets are never in here, only the paths of private files.

party: {_quoted(new.party)}

# Everything the daemon keeps: its journal (state and audit trail in one; back it up) and its spool.
folder: state
# Where plaintext lies while a train is here. A tmpfs or an encrypted disk is best.
# workrooms: /run/pht/workrooms

keys:
  folder: {KEYS}
  # earlier: [keys-2025]               # keys before a rotation: for trains made for them
  {passphrase}

registry:
  location: {_quoted(new.registry)}
{login}\
  # username: {new.party}              # with password_file, if the registry wants an account
  # password_file: registry-password
  # ca_file: ca.pem                    # if its certificate is not from a public authority
  # insecure: false                    # true: plain http to another machine; all can read along, and the password
  # token_hosts: ["https://auth.example"]
  # blob_hosts: ["https://storage.example"]

# The consortium's directory: who is who, which keys count, which base images are approved.
directory:
  root_file: {ROOT_FILE}
  {directory}
  # refresh_seconds: 300               # revocations are noticed after this time at the latest

sandbox:
  # kind: docker                       # what runs trains
  {engine}
  # runtime: runc                      # or runsc (gVisor), where the engine has it

# Data sets by the names trains ask for. A run sees the folder read-only, and nothing else of this machine.
data:{" {}" if not data else ""}
{data}\
#  patients:
#    source: folder                    # where it lives; a folder unless set
#    folder: /srv/patients
#    description: what is in it
#    owners: [alice]                   # if not every admitted owner may use it

admission:
  # by-hand          a person decides on every train: pht station show, approve, refuse
  # known-analysis   a person approves an analysis once, by its digest; the rest is automatic
  # automatic        every train that the rules below admit
  approve: {"by-hand" if new.asks else "automatic"}
  # by-hand      a person releases every result: pht station show --results, approve, refuse
  # small-json   small JSON under a schema without free text goes on; anything else waits for a person.
  #              The gate sees form, not meaning: a table of patients is as well-formed as one of means.
  release: {"by-hand" if new.asks else "small-json"}
  {_released(new)}
  # answer: class                      # withheld: an owner whose train does not pass learns only that, not whether it
  #                                    # was refused, failed or exceeded a limit, which may depend on the data
  # Only trains of these owners. An empty list admits no one.
  owners:{owners}
  # bases: [python]                    # only these base images, of those the consortium approves
  # approvals: ["ethics-2026-*"]       # only trains that refer to such an approval
  # legal_bases: ["GDPR Art. 9(2)(j)"]
  # known_analyses: ["sha256:..."]      # pht station show TRAIN tells the digest
  # least_stations: 3                  # over how many stations a sum is taken at least
  limits:                              # the most one run gets
    memory_bytes: {CEILING.memory_bytes}
    cpu_millis: {CEILING.cpu_millis}                   # 1000 is one processor
    wall_seconds: {CEILING.wall_seconds}
    processes: {CEILING.processes}
    output_bytes: {CEILING.output_bytes}

# capacity:                            # what all runs together take up; from this machine unless set
#   runs: 2                            # at once
#   memory_bytes: 17179869184
#   cpu_millis: 2000
#   disk_bytes: 107374182400           # of all workrooms
#   per_owner:                         # the most of one owner; all of it unless set, as long as nobody else waits
#     runs: 1
#     memory_bytes: 8589934592
#     cpu_millis: 1000
#     disk_bytes: 53687091200

# retention:                           # of what trains that have left leave here; the journal is kept for good
#   document_days: 3650                # what was signed
#   evidence_days: 365                 # sealed blobs of trains that did not pass ...
#   evidence_bytes: 10737418240        # the most bytes of everything that is kept of those
#   printed_days: 90                   # what failed runs printed, sealed for this station

daemon:
  poll_seconds: 2                      # how often the mailbox is checked
"""


def _released(new: NewStation) -> str:
    if new.release and not new.asks:
        return f"release_types: [{', '.join(map(_quoted, new.release))}]"
    return "# release_types: [text/csv]        # what goes on as well, whatever is in it"


def _login(login: Login) -> list[str]:
    lines = []
    if login.username is not None and login.password_file is not None:
        lines += [f"username: {_quoted(login.username)}"]
        lines += [f"password_file: {_quoted(str(login.password_file.absolute()))}"]
    if login.ca_file is not None:
        lines.append(f"ca_file: {_quoted(str(login.ca_file.absolute()))}")
    if login.token_hosts:
        lines.append(f"token_hosts: [{', '.join(map(_quoted, login.token_hosts))}]")
    if login.insecure:
        lines.append("insecure: true")
    return lines


def _quoted(text: str) -> str:
    """Write text as a YAML string that means exactly it (YAML 1.2, 7.3.2, single-quoted style).

    Raises:
        InvalidInput: it holds a line break or another control character.
    """
    if not text.isprintable():
        msg = "not a line of plain text"
        raise InvalidInput(msg, value=repr(text)[:80])
    return "'" + text.replace("'", "''") + "'"
