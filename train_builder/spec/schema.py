"""Which fields may a train.yaml have, and what may be in them?

What a manifest has as well is taken from its declaration, with its bounds and its words; only how people write sizes,
durations, files and stations is of this file. ``train.schema.json`` is written from here by ``make docs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from security.directory.trust import BASE_NAME
from security.encoding import MAX_NUMBER, Json
from security.forms.document import published
from security.forms.form import Definitions, Form, Number, Schema, Text, described
from security.forms.many import Many
from security.forms.record import Record
from security.ids import PartyId
from security.train.manifest import LIMITS, MANIFEST, OUTPUT, Approval, DataNeed
from security.train.route import MAX_STOPS, MOST_ROUNDS, MOST_STATIONS
from security.train.sum_form import Sum

_PATH: Final = r"(?!/)(?!(?:.*/)?\.{0,2}(?:/|$))[A-Za-z0-9_./-]{1,200}"
_CPU: Final = 1000
"""Thousandths of a processor in one."""

_MANIFEST: Final = MANIFEST.record


_ANNOTATIONS: Final[Mapping[str, Schema]] = {
    "train": {"markdownDescription": "What the train is called. Its identity is the digest of what is signed."},
    "approval.legal_basis": {"examples": ["GDPR Art. 9(2)(j)"]},
    "base": {"markdownDescription": "`pht train stations` lists them.", "examples": ["python"]},
    "code": {
        "markdownDescription": "It travels whole, sealed for the stations of the route; a `.phtignore` in it leaves files"
        " at home. A `requirements.txt` in it is resolved to wheels that travel along.",
        "default": "code",
    },
    "command": {"markdownDescription": "Started in the code folder.", "examples": [["python3", "main.py"]]},
    "contribute": {
        "markdownDescription": "In a train of rounds, what each station runs on its data: started in the code folder, with what"
        " the round before left in `/pht/in/JUNCTION`.",
        "examples": [["python3", "contribute.py"]],
    },
    "combine": {
        "markdownDescription": "In a train of rounds, what the junction runs on what the stations left, in `/pht/in/STATION`. It"
        " sees no data. An empty file `finished` in `/pht/state` says that the train goes home.",
        "examples": [["python3", "combine.py"]],
    },
    "boarding": {
        "markdownDescription": "Every station says first whether it takes part, and nothing runs before all of them do. Not said,"
        " it is `true` for a route of more than one station. Trains of rounds are always boarded.",
    },
    "outputs[].task": {"markdownDescription": "In a train of rounds: which command leaves it."},
    "outputs[].sum": {
        "markdownDescription": "The station adds masks to the numbers that the run wrote (JSON, or `.npy`); the junction finds"
        " the totals in `/pht/in/sum`, and nobody sees the numbers of one station. `max_bytes` has room for 24 bytes and"
        " `bits / 8` for each number and one more.",
        "examples": [{"shape": [3, 3], "bound": 1000000}],
    },
    "outputs[].sum.bits": {"default": 128},
    "outputs[].sum.fraction": {"default": 48},
    "keep": {
        "markdownDescription": "What the run leaves in `/pht/keep` stays at the station, sealed, and is there again at the next stop of"
        " this train there; at most so much. It is destroyed when the train has ended. Boarded trains only.",
    },
    "rounds": {"markdownDescription": "Instead of `route`: all stations work at once, and the junction combines."},
    "environment": {"default": {}, "examples": [{"TRAIN_VERBOSE": "1"}]},
    "route": {"markdownDescription": "`pht train stations` lists them.", "examples": [["hospital-a", "hospital-b"]]},
    "data": {"markdownDescription": "Each is a folder `/pht/data/NAME` of the run, read-only.", "default": []},
    "outputs": {
        "markdownDescription": "A station's gate refuses files in `/pht/state` that are not listed here. JSON and CSV travel as"
        " the gate prints them anew: sorted keys, `1` for `1.0`, quotes only where needed."
    },
    "limits.processes": {
        "markdownDescription": "Threads count as well. The kernel begins no more, and nobody but the program sees that: if it"
        " ends with an error for it, you are told `failed`, and not which limit it was."
    },
    "outputs[].schema": {
        "markdownDescription": "What the gate checks the file against. The narrower it is, the better a station knows"
        " what leaves it.",
        "examples": ["schemas/sums.json"],
    },
}
"""What the reference for people says beyond the bounds, by place."""


def train_schema() -> Schema:
    """Return the JSON Schema of train.yaml."""
    return published("train-yaml", "train.yaml: what a scientist writes", _annotated_body)


def _annotated_body(defs: Definitions) -> Schema:
    body = _body(defs)
    for place, notes in _ANNOTATIONS.items():
        node: Any = body
        for name in place.replace("[]", ".[]").split("."):
            node = node["items"] if name == "[]" else node["properties"][name]
        node.update(notes)
    return body


def _body(defs: Definitions) -> Schema:
    def same(name: str) -> Schema:
        return _MANIFEST.part(name).form.schema(defs)

    fields: Schema = {
        "train": same("name"),
        "purpose": same("purpose"),
        "approval": _group(
            "which approval the analysis has", _fields(Record(Approval), defs), optional={"legal_basis"}
        ),
        "base": BASE_NAME.schema(defs),
        "code": _file("a folder beside train.yaml, such as 'code'"),
        "command": same("command"),
        "contribute": same("command"),
        "combine": same("combine"),
        "environment": same("environment"),
        "route": {
            "description": f"the stations in order, as a list of 1 to {MAX_STOPS} party names",
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_STOPS,
            "items": Text(most=40, pattern=PartyId.PATTERN, says=PartyId.SAYS).schema(defs),
        },
        "rounds": _rounds(),
        "boarding": described({"type": "boolean"}, "whether every station says first that it takes part"),
        "data": _list("data", _need(defs)),
        "outputs": _list("outputs", _output(defs)),
        "keep": _size("a size, such as 10MiB"),
        "limits": _limits(defs),
        "valid": _duration("how long after departure stations may run it, such as 14d"),
    }
    either = {"command", "route", "contribute", "combine", "rounds"}
    return _group(None, fields, optional={"code", "environment", "data", "boarding", "keep", *either}) | {
        "if": {"required": ["rounds"]},
        "then": {"required": ["contribute", "combine"]},
        "else": {"required": ["command", "route"]},
    }


def _rounds() -> Schema:
    party = Text(most=40, pattern=PartyId.PATTERN, says=PartyId.SAYS).schema(Definitions())
    fields: Schema = {
        "stations": {
            "description": f"the stations that contribute to each round, as a list of 1 to {MOST_STATIONS} party names",
            "type": "array",
            "minItems": 1,
            "maxItems": MOST_STATIONS,
            "items": party,
        },
        "junction": described(party, "the station that combines what the others left; it may be one of them"),
        "most": Number(
            least=1, most=MOST_ROUNDS, says=f"how many rounds there are at most, from 1 to {MOST_ROUNDS}"
        ).schema(Definitions()),
    }
    return _group("rounds of all stations at once: stations, junction and most", fields)


def _need(defs: Definitions) -> Schema:
    record = Record(DataNeed)
    optional = {part.name for part in record.parts if part.optional}
    found = _group(
        "a data set: name, description, and columns of a table or files of a folder",
        _fields(record, defs),
        optional=optional,
    )
    return found | {
        "oneOf": [{"required": ["columns"]}, {"required": ["files"]}],
        "dependentRequired": {"where": ["columns"]},
    }


def _output(defs: Definitions) -> Schema:
    fields = _fields(OUTPUT, defs) | {
        "max_bytes": _size("a size, such as 200KB or 1MiB"),
        "schema": _file("a JSON Schema file beside train.yaml"),
        "sum": _group("what is added up over the stations", _fields(Record(Sum), defs), optional={"bits", "fraction"}),
    }
    return _group(
        "an output: path, media_type, max_bytes, and possibly schema", fields, optional={"schema", "task", "sum"}
    )


def _limits(defs: Definitions) -> Schema:
    cpu = LIMITS.part("cpu_millis").form
    if not isinstance(cpu, Number):
        raise TypeError(cpu)
    least, most = cpu.least / _CPU, cpu.most // _CPU
    fields: Schema = {
        "memory": _size("a size, such as 256MiB"),
        "cpu": {
            "description": f"a number of processors from {least:g} to {most}, such as 1 or 0.5",
            "type": "number",
            "minimum": least,
            "maximum": most,
        },
        "wall_time": _duration("a duration, such as 5min or 2h"),
        "processes": LIMITS.part("processes").form.schema(defs),
        "output": _size("a size, such as 1MiB"),
    }
    return _group("what a run may use", fields)


def _fields(record: Record[Any], defs: Definitions) -> Schema:
    """Return the fields of a record as YAML spells them: like Python."""
    return {part.name: part.form.schema(defs) for part in record.parts}


def _group(says: str | None, fields: Schema, *, optional: set[str] | None = None) -> Schema:
    required: list[Json] = [name for name in fields if name not in (optional or set())]
    found: Schema = {"type": "object", "additionalProperties": False, "required": required, "properties": fields}
    return described(found, says)


def _list(name: str, items: Schema) -> Schema:
    form: Form[Any] = _MANIFEST.part(name).form
    if not isinstance(form, Many):
        raise TypeError(form)
    bounds: Schema = {"type": "array", "minItems": form.least, "maxItems": form.most, "items": items}
    return described(bounds, form.says)


def _file(says: str) -> Schema:
    return Text(most=200, pattern=_PATH, says=says).schema(Definitions())


def _size(says: str) -> Schema:
    units = Text(most=40, pattern=r"[0-9]{1,12}(?:\.[0-9]{1,3})? ?(?:B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)").schema(
        Definitions()
    )
    return described({**units, "type": ["string", "integer"], "minimum": 0, "maximum": MAX_NUMBER}, says)


def _duration(says: str) -> Schema:
    return Text(most=40, pattern="[1-9][0-9]{0,8} ?(?:s|min|h|d)", says=says).schema(Definitions())
