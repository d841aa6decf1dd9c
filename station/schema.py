"""Which JSON Schemas may a train bring, and does a document satisfy one?

Draft 2020-12, through `jsonschema`, cut down to what ends: the schema and the document come from the same hand, so a
pattern that backtracks for years or references that double at every step would stop the station (attack T19). No
reference leaves the schema. What is refused here is refused before the train runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry

from security.encoding import Json, dump_json
from station.errors import GateSchema, PolicyRefused

MAX_SCHEMA_BYTES: Final = 64 << 10
MAX_EXPANSION: Final = 5_000
"""Nodes of a schema after every reference is followed: bounds the work per value of the document."""

_LONGEST_PATTERN: Final = 200
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAMED: Final = frozenset({"$defs", "definitions", "properties", "dependentSchemas"})
_UNREACHED: Final = frozenset({"$defs", "definitions"})  # counted where they are referred to
_UNSUPPORTED: Final = frozenset(
    {"$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$anchor", "$id", "patternProperties"}
)
_QUOTING: Final = frozenset({"const", "enum", "default", "examples", "required", "dependentRequired"})
_ATOM = re.compile(r"\\[dDwWsS.\\/+*?^$|(){}\[\]-]|\[(?:\\.|[^\\\]])+\]|[^\\\[\](){}|*+?^$]")
_TIMES = re.compile(r"\{\d{1,4}\}")
_RANGE = re.compile(r"[*+?]|\{\d{1,4},\d{0,4}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """A schema that was found usable. Made by `compile_schema`."""

    schema: Mapping[str, Json]
    _validator: Draft202012Validator = field(repr=False)

    def check(self, document: Json, *, pattern: str) -> None:
        """Hold a document against the schema; `pattern` is the declared path, for the message.

        Raises:
            GateSchema: it does not satisfy it. The message tells which keyword, never what was found (attack T20).
        """
        keyword = None
        try:
            for error in self._validator.iter_errors(document):
                keyword = str(error.validator)
                break
        except (RecursionError, ArithmeticError, re.error):
            keyword = "schema cannot be evaluated"
        if keyword is not None:
            msg = "an output does not satisfy its declared schema"
            raise GateSchema(msg, output=pattern, rule=keyword)


def compile_schema(schema: Json, *, pattern: str) -> Checker:
    """Examine a declared schema; `pattern` is the declared path, for the message.

    Raises:
        PolicyRefused: not draft 2020-12, too large, or uses what this station does not evaluate, and which.
    """
    if not isinstance(schema, dict):
        _refuse("not an object", pattern)
    if len(dump_json(schema)) > MAX_SCHEMA_BYTES:
        _refuse("too large", pattern)
    _Expansion(schema, pattern).measure()
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as error:
        msg = "declared schema is not one this station evaluates"
        raise PolicyRefused(msg, output=pattern, reason="not a JSON Schema, draft 2020-12") from error
    return Checker(schema=schema, _validator=Draft202012Validator(schema, registry=Registry()))


def safe_pattern(text: str) -> bool:
    """Whether a regular expression is matched in linear time by a backtracking engine.

    Anchored at its start, without groups and alternatives, and with at most one repetition of variable length.
    """
    if not text.startswith("^") or len(text) > _LONGEST_PATTERN:
        return False
    at, variable = 1, 0
    while at < len(text):
        if text[at:] == "$":
            break
        atom = _ATOM.match(text, at)
        if atom is None:
            return False
        at = atom.end()
        if times := _TIMES.match(text, at):
            at = times.end()
        elif many := _RANGE.match(text, at):
            at, variable = many.end(), variable + 1
    return variable <= 1


class _Expansion:
    """Measures a schema as if every reference were written out."""

    def __init__(self, root: Mapping[str, Json], pattern: str) -> None:
        self._root, self._pattern = root, pattern
        self._sizes: dict[str, int] = {}
        self._open: set[str] = set()

    def measure(self) -> None:
        if self._size(dict(self._root)) > MAX_EXPANSION:
            _refuse("too large once its references are followed", self._pattern)

    def _size(self, node: Json) -> int:
        if isinstance(node, list):
            return 1 + sum(map(self._size, node))
        if not isinstance(node, dict):
            return 1
        return 1 + sum(self._keyword(key, value) for key, value in node.items())

    def _keyword(self, key: str, value: Json) -> int:
        if key in _UNSUPPORTED:
            _refuse(f"uses {key}", self._pattern)
        if key == "$schema" and value != _DRAFT:
            _refuse("of another draft than 2020-12", self._pattern)
        if key == "pattern":
            self._need_safe(value)
        if key == "$ref":
            return self._target(value)
        if key in _QUOTING:
            return 0
        if key in _NAMED and isinstance(value, dict):  # the keys are the document's or the author's, no keywords
            sizes = [self._size(inner) for inner in value.values()]
            return 0 if key in _UNREACHED else sum(sizes)
        return self._size(value)

    def _need_safe(self, value: Json) -> None:
        if not isinstance(value, str) or not safe_pattern(value):
            _refuse("pattern is not '^', then single characters, at most one of them repeated variably", self._pattern)

    def _target(self, reference: Json) -> int:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            _refuse("refers outside itself", self._pattern)
        if reference in self._sizes:
            return self._sizes[reference]
        if reference in self._open:
            _refuse("refers to itself", self._pattern)
        self._open.add(reference)
        node: Json = dict(self._root)
        for step in reference[2:].split("/"):
            if not isinstance(node, dict) or step not in node:
                _refuse("refers to what is not there", self._pattern)
            node = node[step]
        self._sizes[reference] = size = self._size(node)
        self._open.discard(reference)
        return size


def _refuse(reason: str, pattern: str) -> NoReturn:
    msg = "declared schema is not one this station evaluates"
    raise PolicyRefused(msg, output=pattern, reason=reason)
