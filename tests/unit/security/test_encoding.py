"""JSON has one reading, and a field is what was asked for or is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from security.encoding import (
    MAX_DEPTH,
    MAX_NUMBER,
    Fields,
    Json,
    dump_json,
    dump_pretty,
    parse_json,
    parse_time,
    print_time,
)
from security.errors import MalformedJson, MalformedStatement


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"null", None),
        (b" \t\r\n{} ", {}),
        (b'{"a":[1,-1,true,false,null,"x",1.5,-0]}', {"a": [1, -1, True, False, None, "x", 1.5, 0]}),
        (b"9007199254740992", MAX_NUMBER),
        (b"-9007199254740992", -MAX_NUMBER),
        ('"\N{GRINNING FACE}é"'.encode(), "\N{GRINNING FACE}é"),
        (rb'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        ('{"é":1,"e\u0301":2}'.encode(), {"é": 1, "e\u0301": 2}),
        (b'"' + b"[" * 100 + b'"', "[" * 100),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, ...),
    ],
)
def test_what_has_one_reading_is_read(raw: bytes, expected: object) -> None:
    found = parse_json(raw)
    assert expected is ... or (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{}{}",
        b"{} x",
        b"[1,]",
        b"{'a':1}",
        b"{a:1}",
        b"[01]",
        b"[+1]",
        b"[.5]",
        b"[1.]",
        b"[0x1]",
        b"// c\n{}",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\n"',
        b'"\\x41"',
        b'["a" "b"]',
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":{"a":1,"a":2}}',
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b"[-1e999]",
        b"9007199254740993",
        b"-9007199254740993",
        b"1" * 5000,
        rb'"\ud800"',
        rb'["\udc00"]',
        rb'{"\ud800":1}',
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
        b"[" * 1_000_000,
        b"]" * 100 + b"[" * (MAX_DEPTH + 101),
    ],
)
def test_t23_what_two_parsers_might_read_differently_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedJson) as caught:
        parse_json(raw)
    assert caught.value.code == "malformed.json"


def test_t17_a_document_has_a_limit() -> None:
    assert parse_json(b'"abc"', limit=5) == "abc"
    with pytest.raises(MalformedJson, match="too long"):
        parse_json(b'"abc"', limit=4)


def test_what_is_printed_is_always_the_same() -> None:
    one, other = {"b": 1, "a": ["é", None]}, {"a": ["é", None], "b": 1}
    assert dump_json(one) == dump_json(other) == '{"a":["é",null],"b":1}'.encode()
    assert dump_pretty(one) == dump_pretty(other) == '{\n  "a": [\n    "é",\n    null\n  ],\n  "b": 1\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        dump_json(float("nan"))


def taken(value: Json, take: Callable[[Fields], object]) -> object:
    return take(Fields({"it": value}, "document"))


@pytest.mark.parametrize(
    ("take", "good", "bad"),
    [
        (lambda f: f.text("it"), ["x", "x" * 4096, "\0"], ["", "x" * 4097, 1, None, ["x"], True, {}]),
        (lambda f: f.text("it", least=0, most=2), ["", "ab"], ["abc"]),
        (lambda f: f.number("it", least=1, most=3), [1, 2, 3], [0, 4, 1.0, 2.5, True, "1", None, [1]]),
        (lambda f: f.number("it", least=0), [0, MAX_NUMBER], [-1, False, 0.0]),
        (lambda f: f.flag("it"), [True, False], [0, 1, 0.0, "true", None, []]),
        (lambda f: f.mapping("it"), [{}, {"a": 1}], [[], "a", None, 1]),
        (lambda f: f.fields("it"), [{}, {"a": 1}], [[], "a", None, 1]),
        (lambda f: f.items("it", least=1, most=2), [[1], [1, 2]], [[], [1, 2, 3], {}, "ab", None]),
        (
            lambda f: f.texts("it", longest=2),
            [[], ["a", "ab"]],
            [["abc"], [""], [1], [None], [["a"]], "ab", {"a": "b"}],
        ),
        (lambda f: f.objects("it", most=1), [[], [{}]], [[{}, {}], [1], ["a"], [None], {}]),
        (lambda f: f.constant("it", "x"), ["x"], ["X", "x ", 1, None, ["x"], True]),
        (
            lambda f: f.time("it"),
            ["2026-01-31T12:00:00Z", "2028-02-29T23:59:59Z"],
            ["2026-01-31T12:00:00", "2026-01-31 12:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", 1, None],
        ),
    ],
)
def test_a_field_is_what_was_asked_for(take: Callable[[Fields], object], good: list[Json], bad: list[Json]) -> None:
    for value in good:
        taken(value, take)
    for value in bad:
        with pytest.raises(MalformedStatement) as caught:
            taken(value, take)
        assert caught.value.fields["field"] == "document.it" or "document.it[" in str(caught.value.fields["field"])


def test_a_field_is_taken_once_and_nothing_may_be_left() -> None:
    fields = Fields({"a": 1, "b": [{"c": 2}]}, "document")
    assert fields.has("a")
    assert fields.take("a") == 1
    assert not fields.has("a")
    with pytest.raises(MalformedStatement, match="field is missing"):
        fields.take("a")
    with pytest.raises(MalformedStatement) as caught:
        fields.end()
    assert (caught.value.message, caught.value.fields) == ("unknown field", {"field": "document.b"})
    (inner,) = fields.objects("b")
    fields.end()
    assert inner.where == "document.b[0]"
    with pytest.raises(MalformedStatement):
        inner.end()
    others: list[Json] = [[], "a", None, 1, True]
    for value in others:
        with pytest.raises(MalformedStatement):
            Fields(value, "document")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-31T12:00:00Z\n",
        "2026-01-31T12:00:00.5Z",
        "2026-01-31T12:00:00+00:00",
        "2026-01-31t12:00:00z",
        "2026-1-31T12:00:00Z",
        "02026-01-31T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-12-31T23:59:60Z",
        "2026-13-01T00:00:00Z",
        "202\N{FULLWIDTH DIGIT SIX}-01-31T12:00:00Z",
    ],
)
def test_a_time_has_one_spelling(text: str) -> None:
    with pytest.raises(MalformedStatement):
        parse_time(text)


def test_times_go_round_in_utc() -> None:
    moment = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)
    assert print_time(moment) == "2026-01-31T12:00:05Z"
    assert parse_time(print_time(moment)) == moment
    assert print_time(moment.astimezone(timezone(timedelta(hours=2)))) == "2026-01-31T12:00:05Z"
