"""Does a document satisfy the JSON Schema a train brings for it?

Draft 2020-12, within the bounds that `security.train.output_schema` sets on schemas and this module on documents (attack T19).
A schema that cannot be evaluated is refused before the train runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NoReturn

from security.encoding import Json
from security.errors import InvalidInput
from security.train.manifest import Output
from security.train.output_schema import Weight, cost_of
from station.errors import GateSchema, PolicyRefused
from station.gate.check import KEYWORDS, Check, Compiler

MAX_LOOKS: Final = 1_000_000_000
"""How often the nodes of a schema may look at the values of an output: some minutes."""

_OF_MEMBERS: Final = frozenset({"properties", "additionalProperties"})
_OF_NAMES: Final = frozenset(
    {"type", "required", "minProperties", "maxProperties", "propertyNames", "dependentRequired"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """A schema that this station can evaluate. Made by `compile_schema`."""

    schema: Mapping[str, Json]
    cost: Weight
    pattern: str
    _check: Check = field(repr=False)
    _compiler: Compiler = field(repr=False)

    def spend(self, documents: int, values: int, *, spent: int = 0) -> int:
        """Add the work on so many more documents of so many values each, themselves included, to that on the same output.

        Raises:
            GateSchema: it is more than this station does for an output (attack T19).
        """
        spent += documents * self.cost.times(values)
        if spent > MAX_LOOKS:
            self._refuse("too many values for this schema")
        return spent

    def check(self, document: Json) -> None:
        """Check a document against the schema.

        Raises:
            GateSchema: it does not satisfy the schema. The message names the keyword, never what was found (attack T20).
        """
        try:
            keyword = self._check(document)
        except (RecursionError, ArithmeticError):
            keyword = "schema cannot be evaluated"
        if keyword is not None:
            self._refuse(keyword)

    def members(self, names: Sequence[str]) -> Mapping[str, tuple[Json, Check]] | None:
        """Return what the member of each name has to satisfy, so that an object with just these names satisfies the schema.

        None if that is not all: if one member's value decides what another's may be, or the names themselves are wrong.
        """
        if not self.schema.keys() & KEYWORDS <= _OF_MEMBERS | _OF_NAMES:
            return None
        of_names = {key: value for key, value in self.schema.items() if key in _OF_NAMES}
        if self._compiler.check(of_names)(dict.fromkeys(names)) is not None:
            return None
        known, other = self.schema.get("properties", {}), self.schema.get("additionalProperties", True)
        schemas = {name: known.get(name, other) if isinstance(known, dict) else other for name in names}
        return {name: (schema, self._compiler.check(schema)) for name, schema in schemas.items()}

    def _refuse(self, keyword: str) -> NoReturn:
        msg = "an output does not satisfy its declared schema"
        raise GateSchema(msg, output=self.pattern, rule=keyword)


def compile_schema(schema: Json, *, pattern: str) -> Checker:
    """Examine a declared schema; `pattern` is the declared path, for the message.

    Raises:
        PolicyRefused: not draft 2020-12, too large, or with something in it that this station does not evaluate.
    """
    return _compiled(json.dumps(schema), pattern)


@lru_cache(maxsize=256)  # a train's schemas are examined at several steps; what is wrong is found each time
def _compiled(printed: str, pattern: str) -> Checker:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow to import, and few commands look at outputs
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415

    msg, schema = "this station cannot evaluate a declared schema", json.loads(printed)
    try:
        cost = cost_of(schema)
    except InvalidInput as error:
        raise PolicyRefused(msg, output=pattern, reason=error.fields.get("reason")) from error
    known = schema if isinstance(schema, dict) else {}  # it is: else it would have been refused
    try:
        Draft202012Validator.check_schema(known)
        compiler = Compiler(known, Draft202012Validator.check_schema)
        check = compiler.check(known)
    except (SchemaError, RecursionError, TypeError, re.error) as error:
        raise PolicyRefused(msg, output=pattern, reason="not a JSON Schema, draft 2020-12") from error
    return Checker(schema=known, cost=cost, pattern=pattern, _check=check, _compiler=compiler)


def checker_of(output: Output) -> Checker | None:
    """Return what an output's documents, or the rows of its table, are held against, if a schema is declared for them.

    Raises:
        PolicyRefused: see `compile_schema`.
    """
    return None if output.schema is None else compile_schema(output.schema, pattern=output.path)
