"""What does an output look like once its author's choices of spelling are taken from it, and is it as it was declared?

One meaning can be written in many ways: white space, the order of keys, ``1``, ``1.0`` and ``1e0``, escapes, quotes, line
ends. Each choice carries bits that no schema sees (attack T18). So JSON and CSV are parsed and printed anew here, and only
what was printed here is judged, shown, released and sealed. Other media types have no known meaning: their files are taken as
they are, and moved rather than copied where the run is surely over, since a state can be as large as the disk.

It is the one time that what is in an output is read: what is not of its media type, or not as its schema says, is not printed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from security.archive import Member
from security.digest import BUFFER
from security.errors import FileMissing
from security.files import PRIVATE_FILE, told
from security.train.manifest import Output, TrainManifest
from security.train.sum_form import Sum
from station.errors import GateOversized, GateType, GateUndeclared
from station.gate.document import print_document
from station.gate.form import MediaType, text_of
from station.gate.inspect import left_in, list_state
from station.gate.port import LeftFile
from station.gate.schema import Checker, checker_of
from station.gate.table import print_table

Masker: TypeAlias = Callable[[Member, Output, Sum], Iterator[bytes]]
"""Prints what is declared as a sum: as a masked vector, and not as the numbers that the run wrote."""
Taker: TypeAlias = Callable[[Member, Path, Path], bool]
"""Moves a file from the state folder into another, and says whether it did. If not, it is copied."""


def no_sums(_member: Member, output: Output, _sum: Sum) -> Iterator[bytes]:
    """Refuse: outside of boarded rounds there are no sums, and a manifest that declares one does not parse."""
    msg = "a sum is declared where none is taken"
    raise GateType(msg, output=output.path)


def stay(_member: Member, _state: Path, _into: Path) -> bool:
    """Move nothing. A process that a run has left keeps what it has opened, and could write to it after it was judged."""
    return False


def move(member: Member, state: Path, into: Path) -> bool:
    """Move a file of a run of which no process lives. Not if the run left it in a folder that nothing can be taken from.

    Raises:
        GateType: it is not the file that was listed.
    """
    place = into / member.path
    with told(into), member.open() as source:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.fchmod(source.fileno(), PRIVATE_FILE)
            (state / member.path).rename(place)
        except OSError:
            return False
        if not os.path.samestat(os.fstat(source.fileno()), place.lstat()):
            msg = "the state changed while it was read"
            raise GateType(msg)
        return True


def print_anew(state: Path, manifest: TrainManifest, into: Path, masked: Masker = no_sums, take: Taker = stay) -> None:
    """Print what a run left in its state folder into an empty folder: declared files only, none of them executable.

    What is moved is no longer in the state folder then, until it is `put_back`.

    Raises:
        GateUndeclared: a file that matches no declaration.
        GateType: a file that is not of its declared media type.
        GateSchema: a document, or the row of a table, does not satisfy the declared schema.
        GateOversized: a JSON document that is too large to be checked; or more bytes than the manifest allows in all.
    """
    declared = _declared(state, manifest)
    room = manifest.limits.output_bytes
    checkers = {
        output.path: checker_of(output) for output in reversed(manifest.outputs)
    }  # of two alike, the first counts
    try:
        for member, output in declared:
            if _as_it_is(output) and member.size <= room and take(member, state, into):
                room -= member.size
                continue
            pieces = (
                pieces_of(member, output, checkers[output.path])
                if output.sum is None
                else masked(member, output, output.sum)
            )
            room -= _write(pieces, into / member.path, into, room)
    except FileMissing:
        raise _unreadable() from None


def _declared(state: Path, manifest: TrainManifest) -> list[tuple[Member, Output]]:
    left = _left(state, manifest)
    declared = [(one.member, one.declared) for one in left if one.declared is not None]
    if len(declared) != len(left):
        msg = "files in the state match no declared output"
        paths = ", ".join(one.path for one in manifest.outputs)
        raise GateUndeclared(msg, files=len(left) - len(declared), declared=paths)
    return declared


def _left(folder: Path, manifest: TrainManifest) -> Sequence[LeftFile]:
    try:
        return left_in(list_state(folder), manifest).files
    except FileMissing:
        raise _unreadable() from None


def _unreadable() -> GateType:
    """Name no path: the run chose that (attack T20)."""
    msg = "the station cannot read something in the state"
    return GateType(msg)


def put_back(state: Path, manifest: TrainManifest, printed: Path) -> None:
    """Move what was taken as it is to where the run left it, so that it can be taken again.

    Raises:
        GateType: what lies there cannot have been printed.
    """
    if not printed.exists():
        return
    for one in _left(printed, manifest):
        place = state / one.member.path
        if one.declared is not None and _as_it_is(one.declared) and not os.path.lexists(place):
            with told(state):
                place.parent.mkdir(parents=True, exist_ok=True)
                (printed / one.member.path).rename(place)


def pieces_of(member: Member, output: Output, checker: Checker | None) -> Iterator[bytes]:
    """Yield a file as the gate prints it; whoever takes the last piece knows that it is as it was declared.

    Raises:
        GateType, GateSchema, GateOversized: see `print_anew`.
    """
    match output.media_type:
        case MediaType.JSON:
            return print_document(member, output, checker)
        case MediaType.CSV:
            return print_table(member, output, checker)
        case MediaType.TEXT:
            return (piece.encode() for piece in text_of(member, output))
        case _:
            return _bytes(member)


def _as_it_is(output: Output) -> bool:
    return output.sum is None and output.media_type not in set(MediaType)


def _write(pieces: Iterator[bytes], place: Path, into: Path, room: int) -> int:
    written = 0
    with told(into):  # never the place itself: the run chose its name (attack T20)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as out:
            for piece in pieces:
                written += len(piece)
                if written > room:
                    msg = "the state is larger than the manifest's output limit"
                    raise GateOversized(msg, limit=room)
                out.write(piece)
    return written


def _bytes(member: Member) -> Iterator[bytes]:
    with member.open() as source:
        while piece := source.read(BUFFER):
            yield piece
