"""Admission: rules one by one, and together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from security.digest import digest_of
from security.ids import PartyId
from security.tables.column import Column, ColumnType
from security.tables.parse import LONGEST
from security.train.manifest import Approval, DataNeed, Output, TrainManifest
from security.train.route import SequenceRoute
from security.train.route_kinds import BoardedRoute
from security.train.sum_form import Sum
from station.admission.policy import (
    Admit,
    AllOf,
    Approvals,
    Bases,
    ByHand,
    Ceiling,
    CheckableOutputs,
    DataSets,
    Hold,
    KnownAnalysis,
    LegalBases,
    Owners,
    Request,
    Rule,
    Selections,
    Sums,
)
from station.errors import PolicyRefused
from station.house.capacity import granted_disk
from station.house.config import CEILING
from tests.support.trains import consortium, train

MANIFEST = train(consortium()).manifest
ANALYSIS = digest_of(b"analysis")


def ask(rule: Rule, manifest: TrainManifest = MANIFEST, missing: Mapping[str, tuple[str, ...]] | None = None) -> str:
    """Return ``admit``, the reason of a hold, or the code of a refusal."""
    try:
        verdict = rule.consider(Request(manifest=manifest, base="python", analysis=ANALYSIS, missing=missing or {}))
    except PolicyRefused as error:
        return error.code
    return verdict.reason if isinstance(verdict, Hold) else "admit"


ALICE, BOB = PartyId("alice"), PartyId("bob")


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        (Owners(allowed=frozenset({ALICE})), "admit"),
        (Owners(allowed=frozenset({BOB})), "policy.refused"),
        (Owners(allowed=frozenset()), "policy.refused"),
        (Bases(allowed=frozenset({"python"})), "admit"),
        (Bases(allowed=frozenset({"r"})), "policy.refused"),
        (Sums(least=3), "admit"),
        (Approvals(allowed=("ethics *",)), "admit"),
        (Approvals(allowed=("ethics",)), "policy.refused"),
        (LegalBases(allowed=frozenset({"GDPR Art. 9(2)(j)"})), "admit"),
        (LegalBases(allowed=frozenset({"consent"})), "policy.refused"),
        (DataSets(offered={"patients": None}), "admit"),
        (DataSets(offered={"patients": frozenset({ALICE})}), "admit"),
        (DataSets(offered={"patients": frozenset({BOB})}), "policy.refused"),
        (DataSets(offered={}), "policy.refused"),
        (Ceiling(most=CEILING), "admit"),
        (Ceiling(most=replace(CEILING, memory_bytes=1)), "policy.refused"),
        (Ceiling(most=replace(CEILING, wall_seconds=59)), "policy.refused"),
        (Ceiling(most=replace(CEILING, output_bytes=1)), "policy.refused"),
        (Ceiling(most=replace(CEILING, processes=1)), "policy.refused"),
        (Ceiling(most=replace(CEILING, cpu_millis=1)), "policy.refused"),
        (CheckableOutputs(), "admit"),
        (ByHand(), "a person approves every train here"),
        (KnownAnalysis(approved=frozenset({ANALYSIS})), "admit"),
        (KnownAnalysis(approved=frozenset()), "this analysis has not been approved here"),
    ],
)
def test_a_rule_says(rule: Rule, verdict: str) -> None:
    assert ask(rule) == verdict


def test_a_policy_without_rules_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="without rules"):
        AllOf(rules=())


def test_a_legal_basis_that_is_not_named_is_not_accepted() -> None:
    unnamed = replace(MANIFEST, approval=Approval(reference="x", legal_basis=None))
    assert ask(LegalBases(allowed=frozenset({"consent"})), unnamed) == "policy.refused"


def test_expected_files_that_are_not_there_are_a_question_for_a_person() -> None:
    reason = ask(DataSets(offered={"patients": None}), missing={"patients": ("*.csv",)})
    assert reason == "files that the train expects are missing: patients/*.csv"


def test_t19_outputs_that_could_not_be_checked_are_refused_before_the_run() -> None:
    declared = Output(path="a.json", media_type="application/json", max_bytes=1, schema={"$ref": "http://x/"})
    assert ask(CheckableOutputs(), replace(MANIFEST, outputs=(declared,))) == "policy.refused"


def test_t19_a_selection_that_is_too_deep_to_be_looked_at_is_refused_like_any_that_cannot_be_read() -> None:
    day = Column(name="d", type=ColumnType.DATE)
    steps = "-".join("d" * ((LONGEST - len(" > 1 day")) // 2)) + " > 1 day"
    need = DataNeed(name="patients", description="x", columns=("d",), where=steps)
    asking = replace(MANIFEST, data=(need,))
    assert ask(Selections(described={"patients": (day,)}), asking) == "policy.refused"


def test_a_refusal_outweighs_a_hold_and_holds_are_told_together() -> None:
    held = AllOf(rules=(ByHand(), KnownAnalysis(approved=frozenset())))
    assert ask(held) == "a person approves every train here; this analysis has not been approved here"
    assert ask(AllOf(rules=(held, Owners(allowed=frozenset())))) == "policy.refused"
    assert isinstance(Admit(), Admit)


def test_a_sum_over_fewer_stations_than_agreed_to_is_refused_before_anybody_boards() -> None:
    parties = consortium()
    stops = tuple(map(parties.stop, ("hospital-a", "hospital-b", "hospital-c")))
    added = Output(
        path="sums.json",
        media_type="application/json",
        max_bytes=4096,
        sum=Sum(shape=(2,), bound=1 << 20, bits=64, fraction=24),
    )
    summed = train(parties, rounds=BoardedRoute(then=SequenceRoute(stops=stops)), outputs=(added,)).manifest
    assert [ask(Sums(least=least), summed) for least in (2, 3, 4)] == ["admit", "admit", "policy.refused"]


def test_what_is_kept_is_bounded_like_what_leaves() -> None:
    """A train could fill the disk with it otherwise, and its outputs be small."""
    ceiling = Ceiling(most=replace(CEILING, output_bytes=MANIFEST.limits.output_bytes))
    for kept, verdict in ((0, "admit"), (1, "policy.refused")):
        keeping = replace(MANIFEST, keep_bytes=MANIFEST.limits.output_bytes + kept)
        assert ask(ceiling, keeping) == verdict


def test_a_run_is_granted_disk_for_what_it_leaves_and_keeps_and_for_what_came() -> None:
    limits = replace(MANIFEST.limits, output_bytes=1_000)
    assert granted_disk(replace(MANIFEST, limits=limits), 7) == 2_007
    assert granted_disk(replace(MANIFEST, limits=limits, keep_bytes=100), 7) == 2_207
