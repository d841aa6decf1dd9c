"""Which query makes a table of patients out of an OMOP database?

The Common Data Model 5.4 (ohdsi.github.io/CommonDataModel/cdm54.html) has one table for each kind of event, and says what an event is
by concepts. A ready-made data set is one kind, of the concepts that are named and all below them (``concept_ancestor``), with the
patient's sex and age in years at the beginning. Nothing but numbers and one schema's name goes into a query, and both are checked here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from security.errors import InvalidInput

_SCHEMA: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
_MOST_CONCEPT: Final = 2**31 - 1
_FEMALE, _MALE = 8532, 8507
"""The standard concepts of the domain Gender."""


class OmopKind(StrEnum):
    """What a row of the table is."""

    PERSON = "person"
    CONDITION = "condition"
    DRUG = "drug"
    MEASUREMENT = "measurement"
    VISIT = "visit"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """A table of the model: its concept, when an event begins, and what else is told of it, by the name it gets here."""

    table: str
    concept: str
    begins: str
    more: tuple[tuple[str, str], ...]


_EVENTS: Final = {
    OmopKind.CONDITION: _Event(
        table="condition_occurrence",
        concept="condition_concept_id",
        begins="condition_start_date",
        more=(("ended", "condition_end_date"),),
    ),
    OmopKind.DRUG: _Event(
        table="drug_exposure",
        concept="drug_concept_id",
        begins="drug_exposure_start_date",
        more=(("ended", "drug_exposure_end_date"), ("quantity", "quantity"), ("days", "days_supply")),
    ),
    OmopKind.MEASUREMENT: _Event(
        table="measurement",
        concept="measurement_concept_id",
        begins="measurement_date",
        more=(("value", "value_as_number"), ("unit", "unit_concept_id")),
    ),
    OmopKind.VISIT: _Event(
        table="visit_occurrence",
        concept="visit_concept_id",
        begins="visit_start_date",
        more=(("ended", "visit_end_date"),),
    ),
}


def omop_query(kind: OmopKind, concepts: Sequence[int], schema: str | None = None) -> str:
    """Return the SELECT of a ready-made data set, for `query_file` of a database.

    Raises:
        InvalidInput: a concept id that is none, concepts of a person, or a schema that is no plain name.
    """
    if schema is not None and _SCHEMA.fullmatch(schema) is None:
        msg = "not the name of a schema"
        raise InvalidInput(msg, schema=schema[:80])
    wrong = [one for one in concepts if not 0 < one <= _MOST_CONCEPT]
    if wrong:
        msg = "not the id of a concept"
        raise InvalidInput(msg, concept=wrong[0])
    of = "" if schema is None else f"{schema}."
    if kind is OmopKind.PERSON:
        if concepts:
            msg = "a person is of no concept: name conditions, drugs, measurements or visits"
            raise InvalidInput(msg, concept=concepts[0])
        return f"SELECT p.person_id AS patient, {_SEX} AS sex, p.year_of_birth AS born\nFROM {of}person p\n"
    event = _EVENTS[kind]
    chosen = [
        "e.person_id AS patient",
        f"{_SEX} AS sex",
        f"{_YEAR.format(date=f'e.{event.begins}')} - p.year_of_birth AS age",
        f"e.{event.concept} AS concept",
        f"e.{event.begins} AS began",
        *(f"e.{column} AS {name}" for name, column in event.more),
    ]
    lines = [
        "SELECT " + ",\n       ".join(chosen),
        f"FROM {of}{event.table} e JOIN {of}person p ON p.person_id = e.person_id",
    ]
    if concepts:
        ids = ", ".join(map(str, concepts))
        lines += [
            f"WHERE e.{event.concept} IN ({ids})",
            f"   OR e.{event.concept} IN (SELECT descendant_concept_id FROM {of}concept_ancestor",
            f"                            WHERE ancestor_concept_id IN ({ids}))",
        ]
    return "\n".join(lines) + "\n"


_SEX: Final = f"CASE p.gender_concept_id WHEN {_FEMALE} THEN 'f' WHEN {_MALE} THEN 'm' END"
_YEAR: Final = "CAST(EXTRACT(YEAR FROM {date}) AS integer)"
