"""What forms may several values have together: one that may be missing, a list, a set, a table?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from security.encoding import Json
from security.forms.form import BEYOND, Definitions, Form, Schema, described, whole, wrong

_SORTED: Final = "it is sorted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nullable(Form[Any]):
    """A value, or null for None."""

    of: Form[Any]

    def read(self, value: Json, where: str) -> object:
        """See `Form.read`."""
        return None if value is None else self.of.read(value, where)

    def write(self, value: object) -> Json:
        """See `Form.write`."""
        return None if value is None else self.of.write(value)

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        return {"anyOf": [{"type": "null"}, self.of.schema(defs)]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Many(Form[Any]):
    """A list of `least` to `most` items of one form, for a tuple; for a frozenset, sorted and each once."""

    most: int
    least: int = 0
    of: Form[Any] | None = None
    """Follows from the type of the field where it is left out."""
    made: Callable[[list[Any]], object] = tuple
    says: str | None = None

    def read(self, value: Json, where: str) -> object:
        """See `Form.read`."""
        if not isinstance(value, list) or not self.least <= len(value) <= self.most:
            wrong(where, f"a list of {self.least} to {self.most} items")
        if self.made is frozenset:
            if any(not isinstance(one, str) for one in value) or len({str(one) for one in value}) != len(value):
                wrong(where, "a list of different words")
            if sorted(map(str, value)) != value:
                wrong(where, "a sorted list", rule=_SORTED)
        return self.made([self._item.read(one, f"{where}[{index}]") for index, one in enumerate(value)])

    def write(self, value: Any) -> Json:  # noqa: ANN401 - of what the field holds
        """See `Form.write`."""
        return [self._item.write(one) for one in (sorted(value) if self.made is frozenset else value)]

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        found: Schema = {"type": "array", "minItems": self.least, "maxItems": self.most}
        found["items"] = self._item.schema(defs)
        if self.made is frozenset:
            found |= {"uniqueItems": True, "$comment": BEYOND + _SORTED}
        return described(found, self.says)

    @property
    def _item(self) -> Form[Any]:
        if self.of is None:
            raise TypeError(self)
        return self.of


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Form[Mapping[str, Any]]):
    """An object whose keys have a pattern, and whose values have one form."""

    keys: str
    of: Form[Any]
    says: str | None = None

    def read(self, value: Json, where: str) -> Mapping[str, Any]:
        """See `Form.read`."""
        if not isinstance(value, dict):
            wrong(where, "an object")
        for name in value:
            if re.fullmatch(self.keys, name) is None:
                wrong(f"{where}.{name[:60]}", self.says or f"named {self.keys}")
        return {name: self.of.read(one, f"{where}.{name}") for name, one in value.items()}

    def write(self, value: Mapping[str, Any]) -> Json:
        """See `Form.write`."""
        return {name: self.of.write(one) for name, one in value.items()}

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        found: Schema = {"type": "object", "additionalProperties": False}
        found["patternProperties"] = {whole(self.keys): self.of.schema(defs)}
        return described(found, self.says)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyObject(Form[Any]):
    """A JSON object that is not looked into."""

    says: str | None = None

    def read(self, value: Json, where: str) -> Json:
        """See `Form.read`."""
        if not isinstance(value, dict):
            wrong(where, "an object")
        return value

    def write(self, value: Json) -> Json:
        """See `Form.write`."""
        return value

    def schema(self, defs: Definitions) -> Schema:
        """See `Form.schema`."""
        del defs
        return described({"type": "object"}, self.says)
