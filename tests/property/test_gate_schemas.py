"""Compiled schemas say what `jsonschema` says, which is the reference here: of any schema stations evaluate, and any document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry

from security.encoding import Json
from station.errors import GateSchema, PolicyRefused
from station.gate.check import NEVER
from station.gate.schema import Checker, compile_schema
from tests.support.search import examples

NAMES: Final = ("a", "b", "n", "")
PATTERNS: Final = ("^a", r"^\d+$", "^[a-c]*1$", "^.b?$", r"^\w{2}", r"^\D$", "^$", "^x{1,3}$")
KINDS: Final = ("array", "boolean", "integer", "null", "number", "object", "string")

numbers = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([0.5, 1.0, -0.0, 2.5, 1e300, 5e-324, 0.1, 2**53, 1e16]),
    st.floats(allow_nan=False, allow_infinity=False),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.sampled_from(["", "a", "ab", "1", "12", "é", "a1\n", "x"]),
    st.text(max_size=3),
)
documents: st.SearchStrategy[Json] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)),
    max_leaves=12,
)
sizes = st.integers(0, 4)
names: st.SearchStrategy[Any] = st.lists(st.sampled_from(NAMES), max_size=3, unique=True)


def keywords(schemas: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Return schemas of every keyword, in any order: the first that is not satisfied is told."""
    listed = st.lists(schemas, min_size=1, max_size=3)
    named = st.dictionaries(st.sampled_from(NAMES), schemas, max_size=3)
    values: Mapping[str, st.SearchStrategy[Json]] = {
        "type": st.one_of(
            st.sampled_from(KINDS), st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True)
        ),
        "enum": st.lists(documents, max_size=4),
        "const": documents,
        "minimum": numbers,
        "maximum": numbers,
        "exclusiveMinimum": numbers,
        "exclusiveMaximum": numbers,
        "multipleOf": st.one_of(st.integers(1, 4), st.sampled_from([0.5, 0.1, 1e-300, 1.0, 1e300])),
        "minLength": sizes,
        "maxLength": sizes,
        "minItems": sizes,
        "maxItems": sizes,
        "minProperties": sizes,
        "maxProperties": sizes,
        "pattern": st.sampled_from(PATTERNS),
        "format": st.sampled_from(["date", "email"]),
        "required": names,
        "dependentRequired": st.dictionaries(st.sampled_from(NAMES), names, max_size=2),
        "$ref": st.sampled_from(["#/$defs/one", "#/$defs/two"]),
        "allOf": listed,
        "anyOf": listed,
        "oneOf": listed,
        "not": schemas,
        "if": schemas,
        "then": schemas,
        "else": schemas,
        "properties": named,
        "additionalProperties": schemas,
        "propertyNames": schemas,
        "dependentSchemas": named,
        "items": schemas,
        "prefixItems": listed,
        "contains": schemas,
        "minContains": sizes,
        "maxContains": sizes,
        "title": st.just("a title"),
        "x-unknown": documents,
    }
    chosen = st.lists(st.sampled_from(sorted(values)), max_size=5, unique=True)
    return chosen.flatmap(lambda keys: st.fixed_dictionaries({key: values[key] for key in keys}))


leaves: st.SearchStrategy[Json] = st.one_of(st.booleans(), st.just({}), keywords(st.booleans()))
schemas = keywords(keywords(leaves))


def told(checker: Checker, document: Json) -> str | None:
    try:
        checker.check(document)
    except GateSchema as error:
        return str(error.fields["rule"])
    return None


# --- Each keyword by itself, and those that belong together -------------------------------------------------------------

INNER: Final[tuple[Json, ...]] = (True, False, {}, {"type": "integer"}, {"minimum": 1}, {"required": ["a"]})
BOUNDS: Final[tuple[Json, ...]] = (-1, 0, 1, 0.5, 2.5, 2**53, 1e300)
SIZES: Final[tuple[Json, ...]] = (0, 1, 2, 4)
LISTS: Final[tuple[Json, ...]] = tuple([one, other] for one in INNER for other in INNER)
NAMED: Final[tuple[Json, ...]] = tuple({"a": one, "n": other} for one in INNER for other in INNER)
EACH: Final[Mapping[str, tuple[Any, ...]]] = {
    "type": (*KINDS, ["string", "null"], ["integer", "object", "array"]),
    "enum": ([], [1], [1.0, "a"], [None, True, 0], [False, 1], [[], {}], [{"a": 1}, [1, 2]]),
    "const": (None, True, False, 0, 1, 1.0, -0.0, 2**53, "", "a", [], [1], [True], {}, {"a": 1}, {"a": 1.0}),
    "minimum": BOUNDS,
    "maximum": BOUNDS,
    "exclusiveMinimum": BOUNDS,
    "exclusiveMaximum": BOUNDS,
    "multipleOf": (1, 2, 3, 0.5, 0.1, 1e-300, 1.0, 1e300),
    "minLength": SIZES,
    "maxLength": SIZES,
    "minItems": SIZES,
    "maxItems": SIZES,
    "minProperties": SIZES,
    "maxProperties": SIZES,
    "pattern": PATTERNS,
    "format": ("date", "email"),
    "required": ([], ["a"], ["n", "a"], [""]),
    "dependentRequired": ({}, {"a": ["b"]}, {"n": []}, {"a": ["n"], "n": ["a"]}),
    "$ref": ("#/$defs/one", "#/$defs/two"),
    "allOf": LISTS,
    "anyOf": LISTS,
    "oneOf": LISTS,
    "not": INNER,
    "if": INNER,
    "then": INNER,
    "else": INNER,
    "properties": NAMED,
    "additionalProperties": INNER,
    "propertyNames": (*INNER, {"pattern": "^a"}, {"maxLength": 0}, {"enum": ["a", ""]}),
    "dependentSchemas": NAMED,
    "items": INNER,
    "prefixItems": LISTS,
    "contains": INNER,
    "minContains": SIZES,
    "maxContains": SIZES,
}
TOGETHER: Final = (
    ("if", "then"),
    ("if", "else"),
    ("contains", "minContains"),
    ("contains", "maxContains"),
    ("prefixItems", "items"),
    ("properties", "additionalProperties"),
    ("type", "enum"),
)
SCALARS: Final[tuple[Json, ...]] = (
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, 1.0, -0.0, 2.5, 0.1, 0.3, 1e16, 1e300, 5e-324, 2**53),
    *("", "a", "ab", "abc1", "1", "12", "é", "a1\n", "x", "xxx", "b"),
)
ROOMS: Final[tuple[Any, ...]] = (
    *([], [1, 2], [True, 1], ["a", 1, None], [1, 1, 1, 1, 1], [[1], {}]),
    *({}, {"": 0}, {"n": "x"}, {"b": [], "n": {}}),
)
DOCUMENTS: Final[tuple[Any, ...]] = (
    *SCALARS,
    *([one] for one in SCALARS),
    *({"a": one} for one in SCALARS),
    *({"n": 1, "a": one, "b": None} for one in SCALARS[::3]),
    *ROOMS,
)


def single() -> list[dict[str, Json]]:
    return [{keyword: value} for keyword, values in EACH.items() for value in values]


def several() -> list[dict[str, Json]]:
    return [{one: left, other: right} for one, other in TOGETHER for left in EACH[one] for right in EACH[other]]


@pytest.mark.parametrize("few", [single, several])
def test_each_keyword_says_of_every_kind_of_document_what_the_reference_says(
    few: Callable[[], list[dict[str, Json]]],
) -> None:
    for schema in few():
        agree({**schema, "$defs": {"one": {"type": "integer"}, "two": {"required": ["a"]}}}, DOCUMENTS)


# --- Any of them, in each other -----------------------------------------------------------------------------------------


@settings(
    max_examples=examples(200), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(schemas, keywords(leaves), keywords(st.booleans()), st.lists(documents, min_size=1, max_size=8))
def test_a_compiled_schema_says_what_the_reference_says(root: Json, one: Json, two: Json, given_: list[Json]) -> None:
    assert isinstance(root, dict)
    assert isinstance(two, dict)
    whole: dict[str, Json] = {**root, "$defs": {"one": one, "two": {key: two[key] for key in two if key != "$ref"}}}
    try:
        agree(whole, given_)
    except PolicyRefused:
        assume(False)
        raise


def agree(whole: dict[str, Json], given_: Sequence[Json]) -> None:
    """Check that a compiled schema says of documents what the reference says.

    Raises:
        PolicyRefused: it is one that stations do not evaluate.
    """
    checker = compile_schema(whole, pattern="a.json")
    reference = Draft202012Validator(whole, registry=Registry())
    for document in given_:
        expected = [str(error.validator or NEVER) for error in _errors(reference, document)]
        found = told(checker, document)
        if "additionalProperties" in str(whole):  # the reference looks at those in no order
            assert (found in expected) if expected else found is None, (whole, document)
        else:
            assert found == (expected[0] if expected else None), (whole, document)


def _errors(reference: Draft202012Validator, document: Json) -> list[ValidationError]:
    return list(reference.iter_errors(document))
