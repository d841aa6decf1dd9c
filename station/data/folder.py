"""What of a data set's folder is there for a run, which is another user than the station if that is root?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from security.files import told
from station.errors import DataSourceUnavailable

_MOST_FILES: Final = 100_000
_SEARCH, _READ = 0o5, 0o4
_NOT_OURS: Final = "lost+found"  # the file system's own, in the topmost folder of a disk
_ACCESS_LISTS: Final = ("system.posix_acl_access", "system.nfs4_acl")


def mounted(name: str, folder: Path) -> Path:
    """Return the folder of the data set `name`.

    Raises:
        DataSourceUnavailable: it is not there.
    """
    if not folder.is_dir():
        msg = "the folder of a data set is not there"
        raise DataSourceUnavailable(msg, data=name, folder=folder)
    return folder


def missing(folder: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns that no file in `folder` matches; a run sees no more of the folder than its files' paths."""
    left = list(patterns)
    for path, inside in _entries(folder):
        if not left:
            break
        if path.is_file():
            left = [pattern for pattern in left if not _matches(inside, pattern)]
    return tuple(left)


def closed(folder: Path, uid: int, gid: int, patterns: Sequence[str] | None = None) -> Path | None:
    """Return the first thing in `folder` that a user has no right to read, if there is one.

    With `patterns`, only the files that these mean are looked at, and the folders they lie in. An access control list
    that goes beyond the mode is not judged, and taken to allow it.
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
    """Yield what lies in `folder`, with its path from there, which begins with a slash."""
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
