"""How is a data set furnished that lies in a folder of this machine?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from security.files import told
from security.train.manifest import DataNeed
from station.check import CheckResult
from station.data.port import Asked, Delivered, Reader
from station.errors import DataClosed, DataSourceUnavailable
from station.visit.parts import FurnishedData

_MOST_FILES: Final = 100_000
_SEARCH, _READ = 0o5, 0o4
_NOT_OURS: Final = "lost+found"  # the file system's own, in the topmost folder of a disk
_ACCESS_LISTS: Final = ("system.posix_acl_access", "system.nfs4_acl")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """The data set `name`, in a folder of this machine. Runs are given the folder itself, read-only, and all of it."""

    name: str
    folder: Path

    @property
    def kind(self) -> str:
        """See `DataSource`."""
        return "folder"

    def check(self, reader: Reader | None) -> tuple[CheckResult, ...]:
        """See `DataSource`."""
        if not self.folder.is_dir():
            if self.folder.exists():
                return (self._wrong(f"is a file, not a folder: {self.folder}", "name its folder in station.yaml"),)
            return (self._wrong(f"no such folder: {self.folder}", "create or mount it, or change station.yaml"),)
        if reader is None:
            return (CheckResult(name=f"data {self.name}", ok=True, detail=f"{self.folder}"),)
        first = closed(self.folder, reader.uid, reader.gid)
        if first is not None:
            hint = f"let the sandbox's group {reader.gid} read it: {how_to_open(self.folder, reader.gid)}"
            return (self._wrong(f"cannot be read: {first}", hint),)
        detail = f"{self.folder}, readable by the sandbox's user {reader.uid}"
        return (CheckResult(name=f"data {self.name}", ok=True, detail=detail),)

    def missing(self, need: DataNeed) -> tuple[str, ...]:
        """See `DataSource`."""
        self._reach()
        return missing(self.folder, need.files or ())

    def furnish(self, asked: Asked, into: Path, scratch: Path) -> Delivered:
        """See `DataSource`."""
        del into, scratch  # nothing is copied
        need, reader = asked.need, asked.reader
        self._reach()
        if reader is not None and closed(self.folder, reader.uid, reader.gid, need.files or ()) is not None:
            msg = "the sandbox's user cannot read what the train asks for"
            raise DataClosed(msg, data=self.name, folder=self.folder, user=reader.uid)
        return Delivered(folder=self.folder, record=FurnishedData(name=self.name, source=self.kind))

    def _reach(self) -> None:
        if not self.folder.is_dir():
            if self.folder.exists():
                msg = "a data set is a file, and should be a folder"
                raise DataSourceUnavailable(
                    msg, data=self.name, file=self.folder, hint="name its folder in station.yaml"
                )
            msg = "the folder of a data set is not there"
            raise DataSourceUnavailable(msg, data=self.name, folder=self.folder)

    def _wrong(self, detail: str, hint: str) -> CheckResult:
        return CheckResult(name=f"data {self.name}", ok=False, detail=detail, hint=hint)


def missing(folder: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns that no file in `folder` matches."""
    left = list(patterns)
    for path, inside in _entries(folder):
        if not left:
            break
        if path.is_file():
            left = [pattern for pattern in left if not _matches(inside, pattern)]
    return tuple(left)


def closed(folder: Path, uid: int, gid: int, patterns: Sequence[str] | None = None) -> Path | None:
    """Return the first file or folder in `folder` that a user has no right to read, if there is one.

    With `patterns`, only the files that match are considered, and the folders they are in. An access control list that
    goes beyond the mode is not evaluated, and assumed to allow it.
    """

    def shut(path: Path) -> bool:
        try:
            facts = path.stat()
        except OSError:
            return True
        need = _SEARCH if stat.S_ISDIR(facts.st_mode) else _READ
        return not _may(facts, need, uid, gid) and not _has_list(path)

    if shut(folder):
        return folder
    seen = {folder, *folder.parents}
    for path, inside in _entries(folder):
        if patterns is None or (path.is_file() and any(_matches(inside, one) for one in patterns)):
            for part in (*reversed(path.parents), path):
                if part not in seen:
                    seen.add(part)
                    if shut(part):
                        return part
    return None


def how_to_open(folder: Path, gid: int) -> str:
    """Return the command that lets a run's group read `folder`: the group and not everybody, as these are patients' data."""
    return f"chgrp -R {gid} {folder} && chmod -R g+rX {folder}"


def _entries(folder: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Yield what is in `folder`, with its path from there, which begins with a slash."""
    with told(folder):
        for count, path in enumerate(folder.rglob("*")):
            if count == _MOST_FILES:
                return
            inside = PurePosixPath("/", path.relative_to(folder))
            if inside.parts[1] != _NOT_OURS:
                yield path, inside


def _matches(inside: PurePosixPath, pattern: str) -> bool:
    return inside.match("/" + pattern)


def _may(facts: os.stat_result, need: int, uid: int, gid: int) -> bool:
    shift = 6 if facts.st_uid == uid else 3 if facts.st_gid == gid else 0
    return (facts.st_mode >> shift) & need == need


def _has_list(path: Path) -> bool:
    try:
        return bool(set(_ACCESS_LISTS) & set(os.listxattr(path)))
    except OSError:
        return False
