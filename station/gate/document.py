"""How is a JSON document read, held against its schema and printed anew?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from security.archive import Member
from security.encoding import Json, dump_json, levels_of, parse_json
from security.errors import MalformedJson
from security.train.manifest import Output
from security.train.output_schema import values_in
from station.errors import GateOversized
from station.gate.form import not_of_type, plain_number
from station.gate.schema import Checker

MAX_JSON_BYTES: Final = 16 << 20
"""A JSON document is checked in memory; a larger one must be declared as something else."""


def print_document(member: Member, output: Output, checker: Checker | None) -> Iterator[bytes]:
    """Yield a JSON document as the gate prints it.

    Raises:
        GateType: it is none.
        GateOversized: it is too large to be checked.
        GateSchema: it does not satisfy the schema.
    """
    document = _plain(_read(member, output))
    if checker is not None:
        checker.spend(1, values_in(document))
        checker.check(document)
    yield dump_json(document) + b"\n"


def _read(member: Member, output: Output) -> Json:
    if member.size > MAX_JSON_BYTES:
        msg = "a JSON output is too large to be checked"
        raise GateOversized(msg, output=output.path, bytes=member.size, limit=MAX_JSON_BYTES)
    with member.open() as source:
        raw = source.read(MAX_JSON_BYTES + 1)
    if len(raw) != member.size:
        not_of_type(output, "changed while it was read")
    try:
        return parse_json(raw, limit=MAX_JSON_BYTES)
    except MalformedJson as error:
        not_of_type(output, error.message)


def _plain(document: Json) -> Json:
    """Write numbers as the type they are printed by, in place."""
    if isinstance(document, float):
        return plain_number(document)
    for one in chain.from_iterable(levels_of(document)):
        if isinstance(one, list):
            for index, item in enumerate(one):
                if type(item) is float and item.is_integer():
                    one[index] = plain_number(item)
        elif isinstance(one, dict):
            for key, item in one.items():
                if type(item) is float and item.is_integer():
                    one[key] = plain_number(item)
    return document
