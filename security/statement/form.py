"""Which in-toto Statement does a dataclass stand for?

The predicate is the record of the class; the subjects are digests of the value, by name. A digest that is only a
subject belongs to a field that is declared to be `Elsewhere`. There is one form of each statement: these subjects, in
this order, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from security.encoding import Json
from security.errors import MalformedStatement
from security.forms.document import published
from security.forms.form import BEYOND, Constant, Definitions, Schema
from security.forms.record import Record, sentence
from security.statement.envelope import (
    KNOWN_STATEMENTS,
    SMALL_STATEMENT,
    STATEMENT_TYPE,
    Sha256,
    Statement,
    Subject,
    Verified,
    parse_statement,
    print_statement,
    verified_as,
)

T = TypeVar("T")

_PREDICATE: Final = "predicate"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StatementForm(Generic[T]):
    """A kind of statement: its predicate type, its record, and where the digest of each subject is in the value."""

    type: str
    record: Record[T]
    subjects: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of its published schema."""
        return self.type.split(":")[-2]

    def read(self, payload: bytes) -> T:
        """Parse a payload without any proof of where it comes from: to show it, or to see whose keys to try.

        Raises:
            MalformedJson, MalformedStatement: not such a statement, or about other subjects than its predicate says.
        """
        value: T = _read_small(self, payload) if len(payload) <= SMALL_STATEMENT else self.read_anew(payload)
        return value

    def read_anew(self, payload: bytes) -> T:
        """Parse a payload, whether or not it was just read; see `read`."""
        statement = parse_statement(payload, predicate_type=self.type)
        beside = {
            path: statement.subject(name) for name, path in self.subjects.items() if path in self.record.elsewhere
        }
        value = self.record.read_with(statement.predicate, _PREDICATE, beside)
        if statement.subjects != self._subjects(value):
            msg = "statement is about other subjects than its predicate says"
            raise MalformedStatement(msg, subjects=", ".join(self.subjects), rule=self._rule)
        return value

    def parse(self, proof: Verified[bytes]) -> Verified[T]:
        """Parse verified bytes; the proof carries over.

        Raises:
            MalformedJson, MalformedStatement: see `read`.
        """
        return verified_as(proof, self.read(proof.value))

    def print(self, value: T) -> bytes:
        """Print the statement that is signed. The only place that builds it."""
        return print_statement(
            Statement(subjects=self._subjects(value), predicate_type=self.type, predicate=self.record.write(value))
        )

    def schema(self) -> Schema:
        """Return the JSON Schema to publish."""
        return published(self.name, sentence(self.record.made), self._body)

    def _subjects(self, value: T) -> tuple[Subject, ...]:
        return tuple(Subject(name=name, digest=attrgetter(path)(value)) for name, path in self.subjects.items())

    @property
    def _rule(self) -> str:
        derived = [name for name, path in self.subjects.items() if path not in self.record.elsewhere]
        return f"the digests of the subjects {' and '.join(derived)} follow from the predicate" if derived else ""

    def _body(self, defs: Definitions) -> Schema:
        about = [_about(name, defs) for name in self.subjects]
        subject: Schema = {"type": "array", "minItems": len(about), "maxItems": len(about), "prefixItems": about}
        if self._rule:
            subject["$comment"] = BEYOND + self._rule
        fields: Schema = {
            "_type": Constant(STATEMENT_TYPE).schema(defs),
            "subject": subject,
            "predicateType": Constant(self.type).schema(defs),
            _PREDICATE: self.record.body(defs),
        }
        return _object(fields)


@lru_cache(maxsize=KNOWN_STATEMENTS)
def _read_small(form: StatementForm[Any], payload: bytes) -> Any:  # noqa: ANN401 - what the form is for
    return form.read_anew(payload)


def _about(name: str, defs: Definitions) -> Json:
    return _object({"name": Constant(name).schema(defs), "digest": Sha256().schema(defs)})


def _object(fields: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "required": list(fields), "properties": fields}
