"""Where in a FHIR resource is a column's value?

A path is a small part of FHIRPath: names, ``where(…)`` with one comparison, ``[0]`` and ``first()``, ``ofType(…)``, and
``resolve()``, which goes on in the resource that a reference names. `parse_path` reads it once; `met` follows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from security.encoding import Json
from security.errors import InvalidInput

LONGEST: Final = 500
_MOST_STEPS: Final = 40
_NAME: Final = r"[A-Za-z][A-Za-z0-9]{0,63}"
_NAMES: Final = rf"{_NAME}(?:\.{_NAME})*"
_TEXT: Final = r"'[^'\\]*'|\"[^\"\\]*\"|true|false|-?[0-9]{1,15}(?:\.[0-9]{1,15})?"
_STEP: Final = re.compile(
    rf"where\(\s*(?P<of>{_NAMES})\s*(?P<sign>!?=)\s*(?P<literal>{_TEXT})\s*\)"
    rf"|where\(\s*(?P<there>{_NAMES})\.(?P<test>exists|empty)\(\)\s*\)"
    rf"|(?:ofType\(\s*(?P<type>{_NAME})\s*\))|(?P<resolve>resolve\(\))|(?P<first>first\(\))|(?P<name>{_NAME})"
)
_INDEX: Final = re.compile(r"\[([0-9]{1,6})\]")

Object: TypeAlias = Mapping[str, Json]
Linked: TypeAlias = Callable[[str], Object]
"""Returns the resource that a reference names. What it raises ends the reading."""


@dataclass(frozen=True, slots=True)
class Field:
    """Go on in the elements of a name."""

    name: str


@dataclass(frozen=True, slots=True)
class At:
    """Keep one of them, counted from 0."""

    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Keep those in which the values of `names` have `value`, or have not if not `same`; None stands for none at all."""

    names: tuple[str, ...]
    value: bool | float | str | None
    same: bool


@dataclass(frozen=True, slots=True)
class OfType:
    """Keep resources of a type."""

    type: str


@dataclass(frozen=True, slots=True)
class Resolve:
    """Go on in the resources that references name."""


Step: TypeAlias = Field | At | Where | OfType | Resolve


@dataclass(frozen=True, slots=True)
class Met:
    """A value that a path leads to, and the element it is a field of."""

    value: Json
    owner: Object


def parse_path(text: str) -> tuple[Step, ...]:
    """Read a path.

    Raises:
        InvalidInput: it is not one, and from which character on.
    """
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at + bool(steps))
        if found is None or (steps and text[at] != ".") or len(steps) > _MOST_STEPS or len(text) > LONGEST:
            break
        step = _step(found, steps)
        if isinstance(step, OfType) and steps and not isinstance(steps[-1], Resolve):
            break
        at = found.end()
        steps.append(step)
        while index := _INDEX.match(text, at):
            steps.append(At(int(index[1])))
            at = index.end()
    else:
        if steps and not isinstance(steps[-1], OfType | Resolve):
            return tuple(steps)
    msg = "not a path into a FHIR resource"
    hint = "names with '.' between them, where(name = 'text'), where(name.exists()), ofType(Quantity), resolve(), first(), [0]"
    raise InvalidInput(msg, path=repr(text)[:80], character=at + 1, hint=hint)


def _step(found: re.Match[str], before: list[Step]) -> Step:
    if found["of"] is not None:
        return Where(names=_split(found["of"]), value=_literal(found["literal"]), same=found["sign"] == "=")
    if found["there"] is not None:
        return Where(names=_split(found["there"]), value=None, same=found["test"] == "empty")
    if found["type"] is not None:
        return _of_type(found["type"], before)
    if found["name"] is None:
        return Resolve() if found["resolve"] is not None else At(0)
    name = found["name"]
    return Field(name) if before or name[0].islower() else OfType(name)


def _of_type(kind: str, before: list[Step]) -> Step:
    """Keep a type. In JSON, what is of one of several types has the type in its name: ``value.ofType(Quantity)`` is one step."""
    last = before[-1] if before else None
    if not isinstance(last, Field):
        return OfType(kind)
    before.pop()
    return Field(last.name + kind[0].upper() + kind[1:])


def _split(names: str) -> tuple[str, ...]:
    return tuple(names.split("."))


def _literal(text: str) -> bool | float | str:
    if text in {"true", "false"}:
        return text == "true"
    return text[1:-1] if text[0] in "'\"" else float(text)


def met(steps: Sequence[Step], resource: Object, linked: Linked) -> list[Met]:
    """Return the values that a path leads to from a resource, in their order."""
    now = [Met(dict(resource), resource)]
    for step in steps:
        match step:
            case Field(name=name):
                now = [
                    Met(inner, one.value)
                    for one in now
                    if isinstance(one.value, dict)
                    for inner in _in(one.value, name)
                ]
            case At(index=index):
                now = now[index : index + 1]
            case Where():
                now = [one for one in now if _holds(step, one.value)]
            case OfType(type=kind):
                now = [one for one in now if isinstance(one.value, dict) and one.value.get("resourceType") == kind]
            case Resolve():
                targets = [linked(name) for one in now for name in _references(one.value)]
                now = [Met(dict(target), target) for target in targets]
    return now


def _in(element: Object, name: str) -> list[Json]:
    value = element.get(name)
    if isinstance(value, list):
        return [one for one in value if one is not None]
    return [] if value is None else [value]


def _holds(step: Where, value: Json) -> bool:
    level: list[Json] = [value]
    for name in step.names:
        level = [inner for one in level if isinstance(one, dict) for inner in _in(one, name)]
    if step.value is None:
        return step.same is not bool(level)
    wanted = step.value
    return step.same is any(one == wanted and isinstance(one, bool) is isinstance(wanted, bool) for one in level)


def _references(value: Json) -> list[str]:
    """Return what a reference names; nothing if it only describes it."""
    name = value.get("reference") if isinstance(value, dict) else value
    return [name] if isinstance(name, str) else []
