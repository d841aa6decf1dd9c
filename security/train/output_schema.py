"""Which JSON Schemas may an output declare, and how much work is it to validate a document against one?

JSON Schema draft 2020-12, reduced to what terminates: schema and document come from the same author, and a station
evaluates both. A pattern that backtracks for years, references that double at every step, or keywords of quadratic cost
would stall it (attack T19). No reference leaves the schema. Checked by owners before departure, by stations before a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from security.encoding import Json, dump_json, levels_of
from security.errors import InvalidInput

MAX_SCHEMA_BYTES: Final = 64 << 10
MAX_EXPANSION: Final = 5_000
"""Nodes of a schema after every reference is followed."""

_LONGEST_PATTERN: Final = 200
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_NAMED: Final = frozenset({"$defs", "definitions", "properties", "dependentSchemas"})
_UNREACHED: Final = frozenset({"$defs", "definitions"})  # counted where they are referred to
_UNSUPPORTED: Final = frozenset(
    {"$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$anchor", "$id", "patternProperties"}
    # evaluated by comparing every two items, and by evaluating everything below again at every level
    | {"uniqueItems", "unevaluatedItems", "unevaluatedProperties"}
)
_SILENT: Final = frozenset({"default", "examples"})
_CONSTANTS: Final = frozenset({"const", "enum"})
_NAMES: Final = frozenset({"required", "dependentRequired"})
_NAMES_PER_LOOK: Final = 4  # asking for a name is that much cheaper than following a keyword
_FOR_EACH: Final = frozenset({"items", "additionalProperties", "additionalItems", "propertyNames", "contains"})
_ATOM = re.compile(r"\\[dDwWsS.\\/+*?^$|(){}\[\]-]|\[(?:\\.|[^\\\]])+\]|[^\\\[\](){}|*+?^$]")
_TIMES = re.compile(r"\{\d{1,4}\}")
_RANGE = re.compile(r"[*+?]|\{\d{1,4},\d{0,4}\}")


@dataclass(frozen=True, slots=True)
class Weight:
    """How often the nodes of a schema look at a document: ``once``, and once for ``each`` value in it, at most."""

    once: int = 0
    each: int = 0

    def __add__(self, other: Weight) -> Weight:
        return Weight(self.once + other.once, self.each + other.each)

    def repeated(self) -> Weight:
        """Return the weight below a keyword that looks at every child."""
        return Weight(0, self.once + self.each)

    def times(self, values: int) -> int:
        """Return the looks at a document of so many values, at most."""
        return self.once + self.each * values


def cost_of(schema: Json) -> Weight:
    """Examine a declared schema, and tell the work of holding a document against it.

    Raises:
        InvalidInput: too large, or it uses what no station evaluates; the field ``reason`` tells which.
    """
    if not isinstance(schema, dict):
        _refuse("not an object")
    if len(dump_json(schema)) > MAX_SCHEMA_BYTES:
        _refuse("too large")
    try:
        cost = _Expansion(schema).measured(dict(schema))
    except RecursionError:
        _refuse("too deep")
    if cost.times(1) > MAX_EXPANSION:
        _refuse("too large once its references are followed")
    return cost


def values_in(document: Json) -> int:
    """Count the values in a document, itself included."""
    return sum(map(len, levels_of(document)))


def safe_pattern(text: str) -> bool:
    """Whether a regular expression is matched in linear time by a backtracking engine: see `pattern_steps`."""
    return pattern_steps(text) is not None


def pattern_steps(text: str) -> tuple[tuple[str, str], ...] | None:
    """Take a regular expression apart into what matches one character, and how often it is repeated.

    None if it is not one that stations evaluate: anchored at its start, without groups and alternatives, and with at most one
    repetition of variable length. Its end is ``("$", "")``, if it has one.
    """
    if not text.startswith("^") or len(text) > _LONGEST_PATTERN:
        return None
    at, variable, steps = 1, 0, []
    while at < len(text):
        if text[at:] == "$":
            steps.append(("$", ""))
            break
        atom = _ATOM.match(text, at)
        if atom is None:
            return None
        at, times = atom.end(), ""
        if found := _TIMES.match(text, at) or _RANGE.match(text, at):
            at, times = found.end(), found[0]
            variable += _TIMES.fullmatch(times) is None
        steps.append((atom[0], times))
    return tuple(steps) if variable <= 1 else None


class _Expansion:
    """Measures a schema as if every reference were written out."""

    def __init__(self, root: Mapping[str, Json]) -> None:
        self._root = root
        self._costs: dict[str, Weight] = {}
        self._open: set[str] = set()

    def measured(self, node: Json) -> Weight:
        cost = Weight(once=1)
        if isinstance(node, list):
            for inner in node:
                cost += self.measured(inner)
        elif isinstance(node, dict):
            for key, value in node.items():
                cost += self._keyword(key, value)
        return cost

    def _keyword(self, key: str, value: Json) -> Weight:
        if key in _UNSUPPORTED:
            _refuse(f"uses {key}")
        if key == "$schema" and value != _DRAFT:
            _refuse("of another draft than 2020-12")
        if key == "pattern" and not (isinstance(value, str) and safe_pattern(value)):
            _refuse("pattern is not '^', then single characters, at most one of them repeated variably")
        if key == "$ref":
            return self._target(value)
        if key in _SILENT:
            return Weight()
        if key in _NAMES:
            return Weight(once=1 + values_in(value) // _NAMES_PER_LOOK)
        if key in _CONSTANTS:
            return Weight(once=1 + _compared(value if key == "enum" else [value]))
        if key in _NAMED and isinstance(value, dict):  # the keys are the document's or the author's, no keywords
            costs = [self.measured(inner) for inner in value.values()]
            return Weight() if key in _UNREACHED else sum(costs, Weight())
        cost = self.measured(value)
        return cost.repeated() if key in _FOR_EACH else cost

    def _target(self, reference: Json) -> Weight:
        if not isinstance(reference, str) or not reference.startswith("#/") or {"~", "%"} & set(reference):
            _refuse("refers outside itself")
        if reference in self._costs:
            return self._costs[reference]
        if reference in self._open:
            _refuse("refers to itself")
        self._open.add(reference)
        node: Json = dict(self._root)
        for step in reference[2:].split("/"):
            if not isinstance(node, dict) or step not in node:
                _refuse("refers to something that does not exist")
            node = node[step]
        self._costs[reference] = cost = self.measured(node)
        self._open.discard(reference)
        return cost


def _compared(constants: Json) -> int:
    """Count what is compared value by value: a text or a number is found among any number of them at once."""
    listed = constants if isinstance(constants, list) else []
    return sum(values_in(one) for one in listed if isinstance(one, (list, dict)))


def _refuse(reason: str) -> NoReturn:
    msg = "the declared schema is not one that stations evaluate"
    raise InvalidInput(msg, reason=reason)
