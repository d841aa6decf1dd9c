"""Which rows of a table need not be taken apart: their text already is what the gate prints, and satisfies the schema?

One regular expression for a whole row, made of one for each column, finds them, many rows at a time. It knows the plain cells
only: empty ones, words without quotes or commas, numbers in the digits they are printed in. It never has to find a row: one it
does not match is read cell by cell (`station.gate.table`), which decides. And it is matched in linear time: nothing in it goes
back beyond a cell (attack T19).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from security.encoding import Json
from security.train.output_schema import pattern_steps
from station.gate.check import KEYWORDS, Check
from station.gate.form import cell

Column: TypeAlias = "tuple[Json, Check]"
"""What the cells of a column have to satisfy: the schema, and what was compiled from it."""

_UNDERSTOOD: Final = frozenset({"type", "enum", "const", "pattern", "minLength", "maxLength"}) | {
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
}  # fmt: skip
_MOST_COLUMNS: Final = 200
_MOST_CONSTANTS: Final = 100
_LONGEST: Final = 1_000  # of a word
_DIGITS: Final = 15  # of a number: as many are the same after a double has held them
_BEYOND: Final = 10**_DIGITS
_CHARACTER: Final = r'[^",\r\n]'
_END: Final = r"(?=[,\n])"
_NOT_BLANK: Final = r"(?!\n)"  # in a table of one column, an empty cell is not printed as nothing
_NO_NUMBER: Final = r"(?!-?(?!0[0-9])[0-9]++[,\n.eE])"  # and some words are taken for one
_WITH_DECIMALS: Final = 10**9 - 1
_ROWS: Final = 500  # looked for at once
_DECIMALS: Final = r"(?<!0(?=\.0000))\.[0-9]{1,6}+(?<!0)"

_SIMPLE: Final = rf'(?:"{_CHARACTER}*+"|{_CHARACTER}*+)'
_DECIMALS_TO_TRIM: Final = re.compile(rf"\.[0-9]{{1,20}}+(?<=0){_END}")
_WHOLE_PART: Final = re.compile(r"[,\n]-?(?:0|[1-9][0-9]{0,9})\Z")


class PlainRows:
    """Finds plain rows. Made by `plain_rows`."""

    def __init__(self, fine: re.Pattern[str], simple: re.Pattern[str] | None) -> None:
        self._fine, self._simple = fine, simple

    def end(self, text: str, at: int) -> int:
        """Return where the plain rows end that begin there."""
        return _last(self._fine, text, at)

    def simplified(self, text: str, at: int) -> tuple[str, int]:
        """Write the rows from there on without the quotes, line ends and zeros that mean nothing, up to the first with others.

        Returns the whole text, and how far that went.
        """
        end = self._simple_until(text, at)
        rows = text[at:end].replace('"', "").replace("\r\n", "\n")
        rows = _DECIMALS_TO_TRIM.sub(_trimmed, "\n" + rows)[1:]
        return text[:at] + rows + text[end:], at + len(rows)

    def _simple_until(self, text: str, at: int) -> int:
        if text.find('"', at) < 0:
            return max(at, text.rfind("\n") + 1)
        return _last(self._simple, text, at) if self._simple else at


def plain_rows(columns: Sequence[Column]) -> PlainRows | None:
    """Return what finds the plain rows of a table; None if there is a column of which it cannot be told."""
    if len(columns) > _MOST_COLUMNS:
        return None
    ends = [*[","] * (len(columns) - 1), r"\n"]
    cells = [_cell(schema, check, end) for (schema, check), end in zip(columns, ends, strict=True)]
    if None in cells:
        return None
    simple = ",".join([_SIMPLE] * len(columns)) + r"\r?\n" if len(columns) > 1 else None
    return PlainRows(
        _many(f"{'' if simple else _NOT_BLANK}{''.join(map(str, cells))}"),
        _many(simple) if simple else None,
    )


def _many(row: str) -> re.Pattern[str]:
    """Return what finds rows. Not `*+`: before Python 3.11.5, it takes what matched of the row that did not (gh-106052)."""
    return re.compile(f"(?>(?:{row}){{1,{_ROWS}}})")


def _last(rows: re.Pattern[str], text: str, at: int) -> int:
    """Return where the rows end that begin there."""
    while found := rows.match(text, at):
        at = found.end()
    return at


def _trimmed(decimals: re.Match[str]) -> str:
    """Return decimals without zeros at their end, if a number has them: there are others in words."""
    at = decimals.start()
    whole = _WHOLE_PART.search(decimals.string, max(0, at - 12), at)
    return decimals[0].rstrip("0").rstrip(".") if whole else decimals[0]


def _cell(schema: Json, check: Check, end: str) -> str | None:
    """Return what matches a plain cell and what ends it; None if that cannot be told."""
    known: Mapping[str, Any] = schema if isinstance(schema, dict) else {}
    if schema is False or not known.keys() & KEYWORDS <= _UNDERSTOOD:
        return None
    if "enum" in known or "const" in known:
        options = _constants(known.get("enum", [known.get("const")]), check)
    else:
        words, numbers = _word(known), _number(known)
        if words is None or numbers is None:
            return None
        options = [*numbers, *words]
    if check(None) is None:
        options = [*options, ""]
    return f"(?>(?:{'|'.join(options)}){end})" if options else None


def _constants(constants: list[Json], check: Check) -> list[str]:
    texts = [one for one in constants if isinstance(one, str) and _CONSTANT.fullmatch(one) and cell(one) == one]
    texts += [str(one) for one in constants if type(one) is int and abs(one) < _BEYOND]
    if len(texts) > _MOST_CONSTANTS:
        return []
    return [re.escape(text) for text in texts if check(cell(text)) is None]


_CONSTANT: Final = re.compile(rf"{_CHARACTER}{{1,{_LONGEST}}}")


def _allows(schema: Mapping[str, Any], kind: str) -> bool:
    listed = schema.get("type", kind)
    return kind in ([listed] if isinstance(listed, str) else listed)


def _word(schema: Mapping[str, Any]) -> list[str] | None:
    """Return what matches a text that is no number; None if that cannot be told."""
    if not _allows(schema, "string"):
        return []
    least, most = schema.get("minLength", 0), schema.get("maxLength", _LONGEST)
    steps = pattern_steps(schema["pattern"]) if "pattern" in schema else ()
    if steps is None or not isinstance(least, int) or not isinstance(most, int):
        return None
    least, most = max(least, 1), min(most, _LONGEST)
    if least > most:
        return []
    if not steps:  # apart by their first character, so that most are told from numbers by that
        more = f"{_CHARACTER}{{{least - 1},{most - 1}}}+"
        return [rf'[^",\r\n0-9-]{more}', f"{_NO_NUMBER}[0-9-]{more}"]
    wanted = "".join(map(_step, steps))
    if steps[-1] == ("$", "") and not {"minLength", "maxLength"} & schema.keys() and not _OPEN.search(wanted):
        return [f"{_NO_NUMBER}(?!{_END}){wanted}"]
    return [f"{_NO_NUMBER}(?={wanted}){_CHARACTER}{{{least},{most}}}+"]


_OPEN: Final = re.compile(r"[*+]|,\}")  # it may be repeated without end, or looks like it
_NARROWER: Final = {r"\d": "[0-9]", r"\w": "[0-9A-Za-z_]"}  # and much faster


def _step(step: tuple[str, str]) -> str:
    one, times = step
    if step == ("$", ""):
        return _END
    if any(re.fullmatch(one, character) for character in '",\r\n'):
        return f"(?:(?={_CHARACTER}){one}){times}"
    return _NARROWER.get(one, one) + times


def _number(schema: Mapping[str, Any]) -> list[str] | None:
    """Return what matches a number as it is printed, within its bounds; None if that cannot be told."""
    kinds = [kind for kind in ("number", "integer") if _allows(schema, kind)]
    if not kinds:
        return []
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
    decimals = "number" in kinds
    positive = _magnitude(max(low, above), min(high, below), low > above, high < below, decimals=decimals)
    if min(-low, -above) <= 0:
        return positive
    negative = _magnitude(max(-high, -below), min(-low, -above), -high > -below, -low < -above, decimals=decimals)
    return [*positive, *(f"-(?!0[,\\n]){one}" for one in negative)]


def _magnitude(low: float, high: float, low_fits: bool, high_fits: bool, *, decimals: bool) -> list[str]:
    """Return what matches numbers without a sign from `low` to `high`, where a bound fits itself or not.

    With decimals, only what their whole part already decides.
    """
    least, most = math.ceil(min(max(low, 0), _BEYOND)), math.floor(min(high, _BEYOND))
    first = least if low_fits or least > low else least + 1
    last = most if high_fits or most < high else most - 1
    parts = _between(least, min(most - 1, _WITH_DECIMALS)) if decimals else None
    if parts is None:
        whole = _between(first, last)
        return [whole] if whole else []
    if first > least or most - 1 > _WITH_DECIMALS:
        return [parts + _DECIMALS, *filter(None, [_between(first, last)])]
    return [f"{parts}(?:{_DECIMALS})?", *([str(last)] if last == most else [])]


def _between(low: int, high: int) -> str | None:
    """Return what matches the whole numbers from `low` to `high`, written without needless zeros."""
    high = min(high, _BEYOND - 1)
    if low > high:
        return None
    if low == 0 and high < 9:  # noqa: PLR2004
        return f"[0-{high}]"
    options, least = [], len(str(low))
    if low == 0:  # all that have fewer digits, at once
        least = len(str(high + 1))
        options.append(f"0|[1-9][0-9]{{0,{least - 2}}}+")
    for digits in range(least, len(str(high)) + 1):
        options += [_alike(str(max(low, 10 ** (digits - 1))), str(min(high, 10**digits - 1)))]
    return f"(?:{'|'.join(options)})"


def _alike(low: str, high: str) -> str:
    """Return what matches the numbers between two of equally many digits."""
    if not low:
        return ""
    rest = len(low) - 1
    if not int(low[1:] or 0) and set(high[1:]) <= {"9"}:
        return f"[{low[0]}-{high[0]}]" + (f"[0-9]{{{rest}}}" if rest else "")
    if low[0] == high[0]:
        return low[0] + _alike(low[1:], high[1:])
    options = [low[0] + _alike(low[1:], "9" * rest), high[0] + _alike("0" * rest, high[1:])]
    if int(high[0]) - int(low[0]) > 1:
        options.insert(1, _alike(f"{int(low[0]) + 1}{'0' * rest}", f"{int(high[0]) - 1}{'9' * rest}"))
    return f"(?:{'|'.join(options)})"
