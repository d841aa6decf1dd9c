"""How do the letters with the entries of a train travel as one blob, however long its route?

One after the other in a ustar archive, in the order of the stops: ``1.age``, ``2.age``, … So a stop of a long route makes as
many requests, and keeps as many files, as one of a short route, and ``tar`` takes a letter out. What is written has one form,
and nothing else is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from security.errors import ArchiveRejected, BudgetExceeded, MalformedArtifact
from security.train.letters import MAX_ENTRY_LETTER, MAX_JOURNEY
from security.train.route import LONGEST
from security.ustar import BLOCK, END, PATH_BYTES, PLAIN, Entry, filler, parse_header, write_header

MAX_BUNDLE: Final = MAX_JOURNEY + 2 * BLOCK * (LONGEST + 2)


def print_bundle(letters: Sequence[bytes]) -> bytes:
    """Return the letters as one archive."""
    pieces: list[bytes] = []
    for number, letter in enumerate(letters, 1):
        header = write_header(Entry(path=_name(number), size=len(letter), mode=PLAIN, folder=False))
        pieces += [header, letter, filler(len(letter))]
    return b"".join((*pieces, END))


def read_bundle(raw: bytes) -> tuple[bytes, ...]:
    """Return the letters in an archive.

    Raises:
        MalformedArtifact: it is not one that `print_bundle` makes, a letter is too large, or there are too many.
    """
    letters = tuple(_letters(memoryview(raw)))
    if sum(map(len, letters)) > MAX_JOURNEY:
        msg = "journey entries are too large together"
        raise MalformedArtifact(msg, size=sum(map(len, letters)), limit=MAX_JOURNEY)
    return letters


def _letters(raw: memoryview) -> Iterator[bytes]:
    at, number = 0, 1
    while raw[at:] != END:
        if number > LONGEST:
            msg = "artifact has more journey entries than a route can have stops"
            raise MalformedArtifact(msg, limit=LONGEST)
        size = _size(bytes(raw[at : at + BLOCK]), number)
        letter = bytes(raw[at + BLOCK : at + BLOCK + size])
        at += BLOCK + size
        padding = filler(size)
        if len(letter) < size or raw[at : at + len(padding)] != padding:
            raise _malformed()
        yield letter
        at += len(padding)
        number += 1


def _size(header: bytes, number: int) -> int:
    """Return the size of a letter, which is bounded before anything is made for it."""
    try:
        entry = parse_header(header, PATH_BYTES) if len(header) == BLOCK else None
    except (ArchiveRejected, BudgetExceeded) as error:
        raise _malformed() from error
    if entry is None or entry != Entry(path=_name(number), size=entry.size, mode=PLAIN, folder=False):
        raise _malformed()
    if entry.size > MAX_ENTRY_LETTER:
        msg = "letter is too large for one of its kind"
        raise MalformedArtifact(msg, size=entry.size, limit=MAX_ENTRY_LETTER)
    return entry.size


def _name(number: int) -> str:
    return f"{number}.age"


def _malformed() -> MalformedArtifact:
    return MalformedArtifact("not a bundle of letters")
