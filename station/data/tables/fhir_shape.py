"""Which columns could resources have, going by what is in them?

A path is proposed if it leads to one plain value in a resource, or to none, in all of them. Names, addresses, numbers and
pictures of people are left out, as is what FHIR keeps for machines. The id of a resource is proposed of a patient only: of
anything else it would tell apart what are not patients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from security.encoding import Json
from station.data.tables.fhir_path import Object
from station.data.tables.source import Found

MOST: Final = 500
"""Paths that are looked at; a table has fewer columns."""
_DEEPEST: Final = 8
_MACHINES: Final = frozenset(
    {"resourceType", "identifier", "meta", "text", "contained", "extension", "modifierExtension", "implicitRules"}
)
_PEOPLE: Final = frozenset({"Patient", "Person", "Practitioner", "RelatedPerson"})
_PRIVATE: Final = frozenset({"name", "telecom", "address", "photo", "contact"})
_KINDS: Final[Mapping[type, str]] = {bool: "boolean", int: "decimal", float: "decimal", str: "string"}


class Shape:
    """What has been seen of resources: paths to plain values, and how many each leads to at most."""

    def __init__(self) -> None:
        self._kinds: dict[str, str] = {}
        self._most: Counter[str] = Counter()

    def see(self, resource: Object, linked: Mapping[str, Object]) -> None:
        """Look at a resource, and at those that it names."""
        here: Counter[str] = Counter()
        for path, value in _leaves(resource, "", linked, 0):
            if path not in self._kinds and len(self._kinds) == MOST:
                continue
            here[path] += 1
            kind = _KINDS[type(value)]
            self._kinds[path] = kind if self._kinds.get(path, kind) == kind else "string"
        self._most |= here

    @property
    def columns(self) -> tuple[Found, ...]:
        """The paths that can be columns."""
        return tuple(Found(name=path, type=kind) for path, kind in self._kinds.items() if self._most[path] == 1)


def _leaves(element: Object, before: str, linked: Mapping[str, Object], deep: int) -> Iterator[tuple[str, Json]]:
    kind = element.get("resourceType")
    skipped = _MACHINES | (_PRIVATE if kind in _PEOPLE else frozenset())
    if kind is not None and (before or kind != "Patient"):
        skipped |= {"id"}
    for name, value in element.items():
        path = f"{before}{name}"
        if name in skipped or name.startswith("_") or deep == _DEEPEST:
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                yield from _leaves(one, f"{path}.", linked, deep + 1)
                target = linked.get(str(one.get("reference")))
                if target is not None and ".resolve()" not in path:
                    yield from _leaves(target, f"{path}.resolve().", linked, deep + 1)
            elif one is not None and not isinstance(one, list):
                yield path, one
