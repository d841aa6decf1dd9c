"""Which files of the scientist's code folder travel?

Plain files with plain names, minus what is ignored: what tools leave behind (`ALWAYS_IGNORED`), and what the folder's
``.phtignore`` says, which git would read in the same way as its own. Nothing is followed out of the folder: a symbolic link is refused, not read (what it points at
might be the patient data).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pathspec import GitIgnoreSpec

from security.archive import Member
from security.files import read_file, told
from train_builder.errors import SourcesRejected
from train_builder.spec.units import show_size

IGNORE_FILE: Final = ".phtignore"
ALWAYS_IGNORED: Final = (
    ".git/",
    ".hg/",
    ".svn/",
    ".venv/",
    "__pycache__/",
    "*.pyc",
    ".mypy_cache/",
    ".ruff_cache/",
    ".pytest_cache/",
    ".ipynb_checkpoints/",
    ".DS_Store",
    "Thumbs.db",
    IGNORE_FILE,
)
MAX_FILES: Final = 5_000
MAX_TOTAL: Final = 1 << 30
_MAX_IGNORE_FILE: Final = 1 << 16
MAX_PATH: Final = 200  # bytes; what an archive's member may have


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """The files that travel, sorted by the bytes of their paths, and how many files and folders were ignored."""

    members: tuple[Member, ...]
    ignored: int

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(member.size for member in self.members)

    def find(self, path: str) -> Member | None:
        """Return the file at `path`, if it travels."""
        return next((member for member in self.members if member.path == path), None)


class Ignored:
    """Tells which files and folders are left out. What tools leave behind is, whatever a ``.phtignore`` says."""

    def __init__(self, text: str = "") -> None:
        """Take the text of a ``.phtignore``.

        Raises:
            SourcesRejected: a line is no pattern.
        """
        for number, line in enumerate(text.splitlines(), start=1):
            _specification([line], number)
        self._specs = (_specification(ALWAYS_IGNORED), _specification(text.splitlines()))

    def covers(self, path: str, *, folder: bool) -> bool:
        """Whether the file or folder at `path` is left out; of a folder that is, nothing inside is looked at."""
        return any(spec.match_file(f"{path}/" if folder else path) for spec in self._specs)


def _specification(lines: Sequence[str], number: int | None = None) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(lines, backend="simple")
    except (ValueError, re.error) as error:
        msg = "not a pattern of files to ignore"
        raise SourcesRejected(msg, file=IGNORE_FILE, line=number, hint="patterns are those of a .gitignore") from error


def collect(folder: Path) -> SourceTree:
    """Walk the code folder.

    Raises:
        SourcesRejected: a link, device, socket or pipe; a name that is not plain; two names that differ only in case;
            more than 5 000 files or 1 GiB.
    """
    own = folder / IGNORE_FILE
    text = read_file(own, limit=_MAX_IGNORE_FILE).decode("utf-8", errors="replace") if own.is_file() else ""
    members: list[Member] = []
    ignored = total = 0
    for path, facts in _walk(folder, "", Ignored(text)):
        if facts is None:
            ignored += 1
            continue
        total += facts.st_size
        if len(members) >= MAX_FILES or total > MAX_TOTAL:
            msg = "the code folder is too large to travel"
            hint = "leave out what the analysis does not need with a .phtignore; data stay at the stations"
            raise SourcesRejected(msg, files_at_least=len(members), size_at_least=show_size(total), hint=hint)
        members.append(
            Member(
                path=path,
                size=facts.st_size,
                executable=bool(facts.st_mode & stat.S_IXUSR),
                open=_Opener(folder / path),
            )
        )
    if not members:
        if ignored:
            msg = "everything in the code folder is ignored"
            raise SourcesRejected(
                msg, folder=folder, ignored=ignored, hint=f"see its {IGNORE_FILE}: what is named there stays here"
            )
        msg = "the code folder is empty"
        raise SourcesRejected(
            msg, folder=folder, hint="put the analysis there, or name its folder as 'code' in train.yaml"
        )
    return SourceTree(members=_sorted(members), ignored=ignored)


def merged(tree: SourceTree, extra: Sequence[Member]) -> SourceTree:
    """Return the tree with more files in it: vendored packages.

    Raises:
        SourcesRejected: both have a file of one name.
    """
    return SourceTree(members=_sorted([*tree.members, *extra]), ignored=tree.ignored)


def _sorted(members: list[Member]) -> tuple[Member, ...]:
    seen: dict[str, Member] = {}
    for member in members:
        first = seen.setdefault(member.path.casefold(), member)
        if first is not member:
            msg = "two files have names that some systems do not tell apart"
            raise SourcesRejected(msg, first=first.path, second=member.path, hint="rename one of them")
    return tuple(sorted(members, key=lambda member: member.path.encode()))


def _walk(folder: Path, prefix: str, ignored: Ignored) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield each file below `folder` that is not ignored, and None for each file or folder that is."""
    with told(folder / prefix), os.scandir(folder / prefix) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = f"{prefix}{entry.name}"
        with told(folder / path):
            facts = entry.stat(follow_symlinks=False)
        inside = stat.S_ISDIR(facts.st_mode)
        if ignored.covers(path, folder=inside):
            yield path, None
            continue
        _need_plain(path, facts)
        if inside:
            yield from _walk(folder, f"{path}/", ignored)
        else:
            yield path, facts


def _need_plain(path: str, facts: os.stat_result) -> None:
    if stat.S_ISLNK(facts.st_mode):
        msg = "a symbolic link cannot travel"
        raise SourcesRejected(msg, path=path, hint="put the file itself there, or leave the link out (.phtignore)")
    if not stat.S_ISREG(facts.st_mode) and not stat.S_ISDIR(facts.st_mode):
        msg = "only plain files can travel"
        raise SourcesRejected(msg, path=path)
    name = path.rpartition("/")[2]
    try:
        length = len(path.encode("utf-8"))
    except UnicodeEncodeError as error:
        msg = "a file's name is not text"
        raise SourcesRejected(msg, path=ascii(path), hint="rename it") from error
    if length > MAX_PATH or not name.isprintable() or "\\" in name:
        msg = "a file's name is too long or not plain"
        hint = "rename it: printable characters and no backslash, 200 bytes with its folders at most"
        raise SourcesRejected(msg, path=ascii(path)[:120], bytes=length, hint=hint)


@dataclass(frozen=True, slots=True)
class _Opener:
    """Opens a file that was plain when it was listed, and refuses it if it has become a link since."""

    path: Path

    def __call__(self) -> BinaryIO:
        with told(self.path):
            return os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
