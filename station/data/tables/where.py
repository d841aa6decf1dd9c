"""How is a selection said in the engine's SQL?

Columns are those of a typed view, by their public names. Values are parameters; nothing of a selection's text becomes SQL.
"""

from __future__ import annotations

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
    Span,
    Value,
)
from station.data.tables.engine import named

_SQL = {Operator.UNEQUAL: "<>"}
_SPANS = {Span.DAYS: "to_days", Span.MONTHS: "to_months", Span.YEARS: "to_years"}


def sql_of(condition: Condition, parameters: list[object]) -> str:
    """Return the condition as an expression; its values are added to `parameters`."""
    match condition:
        case Not(of=inner):
            return f"(NOT {sql_of(inner, parameters)})"
        case All(of=parts):
            return "(" + " AND ".join(sql_of(part, parameters) for part in parts) + ")"
        case Some(of=parts):
            return "(" + " OR ".join(sql_of(part, parameters) for part in parts) + ")"
        case Missing(value=value):
            return f"({_value(value, parameters)} IS NULL)"
        case OneOf(value=value, among=among):
            left = _value(value, parameters)
            return f"({left} IN ({', '.join(_value(one, parameters) for one in among)}))"
        case Compared(left=left, operator=operator, right=right):
            one = _value(left, parameters)
            return f"({one} {_SQL.get(operator, operator.value)} {_value(right, parameters)})"


def _value(value: Value, parameters: list[object]) -> str:
    match value:
        case Name(name=name):
            return named(name)
        case Constant(value=constant):
            parameters.append(constant)
            return "?"
        case Days(count=count):
            parameters.append(count)
            return "?"
        case Moved(day=day, count=count, span=span):
            moved = _value(day, parameters)
            parameters.append(count)
            return f"CAST({moved} + {_SPANS[span]}(?) AS DATE)"
        case Between(later=later, earlier=earlier):
            one = _value(later, parameters)
            return f"({one} - {_value(earlier, parameters)})"
