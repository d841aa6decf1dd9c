"""What is said in a `where`: a comparison of columns with values, and these joined?

The tree that the parser makes (`parse`), the columns are held against (`fit`), and each source translates. Every part knows
where in the text it stands, for messages. Missing values follow SQL: a comparison with one is unknown, and rows for which
the whole is unknown are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import TypeAlias


class Operator(StrEnum):
    """How two values are compared."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="


class Span(StrEnum):
    """What dates are moved by. Months and years keep the day, or take the month's last."""

    DAYS = "days"
    MONTHS = "months"
    YEARS = "years"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    at: int = field(default=0, compare=False)
    """Where it stands: characters from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name(_Placed):
    """A column."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(_Placed):
    """A value. Integers lie within 2^53, on which all readers of numbers agree."""

    value: bool | int | float | str | date


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved(_Placed):
    """A date, so much later; earlier if `count` is negative."""

    day: Value
    count: int
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Between(_Placed):
    """How many days one date is after another: compared with ``30 days``."""

    later: Value
    earlier: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Days(_Placed):
    """A number of days, to compare with a difference of dates."""

    count: int


Value: TypeAlias = Name | Constant | Moved | Between | Days


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared(_Placed):
    """Two values compared."""

    left: Value
    operator: Operator
    right: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf(_Placed):
    """Whether a value is among constants."""

    value: Value
    among: tuple[Constant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing(_Placed):
    """Whether a value is missing. Never unknown."""

    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Not(_Placed):
    """The opposite; unknown stays unknown."""

    of: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class All(_Placed):
    """Whether all of two or more hold."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Some(_Placed):
    """Whether at least one of two or more holds."""

    of: tuple[Condition, ...]


Condition: TypeAlias = Compared | OneOf | Missing | Not | All | Some
