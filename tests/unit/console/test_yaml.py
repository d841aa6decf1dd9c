"""The files that people edit: what is read, what is refused, and how clearly."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import console.yaml
from console.problems import Problem, first_of
from console.yaml import Edited, Unreadable, read_edited, read_yaml
from security.encoding import Json
from security.errors import PhtError

SCHEMA: dict[str, Json] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "dependentRequired": {"user": ["password"]},
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$", "description": "a name of a-z"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "kind": {"enum": ["one", "two"]},
        "flag": {"type": "boolean"},
        "words": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "user": {"type": "string"},
        "password": {"type": "string"},
        "group": {
            "type": "object",
            "description": "some things by name",
            "propertyNames": {"pattern": "^[a-z]+$"},
            "additionalProperties": {"type": "object", "properties": {"inner": {"$ref": "#/$defs/path"}}},
        },
    },
    "$defs": {"path": {"type": "string", "minLength": 1}},
}


def wrong(text: str) -> Problem:
    found = read_edited(text.encode(), SCHEMA)
    assert not isinstance(found, Edited)
    return found[0]


def test_values_are_those_that_people_mean() -> None:
    text = """\
name: none
user: no
password: "1"
flag: true
count: 09
words: [~x, 1.2.3, 2026-01-01, 0x10, "null", yes, '']
group: {}
"""
    found = read_edited(text.encode(), SCHEMA)
    assert isinstance(found, Edited)
    assert found.value == {
        "name": "none",
        "user": "no",
        "password": "1",
        "flag": True,
        "count": 9,
        "words": ["~x", "1.2.3", "2026-01-01", "0x10", "null", "yes", ""],
        "group": {},
    }
    assert (found.lines["flag",], found.lines["words", 2]) == (4, 6)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: A\n", "line 1: name: is 'A', but should be a name of a-z"),
        ("name: a\ncount: 0\n", "line 2: count: is 0, but should be at least 1"),
        ("name: a\ncount: 10\n", "line 2: count: is 10, but should be at most 9"),
        ("name: a\ncount: many\n", "line 2: count: is 'many', but should be a whole number"),
        ("name: a\nkind: three\n", "line 2: kind: is 'three', but should be one of one, two"),
        ("name: a\nflag: yes\n", "line 2: flag: is 'yes', but should be true or false"),
        ("name: a\nwords: x\n", "line 2: words: is 'x', but should be a list"),
        ("name: a\nwords: []\n", "line 2: words: is an empty list, but should be a list of 1 or more"),
        (
            "name: a\nwords:\n  - x\n  - 7\n",
            "line 4: words[1]: is 7, but should be text, in quotes if it looks like another type",
        ),
        ("name: a\nuser: u\n", "line 2: user: needs 'password' as well"),
        (
            "name: a\ngroup: {a: {inner: ''}}\n",
            "line 2: group.a.inner: is '', but should be 1 or more characters long",
        ),
        ("name: a\ngroup: {A1: {}}\n", "line 2: group: cannot be called 'A1'"),
        ("nome: a\n", "line 1: nome: is not a field of this file (did you mean 'name'?)"),
        ("flag: true\n", "line 1: name: is missing (it is a name of a-z)"),
        ("- name\n", "line 1: is a list, but should be a group of fields"),
    ],
)
def test_what_is_wrong_is_told_in_words(text: str, told: str) -> None:
    assert str(wrong(text)) == told


def test_what_is_said_where_a_password_belongs_is_not_repeated() -> None:
    assert "123456" not in str(wrong("name: a\nuser: u\npassword: 123456\n"))


def test_an_error_tells_the_first_problem_and_how_many_there_are() -> None:
    found = read_edited(b"nome: a\ncount: 0\n", SCHEMA)
    assert not isinstance(found, Edited)
    told = first_of(found)
    assert (told["line"], told["others"]) == (1, 2)
    alone = first_of(found[:1])
    assert alone["others"] is None
    assert "others" not in str(PhtError("no", file="x", problem=alone["problem"], others=alone["others"]))


def test_t23_a_billion_laughs_is_refused_before_it_grows() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(20)]
    with pytest.raises(Unreadable):
        read_yaml("\n".join(lines).encode())


def read_or_refused(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        value, lines = read_yaml(data)
        assert lines[()] >= 1
        assert value == read_yaml(data)[0]


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_or_refused(data)


NEAR = st.text(alphabet="a:[]{}-\n\t \"'&*!|>%@#?,<1\ufeff", max_size=60)


@given(NEAR)
def test_any_near_yaml_is_read_or_refused(text: str) -> None:
    read_or_refused(text.encode())


@given(NEAR)
def test_what_a_slower_parser_reads_has_the_same_value(text: str) -> None:
    """Not every machine has the quick one. The few things that only one of them reads are no file that people write."""
    with contextlib.suppress(Unreadable, yaml.YAMLError):
        slowly, _ = console.yaml._Reader(text, yaml.SafeLoader).document()
        assert read_yaml(text.encode())[0] == slowly


@pytest.mark.parametrize("text", ["name: a\n\tcount: 1\n", "name: 'a\n", "a: [1, 2\n", "a: b: c\n", "a: @b\n", "%b\n"])
def test_what_is_no_yaml_is_told_in_the_same_words_everywhere(text: str) -> None:
    with pytest.raises(yaml.YAMLError) as slowly:
        console.yaml._Reader(text, yaml.SafeLoader).document()
    assert getattr(slowly.value, "problem") in str(wrong(text))  # noqa: B009 - not of every error


@pytest.mark.parametrize("name", ["train_builder/templates/rounds/train.yaml", "examples/breast-cancer/train.yaml"])
def test_lines_are_the_same_with_a_slower_parser(name: str) -> None:
    text = (Path(__file__).parents[3] / name).read_text()
    assert console.yaml._QUICK is not yaml.SafeLoader
    assert read_yaml(text.encode()) == console.yaml._Reader(text, yaml.SafeLoader).document()
