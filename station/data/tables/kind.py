"""What does a station know of a kind of source: what ``station.yaml`` says about it, and how that is opened?

A kind is one value, `KIND` in the module of its source, and one line in `station.data.tables.kinds`. What each setting means
is in ``config.schema.json``; which of them a kind has, and needs, is here, for the file and for the command line alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from security.encoding import Json
from station.data.tables.source import Spelling, TableSource

Reader: TypeAlias = Callable[[str, Path, Mapping[str, Any]], TableSource]
"""Makes the source of a data set from its name, the folder that relative paths are relative to, and its settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of source.

    It has the settings it `needs`, those it `may` have, one of the two in `either`, if there are such, and `together` tells
    which of them wants which other beside it. Its columns are as they are listed, or, with `paths`, whatever is named: what is
    listed then are a few.
    """

    name: str
    read: Reader
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()
    either: tuple[str, str] | None = None
    together: Mapping[str, str] | None = None
    paths: bool = False

    @property
    def settings(self) -> tuple[str, ...]:
        """Every setting that it can have."""
        return (*self.needs, *(self.either or ()), *self.may)

    def demands(self, settings: frozenset[str]) -> dict[str, Json]:
        """Return what its entry in ``station.yaml`` must be, as JSON Schema; `settings` are those of all kinds."""
        foreign = without(settings - set(self.settings), self.name)
        found: dict[str, Json] = {"required": list[Json](self.needs), "properties": foreign}
        if self.either:
            one, other = self.either
            excluded: Json = {"not": {}, "description": f"left out where '{other}' is"}
            found |= {"if": {"required": [other]}, "then": {"properties": {one: excluded}}, "else": {"required": [one]}}
        if self.together:
            found["dependentRequired"] = {name: [other] for name, other in self.together.items()}
        return found


def without(settings: Iterable[str], source: str) -> dict[str, Json]:
    """Return, as properties of JSON Schema, that an entry has none of these settings."""
    return {one: {"not": {}, "description": f"no setting of 'source: {source}'"} for one in sorted(settings)}


def beside(home: Path, value: Mapping[str, Any], setting: str) -> Path | None:
    """Return the path that a setting says, if it says one."""
    return home / value[setting] if setting in value else None


def spelling_of(value: Mapping[str, Any], pattern: str) -> Spelling:
    """Return how the files that match a pattern are written."""
    usual = {"delimiter": "\t"} if pattern.endswith(".tsv") else {}
    said = value.get("spelling", {})
    return Spelling(**{**usual, **said, "missing": tuple(said.get("missing", ()))})
