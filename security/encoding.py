"""How is JSON read strictly and written in one form, and how are its fields taken without missing any (attack T23)?"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Final, NoReturn, TypeAlias

from security.errors import MalformedJson, MalformedStatement

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_BYTES: Final = 4 << 20
MAX_DEPTH: Final = 24
MAX_NUMBER: Final = 2**53  # beyond it, readers in other languages silently round (RFC 8259, section 6)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(raw: bytes, *, limit: int = MAX_BYTES) -> Json:
    """Parse one JSON document (RFC 8259), refusing what two parsers could read differently.

    Raises:
        MalformedJson: not UTF-8, longer than `limit` bytes, deeper than 24 levels, with duplicate keys, NaN or
            infinities, integers beyond 2**53, lone surrogates, or anything after the document.
    """
    if len(raw) > limit:
        msg = "document is too long"
        raise MalformedJson(msg, bytes=len(raw), limit=limit)
    try:
        text = raw.decode("utf-8")
        del raw  # a large document is in memory once less while it is parsed, if nobody else holds it
        value: Json = _DECODER.decode(text)
    except MalformedJson:
        raise
    except (ValueError, RecursionError) as error:
        msg = "not a JSON document"
        raise MalformedJson(msg, at=getattr(error, "pos", None)) from error
    escaped = _SURROGATE.search(text) is not None
    del text  # before as much again is taken
    for depth, level in enumerate(levels_of(value)):
        if depth > MAX_DEPTH or (depth == MAX_DEPTH and any(isinstance(one, (list, dict)) for one in level)):
            msg = "nested too deeply"
            raise MalformedJson(msg, limit=MAX_DEPTH)
        _refuse_numbers(level)
        if escaped:
            _refuse_surrogates(level)
    return value


def levels_of(value: Json) -> Iterator[list[Json]]:
    """Yield the values in a document, level by level: itself, what is in it, what is in that."""
    level = [value]
    while level:
        yield level
        inner: list[Iterable[Json]] = []
        for one in level:
            if type(one) is dict:
                inner.append(one.values())
            elif type(one) is list:
                inner.append(one)
        level = list(chain.from_iterable(inner))


def dump_json(value: object) -> bytes:
    """Write JSON the same way every time: sorted keys, no spaces, UTF-8. Never used to check a signature."""
    return _ENCODER.encode(value).encode()


def dump_pretty(value: object) -> bytes:
    """Write JSON for people: sorted keys, two spaces, a final newline."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        first = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        msg = "duplicate key"
        raise MalformedJson(msg, key=first[:60])
    return found


def _constant(name: str) -> NoReturn:
    msg = "NaN and Infinity are no JSON numbers"
    raise MalformedJson(msg, value=name)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)
_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _refuse_numbers(level: list[Json]) -> None:
    """Integers and floats, as a parser makes them: a boolean is neither."""
    integers = [one for one in level if type(one) is int]
    if integers and (min(integers) < -MAX_NUMBER or max(integers) > MAX_NUMBER):
        msg = "integer beyond 2^53"
        raise MalformedJson(msg)
    if not all(map(math.isfinite, [one for one in level if type(one) is float])):
        msg = "number out of range"
        raise MalformedJson(msg)


def _refuse_surrogates(level: list[Json]) -> None:
    try:
        for one in level:
            for text in one if type(one) is dict else [one]:
                if isinstance(text, str):
                    text.encode("utf-8")
    except UnicodeEncodeError as error:
        msg = "not a JSON document"
        raise MalformedJson(msg) from error


class Fields:
    """A JSON object being taken apart field by field; `end` refuses what nobody took.

    ``where`` is the path for messages, such as ``predicate.outputs[2]``.
    """

    def __init__(self, value: Json, where: str) -> None:
        if not isinstance(value, dict):
            _wrong(where, "an object")
        self._left: dict[str, Json] = dict(value)
        self.where = where

    def has(self, name: str) -> bool:
        """Whether the field is there and not yet taken."""
        return name in self._left

    def take(self, name: str) -> Json:
        """Take a field of any type."""
        if name not in self._left:
            msg = "field is missing"
            raise MalformedStatement(msg, field=f"{self.where}.{name}")
        return self._left.pop(name)

    def text(self, name: str, *, most: int = 4096, least: int = 1) -> str:
        """Take a string of `least` to `most` characters."""
        value = self.take(name)
        if not isinstance(value, str) or not least <= len(value) <= most:
            _wrong(f"{self.where}.{name}", f"a string of {least} to {most} characters")
        return value

    def number(self, name: str, *, least: int, most: int = MAX_NUMBER) -> int:
        """Take an integer from `least` to `most`."""
        value = self.take(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            _wrong(f"{self.where}.{name}", f"an integer from {least} to {most}")
        return value

    def flag(self, name: str) -> bool:
        """Take a boolean."""
        value = self.take(name)
        if not isinstance(value, bool):
            _wrong(f"{self.where}.{name}", "true or false")
        return value

    def fields(self, name: str) -> Fields:
        """Take an object."""
        return Fields(self.take(name), f"{self.where}.{name}")

    def mapping(self, name: str) -> Mapping[str, Json]:
        """Take an object with free keys."""
        value = self.take(name)
        if not isinstance(value, dict):
            _wrong(f"{self.where}.{name}", "an object")
        return value

    def items(self, name: str, *, least: int = 0, most: int = 1000) -> list[Json]:
        """Take a list of `least` to `most` items."""
        value = self.take(name)
        if not isinstance(value, list) or not least <= len(value) <= most:
            _wrong(f"{self.where}.{name}", f"a list of {least} to {most} items")
        return value

    def texts(self, name: str, *, least: int = 0, most: int = 1000, longest: int = 4096) -> tuple[str, ...]:
        """Take a list of strings."""
        found: list[str] = []
        for item in self.items(name, least=least, most=most):
            if not isinstance(item, str) or not 1 <= len(item) <= longest:
                _wrong(f"{self.where}.{name}", f"a list of strings of 1 to {longest} characters")
            found.append(item)
        return tuple(found)

    def objects(self, name: str, *, least: int = 0, most: int = 1000) -> list[Fields]:
        """Take a list of objects."""
        items = self.items(name, least=least, most=most)
        return [Fields(item, f"{self.where}.{name}[{index}]") for index, item in enumerate(items)]

    def time(self, name: str) -> datetime:
        """Take a UTC time, ``2026-01-31T12:00:00Z`` (RFC 3339, whole seconds)."""
        return parse_time(self.text(name, most=20), where=f"{self.where}.{name}")

    def constant(self, name: str, expected: str) -> None:
        """Take a string that can only be `expected`."""
        if self.take(name) != expected:
            _wrong(f"{self.where}.{name}", repr(expected))

    def end(self) -> None:
        """Refuse the fields that are left."""
        if self._left:
            msg = "unknown field"
            raise MalformedStatement(msg, field=f"{self.where}.{min(self._left)[:60]}")


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


def parse_time(text: str, *, where: str = "time") -> datetime:
    """Parse a UTC time with whole seconds (RFC 3339)."""
    if _TIME.fullmatch(text) is None:
        _wrong(where, "a UTC time such as 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        _wrong(where, "a time that exists")


def print_time(moment: datetime) -> str:
    """Print an aware time in UTC with whole seconds (RFC 3339)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _wrong(where: str, wanted: str) -> NoReturn:
    msg = "field is not what it should be"
    raise MalformedStatement(msg, field=where, wanted=wanted)
