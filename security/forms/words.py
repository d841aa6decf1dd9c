"""How is a field shown to people by a caller that has no words for it?

Whoever shows a record to people has words of their own for the fields it knows. The others are shown all the same, so
that a field that is declared is never one that a person decides about without having seen it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from security.encoding import dump_json
from security.forms.record import Record

T = TypeVar("T")


def printable(line: str) -> str:
    """Keep line breaks and escape sequences off the terminal, and out of text files: anybody may have written this."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)


def others(record: Record[T], value: T, *known: str) -> Iterator[tuple[str, str]]:
    """Yield the label and the text of each field that is not `known`, and not left out.

    Raises:
        LookupError: what is known is no field of the record.
    """
    names = frozenset(part.name for part in record.parts)
    if unknown := set(known) - names:
        raise LookupError(*sorted(unknown))
    for part in record.parts:
        one = getattr(value, part.name)
        if part.name not in known and one is not None:
            written = part.form.write(one)
            yield part.name.replace("_", " "), written if isinstance(written, str) else dump_json(written).decode()
