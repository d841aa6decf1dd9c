"""What does a `where` say, and how is told what is wrong with one?"""

from __future__ import annotations

from typing import Any

import pytest

from security.errors import SelectionInvalid
from security.tables.column import Column, ColumnType
from security.tables.expression import All, Compared, Constant, Name, Not, OneOf, Operator, Some
from security.tables.fit import fit
from security.tables.parse import DEEPEST, LONGEST, parse
from tests.support.tables import COLUMNS


def test_and_binds_closer_than_or() -> None:
    found = parse("age < 18 or age >= 65 and not smokes = true")
    assert isinstance(found, Some)
    young, old = found.of
    assert young == Compared(left=Name(name="age"), operator=Operator.LESS, right=Constant(value=18))
    assert isinstance(old, All)
    assert isinstance(old.of[1], Not)


def test_words_are_the_same_in_any_case_and_names_are_not() -> None:
    assert parse("age IN (1, 2)") == OneOf(value=Name(name="age"), among=(Constant(value=1), Constant(value=2)))
    with pytest.raises(SelectionInvalid, match="no column 'Age'"):
        fit(parse("Age > 1"), COLUMNS)


@pytest.mark.parametrize(
    ("text", "character", "says"),
    [
        ("", 1, "expected a value, found the end"),
        ("age", 4, "expected a comparison"),
        ("age > ", 7, "expected a value"),
        ("age > 1 2", 9, "expected 'and', 'or' or the end"),
        ("age > 1; drop table patients", 8, "not expected here: ';'"),
        ("age > 1 -- comment", 12, "a number is expected after '-'"),
        ("sex = 'f", 7, "has no closing '"),
        ("age in ()", 9, "expected a value"),
        ("age in (sex)", 9, "expected a value"),
        ("admitted > 2020-02-30", 12, "no such day"),
        ("age > 9007199254740993", 7, "a whole number beyond"),
        ("height > 1e999", 10, "a number too large"),
        ("admitted + 1.5 days > 2020-01-01", 12, "not a number of days"),
        ("admitted + 60000 years - 1 months + 40000 years > 2020-01-01", 37, "more than 100000 altogether"),
        ("admitted > 2 months", 12, "are added to a date"),
        ("age > (select 1)", 7, "expected a value"),
        ("exists(age)", 7, "expected a comparison"),
        ("not " * (DEEPEST + 1) + "age = 1", 4 * DEEPEST + 1, "nested more than"),
        ("admitted" + " + 1 day" * (DEEPEST + 1) + " = left", 8 * DEEPEST + 10, "more than"),
        ("admitted + 60000 years - 60000 years > left", 26, "moved by more than"),
        ("age = 1 or " * 200 + "age = 1", None, "too long"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, character: int | None, says: str) -> None:
    with pytest.raises(SelectionInvalid) as caught:
        parse(text)
    assert caught.value.fields.get("character") == character
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("weight > 1", "no column 'weight'"),
        ("patient = 'p1'", "type identifier, by which nothing is selected"),
        ("patient is null", "type identifier, by which nothing is selected"),
        ("age = 'old'", "a number cannot be compared with a text"),
        ("age in (1, 'x')", "a number cannot be compared with a text"),
        ("sex = 'F'", "sex has no value 'F'; it has f, m, x"),
        ("sex < 'm'", "neither less nor more"),
        ("smokes > true", "neither less nor more"),
        ("smokes = 1", "true or false cannot be compared with a number"),
        ("admitted = '2020-01-01'", "a date cannot be compared with a text"),
        ("age + 1 days > 2020-01-01", "only dates are moved"),
        ("age - height > 1 days", "only dates are subtracted"),
        ("left - admitted > 30", "a number of days cannot be compared with a number"),
        ("left - admitted > left", "a number of days cannot be compared with a date"),
    ],
)
def test_what_does_not_fit_the_columns_is_told(text: str, says: str) -> None:
    with pytest.raises(SelectionInvalid) as caught:
        fit(parse(text), COLUMNS)
    assert says in str(caught.value)
    assert 1 <= int(str(caught.value.fields["character"])) <= LONGEST


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"type": ColumnType.TEXT, "values": ("a",)}, "only a category has values"),
        ({"type": ColumnType.CATEGORY, "values": ("a", "a")}, "each value is given once"),
        ({"type": ColumnType.DATE, "least": "1"}, "only numbers have a range"),
        ({"type": ColumnType.TEXT, "measure": "kg"}, "only numbers have a range or a unit"),
        ({"type": ColumnType.NUMBER, "least": "2", "most": "1"}, "the range is not empty"),
    ],
)
def test_a_column_does_not_contradict_itself(changes: dict[str, Any], says: str) -> None:
    column = Column(name="one", **changes)
    broken = [rule.says for rule in Column.RULES if rule.holds and not rule.holds(column)]
    assert len(broken) == 1
    assert says in broken[0]
