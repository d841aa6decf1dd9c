"""How is a file that people edit read?

As the safe subset of YAML 1.2 that they mean: no tags, no anchors and aliases (attack T23: a few lines that grow to
gigabytes), no duplicate keys, ``true`` and ``false`` as the only truth values (``no`` is a text). Then it is held
against its schema. What is wrong comes back as values, each with its line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import yaml

from console.problems import Lines, Place, Problem, schema_problems
from security.encoding import Json

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
        _refuse_tricks(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        msg = "the file is not UTF-8 text"
        raise Unreadable(msg, line=raw[: error.start].count(b"\n") + 1) from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "it cannot be read"
        msg = f"not YAML: {reason}"
        line = 1 if mark is None else mark.line + 1
        raise Unreadable(msg, line=line, hint="look for a missing space, quote or indentation there") from error
    lines: dict[Place, int] = {}
    if node is None:
        msg = "the file is empty"
        raise Unreadable(msg, line=1)
    return _value(node, (), lines), lines


def _refuse_tricks(text: str) -> None:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = _line(event)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            msg = "anchors and aliases (& and *) are not used here"
            raise Unreadable(msg, line=line, hint="a text that begins with '*' or '&' needs quotes")
        if getattr(event, "tag", None) is not None:
            msg = "tags (!) are not used here"
            raise Unreadable(msg, line=line, hint="a text that begins with '!' needs quotes")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if depth > _MAX_DEPTH or documents > 1:
            msg = "nested too deeply" if depth > _MAX_DEPTH else "the file has more than one document"
            raise Unreadable(msg, line=line)


def _line(event: yaml.Event) -> int:
    return 1 if event.start_mark is None else event.start_mark.line + 1


def _value(node: yaml.Node, place: Place, lines: dict[Place, int]) -> Json:
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Json] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                msg = "a field's name is not plain text"
                raise Unreadable(msg, line=line)
            if key.value in found:
                msg = f"'{key.value[:60]}' is given twice"
                raise Unreadable(msg, line=line, hint=f"the first one is in line {lines[*place, key.value]}")
            lines[*place, key.value] = line
            found[key.value] = _value(value, (*place, key.value), lines)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*place, index), lines) for index, item in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Json:
    text = str(node.value)
    if isinstance(node, yaml.ScalarNode) and node.style is not None:
        return text
    if text in {"", "~", "null"}:
        return None
    if text in {"true", "false"}:
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
