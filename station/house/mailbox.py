"""What does a station remember of its mailbox from one look to the next?

Anybody who may write to a mailbox can put as much there as they like. So a look has a size, whatever the mailbox holds: what
there was no room for in an earlier look comes first, in the order of the looks that first found it, so that nobody keeps it
waiting with something new before each look, whatever its name or size; then what is new. A tag under which a train came that was
accepted is not looked at while that visit goes on, however long a person takes: what else comes under it is the same train again,
and is still there when the visit is over. Nothing here is evidence: a station that forgets it looks again.

Two looks go on at once: one through the whole mailbox, and one for what is expected.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from registry.names import Tag
from registry.port import StoredManifest
from security.digest import Digest
from security.directory.trust import DirectoryVersion

LOOKS: Final = 512
"""Tags that are resolved in one look, each a request; a mailbox with no more is looked through whole every time."""
_AGAIN: Final = 64
"""Of these, how many were looked at before: a tag may have been moved."""
_MOST_JUNK: Final = 100_000
_MOST_HELD: Final = 8 << 20
"""Bytes of OCI manifests that are held from when an arrival is noticed until it is fetched; others are asked for again."""


@dataclass(slots=True)
class MailboxMemory:
    """Which tags were looked at, the longest ago first, and which arrivals turned out to be none of ours.

    `doubtful` are visits that were begun without knowing whether they are a train.
    """

    seen: dict[Tag, Digest | None] = field(default_factory=dict)
    """With what each named then."""
    late: dict[Tag, int] = field(default_factory=dict)
    """Tags that there was no room for in a look, each with its turn: what has waited longer has a smaller one."""
    in_turn: dict[Tag, int] = field(default_factory=dict)
    """Those of them that are looked at now: what is put off again keeps its turn."""
    junk: set[Digest] = field(default_factory=set)
    doubtful: set[Digest] = field(default_factory=set)
    recalls: frozenset[Tag] = frozenset()
    """Tags seen in the last look that can be recalls, among others."""
    _held: dict[Digest, StoredManifest] = field(default_factory=dict)
    _given: int = 0
    _directory: DirectoryVersion | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def choose(self, tags: Sequence[Tag], going: Collection[Digest]) -> tuple[Tag, ...]:
        """Return which of the sorted `tags` to look at now; `going` are arrivals that were accepted and are still here."""
        there = set(tags)
        with self._lock:
            self.seen = {tag: named for tag, named in self.seen.items() if tag in there}
            self.late = {tag: turn for tag, turn in self.late.items() if tag in there}
            fresh = [tag for tag in tags if tag not in self.seen and tag not in self.late]
            room = max(LOOKS - len(self.seen.keys() - self.late.keys()), LOOKS - _AGAIN)
            late = sorted(self.late, key=self.late.__getitem__)[: max(room - len(fresh), LOOKS // 2)]
            self.in_turn = {tag: self.late[tag] for tag in late}
            first, others = [*late, *fresh[: room - len(late)]], fresh[room - len(late) :]
            again = [tag for tag, named in self.seen.items() if named not in going and tag not in self.late]
            self.late |= {tag: self._next_turn() for tag in others}
        return (*first, *again[: LOOKS - len(first)])

    def looked_at(self, tag: Tag, named: Digest | None = None) -> None:
        """Note that a tag was looked at now, and what it named."""
        with self._lock:
            self.late.pop(tag, None)
            self.seen.pop(tag, None)
            self.seen[tag] = named

    def put_off(self, tag: Tag, known: Digest | None = None) -> None:
        """Note that there was no room for a tag in this look; `known` is what it named when there was."""
        with self._lock:
            self.late[tag] = self.in_turn[tag] if tag in self.in_turn else self._next_turn()
            if known is None:
                self.seen.pop(tag, None)
            else:
                self.seen[tag] = known

    def doubt(self, arrival: Digest) -> None:
        """Note that a visit was begun without knowing whether it is a train."""
        with self._lock:
            self.doubtful.add(arrival)

    def _next_turn(self) -> int:
        self._given += 1
        return self._given

    def still_doubtful(self, unfinished: Collection[Digest]) -> tuple[Digest, ...]:
        """Return which of the visits that were begun in doubt are `unfinished`; the others are forgotten."""
        with self._lock:
            self.doubtful.intersection_update(unfinished)
            return tuple(self.doubtful)

    def judge_with(self, directory: DirectoryVersion) -> None:
        """Forget what was junk by another version of the directory: its owner may have become a party since."""
        if directory != self._directory:
            self.junk.clear()
            self._directory = directory

    def note_junk(self, arrival: Digest) -> None:
        """Note that an arrival is no train for us."""
        if len(self.junk) >= _MOST_JUNK:
            self.junk.clear()
        self.junk.add(arrival)

    def hold_manifest(self, stored: StoredManifest) -> None:
        """Hold the OCI manifest of an arrival that is begun; those that nobody has taken make room, the oldest first."""
        with self._lock:
            self._held.pop(stored.digest, None)
            self._held[stored.digest] = stored
            size = sum(len(one.raw) for one in self._held.values())
            while size > _MOST_HELD:
                oldest = next(iter(self._held))
                size -= len(self._held.pop(oldest).raw)

    def take_manifest(self, arrival: Digest) -> StoredManifest | None:
        """Return what is held of an arrival, once."""
        with self._lock:
            return self._held.pop(arrival, None)
