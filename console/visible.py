"""How is foreign text shown so that a person sees all of it, and nothing in it can hide or move the cursor?

Whole, always. A character that cannot be seen, or that changes how others are seen, is shown by its number, «U+001B»; so
is « itself, so that what looks like such a mark is one. More blanks in a row than a reader could count become «2100 blanks».
In the middle of a line of code that is soon: what stands far to the right of a line is not read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

_OPEN, _CLOSE = "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}", "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}"
_COMMON = re.compile(r"[^\x20-\x7e]")
_BLANKS: Final = 3
_INDENT: Final = 60
"""Columns that a line of code may be indented by."""
_GAP: Final = 8
"""Columns that may be empty within it."""
_TAB: Final = 8
_EMPTY_LINES: Final = 20
_UNSEEN: Final = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" + _OPEN)
"""Letters and symbols that look like a blank, whatever their category says; and the mark itself."""


def visible(text: str) -> str:
    """Return text on one line: line breaks and tabs are shown by their numbers, and three blanks are counted."""
    return _runs(_COMMON.sub(_shown(""), text), _BLANKS)


def visible_lines(data: bytes) -> str:
    """Return the text of a file with its lines and tabs; what is not UTF-8 is shown byte by byte."""
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    shown = _gaps(_COMMON.sub(_shown("\n\t"), text))
    return re.sub(
        rf"(?:\n[ \t]*){{{_EMPTY_LINES},}}(?=\n)",
        lambda run: f"\n{_OPEN}{run[0].count(chr(10))} empty lines{_CLOSE}",
        shown,
    )


def _shown(kept: str) -> Callable[[re.Match[str]], str]:
    def show(found: re.Match[str]) -> str:
        letter = found[0]
        if letter in kept:
            return letter
        if "\udc80" <= letter <= "\udcff":  # a byte that is not UTF-8
            return f"{_OPEN}byte {ord(letter) - 0xDC00:02X}{_CLOSE}"
        if letter in _UNSEEN or not letter.isprintable() or unicodedata.category(letter) in {"Mn", "Me"}:
            return f"{_OPEN}U+{ord(letter):04X}{_CLOSE}"
        return letter

    return show


def _runs(text: str, least: int) -> str:
    return re.sub(rf"[ \t]{{{least},}}", lambda run: f"{_OPEN}{len(run[0])} blanks{_CLOSE}", text)


def _gaps(text: str) -> str:
    def show(run: re.Match[str]) -> str:
        columns = sum(_TAB if one == "\t" else 1 for one in run[0])
        begins = run.start() == 0 or text[run.start() - 1] == "\n"
        return run[0] if columns <= (_INDENT if begins else _GAP) else f"{_OPEN}{len(run[0])} blanks{_CLOSE}"

    return re.sub(r"[ \t]+", show, text)
