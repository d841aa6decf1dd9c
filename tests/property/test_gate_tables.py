"""A table leaves as if each row had been read by itself, printed, and held against its schema by `jsonschema`.

That is how the gate did it before it was fast, and is the reference here: the same bytes, or the same refusal.
"""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from security.archive import Member
from security.encoding import MAX_NUMBER, Json, dump_json
from security.train.manifest import Output
from station.errors import GateSchema, GateType, PolicyRefused
from station.gate.anew import pieces_of
from station.gate.schema import checker_of
from tests.support.search import examples

WORDS: Final = (
    "",
    "f",
    "m",
    "word",
    "two words",
    "é",
    "C32.10",
    "2024-01-31",
    "P0000001",
    "1.2.3",
    "a",
    "0abc",
    "x\ty",
    "-",
    ".5",
    "1.",
)
NUMBERS: Final = (
    *(
        "0",
        "-0",
        "0.0",
        "-0.0",
        "1",
        "1.0",
        "-1",
        "1.50",
        "-2.50",
        "0.5",
        "00.5",
        "007",
        "1e3",
        "1E-7",
        "0.00001",
        "0.0001",
    ),
    *("10.00001", "120", "121", "120.0", "120.5", "119.9", "18", "17.999", "9007199254740992", "9007199254740993"),
    *(
        "123456789012345",
        "1234567890.5",
        "999999999.999999",
        "0.1234567",
        "0.123456789012345678",
        "1e400",
        "3.10000000000000000000000000000000000000",
    ),
)
PLAIN: Final = ("1", "18", "120", "0.5", "f", "m", "word", "")

plain_cells = st.one_of(
    st.sampled_from(PLAIN), st.integers(-200, 200).map(str), st.floats(-200, 200).map(lambda one: f"{one:.2f}")
)
cells = st.one_of(
    plain_cells,
    st.sampled_from(WORDS + NUMBERS),
    st.from_regex(r"-?[0-9]{1,17}(\.[0-9]{1,17})?", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text('ab1,"\n\r .', max_size=4),
)
bounds = st.one_of(st.integers(-130, 130), st.sampled_from([0, 0.5, -0.5, 17.5, 120, 1e16, -1e16, 1e300, 1000]))


more_columns: st.SearchStrategy[Any] = st.sampled_from([True, False, {"maxLength": 3}])


def column(draw: st.DrawFn) -> Json:
    values: dict[str, st.SearchStrategy[Any]] = {
        "type": st.sampled_from(
            ["string", "number", "integer", ["number", "null"], ["string", "null"], ["integer", "string"]]
        ),
        "enum": st.lists(
            st.sampled_from(["f", "m", "1", 1, 1.0, 120, 0.5, None, True, "a,b", "007", "word"]), min_size=1, max_size=5
        ),
        "const": st.sampled_from(["f", 1, None]),
        "minimum": bounds,
        "maximum": bounds,
        "exclusiveMinimum": bounds,
        "exclusiveMaximum": bounds,
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(0, 8),
        "pattern": st.sampled_from(
            [r"^P\d{7}$", r"^\d{4}-\d{2}-\d{2}$", "^w", "^[^a]*d$", "^.*$", r"^\D+$", "^.{1,3}$", "^f$", r"^\w+"]
        ),
        "multipleOf": st.sampled_from([1, 0.5]),
        "anyOf": st.just([{"type": "number"}, {"minLength": 1}]),
        "format": st.just("date"),
    }
    keys = draw(st.lists(st.sampled_from(sorted(values)), max_size=3, unique=True))
    return {key: draw(values[key]) for key in keys}


@st.composite
def tables(draw: st.DrawFn) -> tuple[Json, bytes]:
    """Return a schema for rows, if any, and a table in some program's spelling."""
    header = draw(st.lists(st.sampled_from(["a", "b", "c", 'q"', "two\nlines"]), min_size=1, max_size=4, unique=True))
    schema: Json = None
    if draw(st.booleans()):
        schema = {"properties": {name: column(draw) for name in header if draw(st.booleans())}}
        more: dict[str, Json] = {
            "type": "object",
            "additionalProperties": draw(more_columns),
        }
        schema |= {key: more[key] for key in more if draw(st.booleans())}
        if draw(st.integers(0, 5)) == 0:
            schema |= draw(st.sampled_from([{"required": ["a"]}, {"maxProperties": 2}, {"not": {"required": ["c"]}}]))
    kind = draw(st.sampled_from([plain_cells, cells]))
    rows = draw(st.lists(st.lists(kind, min_size=len(header), max_size=len(header)), max_size=8))
    if rows and draw(st.integers(0, 9)) == 0:
        rows[-1] = rows[-1][1:]
    out = io.StringIO()
    quoting: Any = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(out, lineterminator=draw(st.sampled_from(["\n", "\r\n"])), quoting=quoting)
    writer.writerows([header, *rows * draw(st.sampled_from([1, 1, 40]))])
    text = out.getvalue()
    if draw(st.integers(0, 9)) == 0:
        text = draw(
            st.sampled_from([text[:-1], text + "\n", "\ufeff" + text, text.replace(",", ",\x01", 1), text + 'x"y\n'])
        )
    return schema, text.encode()


def by_rows(output: Output, data: bytes) -> bytes:
    """Read, print and check a table as slowly as possible.

    Raises:
        ValueError: it is no table; the keyword of its schema that a row does not satisfy.
    """
    text = data.decode().removeprefix("\ufeff")
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text):
        raise ValueError
    lines = io.StringIO(text, newline="")
    validator = Draft202012Validator(output.schema) if isinstance(output.schema, dict) else None
    out: list[str] = []
    header: list[str] | None = None
    try:
        for row in csv.reader(iter(lambda: _line(lines), ""), strict=True):
            values = [_value(one) for one in row]
            if header is None:
                header = [_ends(one) for one in row]
                values = [*header]
            elif len(values) != len(header):
                raise ValueError
            elif validator is not None:
                for error in validator.iter_errors(dict(zip(header, values, strict=True))):
                    raise ValueError(str(error.validator or "false"))
            out.append(",".join(_written(one) for one in values) or '""')
    except csv.Error as error:
        raise ValueError from error
    if not header or len(set(header)) != len(header):
        raise ValueError
    return "".join(one + "\n" for one in out).encode()


def _line(lines: io.StringIO) -> str:
    """Return up to a line feed: a carriage return alone ends no line."""
    found = ""
    while not found.endswith("\n") and (more := lines.readline()):
        found += more
    return found


def _ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _value(text: str) -> Json:
    if not text:
        return None
    if len(text) > 40 or re.fullmatch(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", text, re.ASCII) is None:
        return _ends(text)
    number = float(text)
    if re.fullmatch("-?[0-9]+", text):
        return int(text) if abs(int(text)) <= MAX_NUMBER else text
    if not math.isfinite(number):
        return text
    return int(number) if number.is_integer() and abs(number) <= MAX_NUMBER else number


def _written(value: Json) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return dump_json(value).decode()
    return '"' + value.replace('"', '""') + '"' if {",", '"', "\n"} & set(value) else value


def by_gate(output: Output, data: bytes) -> bytes:
    member = Member(path="t.csv", size=len(data), executable=False, open=lambda: io.BytesIO(data))
    try:
        return b"".join(pieces_of(member, output, checker_of(output)))
    except GateSchema as error:
        raise ValueError(str(error.fields["rule"])) from error
    except GateType as error:
        raise ValueError from error


def outcome(read: Any, output: Output, data: bytes) -> bytes | str:
    try:
        found: bytes = read(output, data)
    except ValueError as error:
        return str(error)
    return found


@settings(
    max_examples=examples(500), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(tables())
def test_a_table_is_printed_and_judged_as_row_by_row(table: tuple[Json, bytes]) -> None:
    schema, data = table
    output = Output(path="t.csv", media_type="text/csv", max_bytes=1 << 20, schema=schema)
    try:
        checker_of(output)
    except PolicyRefused:
        return
    assert outcome(by_gate, output, data) == outcome(by_rows, output, data)


@pytest.mark.parametrize("kind", ["number", "integer"])
@pytest.mark.parametrize("keyword", ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])
def test_a_number_around_a_bound_is_judged_as_by_itself(kind: str, keyword: str) -> None:
    for bound in (-120, -2.5, -1, 0, 0.5, 1, 119.5, 120):
        schema: dict[str, Json] = {"additionalProperties": {"type": kind, keyword: bound}}
        output = Output(path="t.csv", media_type="text/csv", max_bytes=1, schema=schema)
        for tenths in (-15, -10, -5, -1, 0, 1, 5, 10, 15):
            text = f"{bound + tenths / 10:.1f}"
            for one in (text, text.removesuffix(".0")):
                data = f"a,b\n{one},{one}\n".encode()
                assert outcome(by_gate, output, data) == outcome(by_rows, output, data), (schema, one)


near: st.SearchStrategy[Any] = st.one_of(st.integers(-120, 120), st.integers(-240, 240).map(lambda one: one / 2))


@settings(max_examples=examples(150), deadline=None)
@given(
    st.dictionaries(st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]), near, min_size=1),
    st.sampled_from(["number", "integer"]),
    st.lists(st.one_of(near.map(str), st.floats(-130, 130).map(lambda one: f"{one:.1f}")), min_size=1),
)
def test_a_number_found_plain_is_within_its_bounds_and_printed_so(
    bounds: dict[str, Json], kind: str, texts: list[str]
) -> None:
    """Values just at their bounds, which a table of anything seldom has."""
    output = Output(
        path="t.csv", media_type="text/csv", max_bytes=1, schema={"additionalProperties": {"type": kind, **bounds}}
    )
    for text in texts:
        data = f"a,b\n{text},{text}\n".encode()
        assert outcome(by_gate, output, data) == outcome(by_rows, output, data)
