"""What the schemas of the files that people write say about them is true: described, with real defaults and examples."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from station.data.tables.kinds import KINDS, SETTINGS
from station.house.config import StationConfig, config_schema, parse_config
from train_builder.spec.spec import TrainSpec, load_spec

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("references_under_test", ROOT / "docs" / "references.py")
assert spec is not None
assert spec.loader is not None
references = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = references
spec.loader.exec_module(references)

SCHEMAS = {
    "train.yaml": json.loads((ROOT / "train_builder/spec/train.schema.json").read_bytes()),
    "station.yaml": config_schema(),
}
KEYS = [(name, key) for name, schema in SCHEMAS.items() for key in references.keys_of(schema)]
TRAIN = """\
train: t
purpose: p
approval: {reference: r}
base: python
command: [python3, main.py]
route: [hospital-a]
outputs: [{path: out.json, media_type: application/json, max_bytes: 1KB}]
limits: {memory: 64MiB, cpu: 1, wall_time: 1min, processes: 4, output: 1KB}
valid: 1d
"""
STATION = """\
party: hospital-a
folder: state
keys: {folder: keys}
registry: {location: https://registry.example}
directory: {root_file: root.json}
data:
  patients: {folder: /srv/patients}
  rows: {source: files, folder: /srv/rows, patient: id, columns: {id: {type: identifier}}}
  lab: {source: sql, database: "sqlite:///lab", table: lab, patient: id, columns: {id: {type: identifier}}}
  lungs: {source: s3, endpoint: "https://s3", bucket: lungs, keys_file: k, patient: id, columns: {id: {type: identifier}}}
  heart: {source: fhir, server: "https://f", search: Patient, patient: id, columns: {id: {type: identifier}}}
admission: {approve: known-analysis, owners: [alice]}
"""


@pytest.mark.parametrize(("name", "key"), KEYS, ids=lambda one: getattr(one, "place", one))
def test_a_key_is_described_and_its_examples_are_allowed(name: str, key: Any) -> None:
    assert key.says.get("description"), f"{name}: {key.place} has no description"
    rules = jsonschema.Draft202012Validator({**key.says, "$defs": SCHEMAS[name].get("$defs", {})})
    for example in [*key.says.get("examples", ()), *([key.says["default"]] if "default" in key.says else ())]:
        rules.validate(example)


def groups(value: dict[str, Any], way: list[str], last: str) -> list[dict[str, Any]]:
    """Return the groups that a key stands in: one, or each data set of a kind that has it."""
    if way[:1] == ["data"]:
        setting, kinds = (
            [*way, last][2],
            {"folder": {"folder"}, **{one.name: set(one.settings) for one in KINDS.values()}},
        )
        every = [one for one in value["data"].values() if setting not in SETTINGS - kinds[one.get("source", "folder")]]
        way = way[2:]
    else:
        every = [value]
    for step in way:
        every = [one.setdefault(step, {}) for one in every]
    return every


def with_defaults(name: str, least: str) -> str:
    """Return a file that says everything that is so anyway."""
    value: dict[str, Any] = yaml.safe_load(least)
    given = copy.deepcopy(value)
    for key in references.keys_of(SCHEMAS[name]):
        if "default" in key.says and "[]" not in key.place:
            *way, last = key.place.split(".")
            for group in groups(value, way, last):
                group.setdefault(last, copy.deepcopy(key.says["default"]))
    assert value != given
    return yaml.safe_dump(value)


def station(text: str) -> StationConfig:
    read = parse_config(text.encode(), file=Path("/srv/pht/station.yaml"))
    return dataclasses.replace(read, digest=parse_config(STATION.encode(), file=Path("/srv/pht/station.yaml")).digest)


def test_the_defaults_of_a_station_are_those_of_the_program() -> None:
    assert station(with_defaults("station.yaml", STATION)) == station(STATION)


def test_the_defaults_of_a_train_are_those_of_the_program(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").touch()

    def train(text: str) -> TrainSpec:
        (tmp_path / "train.yaml").write_text(text)
        return load_spec(tmp_path)

    assert train(with_defaults("train.yaml", TRAIN)) == train(TRAIN)
