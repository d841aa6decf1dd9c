"""How is a whole document read from bytes and written to bytes, and where is its published schema?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from security.encoding import MAX_BYTES, dump_json, dump_pretty, parse_json
from security.forms.form import Definitions, Schema
from security.forms.record import Record

T = TypeVar("T")

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
STRICT: Final = (
    "Integers are written without fraction or exponent; no duplicate keys, no unknown fields, no deeper than 24 levels."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(Generic[T]):
    """A JSON document that is one record; ``name`` is that of its schema, ``where`` how messages call it."""

    record: Record[T]
    name: str
    title: str
    where: str = "document"
    limit: int = MAX_BYTES

    def parse(self, raw: bytes) -> T:
        """Read the document.

        Raises:
            MalformedJson, MalformedStatement: not one.
        """
        return self.record.read(parse_json(raw, limit=self.limit), self.where)

    def compact(self, value: T) -> bytes:
        """Write the document as it is hashed, sealed or signed: without white space."""
        return dump_json(self.record.write(value))

    def pretty(self, value: T) -> bytes:
        """Write the document for people."""
        return dump_pretty(self.record.write(value))

    def schema(self) -> Schema:
        """Return the JSON Schema to publish."""
        return published(self.name, self.title, self.record.body)


def published(name: str, title: str, describe: Callable[[Definitions], Schema]) -> Schema:
    """Return a schema with its head and its definitions."""
    defs = Definitions()
    body = describe(defs)
    head: Schema = {"$schema": DRAFT, "$id": f"urn:pht:schema:{name}:v1", "title": title}
    comment = f"{STRICT} {body.pop('$comment')}" if "$comment" in body else STRICT
    tail: Schema = {"$defs": dict(sorted(defs.found.items()))} if defs.found else {}
    return head | {"$comment": comment} | body | tail
