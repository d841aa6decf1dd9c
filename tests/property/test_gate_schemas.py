"""Compiled schemas say what `jsonschema` says, which is the reference here: of any schema stations evaluate, and any document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry

from security.encoding import Json
from station.errors import GateSchema, PolicyRefused
from station.gate.check import NEVER
from station.gate.schema import Checker, compile_schema

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


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(schemas, keywords(leaves), keywords(st.booleans()), st.lists(documents, min_size=1, max_size=8))
def test_a_compiled_schema_says_what_the_reference_says(root: Json, one: Json, two: Json, given_: list[Json]) -> None:
    assert isinstance(root, dict)
    assert isinstance(two, dict)
    whole: dict[str, Json] = {**root, "$defs": {"one": one, "two": {key: two[key] for key in two if key != "$ref"}}}
    try:
        checker = compile_schema(whole, pattern="a.json")
    except PolicyRefused:
        assume(False)
        raise
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
