"""What is wrong with a file that a person edits, where, and what did they probably mean?"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from security.encoding import Json

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_MISSING: Final = "is missing"
_MANY: Final = 16  # known words that are still listed in a hint
_LONG: Final = 40  # characters of a value that are still shown
_SECRET: Final = re.compile("pass(word|phrase)")  # values there are never repeated, in case they are secrets
_TYPES: Final = {
    "object": "a group of fields",
    "array": "a list",
    "string": "text, in quotes if it looks like another type",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}
_INTO: Final = frozenset({"propertyNames", "properties", "patternProperties", "additionalProperties", "items"})
_BOUNDS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "{} or more characters long",
    "maxLength": "at most {} characters long",
    "minItems": "a list of {} or more",
    "maxItems": "a list of at most {}",
}

Place: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys and indices from the top."""

Lines: TypeAlias = Mapping[Place, int]
"""The line, counted from 1, at which each key or list item begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to put right. ``line`` is None if it is about a file as a whole."""

    line: int | None
    place: str
    text: str
    hint: str | None = None

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}: "
        hint = "" if self.hint is None else f" ({self.hint})"
        return f"{where}{self.place}: {self.text}{hint}" if self.place else f"{where}{self.text}{hint}"


def show_place(place: Place) -> str:
    """Return a place as people write it: ``outputs[0].path``."""
    shown = ""
    for step in place:
        shown += f"[{step}]" if isinstance(step, int) else f".{step}" if shown else step
    return shown


def first_of(problems: Sequence[Problem]) -> dict[str, str | int | None]:
    """Return the fields of an error that reports the first problem, and how many others there are."""
    first = problems[0]
    told = f"{first.place}: {first.text}" if first.place else first.text
    return {"line": first.line, "problem": told, "others": len(problems) - 1 or None}


def line_of(lines: Lines, place: Place) -> int | None:
    """Return the line of a place, or of the nearest thing around it."""
    for end in range(len(place), -1, -1):
        if place[:end] in lines:
            return lines[place[:end]]
    return None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the nearest known word, or all of them if there are few."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known are: {', '.join(names)}" if 0 < len(names) <= _MANY else None


def schema_problems(value: Json, lines: Lines, schema: Mapping[str, Json]) -> tuple[Problem, ...]:
    """Hold a document against its schema; every problem has a place, a line and words from the schema's descriptions."""
    import jsonschema  # noqa: PLC0415 - slow to import, and most commands read no file that people edit

    found: list[Problem] = []
    for error in jsonschema.Draft202012Validator(dict(schema)).iter_errors(value):
        found.extend(_explain(error, lines, schema))
    # a misspelt field is also a missing one: the misspelling comes first, for it has the better hint
    return tuple(sorted(set(found), key=lambda one: (one.text == _MISSING, one.line or 0, one.place, one.text)))


def _explain(error: ValidationError, lines: Lines, schema: Mapping[str, Json]) -> Iterator[Problem]:
    place: Place = tuple(error.absolute_path)
    given: Any = error.instance
    rules: Any = error.schema
    if error.validator == "additionalProperties":
        yield from _unknown(error, lines, schema)
    elif error.validator == "required":
        known = rules.get("properties", {} if place else schema.get("properties", {}))  # 'then' and 'else' have none
        for name in rules["required"]:
            if name not in given:
                wanted = known.get(name, {}).get("description")
                hint = f"it is {wanted}" if wanted else None
                where = show_place((*place, name))
                yield Problem(line=line_of(lines, place), place=where, text=_MISSING, hint=hint)
    elif error.validator == "dependentRequired":
        for name in (one for one in rules["dependentRequired"] if one in given):
            for other in (one for one in rules["dependentRequired"][name] if one not in given):
                text = f"needs '{other}' as well"
                yield Problem(line=line_of(lines, (*place, name)), place=show_place((*place, name)), text=text)
    elif "propertyNames" in error.absolute_schema_path:
        text, hint = f"cannot be called {_shown(given)}", _wanted(error, schema)
        yield Problem(line=line_of(lines, (*place, given)), place=show_place(place), text=text, hint=hint)
    else:
        wanted = _wanted(error, schema) or _demanded(error)
        secret = any(isinstance(step, str) and _SECRET.search(step) for step in place)
        count = f" of {len(given)}" if given and error.validator in {"minItems", "maxItems"} else ""
        text = f"should be {wanted}" if secret else f"is {_shown(given)}{count}, but should be {wanted}"
        yield Problem(line=line_of(lines, place), place=show_place(place), text=text)


def _unknown(error: ValidationError, lines: Lines, schema: Mapping[str, Json]) -> Iterator[Problem]:
    place: Place = tuple(error.absolute_path)
    given: Any = error.instance
    rules: Any = error.schema
    known, patterns = set(rules.get("properties", {})), tuple(rules.get("patternProperties", {}))
    for name in given:
        if name in known or any(re.search(pattern, name) for pattern in patterns):
            continue
        text = "is not allowed here" if patterns else "is not a field of this file"
        hint = did_you_mean(name, known - set(given)) if known else _wanted(error, schema)
        yield Problem(line=line_of(lines, (*place, name)), place=show_place((*place, name)), text=text, hint=hint)


def _wanted(error: ValidationError, schema: Mapping[str, Json]) -> str | None:
    """Return the description of the value that failed, or of the group whose keyword failed."""
    spot: Json = dict(schema)
    found: str | None = None
    *way, keyword = error.absolute_schema_path
    for step in (*way, keyword):
        if isinstance(spot, dict) and isinstance(spot.get("description"), str):
            found = str(spot["description"])
        if step in _INTO and step is not keyword:
            found = None  # that was said of the group around
        spot = _step(spot, step)
    return found


def _demanded(error: ValidationError) -> str:
    """Say what a keyword of the schema demands, where no description does."""
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            kinds = [wanted] if isinstance(wanted, str) else wanted
            return " or ".join(_TYPES.get(kind, kind) for kind in kinds)
        case "enum":
            return f"one of {', '.join(map(str, wanted))}"
        case str() as rule if rule in _BOUNDS:
            return _BOUNDS[rule].format(wanted)
        case _:
            return "in another form"


def _step(spot: Json, step: str | int) -> Json:
    if isinstance(spot, dict) and isinstance(step, str):
        return spot.get(step)
    if isinstance(spot, list) and isinstance(step, int):
        return spot[step]
    return None


def _shown(value: Json) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value if len(value) <= _LONG else value[: _LONG - 3] + "...")
        case dict():
            return "a group of fields"
        case Sequence():
            return "an empty list" if not value else "a list"
        case _:
            return str(value)
