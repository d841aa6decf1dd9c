"""An owner calls a train back: every station that has not signed its stop ends it there, and nobody else can do that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.depot import ReceiptKind
from security.ids import PartyId
from security.keys.keyset import Secrets
from security.statement.envelope import sign
from security.train.journey import Outcome, read_refusal
from security.train.letters import seal_letter
from security.train.recall import Recall, print_recall
from station.admission.policy import AllOf, ByHand
from tests.support.rounds import JUNCTION, board, rounds_train, rounds_world
from tests.support.trains import MAIL, Train
from tests.support.world import ROUTE, World, usual_policy, world

BY_HAND = AllOf(rules=(usual_policy(), ByHand()))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world")
    yield made
    made.close()


def recall(here: World, made: Train, *, by: str = "alice", of: Train | None = None, reason: str | None = None) -> None:
    """Put a recall into the mailbox of every station of a train's route, as its owner does, or somebody else."""
    keys: Secrets = here.consortium.secrets[PartyId(by)]
    envelope = sign(print_recall(Recall(train=(of or made).id, time=here.now, reason=reason)), keys.signers)
    stations = [here.consortium.secrets[one].key_set.sealing for one in made.manifest.route.parties]
    letter = seal_letter(envelope, [*stations, made.manifest.recipient, str(MAIL.recipient)])
    for party in made.manifest.route.parties:
        here.depot.send_receipt(letter, owner=party, train=made.id, stop=0, kind=ReceiptKind.RECALL)


def test_a_train_that_waits_for_a_person_ends_and_its_owner_is_told_why(here: World) -> None:
    here.change("hospital-b", policy=BY_HAND)
    made = here.train()
    here.submit(made)
    here.settle()
    assert here.visit("hospital-b").held is not None
    recall(here, made, reason="wrong base image")
    here.settle()
    assert here.visit("hospital-b").departed is not None
    (receipt,) = here.receipts(made, ReceiptKind.REFUSAL)
    told = read_refusal(here.read(made, receipt).payload)
    assert (told.outcome, told.reason) == (Outcome.REFUSED, "its owner has recalled it: wrong base image")
    assert here.visits("hospital-c") == ()
    assert here.plaintext("hospital-b") == []


def test_what_was_recalled_before_it_arrives_runs_nowhere(here: World) -> None:
    made = here.train()
    recall(here, made)
    here.submit(made)
    here.settle()
    assert here.outcome(made) is Outcome.REFUSED
    assert here.sandboxes["hospital-a"].started == []
    assert [here.visits(name) for name in ROUTE[1:]] == [(), ()]


def test_a_run_that_goes_on_is_ended_and_only_a_class_of_outcome_is_told(here: World) -> None:
    made = here.train()
    here.submit(made)
    while not (visits := here.visits("hospital-a")) or visits[0].started is None:
        here.step("hospital-a")
    recall(here, made, reason="wrong base image")
    here.settle()
    (receipt,) = here.receipts(made, ReceiptKind.REFUSAL)
    told = read_refusal(here.read(made, receipt).payload)
    assert (told.outcome, told.reason) == (Outcome.REFUSED, None)
    assert here.plaintext("hospital-a") == []


@pytest.mark.parametrize("forged", ["by another owner", "of another train", "by a station"])
def test_nobody_else_recalls_a_train(here: World, forged: str) -> None:
    here.change("hospital-b", policy=BY_HAND)
    made = here.train()
    here.submit(made)
    here.settle()
    match forged:
        case "by another owner":
            recall(here, made, by="mallory")
        case "of another train":
            recall(here, made, of=here.train())
        case _:
            recall(here, made, by="hospital-a")
    here.settle()
    assert here.visit("hospital-b").held is not None
    assert here.receipts(made, ReceiptKind.REFUSAL) == ()


def test_what_was_signed_stays(here: World) -> None:
    made = here.train()
    here.submit(made)
    here.settle()
    recall(here, made)
    here.settle()
    assert here.at_home(made.id)
    assert here.receipts(made, ReceiptKind.REFUSAL) == ()


def test_a_junction_that_waits_for_a_part_waits_no_more(tmp_path: Path) -> None:
    here = rounds_world(tmp_path / "world")
    try:
        here.change("hospital-c", policy=BY_HAND)
        made = rounds_train(here)
        board(here, made)
        here.settle()
        waiting = [visit for visit in here.visits(JUNCTION) if visit.departed is None]
        assert [visit.stumbled.code for visit in waiting if visit.stumbled] == ["train.parts-missing"]
        recall(here, made)
        here.settle()
        assert all(visit.departed is not None for name in here.houses for visit in here.visits(name))
        assert here.outcome(made) is Outcome.REFUSED
    finally:
        here.close()
