"""The gate and the schemas it holds documents against."""

from __future__ import annotations

import io
import json
import os
import resource
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from security.archive import Member
from security.encoding import Json
from security.errors import PhtError, Unavailable
from security.train.manifest import Limits, Output
from security.train.output_schema import safe_pattern
from station.errors import (
    GateOversized,
    GateRefused,
    GateSchema,
    GateType,
    GateUndeclared,
    NoResults,
    PolicyRefused,
)
from station.gate.anew import pieces_of, print_anew
from station.gate.document import MAX_JSON_BYTES
from station.gate.inspect import Inspected, left_in
from station.gate.inspect import inspect as inspect_by
from station.gate.port import Gate, Left
from station.gate.rules import FORM, need_usable
from station.gate.schema import MAX_LOOKS, checker_of, compile_schema
from tests.support.trains import consortium, train

LIMITS = Limits(memory_bytes=1 << 28, cpu_millis=1000, wall_seconds=60, processes=8, output_bytes=1 << 20)


MANIFEST = train(consortium()).manifest
GATE = Gate(rules=FORM)


def judge(members: Sequence[Member], outputs: Sequence[Output], limits: Limits) -> Left:
    """Print files, and hold them against the rules that every gate has."""
    manifest = replace(MANIFEST, outputs=tuple(outputs), limits=limits)
    left = left_in(
        tuple(printed(one.member, one.declared) for one in left_in(tuple(members), manifest).files), manifest
    )
    GATE.judge(left)
    return left


def printed(file: Member, declared: Output | None) -> Member:
    if declared is None:
        return file
    return member(file.path, b"".join(pieces_of(file, declared, checker_of(declared))))


def inspect(state: Path, outputs: Sequence[Output], limits: Limits) -> Inspected:
    manifest = replace(MANIFEST, outputs=tuple(outputs), limits=limits)
    with tempfile.TemporaryDirectory() as into:
        print_anew(state, manifest, Path(into))
        return inspect_by(Path(into), manifest, GATE)


def output(path: str = "a.json", media_type: str = "application/json", **more: Json) -> Output:
    return Output(path=path, media_type=media_type, max_bytes=1000, schema=more.get("schema"))


def member(path: str, data: bytes) -> Member:
    return Member(path=path, size=len(data), executable=False, open=lambda: io.BytesIO(data))


def one(data: bytes, declared: Output | None = None) -> tuple[str, ...]:
    declared = declared or output()
    left = judge([member(declared.path, data)], [declared], LIMITS)
    return tuple(one.declared.path for one in left.files if one.declared)


@pytest.mark.parametrize("data", [b"{}", b"[1,2.5,null]", b' {"a": {"b": "c"}}\n'])
def test_json_passes(data: bytes) -> None:
    assert one(data) == ("a.json",)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"{}{}", b"{} x", b'{"a":1,"a":2}', b"NaN", b"9007199254740993", b"\xff{}", b"[" * 40 + b"]" * 40],
    ids=["empty", "cut", "two", "trailing", "doubled", "nan", "big", "latin", "deep"],
)
def test_what_is_no_strict_json_is_refused(data: bytes) -> None:
    with pytest.raises(GateType):
        one(data)


def test_json_that_cannot_be_checked_in_memory_is_refused() -> None:
    declared = Output(path="a.json", media_type="application/json", max_bytes=1 << 30)
    huge = Member(path="a.json", size=MAX_JSON_BYTES + 1, executable=False, open=io.BytesIO)
    with pytest.raises(GateOversized):
        judge([huge], [declared], Limits(**{**_fields(LIMITS), "output_bytes": 1 << 30}))


def _fields(limits: Limits) -> dict[str, int]:
    names = ("memory_bytes", "cpu_millis", "wall_seconds", "processes", "output_bytes")
    return {name: getattr(limits, name) for name in names}


def test_a_file_that_shrinks_while_it_is_read_is_refused() -> None:
    for kind in ("application/json", "text/csv", "text/plain"):
        shrunk = Member(path="x", size=10, executable=False, open=lambda: io.BytesIO(b"1"))
        with pytest.raises(GateType):
            judge([shrunk], [output("x", kind)], LIMITS)


def test_csv_passes_with_numbers_as_numbers() -> None:
    schema: Json = {
        "properties": {"age": {"type": "integer", "minimum": 18}, "x": {"type": ["number", "null"]}},
        "required": ["age", "x"],
        "additionalProperties": False,
    }
    declared = output("t.csv", "text/csv", schema=schema)
    assert one(b"age,x\n18,-1.5e3\r\n20,\n", declared) == ("t.csv",)
    with pytest.raises(GateSchema) as caught:
        one(b"age,x\n18,1\n17,2\n", declared)
    assert caught.value.fields == {"output": "t.csv", "rule": "minimum"}


def test_csv_may_hold_line_ends_in_quotes() -> None:
    assert one(b'a,b\n"x\ny",2\n', output("t.csv", "text/csv")) == ("t.csv",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a,a\n1,2\n",
        b"a,b\n1\n",
        b"a,b\n1,2,3\n",
        b'a\n"x',
        b"a\n\xff\n",
        b"a\n\x00\n",
        b"a\n\x1b[2J\n",
        b"a\rb\r",
    ],
    ids=["empty", "doubled", "short", "long", "open quote", "latin", "nul", "escape", "old mac"],
)
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(GateType):
        one(data, output("t.csv", "text/csv"))


def test_a_line_without_end_is_refused() -> None:
    long = Output(path="t.csv", media_type="text/csv", max_bytes=1 << 23)
    limits = Limits(**{**_fields(LIMITS), "output_bytes": 1 << 23})
    with pytest.raises(GateType):
        judge([member("t.csv", b"a\n" + b"x" * (3 << 20))], [long], limits)


def test_text_is_utf8_without_control_characters() -> None:
    assert one("größer\n\tx".encode(), output("t.txt", "text/plain")) == ("t.txt",)
    for data in (b"\xc3", b"\x1b[31m", b"a\x00"):
        with pytest.raises(GateType):
            one(data, output("t.txt", "text/plain"))


def test_a_character_may_lie_across_two_pieces() -> None:
    data = b"x" * ((1 << 20) - 1) + "ö".encode()
    declared = Output(path="t.txt", media_type="text/plain", max_bytes=1 << 21)
    limits = Limits(**{**_fields(LIMITS), "output_bytes": 1 << 21})
    assert len(judge([member("t.txt", data)], [declared], limits).files) == 1


def test_other_types_may_be_any_bytes() -> None:
    assert one(bytes(range(256)), output("m.bin", "application/octet-stream")) == ("m.bin",)


def test_sizes_hold_for_each_file_and_for_all_together() -> None:
    with pytest.raises(GateOversized):
        one(b"x" * 1001, output("t.txt", "text/plain"))
    files = [member(f"{index}.txt", b"x" * 1000) for index in range(3)]
    small = Limits(**{**_fields(LIMITS), "output_bytes": 2999})
    with pytest.raises(GateOversized):
        judge(files, [output("*.txt", "text/plain")], small)


def test_patterns_do_not_cross_folders_and_the_first_that_covers_counts() -> None:
    with pytest.raises(GateUndeclared):
        judge([member("a/b.txt", b"x")], [output("*.txt", "text/plain")], LIMITS)
    declared = [output("a.txt", "application/json"), output("*.txt", "text/plain")]
    with pytest.raises(GateType):
        judge([member("a.txt", b"no json")], declared, LIMITS)
    assert judge([member("b.txt", b"no json")], declared, LIMITS).files[0].declared == declared[1]


def test_a_missing_file_is_no_offence_but_nothing_at_all_is() -> None:
    assert len(judge([member("b.json", b"1")], [output(), output("b.json")], LIMITS).files) == 1
    with pytest.raises(NoResults):
        judge([], [output()], LIMITS)


def test_only_plain_files_are_seen_and_no_link_is_followed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (state / "a.json").symlink_to(secret)
    with pytest.raises(GateType):
        inspect(state, [output()], LIMITS)
    (state / "a.json").unlink()
    os.link(secret, state / "a.json")
    with pytest.raises(GateType):
        inspect(state, [output()], LIMITS)
    (state / "a.json").unlink()
    os.mkfifo(state / "a.json")
    with pytest.raises(GateType):
        inspect(state, [output()], LIMITS)


def test_errors_name_the_declaration_and_nothing_the_run_wrote(tmp_path: Path) -> None:
    """T20: names and values are plaintext."""
    canary = "CANARY-7f3a"
    state = tmp_path / "state"
    state.mkdir()
    schema: Json = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    declared = [output("*.json", schema=schema), output("*.csv", "text/csv"), output("*.txt", "text/plain")]
    cases = {
        f"{canary}.bin": b"",
        "a.json": f'{{"{canary}": "{canary}"}}'.encode(),
        "b.json": f'{{"{canary}":1,"{canary}":2}}'.encode(),
        f"{canary}.json": b"{",
        f"{canary}.csv": f"{canary},{canary}\n".encode(),
        "c.txt": f"{canary}\x1b".encode(),
    }
    for name, data in cases.items():
        (state / name).write_bytes(data)
        with pytest.raises((GateRefused, NoResults)) as caught:
            inspect(state, declared, LIMITS)
        (state / name).unlink()
        error: BaseException | None = caught.value
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        assert canary not in f"{error} {caught.value.hint} {caught.value.fields}"
    (state / canary).symlink_to("/etc/passwd")
    with pytest.raises(GateType) as linked:
        inspect(state, declared, LIMITS)
    assert canary not in f"{linked.value} {linked.value.fields}"
    assert linked.value.__suppress_context__


# --- Schemas ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "other.json"},
        {"$ref": "#"},
        {"$ref": "#/$defs/missing"},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$dynamicRef": "#x"},
        {"$id": "https://example.org/"},
        {"patternProperties": {"(a+)+$": {}}},
        {"pattern": "^(a+)+$"},
        {"properties": {"x": {"pattern": "a*a*a*b"}}},
        {"$schema": "http://json-schema.org/draft-04/schema#"},
        {"uniqueItems": True},
        {"items": {"unevaluatedProperties": False}},
        {"unevaluatedItems": False},
        {
            "$defs": {f"d{one}": {"$ref": f"#/$defs/d{one + 1}"} for one in range(900)} | {"d900": {}},
            "$ref": "#/$defs/d0",
        },
        {"type": "no such type"},
        {"description": "x" * 70000},
        [],
    ],
    ids=lambda value: str(value)[:40],
)
def test_schemas_the_station_does_not_evaluate_are_refused_before_anything_runs(schema: Json) -> None:
    with pytest.raises(PolicyRefused):
        compile_schema(schema, pattern="a.json")


def test_references_that_double_at_every_step_are_refused() -> None:
    definitions: dict[str, Json] = {
        f"d{index}": {"allOf": [{"$ref": f"#/$defs/d{index + 1}"}, {"$ref": f"#/$defs/d{index + 1}"}]}
        for index in range(30)
    }
    definitions["d30"] = {"type": "object"}
    with pytest.raises(PolicyRefused):
        compile_schema({"$defs": definitions, "$ref": "#/$defs/d0"}, pattern="a.json")


def test_references_within_the_schema_are_followed() -> None:
    schema: Json = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}, "type": "object"}
    checker = compile_schema(schema, pattern="a.json")
    checker.check({"a": 1})
    with pytest.raises(GateSchema):
        checker.check({"a": "1"})


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    schema: Json = {"properties": {"$ref": {"type": "integer"}, "pattern": {"const": "("}}, "required": ["pattern"]}
    compile_schema(schema, pattern="a.json").check({"pattern": "("})


@pytest.mark.parametrize("text", ["^a$", "^[0-9]{4}-[0-9]{2}$", r"^\d+$", "^[a-z]*x{3}$", r"^\.\d?$"])
def test_patterns_that_end_in_linear_time(text: str) -> None:
    assert safe_pattern(text)


@pytest.mark.parametrize("text", ["a", "^a+b+$", "^(a)$", "^a|b", "^a?a?a", "^a{1,9}b*", "^" + "a" * 300, "^[", "^a**"])
def test_patterns_that_might_not(text: str) -> None:
    assert not safe_pattern(text)


def test_a_schema_for_bytes_is_refused_before_anything_runs() -> None:
    with pytest.raises(PolicyRefused):
        need_usable([output("m.bin", "application/octet-stream", schema={"type": "object"})])
    need_usable([output("a.json", schema={"type": "object"})])


@pytest.mark.parametrize(
    ("schema", "document"),
    [
        ({"items": {"allOf": [{"type": "integer"}] * 900}}, [1] * 600_000),
        ({"items": {"enum": [[str(one), 1] for one in range(1500)]}}, [0] * 300_000),
    ],
    ids=["every value is looked at often", "a long list of constants"],
)
def test_t19_a_document_that_would_keep_the_station_busy_is_not_held_against_its_schema(
    tmp_path: Path, schema: Json, document: Json
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    output = Output(path="a.json", media_type="application/json", max_bytes=1 << 24, schema=schema)
    with pytest.raises(GateSchema) as caught:
        inspect(tmp_path, [output], replace(LIMITS, output_bytes=1 << 24))
    assert caught.value.fields["rule"] == "too many values for this schema"


def test_t19_the_rows_of_a_table_are_one_document() -> None:
    columns: dict[str, Json] = {f"c{one}": {"allOf": [{"type": "integer"}] * 40} for one in range(20)}
    checker = compile_schema({"properties": columns}, pattern="a.csv")
    spent = checker.spend(1, 21)
    assert checker.spend(1, 21, spent=spent) == checker.spend(2, 21) == 2 * spent
    with pytest.raises(GateSchema):
        checker.spend(1, 21, spent=MAX_LOOKS)
    with pytest.raises(GateSchema):
        checker.spend(MAX_LOOKS // spent + 1, 21)


def test_a_station_that_can_open_no_more_files_does_not_refuse_a_train_for_that(tmp_path: Path) -> None:
    """A refusal is for good; what it has opened meanwhile, it closes again."""
    state, into = tmp_path / "state", tmp_path / "printed"
    state.mkdir()
    into.mkdir()
    (state / "sums.json").write_bytes(b"{}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(state, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(PhtError) as caught:
            print_anew(state, MANIFEST, into)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(caught.value, Unavailable)
    print_anew(state, MANIFEST, into)
    assert (into / "sums.json").read_bytes() == b"{}\n"
