"""What does a train.yaml say?

The schema ``train.schema.json`` comes first, for messages with a line; then a frozen value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from console.problems import Lines, Place, Problem, first_of, line_of, show_place
from console.yaml import Edited, read_edited
from security.encoding import MAX_NUMBER, Fields, Json, parse_json
from security.errors import FileMissing, InvalidInput, Malformed, SelectionInvalid
from security.files import read_file
from security.ids import PartyId
from security.tables.parse import parse
from security.train.manifest import LEAST_MEMORY, MAX_VALIDITY, MOST_WALL, Approval, DataNeed, Limits, Output
from security.train.route import MOST_ABOARD, Task
from security.train.sum_form import NPY, SUM_FOLDER, Sum
from train_builder.errors import SpecInvalid
from train_builder.spec.schema import train_schema
from train_builder.spec.units import parse_duration, parse_size

SPEC_FILE: Final = "train.yaml"
MAX_SPEC: Final = 256 << 10
MAX_SCHEMA: Final = 256 << 10
MOST_ALONE: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Which stations contribute to each round, who combines, and how many rounds there are at most."""

    stations: tuple[PartyId, ...]
    junction: PartyId
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """What the scientist asks for: everything in a manifest that does not come from the directory or from chance.

    ``code`` is a folder relative to the train.yaml; schemas are already loaded. ``lines`` serves messages only. In a train of
    `rounds`, ``command`` is what contributes, and ``route`` names everybody who takes part. `boarding` is what the train does, said or not.
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
    rounds: Rounds | None = None
    boarding: bool = False
    keep_bytes: int | None = None
    combine: tuple[str, ...] | None = None
    lines: Lines = field(compare=False, repr=False)

    @property
    def commands(self) -> Mapping[str, tuple[str, ...]]:
        """What is run, by its name in train.yaml."""
        if self.combine is None:
            return {"command": self.command}
        return {"contribute": self.command, "combine": self.combine}

    @property
    def data_at(self) -> tuple[PartyId, ...]:
        """The stations whose data it asks for."""
        return self.route if self.rounds is None else self.rounds.stations

    def place_of(self, index: int) -> Place:
        """Where train.yaml names the station that is this one in ``route``."""
        if self.rounds is None:
            return ("route", index)
        return ("rounds", "stations", index) if index < len(self.rounds.stations) else ("rounds", "junction")


def load_spec(folder: Path) -> TrainSpec:
    """Read ``folder/train.yaml`` and the schemas it names.

    Raises:
        FileMissing: there is no train.yaml.
        SpecInvalid: the first problem in it, and how many others there are.
    """
    spec, problems = read_spec(folder)
    if spec is None:
        raise spec_error(folder, problems)
    return spec


def spec_error(folder: Path, problems: Sequence[Problem]) -> SpecInvalid:
    """Return the error that reports the first problem, and how many others there are."""
    msg = "train.yaml is not valid"
    return SpecInvalid(msg, hint=problems[0].hint, file=folder / SPEC_FILE, **first_of(problems))


def read_spec(folder: Path) -> tuple[TrainSpec | None, tuple[Problem, ...]]:
    """Read the train.yaml; return its value, or else every problem in it.

    Raises:
        FileMissing: there is no train.yaml.
    """
    path = folder / SPEC_FILE
    if folder.is_file():
        msg = "a train is a folder, and this is a file"
        raise FileMissing(msg, file=folder, hint=f"name the folder that {SPEC_FILE} is in: {folder.parent}")
    if not folder.exists():
        msg = "there is no such folder"
        raise FileMissing(msg, folder=folder, hint=f"'pht train init {folder}' begins a train there")
    if not path.is_file():
        msg = "there is no train.yaml here"
        raise FileMissing(msg, folder=folder, hint="name a train's folder; 'pht train init FOLDER' begins one")
    found = read_edited(read_file(path, limit=MAX_SPEC), spec_schema())
    if not isinstance(found, Edited):
        return None, found
    reader = _Reader(folder, found.lines)
    spec = reader.spec(Fields(found.value, "train.yaml"))
    return (None, tuple(reader.found)) if reader.found else (spec, ())


def spec_schema() -> Mapping[str, Json]:
    """Return the published schema of train.yaml."""
    return train_schema()


class _Reader:
    """Makes the value of a document that satisfies the schema, and collects the problems that a schema cannot find."""

    def __init__(self, folder: Path, lines: Lines) -> None:
        self._folder, self._lines = folder, lines
        self.found: list[Problem] = []

    def spec(self, fields: Fields) -> TrainSpec:
        """Take the whole document."""
        approval = fields.fields("approval")
        rounds = self._rounds(fields.fields("rounds")) if fields.has("rounds") else None
        route = self._route(fields, rounds)
        spec = TrainSpec(
            name=fields.text("train"),
            purpose=fields.text("purpose"),
            approval=Approval(
                reference=approval.text("reference"),
                legal_basis=approval.text("legal_basis") if approval.has("legal_basis") else None,
            ),
            base=fields.text("base"),
            code=(fields.text("code") if fields.has("code") else "code").rstrip("/"),
            command=fields.texts("command" if rounds is None else "contribute"),
            environment=_texts(fields.mapping("environment")) if fields.has("environment") else {},
            route=route,
            data=tuple(map(_need, fields.objects("data"))) if fields.has("data") else (),
            outputs=tuple(self._output(one, index) for index, one in enumerate(fields.objects("outputs"))),
            limits=self._limits(fields.fields("limits")),
            valid=parse_duration(fields.text("valid")),
            rounds=rounds,
            boarding=self._boarding(fields, route, rounds),
            keep_bytes=self._size(fields, "keep", ()) if fields.has("keep") else None,
            combine=None if rounds is None else fields.texts("combine"),
            lines=self._lines,
        )
        self._check_tasks(spec, fields)
        self._check_sums(spec)
        self._refuse_doubles("data", [need.name for need in spec.data])
        for index, need in enumerate(spec.data):
            self._check_where(need, ("data", index))
        self._refuse_doubles("outputs", [output.path for output in spec.outputs])
        if spec.valid > MAX_VALIDITY:
            self._complain(("valid",), "is longer than a year")
        if not (self._folder / spec.code).is_dir():
            is_file = (self._folder / spec.code).exists()
            text = f"'{spec.code}' is a file" if is_file else f"there is no folder '{spec.code}' beside train.yaml"
            self._complain(("code",), text, "name the folder that the analysis is in")
        return spec

    def _rounds(self, fields: Fields) -> Rounds:
        rounds = Rounds(
            stations=tuple(map(PartyId, fields.texts("stations"))),
            junction=PartyId(fields.text("junction")),
            most=fields.number("most", least=1),
        )
        for index, party in enumerate(rounds.stations):
            if party in rounds.stations[:index]:
                text = f"'{party}' is given twice: a station contributes once to a round"
                self._complain(("rounds", "stations", index), text)
        return rounds

    def _boarding(self, fields: Fields, route: Sequence[PartyId], rounds: Rounds | None) -> bool:
        """Whether every station says first that it takes part; where nothing is told, if there is more than one."""
        if fields.has("boarding"):
            told = fields.flag("boarding")
            if rounds is not None and not told:
                self._complain(
                    ("boarding",), "does not belong to a train of rounds", "it is always boarded: leave it out"
                )
        else:
            told = rounds is not None or len(set(route)) > MOST_ALONE
        if told and len(set(route)) > MOST_ABOARD:
            text = f"names {len(set(route))} stations, and at most {MOST_ABOARD} can board a train"
            self._complain(("route",), text, "boarding: false, or fewer stations")
        return told

    def _route(self, fields: Fields, rounds: Rounds | None) -> tuple[PartyId, ...]:
        if rounds is None:
            return tuple(map(PartyId, fields.texts("route")))
        return tuple(dict.fromkeys((*rounds.stations, rounds.junction)))

    def _check_tasks(self, spec: TrainSpec, fields: Fields) -> None:
        """Hold what belongs to rounds against whether there are any."""
        wrong = ("route", "command") if spec.rounds else ("contribute", "combine")
        for name in wrong:
            if fields.has(name):
                kind = "of rounds" if spec.rounds else "without rounds"
                self._complain(
                    (name,),
                    f"does not belong to a train {kind}",
                    "say either route and command, or rounds, contribute and combine",
                )
        if spec.keep_bytes is not None and not spec.boarding:
            self._complain(("keep",), "is for trains that are boarded", "boarding: true")
        for index, output in enumerate(spec.outputs):
            if (output.task is None) != (spec.rounds is None):
                text = "says no task" if output.task is None else "says a task, and there are no rounds"
                self._complain(("outputs", index), text, "in a train of rounds: task: contribute, or task: combine")
        for task in (Task.CONTRIBUTE, Task.COMBINE) if spec.rounds else ():
            if all(output.task not in {task, None} for output in spec.outputs):
                self._complain(
                    ("outputs",),
                    f"no output is that of the task '{task}'",
                    f"declare what it leaves in /pht/state: task: {task}",
                )

    def _check_sums(self, spec: TrainSpec) -> None:
        """Say of each sum what is wrong with it; the manifest's own rules say only that something is."""
        parties = spec.data_at
        for index, output in enumerate(spec.outputs):
            if output.sum is None:
                continue
            place: Place = ("outputs", index, "sum")
            if output.task is Task.COMBINE or not spec.boarding or len(set(parties)) != len(parties):
                hint = "task: contribute, in a train of rounds; or boarding: true, and no station twice on the route"
                self._complain(place, "is not of what stations leave, each once", hint)
            elif len(parties) < MOST_ALONE + 1:
                self._complain(place, "needs at least two stations", "one alone would tell its numbers")
            elif not output.sum.has_room(len(parties)):
                text = f"{len(parties)} stations with numbers up to {output.sum.bound} do not fit into {output.sum.bits} bits"
                self._complain(place, text, "a smaller bound or fraction, or bits: 128")
            elif output.max_bytes < output.sum.masked_bytes:
                text = f"{output.max_bytes} is less than the {output.sum.masked_bytes} bytes that are sent"
                self._complain(("outputs", index, "max_bytes"), text)
            elif not output.can_be_summed:
                self._complain(
                    place,
                    "is of one file of JSON without a schema, or of .npy",
                    f"media_type: {NPY}, for one path without '*'",
                )
        if any(output.sum for output in spec.outputs) and SUM_FOLDER in spec.route:
            self._complain(
                ("rounds",), f"'{SUM_FOLDER}' is the folder of the totals: a station of that name takes part in no sum"
            )

    def _check_where(self, need: DataNeed, place: Place) -> None:
        try:
            if need.where is not None:
                parse(need.where)
        except SelectionInvalid as error:
            self._complain((*place, "where"), str(error), error.hint)

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
            task=Task(fields.text("task")) if fields.has("task") else None,
            sum=_sum(fields.fields("sum")) if fields.has("sum") else None,
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
                self._complain((kind, index), f"'{name}' is given twice")

    def _complain(self, place: Place, text: str, hint: str | None = None) -> None:
        self.found.append(Problem(line=line_of(self._lines, place), place=show_place(place), text=text, hint=hint))


def load_schema(path: Path) -> Json:
    """Read the JSON Schema (draft 2020-12) of an output. It must be whole: a station fetches nothing.

    Raises:
        SpecInvalid: it cannot be read, is not one, or refers to another file.
    """
    import jsonschema  # noqa: PLC0415 - slow to import, and few commands read a schema

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
    return DataNeed(
        name=fields.text("name"),
        description=fields.text("description"),
        columns=fields.texts("columns") if fields.has("columns") else None,
        where=fields.text("where") if fields.has("where") else None,
        parquet=True if fields.has("parquet") and fields.take("parquet") else None,
        files=fields.texts("files") if fields.has("files") else None,
    )


def _sum(fields: Fields) -> Sum:
    return Sum(
        shape=tuple(int(str(side)) for side in fields.items("shape")),
        bound=fields.number("bound", least=1),
        bits=fields.number("bits", least=64) if fields.has("bits") else 128,
        fraction=fields.number("fraction", least=0) if fields.has("fraction") else 48,
    )


def _texts(mapping: Mapping[str, Json]) -> Mapping[str, str]:
    return {name: str(text) for name, text in mapping.items()}
