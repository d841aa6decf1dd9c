"""Does a selection fit the columns of a data set?

Checked by owners before departure, as far as the catalogue tells, and by each station before anything is read: a column that
is not there, two types that do not compare, a word that the category does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from enum import StrEnum
from typing import Final

from security.tables.column import Column, ColumnType, column_named
from security.tables.expression import (
    All,
    Between,
    Compared,
    Condition,
    Constant,
    Days,
    Missing,
    Moved,
    Name,
    Not,
    OneOf,
    Operator,
    Some,
    Value,
)
from security.tables.parse import wrong


class _Sort(StrEnum):
    """What can be compared with what."""

    NUMBER = "a number"
    TRUTH = "true or false"
    WORD = "a text"
    DAY = "a date"
    DAYS = "a number of days"


_SORTS: Final = {
    ColumnType.INTEGER: _Sort.NUMBER,
    ColumnType.NUMBER: _Sort.NUMBER,
    ColumnType.BOOLEAN: _Sort.TRUTH,
    ColumnType.CATEGORY: _Sort.WORD,
    ColumnType.TEXT: _Sort.WORD,
    ColumnType.DATE: _Sort.DAY,
}
_UNORDERED: Final = frozenset({_Sort.TRUTH, _Sort.WORD})
_EQUALITY: Final = frozenset({Operator.EQUAL, Operator.UNEQUAL})


def fit(condition: Condition, columns: Sequence[Column]) -> None:
    """Hold a selection against the columns of a data set.

    Raises:
        SelectionInvalid: what does not fit, and at which character.
    """
    match condition:
        case Not(of=inner):
            fit(inner, columns)
        case All(of=parts) | Some(of=parts):
            for part in parts:
                fit(part, columns)
        case Missing(value=value):
            _sort(value, columns)
        case OneOf(value=value, among=among):
            for constant in among:
                _need_comparable(value, constant, columns)
        case Compared(left=left, operator=operator, right=right):
            sort = _need_comparable(left, right, columns)
            if sort in _UNORDERED and operator not in _EQUALITY:
                wrong(condition.at, f"{sort} is equal to another or not, and neither less nor more")


def names_in(condition: Condition) -> Iterator[str]:
    """Yield the columns that a selection looks at, as often as it does."""
    match condition:
        case Not(of=inner):
            yield from names_in(inner)
        case All(of=parts) | Some(of=parts):
            for part in parts:
                yield from names_in(part)
        case Missing(value=value) | OneOf(value=value):
            yield from _named(value)
        case Compared(left=left, right=right):
            yield from _named(left)
            yield from _named(right)


def _named(value: Value) -> Iterator[str]:
    match value:
        case Name(name=name):
            yield name
        case Moved(day=day):
            yield from _named(day)
        case Between(later=later, earlier=earlier):
            yield from _named(later)
            yield from _named(earlier)
        case Constant() | Days():
            pass


def _need_comparable(left: Value, right: Value, columns: Sequence[Column]) -> _Sort:
    sorts = _sort(left, columns), _sort(right, columns)
    if sorts[0] != sorts[1]:
        wrong(right.at, f"{sorts[0]} cannot be compared with {sorts[1]}")
    _need_known_word(left, right, columns)
    _need_known_word(right, left, columns)
    return sorts[0]


def _need_known_word(value: Value, constant: Value, columns: Sequence[Column]) -> None:
    """A misspelt word would select nobody, or everybody, without anyone noticing."""
    if not isinstance(value, Name) or not isinstance(constant, Constant):
        return
    column = column_named(columns, value.name)
    if column is not None and column.values is not None and constant.value not in column.values:
        known = ", ".join(column.values[:10]) + (", …" if len(column.values) > len(column.values[:10]) else "")
        wrong(constant.at, f"{column.name} has no value {constant.value!a}; it has {known}")


def _sort(value: Value, columns: Sequence[Column]) -> _Sort:
    match value:
        case Name(name=name, at=at):
            column = column_named(columns, name)
            if column is None:
                wrong(at, f"there is no column {name!a}")
            if column.type not in _SORTS:
                wrong(at, f"{name} is of type {column.type}, by which nothing is selected")
            return _SORTS[column.type]
        case Constant(value=constant):
            return _sort_of(constant)
        case Moved(day=day, at=at):
            if _sort(day, columns) is not _Sort.DAY:
                wrong(at, "only dates are moved by days, months or years")
            return _Sort.DAY
        case Between(later=later, earlier=earlier, at=at):
            if _sort(later, columns) is not _Sort.DAY or _sort(earlier, columns) is not _Sort.DAY:
                wrong(at, "only dates are subtracted")
            return _Sort.DAYS
        case Days():
            return _Sort.DAYS


def _sort_of(constant: bool | float | str | date) -> _Sort:
    match constant:
        case bool():
            return _Sort.TRUTH
        case int() | float():
            return _Sort.NUMBER
        case str():
            return _Sort.WORD
        case date():
            return _Sort.DAY
