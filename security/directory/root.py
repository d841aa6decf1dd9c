"""Who may change the directory, and how are those keys replaced?

The root of TUF (specification 1.0.34, sections 4.3 and 6.1): a threshold of keys that are kept offline names one key for
the list of documents (targets) and one online key for snapshot and timestamp.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from security.digest import Digest, digest_of
from security.directory.documents import POLICY_FILE, print_policy
from security.directory.trust import Policy
from security.directory.workspace import Workspace
from security.errors import DirectoryRejected, FileMissing, InvalidInput, KeyNotTrusted, KeyUnreadable
from security.files import locked, make_folder, making_folder, read_file, write_file
from security.keys.keyset import Scheme, SoftwareSigner
from security.keys.store import lock, parse_signers, unlock

MAX_ROOT_KEYS: Final = 16
_ONLINE: Final = (Snapshot.type, Timestamp.type)

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long each kind of metadata is valid once signed, and so how long an update can be withheld."""

    root: timedelta = timedelta(days=365)
    targets: timedelta = timedelta(days=90)
    snapshot: timedelta = timedelta(days=30)
    timestamp: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootChange:
    """What to change in the root. An empty change only renews its expiry."""

    replace_targets: bool = False
    replace_online: bool = False
    add_root_keys: int = 0
    drop_root_keys: tuple[str, ...] = ()
    threshold: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RootState:
    """The newest root: who must sign what, and the fingerprint of the *first* root, which participants pin.

    After a change of keys ``made`` are the files of the new ones, and ``retired`` the names of the files whose keys are no
    longer valid.
    """

    version: int
    expires: datetime
    threshold: int
    root_keys: tuple[str, ...]
    fingerprint: Digest
    made: tuple[Path, ...] = ()
    retired: tuple[str, ...] = ()


def init_workspace(
    folder: Path,
    *,
    root_passphrases: Sequence[bytes],
    threshold: int,
    targets_passphrase: bytes,
    online_passphrase: bytes,
    policy: Policy,
    lifetimes: Lifetimes,
    now: datetime,
    log_n: int = 18,
) -> Workspace:
    """Make a workspace with one root key for each of `root_passphrases`, and the first root.

    Raises:
        FileExists: `folder` exists already.
        InvalidInput: the threshold is not between 1 and the number of root keys, or a passphrase is too short.
    """
    check_threshold(threshold, len(root_passphrases))
    root = Root(version=1, expires=until(now, lifetimes.root), consistent_snapshot=True)
    with making_folder(folder) as new:
        for name in ("work", "published", "root-keys"):
            make_folder(new / name)
        signers = [_new_key(new / "root-keys", Root.type, passphrase, log_n=log_n) for passphrase in root_passphrases]
        for signer in signers:
            root.add_key(signer.for_tuf().public_key, Root.type)
        root.roles[Root.type].threshold = threshold
        root.add_key(_new_key(new, Targets.type, targets_passphrase, log_n=log_n).for_tuf().public_key, Targets.type)
        online = _new_key(new, "online", online_passphrase, log_n=log_n)
        for role in _ONLINE:
            root.add_key(online.for_tuf().public_key, role)
        write_file(new / "published" / "1.root.json", sign(root, signers), mode=0o644)
        write_file(new / "work" / POLICY_FILE, print_policy(policy), mode=0o644)
    return Workspace(folder)


def root_state(workspace: Workspace) -> RootState:
    """Return the newest root for display."""
    root = newest_root(workspace)
    role = root.roles[Root.type]
    return RootState(
        version=root.version,
        expires=root.expires,
        threshold=role.threshold,
        root_keys=tuple(role.keyids),
        fingerprint=digest_of(read_file(workspace.published / "1.root.json")),
    )


def open_targets_key(workspace: Workspace, passphrase: bytes) -> SoftwareSigner:
    """Open the key that the newest root names for targets.

    Raises:
        FileMissing: its file is not in the workspace.
        WrongPassphrase, KeyDamaged, NotAKeyFile, KeyUnreadable: it does not open.
    """
    return _open_role(workspace, Targets.type, "targets", passphrase)


def open_online_key(workspace: Workspace, passphrase: bytes) -> SoftwareSigner:
    """Open the key that the newest root names for snapshot and timestamp; see `open_targets_key`."""
    return _open_role(workspace, Timestamp.type, "online", passphrase)


def open_root_key(path: Path, passphrase: bytes) -> SoftwareSigner:
    """Open a root key, wherever its holder keeps it; see `open_targets_key`."""
    return _only_key(path, passphrase)


def rotate_keys(
    workspace: Workspace,
    root_signers: Sequence[SoftwareSigner],
    change: RootChange,
    *,
    passphrase: bytes | None,
    online_passphrase: bytes | None = None,
    lifetimes: Lifetimes,
    now: datetime,
    log_n: int = 18,
) -> RootState:
    """Make the next root, signed by the threshold of the present root's keys and of its own (specification 6.1).

    New keys are durable, locked with `passphrase`, the online key with its own if it has one, before the root that names them. It is published with the next `publish`.

    Raises:
        InvalidInput: the threshold cannot be met, or a key to drop is no root key.
        KeyNotTrusted: the given keys do not meet the threshold.
    """
    with locked(workspace.lock):
        old = newest_root(workspace)
        root = newest_root(workspace)
        root.version, root.expires = old.version + 1, until(now, lifetimes.root)
        signers, keys = list(root_signers), list[tuple[Path, str, SoftwareSigner]]()

        def made(folder: Path, role: str) -> SoftwareSigner:
            keys.append((folder, role, SoftwareSigner.generate(Scheme.ED25519)))
            return keys[-1][2]

        for key_id in change.drop_root_keys:
            root.revoke_key(_one_key_id(root, key_id), Root.type)
        for _ in range(change.add_root_keys):
            signers.append(made(workspace.root_keys, Root.type))
            root.add_key(signers[-1].for_tuf().public_key, Root.type)
        root.roles[Root.type].threshold = change.threshold or root.roles[Root.type].threshold
        check_threshold(root.roles[Root.type].threshold, len(root.roles[Root.type].keyids))
        if change.replace_targets:
            _replace_key(root, (Targets.type,), made(workspace.path, "targets"))
        if change.replace_online:
            _replace_key(root, _ONLINE, made(workspace.path, "online"))
        raw = sign(root, signers)
        new = Metadata[Root].from_bytes(raw)
        result = root.get_root_verification_result(old, new.signed_bytes, new.signatures)
        if not result.verified:
            msg = "too few of the root keys were given"
            short = max(result.first, result.second, key=lambda one: one.missing)
            more = "one more" if short.missing == 1 else f"{short.missing} more"
            hint = f"give {more} of the root keys {', '.join(key_id[:8] for key_id in short.unsigned)}: --root-key FILE"
            raise KeyNotTrusted(msg, missing=short.missing, threshold=short.threshold, hint=hint)
        phrases = {"online": passphrase if online_passphrase is None else online_passphrase}
        files = tuple(
            _keep_key(folder, role, signer, phrases.get(role, passphrase), log_n=log_n) for folder, role, signer in keys
        )
        write_file(workspace.published / f"{root.version}.root.json", raw, mode=0o644, replace=False)
    return replace(root_state(workspace), made=files, retired=_retired(old, root))


# --- Metadata files of the workspace -----------------------------------------------------------------------------------


def sign(signed: S, signers: Sequence[SoftwareSigner]) -> bytes:
    """Return the metadata as a file, signed with every one of the keys."""
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer.for_tuf(), append=True)
    return metadata.to_bytes()


def newest(workspace: Workspace, role: str) -> int:
    """Return the highest version of a role signed so far; 0 if none."""
    names = (re.fullmatch(rf"(\d+)\.{role}\.json", path.name) for path in workspace.published.iterdir())
    return max((int(name[1]) for name in names if name is not None), default=0)


def newest_root(workspace: Workspace) -> Root:
    """Return the root of the highest version; see `read_metadata`."""
    version = newest(workspace, Root.type)
    return read_metadata(workspace.published / f"{version}.root.json", Root)


def read_metadata(path: Path, kind: type[S]) -> S:
    """Read a metadata file of the workspace.

    Raises:
        FileMissing: it is not there.
        DirectoryRejected: it is broken, or of another kind.
    """
    return parse_metadata(read_file(path), kind, path=path).signed


def parse_metadata(raw: bytes, kind: type[S], **where: object) -> Metadata[S]:
    """Parse a metadata file with its signatures; `where` goes into the error, see `read_metadata`."""
    hint = "restore the workspace from your backup"
    try:
        metadata = Metadata[S].from_bytes(raw)
    except RepositoryError as error:
        msg = "the workspace holds a broken metadata file"
        raise DirectoryRejected(msg, role=kind.type, hint=hint, **where) from error
    if metadata.signed.type != kind.type:
        msg = "the workspace holds a metadata file under the wrong name"
        raise DirectoryRejected(msg, role=kind.type, hint=hint, **where)
    return metadata


# --- Keys --------------------------------------------------------------------------------------------------------------


def _new_key(folder: Path, role: str, passphrase: bytes, *, log_n: int) -> SoftwareSigner:
    signer = SoftwareSigner.generate(Scheme.ED25519)
    _keep_key(folder, role, signer, passphrase, log_n=log_n)
    return signer


def _keep_key(folder: Path, role: str, signer: SoftwareSigner, passphrase: bytes | None, *, log_n: int) -> Path:
    if passphrase is None:
        msg = "new keys need a passphrase"
        raise InvalidInput(msg)
    path = folder / _key_file(role, signer.for_tuf().public_key.keyid)
    write_file(path, lock(signer.to_pkcs8(), passphrase, log_n=log_n), replace=False)  # a key is never overwritten
    return path


def _retired(old: Root, new: Root) -> tuple[str, ...]:
    """Return the names of the files of keys that were valid in the old root and are not in the new one."""
    roles = ((Root.type, Root.type), (Targets.type, "targets"), (Timestamp.type, "online"))
    return tuple(
        _key_file(name, key_id)
        for role, name in roles
        for key_id in old.roles[role].keyids
        if key_id not in new.roles[role].keyids
    )


def _key_file(role: str, key_id: str) -> str:
    return f"{role}-{key_id[:8]}.age"


def _replace_key(root: Root, roles: Sequence[str], signer: SoftwareSigner) -> None:
    for role in roles:
        for key_id in list(root.roles[role].keyids):
            root.revoke_key(key_id, role)
        root.add_key(signer.for_tuf().public_key, role)


def _one_key_id(root: Root, start: str) -> str:
    found = [key_id for key_id in root.roles[Root.type].keyids if key_id.startswith(start)]
    if len(found) != 1 or len(start) < 8:  # noqa: PLR2004 - as many digits as a key file's name has
        msg = "not the first eight digits, or more, of exactly one root key"
        raise InvalidInput(msg, value=repr(start)[:80])
    return found[0]


def _open_role(workspace: Workspace, role: str, name: str, passphrase: bytes) -> SoftwareSigner:
    (key_id,) = newest_root(workspace).roles[role].keyids
    path = workspace.path / _key_file(name, key_id)
    if not path.exists():
        msg = "the key that the newest root names is not in the workspace"
        raise FileMissing(msg, path=path, role=role)
    return _only_key(path, passphrase)


def _only_key(path: Path, passphrase: bytes) -> SoftwareSigner:
    signers = parse_signers(unlock(path, passphrase), path)
    if len(signers) != 1:
        msg = "the file holds more than one key"
        raise KeyUnreadable(msg, path=path)
    return signers[0]


def check_threshold(threshold: int, keys: int) -> None:
    """Check that so many of the root keys can sign, before anything costly, or a question to a person.

    Raises:
        InvalidInput: the threshold is not between 1 and the number of root keys, or there are too many.
    """
    if not 1 <= threshold <= keys <= MAX_ROOT_KEYS:
        msg = "the threshold must be between 1 and the number of root keys, which is at most 16"
        raise InvalidInput(msg, threshold=threshold, keys=keys)


def until(now: datetime, lifetime: timedelta) -> datetime:
    """Return when what is signed now expires: UTC in whole seconds, as TUF writes it (specification 4.2.1)."""
    return now.astimezone(UTC).replace(microsecond=0) + lifetime
