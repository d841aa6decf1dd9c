"""What does a train.yaml say?

YAML is read as the safe subset of version 1.2 that people mean: no tags, no anchors and aliases (attack T23: a few
lines that grow to gigabytes), no duplicate keys, ``true`` and ``false`` as the only truth values (``no`` is a text). The
schema ``train.schema.json`` comes first, for messages with a line; then a frozen value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import jsonschema
import yaml

from security.encoding import MAX_NUMBER, Fields, Json, parse_json
from security.errors import FileMissing, InvalidInput, Malformed
from security.files import read_file
from security.ids import PartyId
from security.train.manifest import LEAST_MEMORY, MAX_VALIDITY, MOST_WALL, Approval, DataNeed, Limits, Output
from train_builder.errors import SpecInvalid
from train_builder.spec.problems import Lines, Place, Problem, line_of, schema_problems, show_place
from train_builder.spec.schema import train_schema
from train_builder.spec.units import parse_duration, parse_size

SPEC_FILE: Final = "train.yaml"
MAX_SPEC: Final = 256 << 10
MAX_SCHEMA: Final = 256 << 10
_MAX_DEPTH: Final = 16
_INTEGER = re.compile(r"[-+]?[0-9]{1,16}", re.ASCII)
_FLOAT = re.compile(r"[-+]?[0-9]{1,16}\.[0-9]{1,16}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """What the scientist asks for: everything of a manifest that is not found in the directory or drawn by us.

    ``code`` is a folder relative to the train.yaml; schemas are already loaded. ``lines`` serves messages only.
    """

    name: str
    purpose: str
    approval: Approval
    base: str
    code: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    route: tuple[PartyId, ...]
    data: tuple[DataNeed, ...]
    outputs: tuple[Output, ...]
    limits: Limits
    valid: timedelta
    lines: Lines = field(compare=False, repr=False)


def load_spec(folder: Path) -> TrainSpec:
    """Read ``folder/train.yaml`` and the schemas it names.

    Raises:
        FileMissing: there is no train.yaml.
        SpecInvalid: the first thing that is wrong with it, and how many others are.
    """
    spec, problems = read_spec(folder)
    if spec is None:
        raise spec_error(folder, problems)
    return spec


def spec_error(folder: Path, problems: Sequence[Problem]) -> SpecInvalid:
    """Return the error that tells the first of some problems, and how many others there are."""
    first = problems[0]
    msg = "train.yaml is not as it should be"
    fields = {"line": first.line, "problem": f"{first.place}: {first.text}" if first.place else first.text}
    others = {"others": len(problems) - 1} if problems[1:] else {}
    return SpecInvalid(msg, hint=first.hint, file=folder / SPEC_FILE, **fields, **others)


def read_spec(folder: Path) -> tuple[TrainSpec | None, tuple[Problem, ...]]:
    """Read the train.yaml; return its value, or else everything that is wrong with it.

    Raises:
        FileMissing: there is no train.yaml.
    """
    path = folder / SPEC_FILE
    if not path.is_file():
        msg = "there is no train.yaml here"
        raise FileMissing(msg, folder=folder, hint="'pht train init FOLDER' makes one to begin with")
    try:
        value, lines = parse_yaml(read_file(path, limit=MAX_SPEC))
    except SpecInvalid as error:
        line = error.fields.get("line")
        problem = Problem(line=line if isinstance(line, int) else None, place="", text=error.message, hint=error.hint)
        return None, (problem,)
    problems = schema_problems(value, lines, spec_schema())
    if problems or not isinstance(value, dict):
        return None, problems
    reader = _Reader(folder, lines)
    spec = reader.spec(Fields(value, "train.yaml"))
    return (None, tuple(reader.found)) if reader.found else (spec, ())


def spec_schema() -> Mapping[str, Json]:
    """Return the published schema of train.yaml."""
    return train_schema()


def parse_yaml(raw: bytes) -> tuple[Json, Lines]:
    """Parse one YAML document strictly; return it with the line of every key and list item.

    Raises:
        SpecInvalid: not UTF-8, not YAML, with tags, anchors, aliases, duplicate keys, or too deep; with its line.
    """
    try:
        text = raw.decode("utf-8")
        _refuse_tricks(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        msg = "the file is not UTF-8 text"
        raise SpecInvalid(msg, line=raw[: error.start].count(b"\n") + 1) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "it cannot be read"
        msg = f"not YAML: {reason}"
        line = None if mark is None else mark.line + 1
        raise SpecInvalid(msg, line=line, hint="look for a missing space, quote or indentation there") from error
    lines: dict[Place, int] = {}
    if node is None:
        msg = "the file is empty"
        raise SpecInvalid(msg, line=1)
    return _value(node, (), lines), lines


def _refuse_tricks(text: str) -> None:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = _line(event)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            msg = "anchors and aliases (& and *) are not used here"
            raise SpecInvalid(msg, line=line, hint="a text that begins with '*' or '&' needs quotes")
        if getattr(event, "tag", None) is not None:
            msg = "tags (!) are not used here"
            raise SpecInvalid(msg, line=line, hint="a text that begins with '!' needs quotes")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if depth > _MAX_DEPTH or documents > 1:
            msg = "nested too deeply" if depth > _MAX_DEPTH else "there is more than one document in the file"
            raise SpecInvalid(msg, line=line)


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
                raise SpecInvalid(msg, line=line)
            if key.value in found:
                msg = f"'{key.value[:60]}' is there twice"
                raise SpecInvalid(msg, line=line, hint=f"the first is in line {lines[*place, key.value]}")
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


class _Reader:
    """Makes the value of a document the schema has accepted, and collects what the schema cannot say."""

    def __init__(self, folder: Path, lines: Lines) -> None:
        self._folder, self._lines = folder, lines
        self.found: list[Problem] = []

    def spec(self, fields: Fields) -> TrainSpec:
        """Take the whole document."""
        approval = fields.fields("approval")
        spec = TrainSpec(
            name=fields.text("train"),
            purpose=fields.text("purpose"),
            approval=Approval(
                reference=approval.text("reference"),
                legal_basis=approval.text("legal_basis") if approval.has("legal_basis") else None,
            ),
            base=fields.text("base"),
            code=(fields.text("code") if fields.has("code") else "code").rstrip("/"),
            command=fields.texts("command"),
            environment=_texts(fields.mapping("environment")) if fields.has("environment") else {},
            route=tuple(map(PartyId, fields.texts("route"))),
            data=tuple(map(_need, fields.objects("data"))) if fields.has("data") else (),
            outputs=tuple(self._output(one, index) for index, one in enumerate(fields.objects("outputs"))),
            limits=self._limits(fields.fields("limits")),
            valid=parse_duration(fields.text("valid")),
            lines=self._lines,
        )
        self._refuse_doubles("data", [need.name for need in spec.data])
        self._refuse_doubles("outputs", [output.path for output in spec.outputs])
        if spec.valid > MAX_VALIDITY:
            self._complain(("valid",), "is longer than a year")
        if not (self._folder / spec.code).is_dir():
            self._complain(("code",), f"there is no folder '{spec.code}' beside train.yaml")
        return spec

    def _output(self, fields: Fields, index: int) -> Output:
        schema: Json = None
        if fields.has("schema"):
            try:
                schema = load_schema(self._folder / fields.text("schema"))
            except SpecInvalid as error:
                self._complain(("outputs", index, "schema"), str(error))
        return Output(
            path=fields.text("path"),
            media_type=fields.text("media_type"),
            max_bytes=self._size(fields, "max_bytes", ("outputs", index)),
            schema=schema,
        )

    def _limits(self, fields: Fields) -> Limits:
        wall = parse_duration(fields.text("wall_time"))
        cpu = fields.take("cpu")
        limits = Limits(
            memory_bytes=self._size(fields, "memory", ("limits",)),
            cpu_millis=round(cpu * 1000) if isinstance(cpu, int | float) else 0,
            wall_seconds=int(wall.total_seconds()),
            processes=fields.number("processes", least=1),
            output_bytes=self._size(fields, "output", ("limits",)),
        )
        if limits.memory_bytes < LEAST_MEMORY:
            self._complain(("limits", "memory"), "is too little for any program", "16MiB is the least")
        if wall > MOST_WALL:
            self._complain(("limits", "wall_time"), "is longer than 31 days")
        return limits

    def _size(self, fields: Fields, name: str, place: Place) -> int:
        given = fields.take(name)
        if isinstance(given, int):
            return given
        try:
            size = parse_size(str(given))
        except InvalidInput:
            self._complain((*place, name), "is not a whole number of bytes")
            return LEAST_MEMORY
        if size > MAX_NUMBER:
            self._complain((*place, name), "is more than any machine has")
        return size

    def _refuse_doubles(self, kind: str, names: Sequence[str]) -> None:
        for index, name in enumerate(names):
            if name in names[:index]:
                self._complain((kind, index), f"'{name}' is there twice")

    def _complain(self, place: Place, text: str, hint: str | None = None) -> None:
        self.found.append(Problem(line=line_of(self._lines, place), place=show_place(place), text=text, hint=hint))


def load_schema(path: Path) -> Json:
    """Read the JSON Schema (draft 2020-12) of an output. It must be whole: a station fetches nothing.

    Raises:
        SpecInvalid: it cannot be read, is not one, or refers to another file.
    """
    try:
        schema = parse_json(read_file(path, limit=MAX_SCHEMA))
        if isinstance(schema, dict):
            jsonschema.Draft202012Validator.check_schema(schema)
    except (FileMissing, Malformed) as error:
        msg = f"the schema file is not readable as strict JSON: {error.message}"
        raise SpecInvalid(msg) from error
    except jsonschema.SchemaError as error:
        msg = f"not a JSON Schema (draft 2020-12): {error.message[:200]}"
        raise SpecInvalid(msg) from error
    if not isinstance(schema, dict) or _refers_outside(schema):
        msg = "the schema is not an object, or refers to another file or address; stations fetch nothing"
        raise SpecInvalid(msg)
    return schema


def _refers_outside(schema: Json) -> bool:
    if isinstance(schema, list):
        return any(map(_refers_outside, schema))
    if not isinstance(schema, dict):
        return False
    named = (schema.get("$ref"), schema.get("$dynamicRef"))
    outside = any(isinstance(one, str) and not one.startswith("#") for one in named)
    return outside or any(map(_refers_outside, schema.values()))


def _need(fields: Fields) -> DataNeed:
    return DataNeed(name=fields.text("name"), description=fields.text("description"), files=fields.texts("files"))


def _texts(mapping: Mapping[str, Json]) -> Mapping[str, str]:
    return {name: str(text) for name, text in mapping.items()}
