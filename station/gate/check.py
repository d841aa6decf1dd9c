"""Does a value satisfy a JSON Schema, and if not, by which keyword?

A schema is compiled once: every keyword of draft 2020-12 that a declared schema can have (`security.train.output_schema`)
becomes a function of a value, which calls those of the schemas below it. Keywords are asked in the order they are written in,
and the first that is not satisfied is told, as `jsonschema` would: it is the reference of the tests.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, Final, TypeAlias

from security.encoding import Json

Check: TypeAlias = Callable[[Any], str | None]
"""Returns the keyword that a value does not satisfy."""

NEVER: Final = "false"
"""What is told where the schema is ``false``, which no value satisfies."""

_NUMBER: Final = frozenset({int, float})
_TYPES: Final[Mapping[str, frozenset[type]]] = {
    "array": frozenset({list}),
    "boolean": frozenset({bool}),
    "integer": frozenset({int}),  # and the floats that are whole
    "null": frozenset({type(None)}),
    "number": _NUMBER,
    "object": frozenset({dict}),
    "string": frozenset({str}),
}


class Compiler:
    """Compiles a schema and what it refers to within itself.

    Raises, as it compiles, what Python does for a schema of the wrong shape: it has been held against the meta-schema before.
    """

    def __init__(self, root: Mapping[str, Json], examine: Callable[[Mapping[str, Json]], None]) -> None:
        """`examine` refuses what is referred to and is no schema."""
        self._root, self._examine = root, examine
        self._targets: dict[str, Check] = {}

    def check(self, schema: Json) -> Check:
        """Compile one schema, of which references lead to the root."""
        if isinstance(schema, bool):
            return _always if schema else _never
        if not isinstance(schema, dict):
            msg = "not a schema"
            raise TypeError(msg)
        checks = [made for key, make in self._keywords(schema) if (made := make(schema[key], schema)) is not None]
        return _every(checks)

    def _keywords(self, schema: Mapping[str, Json]) -> Iterable[tuple[str, Callable[..., Check | None]]]:
        for key in schema:
            if key in _PLAIN:
                yield key, _PLAIN[key]
            elif key in _NESTED:
                yield key, getattr(self, _NESTED[key])

    def _ref(self, reference: str, _: Mapping[str, Json]) -> Check:
        if reference not in self._targets:
            node: Any = self._root
            for step in reference[2:].split("/"):
                node = node[step]
            if isinstance(node, dict):
                self._examine(node)
            self._targets[reference] = self.check(node)
        return self._targets[reference]

    def _all_of(self, schemas: list[Json], _: Mapping[str, Json]) -> Check:
        return _every([self.check(one) for one in schemas])

    def _any_of(self, schemas: list[Json], _: Mapping[str, Json]) -> Check:
        checks = [self.check(one) for one in schemas]
        return lambda value: None if any(check(value) is None for check in checks) else "anyOf"

    def _one_of(self, schemas: list[Json], _: Mapping[str, Json]) -> Check:
        checks = [self.check(one) for one in schemas]
        return lambda value: None if sum(check(value) is None for check in checks) == 1 else "oneOf"

    def _not(self, schema: Json, _: Mapping[str, Json]) -> Check:
        check = self.check(schema)
        return lambda value: "not" if check(value) is None else None

    def _if(self, schema: Json, beside: Mapping[str, Json]) -> Check:
        condition, then, other = (
            self.check(one) for one in (schema, beside.get("then", True), beside.get("else", True))
        )
        return lambda value: then(value) if condition(value) is None else other(value)

    def _properties(self, schemas: dict[str, Json], _: Mapping[str, Json]) -> Check:
        checks = [(name, self.check(one)) for name, one in schemas.items()]

        def properties(value: Json) -> str | None:
            if type(value) is dict:
                for name, check in checks:
                    if name in value and (failed := check(value[name])):
                        return failed
            return None

        return properties

    def _additional(self, schema: Json, beside: Mapping[str, Any]) -> Check | None:
        known, check = frozenset(beside.get("properties", ())), self.check(schema)
        if schema is False:
            return lambda value: "additionalProperties" if type(value) is dict and not value.keys() <= known else None

        def additional(value: Json) -> str | None:
            if type(value) is dict:
                for name, one in value.items():
                    if name not in known and (failed := check(one)):
                        return failed
            return None

        return additional

    def _names(self, schema: Json, _: Mapping[str, Json]) -> Check:
        check = self.check(schema)
        return lambda value: next(filter(None, map(check, value)), None) if type(value) is dict else None

    def _dependent(self, schemas: dict[str, Json], _: Mapping[str, Json]) -> Check:
        checks = [(name, self.check(one)) for name, one in schemas.items()]

        def dependent(value: Json) -> str | None:
            if type(value) is dict:
                for name, check in checks:
                    if name in value and (failed := check(value)):
                        return failed
            return None

        return dependent

    def _items(self, schema: Json, beside: Mapping[str, Any]) -> Check:
        first, check = len(beside.get("prefixItems", ())), self.check(schema)
        if schema is False:
            return lambda value: "items" if type(value) is list and len(value) > first else None

        def items(value: Json) -> str | None:
            if type(value) is list:
                for one in value[first:] if first else value:
                    if failed := check(one):
                        return failed
            return None

        return items

    def _prefix(self, schemas: list[Json], _: Mapping[str, Json]) -> Check:
        checks = [self.check(one) for one in schemas]

        def prefix(value: Json) -> str | None:
            if type(value) is list:
                for check, one in zip(checks, value, strict=False):
                    if failed := check(one):
                        return failed
            return None

        return prefix

    def _contains(self, schema: Json, beside: Mapping[str, Any]) -> Check:
        check, least, most = self.check(schema), beside.get("minContains", 1), beside.get("maxContains")

        def contains(value: Json) -> str | None:
            if type(value) is list:
                found = 0
                for one in value:
                    found += check(one) is None
                    if most is not None and found > most:
                        return "maxContains"
                if found < least:
                    return "minContains" if found else "contains"
            return None

        return contains


def _always(_: Json) -> None:
    return None


def _never(_: Json) -> str:
    return NEVER


def _every(checks: list[Check]) -> Check:
    """All of them; the first that fails is told. Few are the rule, and a loop costs as much as a check."""
    wanted = [one for one in checks if one is not _always]
    if not wanted:
        return _always
    if len(wanted) == 1:
        return wanted[0]
    first, second, *more = wanted
    if not more:
        return lambda value: first(value) or second(value)
    third, *more = more
    if not more:
        return lambda value: first(value) or second(value) or third(value)

    def every(value: Json) -> str | None:
        for check in wanted:
            if failed := check(value):
                return failed
        return None

    return every


def _type(names: str | list[str], _: Mapping[str, Json]) -> Check:
    listed = [names] if isinstance(names, str) else names
    allowed = frozenset[type]().union(*(_TYPES[one] for one in listed))
    if "integer" in listed and float not in allowed:
        return lambda value: None if type(value) in allowed or (type(value) is float and value.is_integer()) else "type"
    return lambda value: None if type(value) in allowed else "type"


def _enum(constants: list[Json], _: Mapping[str, Json]) -> Check:
    return _among(constants, "enum")


def _const(constant: Json, _: Mapping[str, Json]) -> Check:
    return _among([constant], "const")


def _among(constants: list[Json], keyword: str) -> Check:
    """Scalars are found at once; ``true`` is not 1, but 1.0 is."""
    scalars = frozenset(_scalar(one) for one in constants if not isinstance(one, (list, dict)))
    others = [one for one in constants if isinstance(one, (list, dict))]

    def among(value: Json) -> str | None:
        if isinstance(value, (list, dict)):
            return None if any(_equal(one, value) for one in others) else keyword
        return None if _scalar(value) in scalars else keyword

    return among


def _scalar(value: Json) -> object:
    return (value,) if type(value) is bool else value


def _equal(one: Json, other: Json) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, (list, dict)) or isinstance(other, (list, dict)):
        return False
    return bool(_scalar(one) == _scalar(other))


def _number(keyword: str, fails: Callable[[Any, Any], bool]) -> Callable[..., Check]:
    def make(bound: float, _: Mapping[str, Json]) -> Check:
        return lambda value: keyword if type(value) in _NUMBER and fails(value, bound) else None

    return make


def _sized(
    keyword: str, kind: type[str | list[Json] | dict[str, Json]], fails: Callable[[int, Any], bool]
) -> Callable[..., Check]:
    def make(bound: float, _: Mapping[str, Json]) -> Check:
        return lambda value: keyword if type(value) is kind and fails(len(value), bound) else None

    return make


def _no_multiple(value: float, of: float) -> bool:
    if not isinstance(of, float):
        return value % of != 0
    quotient = value / of
    try:
        return int(quotient) != quotient
    except OverflowError:
        return (Fraction(value) / Fraction(of)).denominator != 1


def _pattern(text: str, _: Mapping[str, Json]) -> Check:
    found = re.compile(text).search
    return lambda value: "pattern" if type(value) is str and found(value) is None else None


def _required(names: list[str], _: Mapping[str, Json]) -> Check:
    wanted = frozenset(names)
    return lambda value: "required" if type(value) is dict and not wanted <= value.keys() else None


def _dependent_required(names: dict[str, list[str]], _: Mapping[str, Json]) -> Check:
    def dependent(value: Json) -> str | None:
        lacks = type(value) is dict and any(
            name in value and not value.keys() >= set(wanted) for name, wanted in names.items()
        )
        return "dependentRequired" if lacks else None

    return dependent


_PLAIN: Final[Mapping[str, Callable[..., Check]]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "minimum": _number("minimum", operator.lt),
    "maximum": _number("maximum", operator.gt),
    "exclusiveMinimum": _number("exclusiveMinimum", operator.le),
    "exclusiveMaximum": _number("exclusiveMaximum", operator.ge),
    "multipleOf": _number("multipleOf", _no_multiple),
    "minLength": _sized("minLength", str, operator.lt),
    "maxLength": _sized("maxLength", str, operator.gt),
    "minItems": _sized("minItems", list, operator.lt),
    "maxItems": _sized("maxItems", list, operator.gt),
    "minProperties": _sized("minProperties", dict, operator.lt),
    "maxProperties": _sized("maxProperties", dict, operator.gt),
    "pattern": _pattern,
    "required": _required,
    "dependentRequired": _dependent_required,
}
_NESTED: Final[Mapping[str, str]] = {
    "$ref": "_ref",
    "allOf": "_all_of",
    "anyOf": "_any_of",
    "oneOf": "_one_of",
    "not": "_not",
    "if": "_if",
    "properties": "_properties",
    "additionalProperties": "_additional",
    "propertyNames": "_names",
    "dependentSchemas": "_dependent",
    "items": "_items",
    "prefixItems": "_prefix",
    "contains": "_contains",
}
KEYWORDS: Final = _PLAIN.keys() | _NESTED.keys()
"""What a schema is made of; all else in it says nothing about values."""
