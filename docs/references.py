"""What may stand in the files that people write? The references of their keys, from the schemas that check the files."""

from __future__ import annotations

import importlib.resources
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from registry.places import Login
from security.ids import PartyId
from station.desk.setup import NewStation, print_config
from station.house.config import config_schema

_TYPES: Final = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
_TRAIN: Final = """\
# train.yaml

Generated from [`train.schema.json`](../train_builder/spec/train.schema.json) by `make docs`.

One file says what a train is and what it may do. `pht train init` makes one to begin with, `pht train check` checks it.
Everything in it is signed, and stations refuse what goes beyond it. The file is strict YAML: no tags, no anchors and
aliases, no key twice; `true` and `false` are the only truth values.
"""
_STATION: Final = """\
# station.yaml

Generated from [`config.schema.json`](../station/house/config.schema.json) by `make docs`.

One file says everything that a person has decided about a station. `pht station init` makes it with comments,
`pht station check` checks it, and the daemon reads it when it starts. Relative paths are relative to the file; secrets
are never in it, only the paths of private files. Unknown keys are errors.
"""


@dataclass(frozen=True)
class Key:
    """A key of a file: where it stands, whether it must be there, and what the schema says of it."""

    place: str
    required: bool
    says: dict[str, Any]


def train_reference() -> str:
    """Return ``train-yaml.md``."""
    example = importlib.resources.files("train_builder.templates").joinpath("python/train.yaml").read_text("utf-8")
    return (
        _TRAIN
        + _tables(_schema("train_builder.spec", "train.schema.json"))
        + _example("The template `python`", example)
    )


def station_reference() -> str:
    """Return ``station-yaml.md``."""
    with tempfile.TemporaryDirectory() as room:
        new = NewStation(
            folder=Path(room),
            party=PartyId("hospital-a"),
            title="Hospital A",
            registry="https://registry.example",
            login=Login(),
            directory=None,
            data={"patients": Path("/srv/patients")},
            admit=[PartyId("alice")],
            engine=None,
            passphrase_file=None,
            by_hand=True,
        )
        example = print_config(new)
    return _STATION + _tables(config_schema()) + _example("As `init` makes it", example)


def keys_of(schema: dict[str, Any]) -> Iterator[Key]:
    """Yield every key that a schema knows, groups before what is in them."""
    yield from _keys(schema, "", schema.get("$defs", {}))


def _keys(group: dict[str, Any], place: str, known: dict[str, Any]) -> Iterator[Key]:
    required = group.get("required", ())
    for name, raw in group.get("properties", {}).items():
        yield from _key(f"{place}{name}", name in required, _resolved(raw, known), known)
    more = group.get("additionalProperties")
    if isinstance(more, dict):
        yield from _keys(_resolved(more, known), f"{place}NAME.", known)


def _key(place: str, required: bool, says: dict[str, Any], known: dict[str, Any]) -> Iterator[Key]:
    yield Key(place, required, says)
    if says.get("type") == "object":
        yield from _keys(says, f"{place}.", known)
    elif says.get("type") == "array":
        items = _resolved(says["items"], known)
        if items.get("type") == "object":
            yield from _keys(items, f"{place}[].", known)


def _resolved(raw: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Return what a schema says with what it refers to; its own words win."""
    return {**known[raw["$ref"].removeprefix("#/$defs/")], **raw} if "$ref" in raw else raw


def _schema(package: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(importlib.resources.files(package).joinpath(name).read_text("utf-8"))
    return found


def _tables(schema: dict[str, Any]) -> str:
    lines = ["", "## Keys", "", "| key | value | default | meaning |", "|---|---|---|---|"]
    for key in keys_of(schema):
        default = "required" if key.required else _value(key.says["default"]) if "default" in key.says else "—"
        lines.append(f"| `{key.place}` | {_type(key.says)} | {default} | {_meaning(key.says)} |")
    return "\n".join(lines) + "\n"


def _type(says: dict[str, Any]) -> str:
    if "enum" in says:
        return " or ".join(f"`{one}`" for one in says["enum"])
    kinds = says["type"] if isinstance(says["type"], list) else [says["type"]]
    if kinds == ["array"]:
        return "list"
    return "group" if kinds == ["object"] else " or ".join(_TYPES[kind] for kind in kinds)


def _meaning(says: dict[str, Any]) -> str:
    text = says["description"]
    parts = [text[0].upper() + text[1:] + ".", says.get("markdownDescription", "")]
    parts += [f"Example: {_value(one)}." for one in says.get("examples", ())]
    return " ".join(part for part in parts if part).replace("|", "\\|")


def _value(value: Any) -> str:  # noqa: ANN401 - JSON
    if value in ("", [], {}):
        return "empty"
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"


def _example(title: str, text: str) -> str:
    return f"\n## {title}\n\n```yaml\n{text.rstrip()}\n```\n"
