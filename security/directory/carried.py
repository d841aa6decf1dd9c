"""How is a directory carried along, and verified offline, also when it has expired?

A proof that is kept for years needs the directory it was made with. Its files are those that a participant verified, under
the names they are published by; whoever reads them again starts from a pinned root of their own. All signatures, versions
and hashes are checked as `security.directory.client` does. What nobody can know offline is whether a newer version exists:
so no expiry is judged here, and whoever decides by it says which moment it was good for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from security.directory.client import (
    MAX_METADATA,
    MAX_ROOT,
    DirectorySource,
    S,
    check_root,
    explained,
    listed,
    store_of,
)
from security.directory.documents import MAX_DOCUMENT
from security.directory.trust import TrustStore
from security.errors import DirectoryRejected, NotPublished, PhtError
from security.files import locked, read_file


def carried(cache: Path, root: bytes, source: DirectorySource) -> Mapping[str, bytes]:
    """Return the files of the directory that was read last into `cache`, starting from the pinned `root`.

    Roots that are older than the pinned one are asked for at `source`, for readers who have pinned those; they are left out
    if it does not answer.
    """
    found: dict[str, bytes] = {}
    with locked(cache / "lock"):
        first = Metadata[Root].from_bytes(root).signed.version
        newest = Metadata[Root].from_bytes(read_file(cache / "root.json")).signed.version
        for version in range(1, newest + 1):
            name = f"{version}.root.json"
            if version == first:
                found[name] = root
            elif version > first:
                found[name] = read_file(cache / "root_history" / name)
            else:
                with contextlib.suppress(PhtError):
                    found[name] = source.read(name, MAX_ROOT)
        found["timestamp.json"] = read_file(cache / "timestamp.json")
        raw = read_file(cache / "snapshot.json")
        found[f"{Metadata[Snapshot].from_bytes(raw).signed.version}.snapshot.json"] = raw
        raw = read_file(cache / "targets.json")
        targets = Metadata[Targets].from_bytes(raw).signed
        found[f"{targets.version}.targets.json"] = raw
        for name, target in targets.targets.items():
            found[f"{target.hashes['sha256']}.{name}"] = read_file(cache / "targets" / name)
    return found


def read_carried(source: DirectorySource, root: bytes) -> TrustStore:
    """Verify and read a directory that was carried along. Its `expires` is until when it was good.

    Raises:
        NotPinned: `root` is no root metadata.
        NotPublished: there is no directory.
        DirectoryRejected: it does not come from whoever holds that root's keys, or is inconsistent.
    """
    with explained():
        newest = _newest_root(source, Metadata[Root].from_bytes(check_root(root)).signed)
        timestamp = _signed(newest, Timestamp, source.read("timestamp.json", MAX_METADATA))
        snapshot = _named(newest, Snapshot, timestamp.snapshot_meta, source)
        if "targets.json" not in snapshot.meta:
            msg = "the directory's snapshot names no list of documents"
            raise DirectoryRejected(msg)
        targets = _named(newest, Targets, snapshot.meta["targets.json"], source)
        documents: dict[str, bytes] = {}
        for name, target in listed(targets).items():
            documents[name] = _read(source, f"{target.hashes['sha256']}.{name}", MAX_DOCUMENT)
            target.verify_length_and_hashes(documents[name])
    return store_of(
        newest, targets, documents, expires=min(one.expires for one in (newest, timestamp, snapshot, targets))
    )


def _newest_root(source: DirectorySource, root: Root) -> Root:
    """Follow the chain of roots: each is signed as the one before it demands, and as it demands itself."""
    while True:
        try:
            raw = source.read(f"{root.version + 1}.root.json", MAX_ROOT)
        except NotPublished:
            return root
        following = Metadata[Root].from_bytes(check_root(raw))
        root.verify_delegate(Root.type, following.signed_bytes, following.signatures)
        if following.signed.version != root.version + 1:
            msg = "a root of the directory has another version than its name says"
            raise DirectoryRejected(msg, version=following.signed.version)
        root = following.signed


def _named(root: Root, kind: type[S], named: MetaFile, source: DirectorySource) -> S:
    raw = _read(source, f"{named.version}.{kind.type}.json", MAX_METADATA)
    named.verify_length_and_hashes(raw)
    found = _signed(root, kind, raw)
    if found.version != named.version:
        msg = "a file of the directory has another version than the one that names it says"
        raise DirectoryRejected(msg, role=kind.type, version=found.version)
    return found


def _signed(root: Root, kind: type[S], raw: bytes) -> S:
    found = Metadata[S].from_bytes(raw)
    if found.signed.type != kind.type:
        msg = "a file of the directory is of another kind than its name says"
        raise DirectoryRejected(msg, role=kind.type)
    root.verify_delegate(kind.type, found.signed_bytes, found.signatures)
    return found.signed


def _read(source: DirectorySource, name: str, limit: int) -> bytes:
    try:
        return source.read(name, limit)
    except NotPublished as error:
        msg = "a file that the directory names is missing"
        raise DirectoryRejected(msg, name=name) from error
