"""Where does a path lead in a resource, and what is no path?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.errors import InvalidInput
from station.data.tables.fhir_path import met, parse_path

PATIENT: dict[str, Any] = {"resourceType": "Patient", "id": "p1", "gender": "female"}
RESOURCE: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "subject": {"reference": "Patient/p1"},
    "performer": [{"display": "somebody"}],
    "code": {
        "coding": [
            {"system": "http://loinc.org", "code": "8480-6", "userSelected": True},
            {"system": "urn:it's", "code": "1"},
        ]
    },
    "valueQuantity": {"value": 7.5, "code": "mm[Hg]"},
    "component": [
        {"code": {"coding": [{"code": "a"}]}, "valueInteger": 1},
        {"code": {"coding": [{"code": "b"}, {"code": "c"}]}, "valueInteger": 2},
        {"code": {"coding": [{"code": "d"}]}, "dataAbsentReason": {"text": "none"}},
    ],
    "given": ["A", None, "B"],
}


def values(path: str) -> list[Any]:
    return [one.value for one in met(parse_path(path), RESOURCE, lambda name: {"Patient/p1": PATIENT}[name])]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("id", ["o1"]),
        ("Observation.status", ["final"]),
        ("Patient.status", []),
        ("gone", []),
        ("gone.further", []),
        ("status.further", []),
        ("valueQuantity.value", [7.5]),
        ("value.ofType(Quantity).value", [7.5]),
        ("value.ofType( integer )", []),
        ("code.coding.code", ["8480-6", "1"]),
        ("code.coding[0].code", ["8480-6"]),
        ("code.coding[7].code", []),
        ("code.coding.first().code", ["8480-6"]),
        ("code.coding.where(system = 'http://loinc.org').code", ["8480-6"]),
        ('code.coding.where(system = "urn:it\'s").code', ["1"]),
        ("code.coding.where(system!='http://loinc.org').code", ["1"]),
        ("code.coding.where(userSelected = true).code", ["8480-6"]),
        ("code.coding.where(userSelected.exists()).code", ["8480-6"]),
        ("code.coding.where(userSelected.empty()).code", ["1"]),
        ("component.where(code.coding.code = 'c').valueInteger", [2]),
        ("component.where(valueInteger = 1).code.coding.code", ["a"]),
        ("component.where(valueInteger = true).code.coding.code", []),
        ("component.where(valueInteger = '1').code.coding.code", []),
        ("component.valueInteger", [1, 2]),
        ("given", ["A", "B"]),
        ("subject.resolve().gender", ["female"]),
        ("subject.resolve().ofType(Patient).gender", ["female"]),
        ("subject.resolve().ofType(Group).gender", []),
        ("performer.resolve().gender", []),
    ],
)
def test_a_path_leads_to_values(path: str, found: list[Any]) -> None:
    assert values(path) == found


@pytest.mark.parametrize(
    ("path", "character"),
    [
        ("", 1),
        (".", 1),
        ("Observation", 12),
        ("subject.resolve()", 18),
        ("a..b", 2),
        ("a.", 2),
        ("a b", 2),
        ("a.where()", 8),
        ("a.where(b = c)", 8),
        ("a.where(b = 'x' or c = 'y')", 8),
        ("a.where(b > 1)", 8),
        ("a[x]", 2),
        ("a[-1]", 2),
        ("a.count()", 8),
        ("a.where(b = 'c').ofType(Quantity)", 17),
        ("__import__('os')", 1),
        ("a" * 400, 65),
        (".".join(["a"] * 200), 82),
        (".".join(["a"] * 300), 1),
    ],
)
def test_what_is_no_path_is_told_with_a_place(path: str, character: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_path(path)
    assert caught.value.fields["character"] == character


@given(st.text(alphabet="aB.()[]='0 \\\"where", max_size=60))
def test_any_text_is_a_path_or_an_error(text: str) -> None:
    try:
        steps = parse_path(text)
    except InvalidInput:
        return
    met(steps, RESOURCE, lambda _: PATIENT)
