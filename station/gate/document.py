"""How is a JSON document read, held against its schema and printed anew?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from security.archive import Member
from security.encoding import Json, dump_json, levels_of, parse_json
from security.errors import MalformedJson
from security.train.manifest import Output
from station.errors import GateOversized
from station.gate.form import not_of_type, plain_number
from station.gate.schema import Checker

MAX_JSON_BYTES: Final = 16 << 20
"""A JSON document is checked in memory; a larger one must be declared as something else."""

_FEW: Final = 256
_NEAR: Final = 2


def print_document(member: Member, output: Output, checker: Checker | None) -> Iterator[bytes]:
    """Yield a JSON document as the gate prints it.

    Raises:
        GateType: it is none.
        GateOversized: it is too large to be checked.
        GateSchema: it does not satisfy the schema.
    """
    try:
        document = parse_json(_bytes(member, output), limit=MAX_JSON_BYTES)
    except MalformedJson as error:
        not_of_type(output, error.message)
    if isinstance(document, float):
        document = plain_number(document)
    values = 0
    for level in levels_of(document):
        values += len(level)
        _write_plain(level)
    if checker is not None:
        checker.spend(1, values)
        checker.check(document)
    yield from _printed(document, 0)
    yield b"\n"


def _bytes(member: Member, output: Output) -> bytes:
    if member.size > MAX_JSON_BYTES:
        msg = "a JSON output is too large to be checked"
        raise GateOversized(msg, output=output.path, bytes=member.size, limit=MAX_JSON_BYTES)
    with member.open() as source:
        raw = source.read(member.size + 1)
    if len(raw) != member.size:
        not_of_type(output, "changed while it was read")
    return raw


def _write_plain(level: list[Json]) -> None:
    """Write the numbers in lists and objects as the type they are printed by, in place."""
    for one in level:
        if type(one) is list and float in map(type, one):
            one[:] = [plain_number(item) if type(item) is float else item for item in one]
        elif type(one) is dict:
            for key, item in one.items():
                if type(item) is float and item.is_integer():
                    one[key] = plain_number(item)


def _printed(value: Json, depth: int) -> Iterator[bytes]:
    """Print in pieces what is large near the top: one text of a whole document would be in memory several times."""
    if isinstance(value, list) and len(value) > _FEW:
        for at in range(0, len(value), _FEW):
            yield (b"," if at else b"[") + dump_json(value[at : at + _FEW])[1:-1]
        yield b"]"
    elif isinstance(value, dict) and 0 < len(value) <= _FEW and depth < _NEAR:
        for at, key in enumerate(sorted(value)):
            yield (b"," if at else b"{") + dump_json(key) + b":"
            yield from _printed(value[key], depth + 1)
        yield b"}"
    else:
        yield dump_json(value)
