"""How does the consortium publish a new version of its directory?

The consortium's side of TUF (specification 1.0.34, section 6), on `tuf.api`; whose keys sign is `security.directory.root`.

Every operation first makes its result durable in the workspace and then uploads it, in an order in which no file
appears before those it names: documents, targets, snapshot, roots, timestamp. Between the last two a participant may see
new keys with an old timestamp; it refuses, keeps what it has, and asks again. An interrupted publication is simply
repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from security.digest import digest_of
from security.directory.client import DirectorySink, FolderDirectory
from security.directory.root import Lifetimes, S, newest, newest_root, parse_metadata, read_metadata, sign, until
from security.directory.workspace import Workspace
from security.errors import InvalidInput, KeyUnreadable
from security.files import locked, read_file
from security.keys.keyset import SoftwareSigner


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was published: versions by role, and when each expires."""

    versions: Mapping[str, int]
    expires: Mapping[str, datetime]
    documents: int
    files: int


def publish(
    workspace: Workspace,
    sink: DirectorySink,
    *,
    targets_key: SoftwareSigner | None,
    online_key: SoftwareSigner,
    lifetimes: Lifetimes,
    now: datetime,
) -> Published:
    """Sign and publish a new version; without `targets_key` only snapshot and timestamp are renewed.

    Raises:
        Malformed, DirectoryRejected: a staged document is wrong; nothing was signed.
        KeyUnreadable: a key is not the one the root names.
        InvalidInput: nothing has been published whose timestamp could be renewed.
    """
    with locked(workspace.lock):
        root = newest_root(workspace)
        if targets_key is not None:
            _sign_targets(workspace, root, targets_key, until(now, lifetimes.targets))
        targets_version = newest(workspace, Targets.type)
        if targets_version == 0:
            msg = "nothing has been published yet"
            raise InvalidInput(msg, hint="publish without --refresh first")
        targets_raw = read_file(workspace.published / f"{targets_version}.targets.json")
        targets = _checked(root, Targets, targets_raw)
        snapshot = Snapshot(
            version=newest(workspace, Snapshot.type) + 1,
            expires=until(now, lifetimes.snapshot),
            meta={"targets.json": MetaFile.from_data(targets_version, targets_raw, ["sha256"])},
        )
        snapshot_raw = sign(snapshot, [online_key])
        _checked(root, Snapshot, snapshot_raw)
        timestamp = Timestamp(
            version=_timestamp_version(workspace) + 1,
            expires=until(now, lifetimes.timestamp),
            snapshot_meta=MetaFile.from_data(snapshot.version, snapshot_raw, ["sha256"]),
        )
        timestamp_raw = sign(timestamp, [online_key])
        _checked(root, Timestamp, timestamp_raw)
        here = FolderDirectory(workspace.published)
        here.write(f"{snapshot.version}.snapshot.json", snapshot_raw)
        here.write("timestamp.json", timestamp_raw)
        names = _names(root, targets, snapshot)
        for name in names:
            sink.write(name, read_file(workspace.published / name))
    signed = (root, targets, snapshot, timestamp)
    return Published(
        versions={one.type: one.version for one in signed},
        expires={one.type: one.expires for one in signed},
        documents=len(targets.targets),
        files=len(names),
    )


def unpublished(workspace: Workspace) -> Mapping[str, str]:
    """Say which staged documents differ from the newest signed list: added, changed or removed."""
    version = newest(workspace, Targets.type)
    signed: dict[str, TargetFile] = {}
    if version:
        signed = read_metadata(workspace.published / f"{version}.targets.json", Targets).targets
    staged = workspace.documents()
    found = dict.fromkeys(sorted(signed.keys() - staged.keys()), "removed")
    for name, data in staged.items():
        if name not in signed:
            found[name] = "added"
        elif signed[name].hashes["sha256"] != digest_of(data).hex:
            found[name] = "changed"
    return found


def _names(root: Root, targets: Targets, snapshot: Snapshot) -> tuple[str, ...]:
    """List the files of a version in the order in which they are published."""
    documents = [f"{target.hashes['sha256']}.{name}" for name, target in sorted(targets.targets.items())]
    lists = [f"{targets.version}.targets.json", f"{snapshot.version}.snapshot.json"]
    roots = [f"{version}.root.json" for version in range(1, root.version + 1)]
    return (*documents, *lists, *roots, "timestamp.json")


def _sign_targets(workspace: Workspace, root: Root, key: SoftwareSigner, expires: datetime) -> None:
    workspace.staged()
    documents = workspace.documents()
    targets = Targets(
        version=newest(workspace, Targets.type) + 1,
        expires=expires,
        targets={name: TargetFile.from_data(name, data, ["sha256"]) for name, data in documents.items()},
    )
    raw = sign(targets, [key])
    _checked(root, Targets, raw)
    here = FolderDirectory(workspace.published)
    for data, target in zip(documents.values(), targets.targets.values(), strict=True):
        here.write(f"{target.hashes['sha256']}.{target.path}", data)
    here.write(f"{targets.version}.targets.json", raw)


def _checked(root: Root, kind: type[S], raw: bytes) -> S:
    """Check, as a participant will, that the root's keys signed this."""
    metadata = parse_metadata(raw, kind)
    try:
        root.verify_delegate(kind.type, metadata.signed_bytes, metadata.signatures)
    except RepositoryError as error:
        msg = "the metadata is not signed with the key that the newest root names"
        raise KeyUnreadable(msg, role=kind.type, hint="after a change of keys, publish without --refresh") from error
    return metadata.signed


def _timestamp_version(workspace: Workspace) -> int:
    path = workspace.published / "timestamp.json"
    return read_metadata(path, Timestamp).version if path.exists() else 0
