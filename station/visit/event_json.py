"""How is an event written down, and read again?

As one JSON object with its ``kind`` and its fields, whose forms follow from their types. The reader refuses unknown kinds,
and fields that are missing, unknown or of another form.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from datetime import datetime
from typing import Any, Final

from security.digest import Digest
from security.encoding import Fields, Json, print_time
from security.errors import InvalidInput, MalformedStatement
from security.ids import PartyId, TrainId
from station.visit.events import Blob, HoldFor, SignedKind
from station.visit.parts import LONGEST_TEXT, ClearedFile, FurnishedData, Spent, TableRecord, plain
from station.visit.station_events import Event

MOST_ITEMS: Final = 20_000
_TABLE: Final = tuple(one.name for one in dataclasses.fields(TableRecord))


def print_event(event: Event) -> dict[str, Json]:
    """Return the event as a JSON object."""
    values = {name: getattr(event, name) for name in _SHAPES[type(event)]}
    shape = _SHAPES[type(event)].items()
    written = {name: part.form.write(values[name]) for name, part in shape if values[name] != part.default}
    return {"kind": event.kind, **written}


def parse_event(value: Json) -> Event:
    """Parse what `print_event` wrote.

    Raises:
        MalformedStatement: unknown kind, or a field missing, unknown or of the wrong form.
    """
    fields = Fields(value, "event")
    kind = fields.text("kind", most=40)
    if kind not in _KINDS:
        msg = "unknown kind of event"
        raise MalformedStatement(msg, kind=plain(kind))
    made = _KINDS[kind]
    shape = _SHAPES[made].items()
    found: dict[str, Any] = {
        name: part.form.parse(fields, name) for name, part in shape if fields.has(name) or part.default is MISSING
    }
    fields.end()
    event: Event = made(**found)
    return event


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    parse: Callable[[Fields, str], object]
    write: Callable[[Any], Json]


def _optional(form: _Form) -> _Form:
    def parse(fields: Fields, name: str) -> object:
        if fields.has(name):
            value = fields.take(name)
            return None if value is None else form.parse(Fields({name: value}, fields.where), name)
        return fields.take(name)

    return _Form(parse=parse, write=lambda value: None if value is None else form.write(value))


def _blob(fields: Fields) -> Blob:
    found = Blob(digest=Digest(fields.text("digest", most=71)), size=fields.number("size", least=0))
    fields.end()
    return found


def _cleared(fields: Fields) -> ClearedFile:
    found = ClearedFile(path=fields.text("path"), size=fields.number("size", least=0))
    fields.end()
    return found


def _furnished(fields: Fields) -> FurnishedData:
    table = _table(fields.fields("table")) if fields.has("table") else None
    found = FurnishedData(name=fields.text("name"), source=fields.text("source"), table=table)
    fields.end()
    return found


def _print_furnished(one: FurnishedData) -> Json:
    found: dict[str, Json] = {"name": one.name, "source": one.source}
    if one.table is not None:
        found["table"] = {name: str(getattr(one.table, name)) for name in _TABLE}
    return found


def _table(fields: Fields) -> TableRecord:
    texts = {name: fields.text(name, most=LONGEST_TEXT) for name in _TABLE}
    cohort, content = Digest(texts.pop("cohort")), Digest(texts.pop("content"))
    found = TableRecord(**texts, cohort=cohort, content=content)
    fields.end()
    return found


def _spent(fields: Fields) -> Spent:
    found = Spent(budget=fields.text("budget"), amount=fields.number("amount", least=0))
    fields.end()
    return found


def _many(parse: Callable[[Fields], object], write: Callable[[Any], Json]) -> _Form:
    return _Form(
        parse=lambda fields, name: tuple(parse(item) for item in fields.objects(name, most=MOST_ITEMS)),
        write=lambda items: [write(item) for item in items],
    )


def _word(made: Callable[[str], object]) -> _Form:
    def parse(fields: Fields, name: str) -> object:
        text = fields.text(name, most=LONGEST_TEXT, least=0)
        try:
            return made(text)
        except (ValueError, InvalidInput) as error:
            msg = "field is not what it should be"
            raise MalformedStatement(msg, field=f"{fields.where}.{name}") from error

    return _Form(parse=parse, write=str)


_DIGEST: Final = _word(Digest)
_NUMBER: Final = _Form(parse=lambda fields, name: fields.number(name, least=0), write=int)
_BLOB: Final = _Form(
    parse=lambda fields, name: _blob(fields.fields(name)),
    write=lambda blob: {"digest": str(blob.digest), "size": blob.size},
)
_FORMS: Final[Mapping[object, _Form]] = {
    datetime: _Form(parse=lambda fields, name: fields.time(name), write=print_time),
    str: _word(str),
    int: _NUMBER,
    bool: _Form(parse=lambda fields, name: fields.flag(name), write=bool),
    Digest: _DIGEST,
    Digest | None: _optional(_DIGEST),
    tuple[Digest, ...]: _Form(
        parse=lambda fields, name: tuple(map(Digest, fields.texts(name, longest=71))),
        write=lambda digests: [str(one) for one in digests],
    ),
    TrainId: _word(TrainId),
    PartyId: _word(PartyId),
    HoldFor: _word(HoldFor),
    SignedKind: _word(SignedKind),
    Blob | None: _BLOB,
    tuple[Blob, ...]: _many(_blob, _BLOB.write),
    tuple[FurnishedData, ...]: _many(_furnished, _print_furnished),
    tuple[Spent, ...]: _many(_spent, lambda one: {"budget": one.budget, "amount": one.amount}),
    tuple[ClearedFile, ...]: _many(_cleared, lambda file: {"path": file.path, "size": file.size}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A field of an event. One that came later than the first journals has a default, and is left out where it has that."""

    form: _Form
    default: object


def _shape(made: type[Event]) -> Mapping[str, _Part]:
    hints = typing.get_type_hints(made)
    return {one.name: _Part(form=_FORMS[hints[one.name]], default=one.default) for one in dataclasses.fields(made)}


_SHAPES: Final[Mapping[type[Event], Mapping[str, _Part]]] = {made: _shape(made) for made in typing.get_args(Event)}
_KINDS: Final[Mapping[str, type[Any]]] = {made.kind: made for made in _SHAPES}
