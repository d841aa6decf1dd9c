"""Is an exported journey proven, by its files and a pinned root alone?

Everything in the export is a claim of whoever made it, its summary and script included; only the envelopes, the sealed
files and the directory are read, and the same code decides that decides at home. The directory in the export may be old:
what was revoked after it cannot be seen in it, so that the answer names the moment it was good for, or a directory that is
published now is given in its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from security.digest import Digest, digest_stream
from security.directory.carried import read_carried
from security.directory.client import FolderDirectory
from security.directory.trust import TrustStore
from security.errors import FileMissing, JourneyTooLong
from security.files import read_file
from security.statement.envelope import MAX_ENVELOPE, Envelope, parse_envelope
from security.train.journey import StateRef, TrainParts
from security.train.manifest import CodeRef, read_manifest
from security.train.verify import verify_home
from train_builder.proof.export import CODE, DIRECTORY, ENTRY, ENVELOPE, MANIFEST, STATE
from train_builder.proof.proof import Proof, prove


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedExport:
    """A journey that is proven, as of a moment: that of the check, or the last one its own directory was good for."""

    proof: Proof
    as_of: datetime


def carried_trust(folder: Path, root: bytes) -> TrustStore:
    """Return what the directory in an export says, verified from a pinned root; see `read_carried`."""
    _need_export(folder)
    return read_carried(FolderDirectory(folder / DIRECTORY), root)


def check_export(folder: Path, trust: TrustStore, now: datetime) -> CheckedExport:
    """Verify an exported journey as its owner does at home.

    Raises:
        FileMissing: this is no export.
        Refused: the journey is not proven; one of its leaves, which says why.
    """
    _need_export(folder)
    code, size = _blob(folder / CODE)
    parts = TrainParts(
        manifest=_envelope(folder / MANIFEST),
        entries=tuple(map(_envelope, _entries(folder))),
        code=CodeRef(digest=code, size=size),
        states=(_state(folder / STATE),),
    )
    as_of = min(now, trust.expires - timedelta(seconds=1))
    owner = read_manifest(parts.manifest.payload).owner.party  # a claim, which the signatures prove or do not
    return CheckedExport(proof=prove(verify_home(parts, trust, owner=owner, now=as_of), trust), as_of=as_of)


def _need_export(folder: Path) -> None:
    if not (folder / MANIFEST / ENVELOPE).is_file():
        msg = "not an exported journey"
        raise FileMissing(msg, path=folder, hint="an owner makes one: pht train verify TRAIN --export FOLDER")


def _entries(folder: Path) -> tuple[Path, ...]:
    """Return the folders of the entries, in order.

    Raises:
        JourneyTooLong: one has a name that is not the next number.
    """
    found = {one.name for one in folder.iterdir() if one.name.startswith(ENTRY)}
    numbers = [int(name.removeprefix(ENTRY)) for name in found if re.fullmatch(rf"{ENTRY}[1-9][0-9]{{0,4}}", name)]
    if sorted(numbers) != list(range(1, len(found) + 1)):
        msg = "the entries of the export are not numbered one after the other"
        raise JourneyTooLong(msg, found=", ".join(sorted(found))[:200])
    return tuple(folder / f"{ENTRY}{number}" for number in sorted(numbers))


def _envelope(folder: Path) -> Envelope:
    return parse_envelope(read_file(folder / ENVELOPE, limit=MAX_ENVELOPE))


def _state(path: Path) -> StateRef:
    digest, size = _blob(path)
    return StateRef(digest=digest, size=size)


def _blob(path: Path) -> tuple[Digest, int]:
    if not path.is_file():
        msg = "the export lacks a sealed file"
        raise FileMissing(msg, path=path)
    with path.open("rb") as source:
        return digest_stream(source)
