"""Which rows are not read cell by cell: those of tables as the usual programs write them."""

from __future__ import annotations

import re

import pytest

from security.encoding import Json
from station.gate.plain import PlainRows, _between, plain_rows
from station.gate.schema import compile_schema

HEADER = ("patient", "age", "sex", "visit", "weight", "note")
SCHEMA: Json = {
    "properties": {
        "patient": {"type": "string", "pattern": r"^P\d{4}$"},
        "age": {"type": "integer", "minimum": 18, "maximum": 120},
        "sex": {"enum": ["f", "m", "d"]},
        "visit": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"},
        "weight": {"type": "number", "minimum": 0, "maximum": 300},
        "note": {"type": ["string", "null"], "maxLength": 40},
    },
    "additionalProperties": False,
}
PLAIN = "P0001,35,f,2024-01-31,63.5,stable\nP0002,120,d,2024-02-29,300,\n"
SPELLINGS = {
    "as it is printed": PLAIN,
    "from Windows": PLAIN.replace("\n", "\r\n"),
    "quoted, as R does": re.sub(r"[^,\n]+", r'"\g<0>"', PLAIN),
    "whole numbers with a point": PLAIN.replace("300", "300.0").replace("63.5", "63.50"),
}


def rows(schema: Json = SCHEMA) -> PlainRows:
    members = compile_schema(schema, pattern="t.csv").members(HEADER)
    assert members is not None
    found = plain_rows([members[name] for name in HEADER])
    assert found is not None
    return found


@pytest.mark.parametrize("text", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("schema", [SCHEMA, {}], ids=["with a schema", "without"])
def test_the_rows_of_usual_tables_are_plain(schema: Json, text: str) -> None:
    plain = rows(schema)
    simple, until = plain.simplified(text, plain.end(text, 0))
    assert until == len(simple)
    assert plain.end(simple, 0) == len(simple)
    assert simple == PLAIN


@pytest.mark.parametrize(
    "row",
    [
        'P0001,35,f,2024-01-31,63.5,"a, b"\n',
        "P0001,17,f,2024-01-31,63.5,\n",
        "P0001,35,x,2024-01-31,63.5,\n",
        "P001,35,f,2024-01-31,63.5,\n",
        "P0001,35,f,2024-01-31,-0,\n",
        "P0001,35,f,2024-01-31,1e1,\n",
        "P0001,35,f,2024-01-31,300.5,\n",
        "P0001,35,f,2024-01-31,63.5,7\n",
        "P0001,35,f,2024-01-31,63.5\n",
        "P0001,35,f,2024-01-31,63.5,a,b\n",
        "\n",
        "P0001,35,f,2024-01-31,63.5,",
    ],
)
def test_other_rows_end_them(row: str) -> None:
    assert rows().end(PLAIN + row + PLAIN, 0) == len(PLAIN)


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"required": ["age"]}]},
        {"required": ["missing"]},
        {"maxProperties": 3},
        {"propertyNames": {"maxLength": 3}},
    ],
)
def test_rows_that_are_more_than_their_cells_are_held_against_the_whole_schema(schema: Json) -> None:
    assert compile_schema(schema, pattern="t.csv").members(HEADER) is None


@pytest.mark.parametrize(
    "column", [{"anyOf": [{"type": "number"}]}, {"multipleOf": 3}, False, {"enum": [*map(str, range(5000, 5200))]}]
)
def test_columns_of_which_no_cell_can_be_told_by_its_text_have_no_plain_rows(column: Json) -> None:
    members = compile_schema({"additionalProperties": column}, pattern="t.csv").members(["a"])
    assert members is not None
    assert plain_rows([members["a"]]) is None


@pytest.mark.parametrize("low", [0, 1, 7, 9, 10, 18, 99, 100, 101, 199])
def test_whole_numbers_between_two(low: int) -> None:
    for high in (*range(low - 1, low + 130, 9), 999, 1000, 1234):
        found = _between(low, high)
        matched = [one for one in range(1400) if found and re.fullmatch(f"(?>{found},)", f"{one},")]
        assert matched == list(range(low, high + 1))
