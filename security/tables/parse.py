"""How is a `where` read?

::

    where     = all ("or" all)*
    all       = opposite ("and" opposite)*
    opposite  = "not" opposite | "(" where ")" | test
    test      = value ( operator value | ["not"] "between" value "and" value
                      | ["not"] "in" "(" constant ("," constant)* ")" | "is" ["not"] "null" )
    value     = term (("+" | "-") (days | term))*        dates only; a term is subtracted only
    term      = name | constant | number ("days" | "months" | "years")
    constant  = number | text | date | "true" | "false"
    operator  = "=" | "!=" | "<" | "<=" | ">" | ">="

Words are the same in any case; names of columns are not. A text stands between ``"`` or ``'``, doubled within. A date is
``2026-11-27``. Nothing here is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Final, NoReturn

from security.encoding import MAX_NUMBER
from security.errors import SelectionInvalid
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

LONGEST: Final = 2_000
"""Characters: a person reads it before approving it."""
DEEPEST: Final = 40
LONGEST_MOVE: Final = 100_000
"""Of one value, in days, months and years together: so far, the engine does not run out of days. Where it
did, a row would be an error, and tell an owner that it is there."""

_TOKENS: Final = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9A-Za-z_.]))"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9A-Za-z_.]))"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<text>\"(?:[^\"]|\"\")*\"|'(?:[^']|'')*')"
    r"|(?P<sign><=|>=|!=|<>|==|[=<>(),+-])"
)
_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "is", "null", "between", "true", "false"})
_SPANS: Final = {name + s: Span(name + "s") for name in ("day", "month", "year") for s in ("", "s")}
_OPERATORS: Final = {one.value: one for one in Operator} | {"==": Operator.EQUAL, "<>": Operator.UNEQUAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Condition:
    """Read a `where`.

    Raises:
        SelectionInvalid: it is none; the message says what was expected, and at which character, counted from one.
    """
    if len(text) > LONGEST:
        msg = "a selection is too long"
        raise SelectionInvalid(msg, characters=len(text), limit=LONGEST)
    reader = _Reader(_tokens(text))
    found = reader.some()
    reader.end()
    return found


def wrong(at: int, reason: str) -> NoReturn:
    """Report what is wrong at a place of the text."""
    msg = "a selection cannot be read"
    raise SelectionInvalid(msg, character=at + 1, reason=reason)


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None:
            if text[at] in "\"'":
                wrong(at, f"a text that begins here has no closing {text[at]}")
            wrong(at, f"not expected here: {text[at]!a}")
        if match.lastgroup != "space":
            found.append(_Token(kind=str(match.lastgroup), text=match[0], at=at))
        at = match.end()
    return [*found, _Token(kind="end", text="", at=len(text))]


class _Reader:
    """Reads tokens from left to right, each once."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._next, self._depth = tokens, 0, 0

    def end(self) -> None:
        if self._seen.kind != "end":
            self._expected("'and', 'or' or the end")

    def some(self) -> Condition:
        return self._joined("or", self._all, lambda of, at: Some(of=of, at=at))

    def _all(self) -> Condition:
        return self._joined("and", self._opposite, lambda of, at: All(of=of, at=at))

    def _joined(
        self,
        word: str,
        part: Callable[[], Condition],
        made: Callable[[tuple[Condition, ...], int], Condition],
    ) -> Condition:
        at, parts = self._seen.at, [part()]
        while self._word(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else made(tuple(parts), at)

    def _opposite(self) -> Condition:
        at = self._seen.at
        self._depth += 1
        if self._depth > DEEPEST:
            wrong(at, f"nested more than {DEEPEST} deep")
        try:
            if self._word("not"):
                return Not(of=self._opposite(), at=at)
            if self._sign("("):
                found = self.some()
                self._demand(")")
                return found
            return self._test()
        finally:
            self._depth -= 1

    def _test(self) -> Condition:
        at, value = self._seen.at, self._value()
        if (operator := _OPERATORS.get(self._seen.text)) and self._seen.kind == "sign":
            self._step()
            return Compared(left=value, operator=operator, right=self._value(), at=at)
        if self._word("is"):
            opposite = self._word("not")
            self._demand_word("null")
            return _perhaps_not(Missing(value=value, at=at), opposite=opposite)
        opposite = self._word("not")
        if self._word("in"):
            return _perhaps_not(OneOf(value=value, among=self._among(), at=at), opposite=opposite)
        if self._word("between"):
            least = self._value()
            self._demand_word("and")
            inside = (
                Compared(left=value, operator=Operator.AT_LEAST, right=least, at=at),
                Compared(left=value, operator=Operator.AT_MOST, right=self._value(), at=at),
            )
            return _perhaps_not(All(of=inside, at=at), opposite=opposite)
        return self._expected("a comparison, 'in', 'between' or 'is null'")

    def _among(self) -> tuple[Constant, ...]:
        self._demand("(")
        found = [self._constant()]
        while self._sign(","):
            found.append(self._constant())
        self._demand(")")
        return tuple(found)

    def _value(self) -> Value:
        value, moves, moved = self._term(), 0, 0
        while self._seen.kind == "sign" and self._seen.text in {"+", "-"}:
            sign, moves = self._step(), moves + 1
            if moves > DEEPEST:  # each is a level of the tree, and whoever goes through it goes one call deeper
                wrong(sign.at, f"more than {DEEPEST} steps of a date")
            other = self._term()
            if isinstance(other, Moved):
                moved += abs(other.count)
                if moved > LONGEST_MOVE:  # no engine has such a day, and the data of the station would be blamed
                    wrong(other.at, f"moved by more than {LONGEST_MOVE} altogether")
                value = Moved(
                    day=value, count=other.count if sign.text == "+" else -other.count, span=other.span, at=sign.at
                )
            elif sign.text == "-":
                value = Between(later=value, earlier=other, at=sign.at)
            else:
                wrong(sign.at, "only days, months and years can be added")
        return value if not isinstance(value, Moved) or value.day is not _NOTHING else _days(value)

    def _term(self) -> Value:
        token = self._seen
        if token.kind == "word" and token.text.lower() not in _KEYWORDS:
            return Name(name=self._step().text, at=token.at)
        constant = self._constant()
        span = _SPANS.get(self._seen.text.lower()) if self._seen.kind == "word" else None
        if span is None:
            return constant
        self._step()
        if (
            not isinstance(constant.value, int)
            or isinstance(constant.value, bool)
            or abs(constant.value) > LONGEST_MOVE
        ):
            wrong(token.at, f"not a number of {span}")
        return Moved(day=_NOTHING, count=constant.value, span=span, at=token.at)

    def _constant(self) -> Constant:
        negative = self._sign("-")
        token = self._step()
        if token.kind == "number":
            number = _number(token)
            return Constant(value=-number if negative else number, at=token.at)
        if negative:
            wrong(token.at, "a number is expected after '-'")
        match token.kind:
            case "text":
                quote = token.text[0]
                return Constant(value=token.text[1:-1].replace(quote * 2, quote), at=token.at)
            case "date":
                return Constant(value=_date(token), at=token.at)
            case "word" if token.text.lower() in {"true", "false"}:
                return Constant(value=token.text.lower() == "true", at=token.at)
            case _:
                return self._expected("a value", token)

    # --- Tokens

    @property
    def _seen(self) -> _Token:
        return self._tokens[self._next]

    def _step(self) -> _Token:
        token = self._seen
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _word(self, word: str) -> bool:
        if self._seen.kind == "word" and self._seen.text.lower() == word:
            self._step()
            return True
        return False

    def _sign(self, sign: str) -> bool:
        if self._seen.kind == "sign" and self._seen.text == sign:
            self._step()
            return True
        return False

    def _demand(self, sign: str) -> None:
        if not self._sign(sign):
            self._expected(f"'{sign}'")

    def _demand_word(self, word: str) -> None:
        if not self._word(word):
            self._expected(f"'{word}'")

    def _expected(self, what: str, token: _Token | None = None) -> NoReturn:
        found = token or self._seen
        wrong(found.at, f"expected {what}, found {'the end' if found.kind == 'end' else ascii(found.text[:40])}")


_NOTHING: Final = Constant(value=0)


def _days(alone: Moved) -> Value:
    if alone.span is not Span.DAYS:
        wrong(alone.at, f"{alone.span} are added to a date; compare with days")
    return Days(count=alone.count, at=alone.at)


def _perhaps_not(found: Condition, *, opposite: bool) -> Condition:
    return Not(of=found, at=found.at) if opposite else found


def _number(token: _Token) -> int | float:
    if token.text.isdigit():
        if len(token.text) > len(str(MAX_NUMBER)) or int(token.text) > MAX_NUMBER:
            wrong(token.at, f"a whole number beyond {MAX_NUMBER}")
        return int(token.text)
    number = float(token.text)
    if number == float("inf"):
        wrong(token.at, "a number too large")
    return number


def _date(token: _Token) -> date:
    try:
        return date.fromisoformat(token.text)
    except ValueError:
        wrong(token.at, "no such day")
