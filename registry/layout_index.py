"""What does the ``index.json`` of an image layout say, and how does it grow without a bound its writer can cross?

The index is not signed and comes from whoever may write to the folder. One that is cut, empty, foreign or too large makes
its repository *unavailable*: it says nothing about the trains it names. A reader takes more entries and bytes than a
writer ever makes, and taking something out is always possible.
"""

from __future__ import annotations

import os
import stat
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias

from registry.errors import RegistryFull, RegistryIndexUnreadable, RegistryMisbehaved
from registry.names import Reference
from registry.oci import Descriptor, parse_index, print_index
from security.digest import Digest
from security.errors import Malformed

REF_NAME: Final = "org.opencontainers.image.ref.name"
MOST_ENTRIES: Final = 90_000
"""Of which a writer makes no more. An entry of ours takes about 290 bytes."""
_MOST_BYTES: Final = 48 << 20
_READ_ENTRIES: Final = 100_000
_READ_BYTES: Final = 64 << 20
_READ_MARKS: Final = 20 * _READ_ENTRIES
"""Commas and brackets, which bound the number of objects a parser makes: 64 MiB of ``{},`` would take gigabytes."""
_SETTLED: Final = 2.0
"""Seconds after which a file that was changed again has another time stamp on any file system."""
_REMEMBERED: Final = 8

_Stamp: TypeAlias = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """An index as it was seen first at `since`; what it says, if it was read when nobody could change it unseen."""

    stamp: _Stamp
    since: float
    index: Index | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The entries of an index, and which of them have a tag or a digest."""

    entries: tuple[Descriptor, ...]
    _by_tag: Mapping[str, Mapping[Digest, Descriptor]]
    _by_digest: Mapping[Digest, Descriptor]

    @classmethod
    def of(cls, entries: tuple[Descriptor, ...]) -> Index:
        """Sort entries by tag and digest."""
        by_tag: dict[str, dict[Digest, Descriptor]] = {}
        for entry in entries:
            if REF_NAME in entry.annotations:
                by_tag.setdefault(entry.annotations[REF_NAME], {})[entry.digest] = entry
        return cls(entries=entries, _by_tag=by_tag, _by_digest={entry.digest: entry for entry in entries})

    def find(self, reference: Reference) -> tuple[Descriptor, ...]:
        """Return the manifests with a tag, or the one with a digest."""
        if isinstance(reference, Digest):
            found = self._by_digest.get(reference)
            return () if found is None else (found,)
        return tuple(self._by_tag.get(reference, {}).values())


class IndexReader:
    """Reads indexes, and remembers the last ones for as long as their files stay as they are."""

    def __init__(self) -> None:
        self._known: OrderedDict[Path, _Seen] = OrderedDict()

    def read(self, path: Path) -> Index:
        """Return what an index says; one that does not exist has no entries.

        Raises:
            RegistryIndexUnreadable: it is none, is cut or too large, or cannot be read.
            RegistryMisbehaved: a link is in its place.
        """
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return Index.of(())
        except OSError as error:
            if path.is_symlink():
                msg = "a link in place of an index"
                raise RegistryMisbehaved(msg, path=path) from error
            raise _unreadable(path, error.strerror) from error
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            os.close(handle)
            raise _unreadable(path, "not a plain file")
        with open(handle, "rb") as source:  # noqa: PTH123 - opened above: a link is not followed, a pipe does not block
            stamp = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
            known, now = self._known.get(path), time.monotonic()
            if known is None or known.stamp != stamp:
                known = _Seen(stamp=stamp, since=now)
            if known.index is not None:
                return known.index
            try:
                raw = source.read(_READ_BYTES + 1)
            except OSError as error:
                raise _unreadable(path, error.strerror) from error
        index = Index.of(_parsed(path, raw))
        settled = now - known.since > _SETTLED  # before, it could change again without showing it
        self._known.pop(path, None)
        self._known[path] = replace(known, index=index if settled else None)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return index


def named(entries: Sequence[Descriptor], bare: Descriptor, reference: Reference) -> list[Descriptor]:
    """Return `entries` with `bare` added; if `reference` is a tag, only `bare` has it."""
    if isinstance(reference, Digest):
        return [*entries, bare] if all(entry.digest != bare.digest for entry in entries) else list(entries)
    left = [entry for entry in entries if entry.annotations.get(REF_NAME) != reference]
    held = {entry.digest for entry in left} | {bare.digest}
    nameless = [
        Descriptor(media_type=entry.media_type, digest=entry.digest, size=entry.size)
        for entry in entries
        if entry.annotations.get(REF_NAME) == reference and entry.digest not in held
    ]
    left = [entry for entry in left if entry.digest != bare.digest or REF_NAME in entry.annotations]
    tagged = Descriptor(
        media_type=bare.media_type, digest=bare.digest, size=bare.size, annotations={REF_NAME: str(reference)}
    )
    return [*left, *nameless, tagged]


def printed(entries: Sequence[Descriptor], *, before: Sequence[Descriptor], room: int) -> bytes:
    """Write an index that had the entries `before`.

    Raises:
        RegistryFull: it has more entries than before, and more than there is room for.
    """
    raw = print_index(entries)
    if len(entries) > len(before) and (len(entries) > room or len(raw) > _MOST_BYTES):
        msg = "the repository is full"
        raise RegistryFull(msg, manifests=len(before), room=room)
    return raw


def _parsed(path: Path, raw: bytes) -> tuple[Descriptor, ...]:
    if len(raw) > _READ_BYTES or sum(map(raw.count, (b",", b"[", b"{"))) > _READ_MARKS:
        raise _unreadable(path, "too large")
    try:
        return parse_index(raw, limit=_READ_BYTES, most=_READ_ENTRIES)
    except Malformed as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, reason: str | None) -> RegistryIndexUnreadable:
    msg = "the index of a repository cannot be read"
    return RegistryIndexUnreadable(msg, path=path, reason=reason)
