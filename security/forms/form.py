"""What forms may a value have in a document?

A form says three things at once, which agree by construction: how a value is read from strict JSON, how it is written,
and which JSON Schema (draft 2020-12) describes it. What a schema cannot say is a *rule*; it stands in the schema as a
comment, and a value refused for it says which.
"""

from __future__ import annotations

import base64
import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final, Generic, NoReturn, TypeAlias, TypeVar

from security.encoding import MAX_NUMBER, Json, parse_time, print_time
from security.errors import InvalidInput, MalformedStatement

T = TypeVar("T")
Schema: TypeAlias = dict[str, Json]

BEYOND: Final = "beyond this schema: "
_BASE64: Final = "[A-Za-z0-9+/_=-]+"
_TIME: Final = (
    "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"  # RFC 3339
)
_IS_TIME: Final = re.compile(_TIME)


class Definitions:
    """The parts of a schema that are referred to by name."""

    def __init__(self) -> None:
        self.found: dict[str, Json] = {}

    def refer(self, name: str, make: Callable[[], Schema]) -> Schema:
        """Return a reference to the definition of that name, making it at its first use."""
        if name not in self.found:
            self.found[name] = make()
        return {"$ref": f"#/$defs/{name}"}


class Form(ABC, Generic[T]):
    """How one value is read, written and described. ``makes`` is the type it is for, where there is only one."""

    __slots__ = ()
    makes: ClassVar[type | None] = None

    @abstractmethod
    def read(self, value: Json, where: str) -> T:
        """Make a value of JSON that was parsed strictly; `where` is its path, for messages.

        Raises:
            MalformedStatement: it does not have this form.
        """

    @abstractmethod
    def write(self, value: T) -> Json:
        """Return the JSON of a value. Nothing is checked: what is written may be refused when it is read."""

    @abstractmethod
    def schema(self, defs: Definitions) -> Schema:
        """Describe the form as a JSON Schema, putting what is named into `defs`."""

    def accepts(self, value: T) -> bool:
        """Whether a value, once written, would be read again."""
        try:
            self.read(self.write(value), "")
        except MalformedStatement:
            return False
        return True


def wrong(where: str, wanted: str, *, rule: str | None = None) -> NoReturn:
    """Refuse a value; `rule` is what a schema cannot say."""
    msg = "field is not what it should be"
    raise MalformedStatement(msg, field=where, wanted=wanted, **({} if rule is None else {"rule": rule}))


def whole(pattern: str) -> str:
    """Return a pattern that must match from the first character to the last, in Python and in ECMAScript alike."""
    return f"^(?:{pattern})(?![\\s\\S])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Form[str]):
    """A string of `least` to `most` characters, of the form of `pattern`; `says` is what it is, for people.

    A `line` is shown to people: it must be printable, so that it cannot move a terminal's cursor.
    """

    makes: ClassVar[type | None] = str

    most: int
    least: int = 1
    pattern: str | None = None
    line: bool = False
    says: str | None = None
    _compiled: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_compiled", None if self.pattern is None else re.compile(self.pattern))

    def read(self, value: Json, where: str) -> str:
        """See `Form.read`."""
        if not isinstance(value, str) or not self.least <= len(value) <= self.most:
            wrong(where, self.says or f"a string of {self.least} to {self.most} characters")
        if self._compiled is not None and self._compiled.fullmatch(value) is None:
            wrong(where, self.says or f"a string of the form {self.pattern}")
        if self.line and not value.isprintable():
            wrong(where, "printable characters on one line", rule="it is printable, on one line")
        return value

    def write(self, value: str) -> Json:
        """See `Form.write`."""
        return value

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        del defs
        found: Schema = {"type": "string", "minLength": self.least, "maxLength": self.most}
        if self.pattern is not None:
            found["pattern"] = whole(self.pattern)
        if self.line:
            found["$comment"] = f"{BEYOND}it is printable, on one line"
        return described(found, self.says)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Form[int]):
    """An integer from `least` to `most`."""

    makes: ClassVar[type | None] = int

    least: int = 0
    most: int = MAX_NUMBER
    says: str | None = None

    def read(self, value: Json, where: str) -> int:
        """See `Form.read`."""
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            wrong(where, f"an integer from {self.least} to {self.most}")
        return value

    def write(self, value: int) -> Json:
        """See `Form.write`."""
        return value

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        del defs
        return described({"type": "integer", "minimum": self.least, "maximum": self.most}, self.says)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Form[bool]):
    """True or false."""

    makes: ClassVar[type | None] = bool

    says: str | None = None

    def read(self, value: Json, where: str) -> bool:
        """See `Form.read`."""
        if not isinstance(value, bool):
            wrong(where, "true or false")
        return value

    def write(self, value: bool) -> Json:
        """See `Form.write`."""
        return value

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        del defs
        return described({"type": "boolean"}, self.says)


@dataclass(frozen=True, slots=True, kw_only=True)
class Time(Form[datetime]):
    """A moment in UTC, in whole seconds (RFC 3339)."""

    makes: ClassVar[type | None] = datetime

    def read(self, value: Json, where: str) -> datetime:
        """See `Form.read`."""
        if not isinstance(value, str) or _IS_TIME.fullmatch(value) is None:
            wrong(where, "a UTC time such as 2026-01-31T12:00:00Z")
        try:
            return parse_time(value, where=where)
        except MalformedStatement:
            wrong(where, "a time that exists", rule="the date exists")

    def write(self, value: datetime) -> Json:
        """See `Form.write`."""
        return print_time(value)

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        comment = f"{BEYOND}the date exists"
        return defs.refer("time", lambda: {"type": "string", "pattern": whole(_TIME), "$comment": comment})


@dataclass(frozen=True, slots=True, kw_only=True)
class Word(Form[Any]):
    """A string that a class is made of: one of the form of `pattern`, or whatever the class accepts by its `rule`."""

    made: Callable[[str], object]
    text: Text
    called: str
    rule: str | None = None
    spell: Callable[[Any], str] = str

    def read(self, value: Json, where: str) -> object:
        """See `Form.read`."""
        text = self.text.read(value, where)
        try:
            return self.made(text)
        except (InvalidInput, MalformedStatement) as error:
            given = {"rule": self.rule} if self.rule is not None else {}
            raise MalformedStatement(error.message, field=where, **given) from error

    def write(self, value: object) -> Json:
        """See `Form.write`."""
        return self.spell(value)

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""

        def make() -> Schema:
            comment: Schema = {} if self.rule is None else {"$comment": BEYOND + self.rule}
            return self.text.schema(defs) | comment

        return defs.refer(self.called, make)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base64(Form[bytes]):
    """Bytes in base64. Both alphabets are read, with and without padding, as DSSE demands; the standard one is written."""

    makes: ClassVar[type | None] = bytes

    most: int
    _text: Text = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_text", Text(most=self.most, pattern=_BASE64, says="base64"))

    def read(self, value: Json, where: str) -> bytes:
        """See `Form.read`."""
        text = self._text.read(value, where)
        standard = text.replace("-", "+").replace("_", "/")
        padded = standard if "=" in text else standard + "=" * (-len(standard) % 4)
        try:
            return base64.b64decode(padded, validate=True)
        except (binascii.Error, ValueError):
            wrong(where, "base64", rule="it is base64")

    def write(self, value: bytes) -> Json:
        """See `Form.write`."""
        return base64.b64encode(value).decode()

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        found = Text(most=self.most, pattern=_BASE64).schema(defs)
        found["$comment"] = f"{BEYOND}it is base64"
        return found


@dataclass(frozen=True, slots=True)
class Constant(Form[Any]):
    """The one value there can be."""

    value: str | int

    def read(self, value: Json, where: str) -> object:
        """See `Form.read`."""
        if type(value) is not type(self.value) or value != self.value:  # true is 1 to Python
            wrong(where, repr(self.value))
        return value

    def write(self, value: object) -> Json:
        """See `Form.write`."""
        del value
        return self.value

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        del defs
        return {"const": self.value}


class Choice(Form[Any]):
    """One of some words; `says` stands in the schema."""

    def __init__(self, *words: StrEnum, says: str | None = None) -> None:
        self._words = {word.value: word for word in words}
        self._says = says

    def read(self, value: Json, where: str) -> object:
        """See `Form.read`."""
        if not isinstance(value, str) or value not in self._words:
            wrong(where, f"one of {', '.join(self._words)}")
        return self._words[value]

    def write(self, value: StrEnum) -> Json:
        """See `Form.write`."""
        return value.value

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        del defs
        return described({"enum": list(self._words)}, self._says)


def described(schema: Schema, says: str | None) -> Schema:
    """Return a schema with words for people."""
    return schema if says is None else {"description": says, **schema}
