"""Which declared outputs hold so little that a hospital may let them go on without a person?

A JSON document under a schema that fixes what is in it down to the last value: objects without additional properties,
arrays with a greatest length, and at the leaves numbers, booleans, null and words from a list. A hundred such values can
still say a great deal about a patient; that the gate cannot know. What they cannot be is a table of patients.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from security.encoding import Json
from security.train.manifest import Output

MOST_VALUES: Final = 100
"""Of all outputs of a train together."""
MOST_BYTES: Final = 16 << 10
JSON: Final = "application/json"

_SCALARS: Final = frozenset({"integer", "number", "boolean", "null"})
_DEEPEST: Final = 100


def reasons_to_look(outputs: Sequence[Output], named: Collection[str] = ()) -> Iterator[str]:
    """Yield why these outputs are more than that, by their declared paths. Nothing is asked of the `named` media types."""
    total = 0
    for one in outputs:
        if one.media_type in named:
            continue
        if (
            one.sum is not None
        ):  # what one station's numbers are nobody sees; what the code puts into a sum, nobody checks
            total += one.sum.elements
            continue
        values, reason = _judged(one)
        total += values
        if reason is not None:
            yield f"{one.path} {reason}"
    if total > MOST_VALUES:
        yield f"they may hold {total} values, and {MOST_VALUES} go on unseen"


def most_values(schema: Json) -> int | None:
    """Return how many values a document under a schema can have at most; None if the schema does not bound them."""
    return _Counting(schema if isinstance(schema, dict) else {}).most(schema, 0)


def _judged(output: Output) -> tuple[int, str | None]:
    if output.media_type != JSON:
        return 0, f"is {output.media_type}"
    if output.schema is None:
        return 0, "is JSON without a schema"
    if "*" in output.path or "?" in output.path:
        return 0, "may be many files, and their names say something as well"
    if output.max_bytes > MOST_BYTES:
        return 0, f"may be larger than {MOST_BYTES} bytes"
    values = most_values(output.schema)
    if values is None:
        return 0, "has a schema that leaves open how much is in it, or allows free text"
    return values, None


class _Counting:
    """Counts as if every reference were written out.

    Whatever may be there or not, or be one thing or another, says something: a constant among others is a letter, an empty
    list in a list counts. So every node that is reached is a value at least.
    """

    def __init__(self, root: Mapping[str, Json]) -> None:
        self._root = root

    def most(self, node: Json, depth: int) -> int | None:
        if node is False:
            return 0
        if not isinstance(node, dict) or depth > _DEEPEST:
            return None
        found = [self._own(node, depth)]
        if "$ref" in node:
            found.append(self._target(node["$ref"], depth))
        if isinstance(every := node.get("allOf"), list):
            found += [self.most(one, depth + 1) for one in every]
        for key in ("anyOf", "oneOf"):
            if isinstance(some := node.get(key), list):
                found.append(_all([self.most(one, depth + 1) for one in some], max))
        bounds = [one for one in found if one is not None]  # each of them bounds it
        return max(1, min(bounds)) if bounds else None

    def _own(self, node: Mapping[str, Json], depth: int) -> int | None:
        if "const" in node or "enum" in node:
            return 1
        kinds = node.get("type")
        named = kinds if isinstance(kinds, list) else [kinds]
        return _all([self._kind(one, node, depth) for one in named], max)

    def _kind(self, kind: Json, node: Mapping[str, Json], depth: int) -> int | None:
        if isinstance(kind, str) and kind in _SCALARS:
            return 1
        if kind == "object":
            properties = node.get("properties", {})
            if node.get("additionalProperties") is not False or not isinstance(properties, dict):
                return None
            return _all([self.most(one, depth + 1) for one in properties.values()], sum)
        return self._array(node, depth) if kind == "array" else None

    def _array(self, node: Mapping[str, Json], depth: int) -> int | None:
        first, most = node.get("prefixItems", []), node.get("maxItems")
        if not isinstance(first, list):
            return None
        rest = 0 if node.get("items") is False else most - len(first) if isinstance(most, int) else None
        if rest is None:
            return None
        each = self.most(node.get("items"), depth + 1) if rest > 0 else 0
        beginning = _all([self.most(one, depth + 1) for one in first], sum)
        return None if each is None or beginning is None else beginning + rest * each if rest > 0 else beginning

    def _target(self, reference: Json, depth: int) -> int | None:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        node: Json = dict(self._root)
        for step in reference[2:].split("/"):
            if not isinstance(node, dict) or step not in node:
                return None
            node = node[step]
        return self.most(node, depth + 1)


def _all(counts: Sequence[int | None], together: Callable[[Sequence[int]], int]) -> int | None:
    known = [one for one in counts if one is not None]
    return together([0, *known]) if len(known) == len(counts) else None
