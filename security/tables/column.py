"""What is a column: its name, type, unit of measurement and codes?

A description is for people and for programs, at every station the same: what differs between hospitals is seen before
anything is sent. Types are few, and each has one spelling in a delivered table (`TYPES`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from security.forms.form import Text
from security.forms.many import Many
from security.forms.record import Rule

COLUMN_NAMES: Final = "[A-Za-z][A-Za-z0-9_]{0,59}"
"""Names of columns as trains use them. What a hospital's own table calls one may be any text, and stays there."""

MOST_COLUMNS: Final = 2_000
MOST_VALUES: Final = 1_000
LONGEST_VALUE: Final = 200

NAME: Final = Text(
    most=60, pattern=COLUMN_NAMES, says="a column name: a letter, then up to 59 of A-Z, a-z, 0-9 and '_'"
)
_REAL: Final = r"-?(?:0|[1-9][0-9]{0,15})(?:\.[0-9]{1,12})?"


class ColumnType(StrEnum):
    """What is in a column."""

    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATE = "date"
    TEXT = "text"
    FILE = "file"
    IDENTIFIER = "identifier"


TYPES: Final = {
    ColumnType.INTEGER: "a whole number of 64 bits, in decimal digits",
    ColumnType.NUMBER: "a double, in its shortest decimal spelling; infinite ones and NaN are missing values",
    ColumnType.BOOLEAN: "true or false",
    ColumnType.CATEGORY: "one of few words",
    ColumnType.DATE: "a day, as 2026-11-27",
    ColumnType.TEXT: "any text",
    ColumnType.FILE: "the name of a file that is delivered beside the table",
    ColumnType.IDENTIFIER: "tells patients, visits or images apart; delivered as a number of this train alone",
}
"""What a delivered table holds for each type. A missing value is an empty cell."""

NUMERIC: Final = frozenset({ColumnType.INTEGER, ColumnType.NUMBER})


def _has_range(column: Column) -> bool:
    return column.least is not None or column.most is not None


def _has_room(column: Column) -> bool:
    return column.least is None or column.most is None or float(column.least) <= float(column.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a data set.

    ``measure`` is a unit of measurement (UCUM, such as ``mm[Hg]``), ``coding`` the code system of the values (a URI),
    ``values`` all that a category may have, ``least`` and ``most`` the range of a number, as decimals.
    """

    RULES: ClassVar = (
        Rule(
            says="only a category has values",
            holds=lambda one: one.values is None or one.type is ColumnType.CATEGORY,
            field="values",
        ),
        Rule(
            says="each value is given once",
            holds=lambda one: one.values is None or len(set(one.values)) == len(one.values),
            field="values",
        ),
        Rule(
            says="only numbers have a range or a unit of measurement",
            holds=lambda one: one.type in NUMERIC or (one.measure is None and not _has_range(one)),
            field="type",
        ),
        Rule(says="the range is not empty", holds=_has_room, field="most"),
    )

    name: Annotated[str, NAME]
    type: ColumnType
    description: Annotated[str | None, Text(most=500, says="what it means, in up to 500 characters")] = None
    measure: Annotated[str | None, Text(most=60, says="a unit of measurement, such as 'mm[Hg]'")] = None
    coding: Annotated[str | None, Text(most=200, says="a code system, such as 'http://loinc.org'")] = None
    values: Annotated[
        tuple[str, ...] | None,
        Many(of=Text(most=LONGEST_VALUE, says="a word of up to 200 characters"), least=1, most=MOST_VALUES),
    ] = None
    least: Annotated[str | None, Text(most=30, pattern=_REAL, says="a decimal number")] = None
    most: Annotated[str | None, Text(most=30, pattern=_REAL, says="a decimal number")] = None


def column_named(columns: Sequence[Column], name: str) -> Column | None:
    """Return the column of a name, if there is one."""
    return next((one for one in columns if one.name == name), None)


def names_apart(columns: Sequence[Column]) -> bool:
    """Whether no two columns have one name, in whatever case: databases do not all tell case apart."""
    return len({column.name.lower() for column in columns}) == len(columns)
