"""What does an output look like once its author's choices of spelling are taken from it?

One meaning can be written in many ways: white space, the order of keys, ``1``, ``1.0`` and ``1e0``, escapes, quotes, line
ends. Each choice carries bits that no schema sees (attack T18). So JSON and CSV are parsed and printed anew here, and only
what was printed here is judged, shown, released and sealed. Other media types have no known meaning, and are copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from security.digest import BUFFER
from security.encoding import MAX_NUMBER, Json, dump_json
from security.errors import FileMissing
from security.files import told
from security.train.manifest import Output, TrainManifest
from station.errors import GateOversized, GateType, GateUndeclared
from station.gate.form import MediaType, cell, document, rows
from station.gate.inspect import left_in, list_state
from station.gate.port import LeftFile

_QUOTED: Final = frozenset(',"\n')


def print_anew(state: Path, manifest: TrainManifest, into: Path) -> None:
    """Print what a run left in its state folder into an empty folder: declared files only, none of them executable.

    Raises:
        GateUndeclared: a file that matches no declaration.
        GateType, GateOversized: see `station.gate.form.check_form`; or more bytes than the manifest allows in all.
    """
    left = left_in(list_state(state), manifest)
    undeclared = sum(one.declared is None for one in left.files)
    if undeclared:
        msg = "files in the state match no declared output"
        raise GateUndeclared(msg, files=undeclared, declared=", ".join(one.path for one in manifest.outputs))
    room = manifest.limits.output_bytes
    for one in left.files:
        try:
            room -= _print(one, into, room)
        except FileMissing:
            msg = "the station cannot read something in the state"
            raise GateType(msg) from None  # the cause names a path, and the run chose that


def plain_number(value: float) -> float:
    """Return a number as the type it is printed by: a whole one as an integer where all readers agree on that."""
    return int(value) if value.is_integer() and abs(value) <= MAX_NUMBER else value


def _print(one: LeftFile, into: Path, room: int) -> int:
    place, written = into / one.member.path, 0
    with told(into):  # never the place itself: the run chose its name (attack T20)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as out:
            for piece in _pieces(one):
                written += len(piece)
                if written > room:
                    msg = "the state is larger than the manifest's output limit"
                    raise GateOversized(msg, limit=room)
                out.write(piece)
    return written


def _pieces(one: LeftFile) -> Iterator[bytes]:
    declared = one.declared
    if declared is not None and declared.media_type == MediaType.JSON:
        yield dump_json(_plain(document(one.member, declared))) + b"\n"
    elif declared is not None and declared.media_type == MediaType.CSV:
        yield from _table(one, declared)
    else:
        with one.member.open() as source:
            while piece := source.read(BUFFER):
                yield piece


def _plain(value: Json) -> Json:
    if isinstance(value, float):
        return plain_number(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _table(one: LeftFile, declared: Output) -> Iterator[bytes]:
    first = True
    for header, row in rows(one.member, declared):
        if first:
            yield _line([_text(name) for name in header])
            first = False
        if row is not None:
            yield _line([_cell(text) for text in row])


def _line(cells: Sequence[str]) -> bytes:
    written = [f'"{text.replace(chr(34), chr(34) * 2)}"' if _QUOTED & set(text) else text for text in cells]
    return ((",".join(written) if written != [""] else '""') + "\n").encode()


def _cell(text: str) -> str:
    value = cell(text)
    match value:
        case float():
            return dump_json(plain_number(value)).decode()
        case int():
            return str(value)
        case None:
            return ""
        case _:
            return _text(text)


def _text(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
