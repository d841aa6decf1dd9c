"""Does every rule about what leaves keep to what the gate relies on?

One suite for the rules that every gate has, those a hospital can add, a gate made of them, and a rule with a price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from security.encoding import Json, dump_json, parse_json
from security.train.manifest import Output
from station.errors import GateRefused, GateUndeclared, NoResults
from station.gate.inspect import inspect, left_in, list_state
from station.gate.port import Clear, Gate, GateRule, Hold, Left, Verdict
from station.gate.rules import FORM, ReleaseByHand
from station.house.assembly import gate_of
from station.visit.event_json import parse_event, print_event
from station.visit.events import Cleared
from station.visit.parts import Spent
from tests.support.counting_rule import LeastCount
from tests.support.trains import NOW, consortium, train

RULES: Mapping[str, GateRule] = {
    **{type(rule).__name__: rule for rule in FORM},
    "ReleaseByHand": ReleaseByHand(),
    "Gate": gate_of(),
    "Gate by hand": gate_of(release_by_hand=True),
    "LeastCount": LeastCount(least=3),
    "Gate with a price": Gate(rules=(*FORM, LeastCount(least=3, quiet=5))),
}
CANARY = "CANARY-51c0"
SCHEMA: Json = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
MANIFEST = replace(
    train(consortium()).manifest,
    outputs=(
        Output(path="*.json", media_type="application/json", max_bytes=1000, schema=SCHEMA),
        Output(path="*.csv", media_type="text/csv", max_bytes=1000),
    ),
)
GOOD = {"sums.json": b'{"n": 4}', "table.csv": b"a,b\n1,2\n"}
BAD: Mapping[str, dict[str, bytes]] = {
    "nothing": {},
    "undeclared": {f"{CANARY}.bin": CANARY.encode()},
    "oversized": {f"{CANARY}.csv": b"a\n" + CANARY.encode() * 1000},
    "too few": {f"{CANARY}.json": b'{"n": 1}'},
}
BROKEN_BY = {
    "nothing": {"SomethingLeft", "Gate", "Gate by hand", "Gate with a price"},
    "undeclared": {"Declared", "Gate", "Gate by hand", "Gate with a price"},
    "oversized": {"Sizes", "Gate", "Gate by hand", "Gate with a price"},
    "too few": {"LeastCount", "Gate with a price"},
}


@pytest.fixture(params=RULES)
def named(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def left(folder: Path, files: Mapping[str, bytes]) -> Left:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return left_in(list_state(folder), MANIFEST)


def test_what_is_in_order_is_cleared_or_held_at_a_cost_that_can_be_recorded(named: str, tmp_path: Path) -> None:
    verdict: Verdict = RULES[named].judge(left(tmp_path, GOOD))
    assert isinstance(verdict, Hold) == (named in {"ReleaseByHand", "Gate by hand", "Gate with a price"})
    if isinstance(verdict, Hold):
        assert verdict.reason.isprintable()
        assert verdict.reason
    assert all(one.amount >= 0 for one in verdict.cost)
    event = Cleared(at=NOW, by="gate", files=(), cost=verdict.cost)
    assert parse_event(parse_json(dump_json(print_event(event)))) == event


def test_the_same_files_get_the_same_verdict_and_stay_as_they_are(named: str, tmp_path: Path) -> None:
    state = left(tmp_path, GOOD)
    assert RULES[named].judge(state) == RULES[named].judge(state)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == GOOD


@pytest.mark.parametrize("fault", BAD)
def test_a_refusal_has_a_code_and_names_nothing_the_run_wrote(named: str, fault: str, tmp_path: Path) -> None:
    """T20: names and values are plaintext."""
    rule, state = RULES[named], left(tmp_path, BAD[fault])
    if named not in BROKEN_BY[fault]:
        rule.judge(state)
        return
    with pytest.raises((GateRefused, NoResults)) as caught:
        rule.judge(state)
    refusal: BaseException = caught.value
    assert caught.value.code
    assert CANARY not in f"{caught.value} {caught.value.hint} {caught.value.fields}"
    assert refusal.__suppress_context__ or refusal.__context__ is None


def test_a_gate_refuses_if_one_rule_does_and_tells_holds_and_costs_together(tmp_path: Path) -> None:
    state = left(tmp_path, GOOD)
    priced = LeastCount(least=3)
    both = Gate(rules=(priced, ReleaseByHand(), LeastCount(least=0, quiet=9)))
    verdict = both.judge(state)
    assert isinstance(verdict, Hold)
    assert verdict.reason.endswith("; a result is about few patients")
    assert verdict.cost == (Spent(budget="bits", amount=104),)
    assert Gate(rules=(priced,)).judge(state) == Clear(cost=(Spent(budget="bits", amount=52),))
    with pytest.raises(GateRefused):
        Gate(rules=(ReleaseByHand(), LeastCount(least=5))).judge(state)


def test_a_gate_without_rules_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="without rules"):
        Gate(rules=())


def test_t18_whatever_the_rules_are_nothing_undeclared_leaves(tmp_path: Path) -> None:
    left(tmp_path, {**GOOD, f"{CANARY}.bin": b""})
    with pytest.raises(GateUndeclared) as caught:
        inspect(tmp_path, MANIFEST, LeastCount(least=0))
    assert CANARY not in f"{caught.value} {caught.value.fields}"
