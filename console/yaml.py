"""How is a file that people edit read?

As the safe subset of YAML 1.2 that they mean: no tags, no anchors and aliases (attack T23: a few lines that grow to
gigabytes), no duplicate keys, ``true`` and ``false`` as the only truth values (``no`` is a text). Then it is held
against its schema. What is wrong comes back as values, each with its line.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from console.problems import Lines, Place, Problem, schema_problems
from security.encoding import Json

_QUICK: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser of libyaml, where PyYAML was built with it: a commented file takes it 0.2 ms, and the other one 3 ms."""
_APART: Final = ("\t", "\ufeff")
"""Where these are, one parser reads what the other refuses."""
_MAX_DEPTH: Final = 16
_INTEGER = re.compile(r"[-+]?[0-9]{1,16}", re.ASCII)
_FLOAT = re.compile(r"[-+]?[0-9]{1,16}\.[0-9]{1,16}", re.ASCII)


class Unreadable(Exception):
    """The file is not YAML of this kind; callers, who know which file it is, catch this."""

    def __init__(self, text: str, *, line: int, hint: str | None = None) -> None:
        super().__init__(text)
        self.problem = Problem(line=line, place="", text=text, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """The value of a file that satisfies its schema, and the line of each key and list item."""

    value: dict[str, Json]
    lines: Lines


def read_edited(raw: bytes, schema: Mapping[str, Json]) -> Edited | tuple[Problem, ...]:
    """Read a file that holds a group of fields; return every problem if it does not satisfy its schema."""
    try:
        value, lines = read_yaml(raw)
    except Unreadable as error:
        return (error.problem,)
    problems = schema_problems(value, lines, schema)
    if problems or not isinstance(value, dict):
        return problems
    return Edited(value=value, lines=lines)


def read_yaml(raw: bytes) -> tuple[Json, Lines]:
    """Parse one YAML document strictly; return it with the line of every key and list item.

    Raises:
        Unreadable: not UTF-8, not YAML, with tags, anchors, aliases, duplicate keys, or too deep; with its line.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = "the file is not UTF-8 text"
        raise Unreadable(msg, line=raw[: error.start].count(b"\n") + 1) from error
    if not any(one in text for one in _APART):
        with contextlib.suppress(yaml.YAMLError):
            return _Reader(text, _QUICK).document()
    try:
        return _Reader(text, yaml.SafeLoader).document()  # whose words are the same on every machine
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "it cannot be read"
        msg = f"not YAML: {reason}"
        line = 1 if mark is None else mark.line + 1
        raise Unreadable(msg, line=line, hint="look for a missing space, quote or indentation there") from error


class _Reader:
    """Makes values of the events of a parser, one at a time: what is refused is refused before more of it is read."""

    def __init__(self, text: str, parser: type[Any]) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=parser)
        self._lines: dict[Place, int] = {}

    def document(self) -> tuple[Json, Lines]:
        """Return the value of the only document, and the lines in it; see `read_yaml`."""
        self._next()  # the stream begins
        if isinstance(self._next(), yaml.StreamEndEvent):
            msg = "the file is empty"
            raise Unreadable(msg, line=1)
        value = self._value(self._next(), ())
        self._next()  # the document ends
        if not isinstance(after := self._next(), yaml.StreamEndEvent):
            msg = "the file has more than one document"
            raise Unreadable(msg, line=_line(after))
        return value, self._lines

    def _next(self) -> yaml.Event:
        event = next(self._events)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            msg = "anchors and aliases (& and *) are not used here"
            raise Unreadable(msg, line=_line(event), hint="a text that begins with '*' or '&' needs quotes")
        if getattr(event, "tag", None) is not None:
            msg = "tags (!) are not used here"
            raise Unreadable(msg, line=_line(event), hint="a text that begins with '!' needs quotes")
        return event

    def _value(self, event: yaml.Event, place: Place) -> Json:
        self._lines.setdefault(place, _line(event))
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if len(place) == _MAX_DEPTH:
            msg = "nested too deeply"
            raise Unreadable(msg, line=_line(event))
        return self._mapping(place) if isinstance(event, yaml.MappingStartEvent) else self._sequence(place)

    def _sequence(self, place: Place) -> list[Json]:
        found: list[Json] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            found.append(self._value(event, (*place, len(found))))
        return found

    def _mapping(self, place: Place) -> dict[str, Json]:
        found: dict[str, Json] = {}
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent) or key.value == "<<":
                msg = "a field's name is not plain text"
                raise Unreadable(msg, line=_line(key))
            if key.value in found:
                msg = f"'{key.value[:60]}' is given twice"
                first = self._lines[*place, key.value]
                raise Unreadable(msg, line=_line(key), hint=f"the first one is in line {first}")
            self._lines[*place, key.value] = _line(key)
            found[key.value] = self._value(self._next(), (*place, key.value))
        return found


def _line(event: yaml.Event) -> int:
    return 1 if event.start_mark is None else event.start_mark.line + 1


def _scalar(event: yaml.ScalarEvent) -> Json:
    text = str(event.value)
    if event.style:  # quoted, or a block
        return text
    if text in {"", "~", "null"}:
        return None
    if text in {"true", "false"}:
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
