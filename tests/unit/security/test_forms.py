"""What a form reads, it writes again, and its schema says the same; what a schema cannot say, a comment in it does."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar

import jsonschema
import pytest

from security.digest import Digest, digest_of
from security.encoding import Json
from security.errors import MalformedJson, MalformedStatement
from security.forms.document import Document
from security.forms.form import Base64, Choice, Constant, Definitions, Flag, Form, Number, Text, Time
from security.forms.many import AnyObject, Many, Nullable, Table
from security.forms.record import Elsewhere, Inline, Kinds, Record, Rule, Spelled, form_of
from security.forms.words import others
from security.ids import PartyId, TrainId

A, B = str(digest_of(b"a")), str(digest_of(b"b"))


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place on a line. More is not said of it."""

    at: Annotated[int, Number(least=0, most=9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What holds one of everything."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(says="the first point is not after the last", holds=lambda one: one.first.at <= one.last_point.at),
    )

    party: PartyId
    first: Annotated[Point, Inline()]
    last_point: Point
    made_at: datetime
    digests: Annotated[tuple[Digest, ...], Many(most=2)]
    colours: Annotated[frozenset[Colour], Many(least=1, most=3)]
    key_id: Annotated[str, Spelled("keyid"), Text(most=4)]
    until: datetime | None
    beside: Annotated[Digest, Elsewhere()]
    double: Annotated[int, Number()] = field(init=False)
    note: Annotated[str | None, Text(most=5, line=True)] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.last_point.at)


BOX: Record[Box] = Record(Box, type="box")
VALID: dict[str, Json] = {
    "type": "box",
    "party": "ulm",
    "at": 1,
    "lastPoint": {"at": 2},
    "madeAt": "2026-01-01T00:00:00Z",
    "digests": [A, B],
    "colours": ["blue", "red"],
    "keyid": "k",
    "until": None,
    "double": 4,
}


def boxed(**changes: Any) -> dict[str, Any]:
    together: dict[str, Any] = {**VALID, **changes}
    return {name: one for name, one in together.items() if one is not ...}


def read(document: Json) -> Box:
    return BOX.read_with(document, "box", {"beside": digest_of(b"beside")})


def schema_of(form: Form[Any]) -> jsonschema.Draft202012Validator:
    defs = Definitions()
    described = form.schema(defs)
    whole = {**described, "$defs": defs.found}
    jsonschema.Draft202012Validator.check_schema(whole)
    return jsonschema.Draft202012Validator(whole)


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (Text(most=2), ["a", "é\n"], ["", "abc", 1, None, ["a"], True]),
        (Text(least=0, most=9, pattern="a*"), ["", "aa"], ["b", "aa\n", "ba", "a" * 10]),
        (Number(least=1, most=3), [1, 3], [0, 4, 2.5, True, "1", None]),
        (Flag(), [True, False], [0, 1, "true", None]),
        (Time(), ["2026-01-31T12:00:00Z"], ["2026-01-31", "2026-13-01T00:00:00Z", "2026-01-31T24:00:00Z", "", 1, None]),
        (Base64(most=8), ["YQ==", "YWI="], ["", "a b", "YWJjZGVmZ2g=", 1]),
        (Constant("x"), ["x"], ["y", "", 1, None]),
        (Constant(1), [1], [2, "1", True]),
        (Choice(Colour.RED, Colour.BLUE), ["red", "blue"], ["none", "RED", "", None, 1]),
        (Nullable(of=Number()), [None, 1], ["1", -1]),
        (Many(of=Text(most=3), least=1, most=2), [["a"], ["a", "a"]], [[], ["a"] * 3, "a", {}, [1], [""]]),
        (form_of(Annotated[frozenset[Colour], Many(most=2)]), [[], ["blue", "red"]], [["red", "red"], [1], ["x"]]),
        (Table(keys="[a-z]", of=Number()), [{}, {"a": 1}], [{"A": 1}, {"ab": 1}, {"a": "1"}, {"a\n": 1}, []]),
        (AnyObject(), [{}, {"a": [1]}], [[], "a", None, 1]),
        (form_of(PartyId), ["ulm"], ["Ulm", "", "a" * 41, "-", "a\n", 1]),
        (form_of(TrainId), ["0" * 64], ["0" * 63, "A" * 64, None]),
        (form_of(Digest), [A], [A[:-1], A.upper(), "md5:0", 5]),
        (Record(Point), [{"at": 0}], [{}, {"at": 10}, {"at": 1, "to": 2}, [], None, {"At": 1}]),
        (Kinds(point=Point), [{"kind": "point", "at": 1}], [{"at": 1}, {"kind": "line", "at": 1}, {"kind": []}, []]),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Form) else "",
)
def test_a_form_and_its_schema_give_the_same_verdict(form: Form[Any], good: list[Json], bad: list[Json]) -> None:
    schema = schema_of(form)
    for value in good:
        assert form.write(form.read(value, "it")) == value
        assert schema.is_valid(value)
    for value in bad:
        with pytest.raises(MalformedStatement) as caught:
            form.read(value, "it")
        assert str(caught.value.fields["field"]).startswith("it")
        assert not schema.is_valid(value), value


def test_a_record_is_written_as_it_is_read() -> None:
    box = read(VALID)
    assert box == Box(
        party=PartyId("ulm"),
        first=Point(at=1),
        last_point=Point(at=2),
        made_at=datetime(2026, 1, 1, tzinfo=UTC),
        digests=(Digest(A), Digest(B)),
        colours=frozenset({Colour.RED, Colour.BLUE}),
        key_id="k",
        until=None,
        beside=digest_of(b"beside"),
    )
    assert BOX.write(box) == VALID
    assert BOX.elsewhere == {"beside"}
    assert BOX.write(read(boxed(note="n"))) == boxed(note="n")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        *(({name: ...}, f"box.{name}") for name in VALID),
        ({"beside": A}, "box.beside"),
        ({"extra": 1}, "box.extra"),
        ({"type": "bag"}, "box.type"),
        ({"lastPoint": {"at": 10}}, "box.lastPoint.at"),
        ({"lastPoint": {"at": 2, "by": 1}}, "box.lastPoint.by"),
        ({"digests": [A, "sha256:0"]}, "box.digests[1]"),
        ({"note": None}, "box.note"),
        ({"note": "too long"}, "box.note"),
        ({"key_id": "k"}, "box.key_id"),
    ],
)
def test_a_record_is_refused_where_it_is_wrong_and_so_says_its_schema(change: dict[str, Any], where: str) -> None:
    with pytest.raises(MalformedStatement) as caught:
        read(boxed(**change))
    assert caught.value.fields["field"] == where
    assert "rule" not in caught.value.fields
    assert not schema_of(BOX).is_valid(boxed(**change))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"at": 3}, "the first point is not after the last"),
        ({"double": 5}, "double follows from the other fields"),
        ({"colours": ["red", "blue"]}, "it is sorted"),
        ({"note": "a\x1b"}, "it is printable, on one line"),
        ({"madeAt": "2026-02-30T00:00:00Z"}, "the date exists"),
    ],
)
def test_what_a_schema_cannot_say_stands_in_it(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(MalformedStatement) as caught:
        read(boxed(**change))
    assert caught.value.fields["rule"] == rule
    schema = schema_of(BOX)
    assert schema.is_valid(boxed(**change))
    assert f"beyond this schema: {rule}" in json.dumps(schema.schema) or f"; {rule}" in json.dumps(schema.schema)


def test_a_document_is_strict_and_publishes_itself() -> None:
    document: Document[Point] = Document(record=Record(Point, type="point"), name="point", title="A point", limit=40)
    assert document.parse(b'{"type": "point", "at": 1}') == Point(at=1)
    assert document.compact(Point(at=1)) == b'{"at":1,"type":"point"}'
    assert json.loads(document.pretty(Point(at=1))) == {"type": "point", "at": 1}
    for raw in (
        b'{"type":"point","at":1,"at":1}',
        b'{"type":"point","at":NaN}',
        b'{"type":"point","at":1} x',
        b" " * 41,
    ):
        with pytest.raises(MalformedJson):
            document.parse(raw)
    schema = document.schema()
    assert (schema["$id"], schema["title"]) == ("urn:pht:schema:point:v1", "A point")
    assert schema["description"] == "A place on a line"
    assert jsonschema.Draft202012Validator(schema).is_valid({"type": "point", "at": 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A record to which a field has come."""

    at: Annotated[int, Number()]
    unheard_of: Annotated[tuple[str, ...], Many(of=Text(most=5), most=2)]
    left_out: Annotated[str | None, Text(most=5)] = None


def test_a_field_that_nobody_has_words_for_is_shown_all_the_same() -> None:
    grown = Record(Grown).read({"at": 1, "unheardOf": ["x"]}, "it")
    assert list(others(Record(Grown), grown, "at")) == [("unheard of", '["x"]')]
    with pytest.raises(LookupError):
        list(others(Record(Grown), grown, "gone"))


def test_a_mistake_in_a_declaration_is_not_one_that_waits() -> None:
    with pytest.raises(TypeError):
        form_of(Annotated[str, Number()])
    with pytest.raises(TypeError):
        form_of(int)
    with pytest.raises(TypeError):
        form_of(dict[str, str])
