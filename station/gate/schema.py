"""Does a document satisfy the JSON Schema a train brings for it?

Draft 2020-12, through `jsonschema`, within the bounds that `security.train.output_schema` sets on schemas and this module on
documents (attack T19). A schema that cannot be evaluated is refused before the train runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry

from security.encoding import Json
from security.errors import InvalidInput
from security.train.output_schema import Cost, cost_of, values_in
from station.errors import GateSchema, PolicyRefused

MAX_LOOKS: Final = 50_000_000
"""How often the nodes of a schema may look at the values of an output: some minutes."""
MAX_KEPT: Final = 300_000
"""How many failures may be kept in memory until an ``anyOf`` or ``oneOf`` is decided: 3 KiB each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """A schema that this station can evaluate. Made by `compile_schema`."""

    schema: Mapping[str, Json]
    cost: Cost
    _validator: Draft202012Validator = field(repr=False)

    def check(self, document: Json, *, pattern: str, spent: int = 0) -> int:
        """Check a document against the schema; `pattern` is the declared path, for the message.

        `spent` is the work done on the same output so far; the work with this document added is returned.

        Raises:
            GateSchema: it does not satisfy the schema. The message names the keyword, never what was found (attack T20).
        """
        keyword, values = None, values_in(document)
        spent += self.cost.looks.times(values)
        if spent > MAX_LOOKS or self.cost.kept.times(values) > MAX_KEPT:
            keyword = "too many values for this schema"
        try:
            for error in self._validator.iter_errors(document) if keyword is None else ():
                keyword = str(error.validator)
                break
        except (RecursionError, ArithmeticError, re.error):
            keyword = "schema cannot be evaluated"
        if keyword is not None:
            msg = "an output does not satisfy its declared schema"
            raise GateSchema(msg, output=pattern, rule=keyword)
        return spent


def compile_schema(schema: Json, *, pattern: str) -> Checker:
    """Examine a declared schema; `pattern` is the declared path, for the message.

    Raises:
        PolicyRefused: not draft 2020-12, too large, or with something in it that this station does not evaluate.
    """
    msg = "this station cannot evaluate a declared schema"
    try:
        cost = cost_of(schema)
    except InvalidInput as error:
        raise PolicyRefused(msg, output=pattern, reason=error.fields.get("reason")) from error
    known = schema if isinstance(schema, dict) else {}  # it is: else it would have been refused
    try:
        Draft202012Validator.check_schema(known)
    except (SchemaError, RecursionError) as error:
        raise PolicyRefused(msg, output=pattern, reason="not a JSON Schema, draft 2020-12") from error
    return Checker(schema=known, cost=cost, _validator=Draft202012Validator(known, registry=Registry()))
