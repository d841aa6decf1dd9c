"""Which JSON object does a dataclass stand for?

A field of a frozen dataclass is declared once, where it stands: its type says most of its form, and `Annotated` adds the
bounds::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Limits:
        wall_seconds: Annotated[int, Number(least=1, most=31 * 86400)]

It is spelled ``wallSeconds`` in JSON. A field that may be None is left out of the object if its default is None, and
null if it has no default. A field that the class computes (``init=False``) is written, and must be right when read. What
a class demands of its fields together is in its ``RULES``.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, TypeVar

from security.encoding import Json
from security.errors import InvalidInput, MalformedStatement
from security.forms.form import (
    BEYOND,
    Choice,
    Constant,
    Definitions,
    Flag,
    Form,
    Schema,
    Text,
    Time,
    Word,
    described,
    wrong,
)
from security.forms.many import Many, Nullable

T = TypeVar("T")
_LONGEST_WORD: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a value must satisfy beyond the forms of its fields; `says` stands in the schema.

    Without `holds`, the class itself cannot be made of anything else.
    """

    says: str
    holds: Callable[[Any], bool] | None = None
    field: str = ""


@dataclass(frozen=True, slots=True)
class Spelled:
    """A field that JSON spells in another way than its name says."""

    key: str


class Inline:
    """A field that is a record itself, and whose fields are written beside the others of the object around it."""


class Elsewhere:
    """A field that is not in the object: whoever reads it finds it beside it."""


class Kinds(Form[Any]):
    """One of several records, told apart by the field ``kind``."""

    def __init__(self, **kinds: type) -> None:
        self._made = kinds
        self._records: dict[str, Record[Any]] = {}

    def read(self, value: Json, where: str) -> object:
        """See `Form.read`."""
        kind = value.get("kind") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in self._made:
            wrong(f"{where}.kind", f"one of {', '.join(self._made)}")
        return self._record(kind).read(value, where)

    def write(self, value: object) -> Json:
        """See `Form.write`."""
        (kind,) = (kind for kind, made in self._made.items() if type(value) is made)
        return self._record(kind).write(value)

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        kinds = [self._record(kind).schema(defs) for kind in self._made]
        return kinds[0] if len(kinds) == 1 else {"oneOf": list(kinds)}

    def _record(self, kind: str) -> Record[Any]:
        if kind not in self._records:
            self._records[kind] = Record(self._made[kind], kind=kind)
        return self._records[kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A field of a record: what it is called in Python and in JSON, its form, and how it is there.

    ``inline`` is the record whose fields stand in the place of this one, if it is such a field.
    """

    name: str
    key: str
    form: Form[Any]
    optional: bool
    computed: bool
    inline: Record[Any] | None


class Record(Form[T], Generic[T]):
    """The JSON object of a dataclass, with the constants around its fields."""

    def __init__(self, made: type[T], **constants: str | int) -> None:
        self.made = made
        self.constants: Mapping[str, Form[Any]] = {name: Constant(value) for name, value in constants.items()}
        self.parts = _parts(made)
        self._computed = tuple(part for part in self.parts if part.computed)
        self.elsewhere = frozenset(_named(made)) - {part.name for part in self.parts}
        self.rules: tuple[Rule, ...] = getattr(made, "RULES", ())

    def read(self, value: Json, where: str) -> T:
        """See `Form.read`."""
        return self.read_with(value, where, {})

    def read_with(self, value: Json, where: str, elsewhere: Mapping[str, object]) -> T:
        """Read an object together with the values of the fields that are not in it."""
        if not isinstance(value, dict):
            wrong(where, "an object")
        left = dict(value)
        found = self._take(left, where)
        if left:
            msg = "unknown field"
            raise MalformedStatement(msg, field=f"{where}.{min(left)[:60]}")
        found.update(elsewhere)
        return self._made(found, where)

    def write(self, value: T) -> dict[str, Json]:
        """See `Form.write`."""
        found: dict[str, Json] = {name: form.write(None) for name, form in self.constants.items()}
        for part in self.parts:
            one = getattr(value, part.name)
            if part.inline is not None:
                found |= part.inline.write(one)
            elif not (part.optional and one is None):
                found[part.key] = part.form.write(one)
        return found

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        return defs.refer(self.made.__name__, lambda: self.body(defs))

    def body(self, defs: Definitions) -> Schema:
        """Describe the record where it stands."""
        fields = tuple(self._fields(defs))
        found: Schema = {
            "type": "object",
            "additionalProperties": False,
            "required": [key for key, _, optional in fields if not optional],
            "properties": {key: schema for key, schema, _ in fields},
        }
        rules = [rule.says for part in self.parts if part.inline for rule in part.inline.rules]
        rules += [rule.says for rule in self.rules]
        rules += [_computed(part.key) for part in self.parts if part.computed]
        if rules:
            found["$comment"] = BEYOND + "; ".join(rules)
        return described(found, sentence(self.made))

    def part(self, name: str) -> Part:
        """Return the field of that name in Python."""
        return next(part for part in self.parts if part.name == name)

    def _fields(self, defs: Definitions) -> Iterator[tuple[str, Json, bool]]:
        """Yield the key and the schema of every field, and whether it may be left out."""
        for name, form in self.constants.items():
            yield name, form.schema(defs), False
        for part in self.parts:
            if part.inline is not None:
                yield from part.inline._fields(defs)
            else:
                yield part.key, part.form.schema(defs), part.optional

    def _take(self, left: dict[str, Json], where: str) -> dict[str, Any]:
        """Take the fields of the record out of an object."""
        for name, form in self.constants.items():
            form.read(_pop(left, name, where), f"{where}.{name}")
        found: dict[str, Any] = {}
        for part in self.parts:
            if (inner := part.inline) is not None:
                found[part.name] = inner._made(inner._take(left, where), where)  # noqa: SLF001 - of its own kind
            elif part.key in left or not part.optional:
                found[part.name] = part.form.read(_pop(left, part.key, where), f"{where}.{part.key}")
        return found

    def _made(self, found: Mapping[str, Any], where: str) -> T:
        """Make the value, and hold it against the rules of its class."""
        given = dict(found)
        computed = [(part, given.pop(part.name)) for part in self._computed]
        try:
            value = self.made(**given)
        except (InvalidInput, MalformedStatement) as error:
            own = "; ".join(rule.says for rule in self.rules if rule.holds is None)
            raise MalformedStatement(error.message, field=where, rule=own) from error
        for part, told in computed:
            if getattr(value, part.name) != told:
                wrong(f"{where}.{part.key}", "what follows from the other fields", rule=_computed(part.key))
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(value):
                wrong(f"{where}.{rule.field}" if rule.field else where, rule.says, rule=rule.says)
        return value


def spelled(name: str) -> str:
    """Return the name of a field as JSON spells it: ``wallSeconds``."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def sentence(made: type) -> str:
    """Return what a class says it is: the first sentence of its docstring."""
    return " ".join((made.__doc__ or "").split("\n\n")[0].split()).split(". ")[0].removesuffix(".")


def form_of(hint: Any) -> Form[Any]:  # noqa: ANN401 - a type, as `typing.get_type_hints` returns it
    """Return the form that follows from a type and its annotations."""
    declared: Form[Any] | None = None
    if typing.get_origin(hint) is Annotated:
        hint, *notes = typing.get_args(hint)
        declared = next((note for note in notes if isinstance(note, Form)), None)
    if isinstance(declared, Many) and declared.of is None:
        return dataclasses.replace(
            declared, of=form_of(typing.get_args(hint)[0]), made=typing.get_origin(hint) or tuple
        )
    if declared is not None:
        if declared.makes not in {None, hint}:
            raise TypeError(declared, hint)
        return declared
    if not isinstance(hint, type):
        raise TypeError(hint)
    if dataclasses.is_dataclass(hint):
        return Record(hint)
    return _plain(hint)


def _plain(made: type) -> Form[Any]:
    if made is bool:
        return Flag()
    if made is datetime:
        return Time()
    if issubclass(made, StrEnum):
        return Choice(*made)
    if issubclass(made, str) and hasattr(made, "PATTERN") and hasattr(made, "SAYS"):
        text = Text(most=_LONGEST_WORD, pattern=str(made.PATTERN), says=str(made.SAYS))
        return Word(made=made, text=text, called=made.__name__)
    raise TypeError(made)


def _parts(made: type) -> tuple[Part, ...]:
    hints = typing.get_type_hints(made, include_extras=True, localns={"Json": Any})
    if not dataclasses.is_dataclass(made):
        raise TypeError(made)
    found = (_part(one, hints[one.name]) for one in dataclasses.fields(made))
    return tuple(part for part in found if part is not None)


def _part(field: dataclasses.Field[Any], hint: Any) -> Part | None:  # noqa: ANN401 - a type
    notes: list[Any] = []
    if typing.get_origin(hint) is Annotated:
        hint, *notes = typing.get_args(hint)
    if any(isinstance(note, Elsewhere) for note in notes):
        return None
    optional = field.default is None
    nullable = isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)
    if nullable:
        (hint,) = (one for one in typing.get_args(hint) if one is not type(None))
    form = form_of(Annotated[hint, *notes] if notes else hint)
    return Part(
        name=field.name,
        key=next((note.key for note in notes if isinstance(note, Spelled)), spelled(field.name)),
        form=Nullable(of=form) if nullable and not optional else form,
        optional=optional,
        computed=not field.init,
        inline=form if isinstance(form, Record) and any(isinstance(note, Inline) for note in notes) else None,
    )


def _named(made: type) -> tuple[str, ...]:
    return tuple(one.name for one in dataclasses.fields(made)) if dataclasses.is_dataclass(made) else ()


def _pop(left: dict[str, Json], name: str, where: str) -> Json:
    if name not in left:
        msg = "field is missing"
        raise MalformedStatement(msg, field=f"{where}.{name}")
    return left.pop(name)


def _computed(key: str) -> str:
    return f"{key} follows from the other fields"
