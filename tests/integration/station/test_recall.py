"""An owner calls a train back: every station that has not signed its stop ends it there, and nobody else can do that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry.depot import ReceiptKind, mailbox
from security.digest import digest_of
from security.ids import PartyId
from security.train.journey import Outcome, StateRef, read_refusal
from security.train.letters import entry_recipients, seal_letter
from security.train.route import SequenceRoute
from security.train.route_kinds import BoardedRoute
from station.admission.policy import AllOf, ByHand
from station.house.mailbox import MailboxMemory
from station.visit.events import Accepted, Departed, Fetched, ReceiptSent, Refused, Signed, Wiped
from tests.support.journeys import Journey
from tests.support.rounds import JUNCTION, board, recall, rounds_train, rounds_world
from tests.support.trains import MAIL, Train, train
from tests.support.world import ROUTE, MemoryBlobs, World, usual_policy, world
from train_builder.follow.follow import StopState, whereabouts_of
from train_builder.follow.mail import read_mail

BY_HAND = AllOf(rules=(usual_policy(), ByHand()))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world")
    yield made
    made.close()


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


def boarded(here: World) -> Train:
    stops = tuple(map(here.consortium.stop, ROUTE))
    return train(here.consortium, rounds=BoardedRoute(then=SequenceRoute(stops=stops)))


def tags(here: World, station: str) -> list[str]:
    """What lies in a mailbox besides recalls, which stay."""
    return [tag for tag in here.registry.list_tags(mailbox(PartyId(station))) if not tag.startswith("r-")]


def keys(here: World, station: str) -> list[Path]:
    folder = here.folder(station) / "passes"
    return sorted(folder.iterdir()) if folder.exists() else []


def told(here: World, made: Train) -> dict[str, tuple[Outcome, str | None]]:
    """What the owner was told, by where the train was then."""
    answers = (read_refusal(here.read(made, one).payload) for one in here.receipts(made, ReceiptKind.REFUSAL))
    return {f"{one.station}: {made.manifest.route.told(one.stop)}": (one.outcome, one.reason) for one in answers}


def nothing_is_left(here: World) -> None:
    assert all(visit.departed is not None for name in here.houses for visit in here.visits(name))
    assert {name: tags(here, name) for name in here.houses} == {name: [] for name in here.houses}
    assert {name: keys(here, name) for name in here.houses} == {name: [] for name in here.houses}


def waiting_for_a_pass(here: World) -> Train:
    """Let all board but the last, whom a person keeps waiting; the conductor waits for its pass."""
    here.change("hospital-c", policy=BY_HAND)
    made = boarded(here)
    board(here, made)
    here.settle()
    (waiting,) = [visit for visit in here.visits("hospital-a") if visit.departed is None]
    assert waiting.stumbled is not None
    assert waiting.stumbled.code == "train.parts-missing"
    assert f"train={made.id.short}, place=departure, waiting_for=hospital-c" in waiting.stumbled.reason
    return made


WRONG_BASE = (Outcome.REFUSED, "its owner has recalled it: wrong base image")


def test_a_conductor_that_waits_for_a_pass_answers(here: World) -> None:
    made = waiting_for_a_pass(here)
    recall(here, made, reason="wrong base image")
    here.settle()
    assert told(here, made) == {"hospital-a: departure": WRONG_BASE, "hospital-c: boarding": WRONG_BASE}
    nothing_is_left(here)
    assert [here.sandboxes[name].started for name in ROUTE] == [[], [], []]
    mail = read_mail(here.depot, made.id, made.manifest, MAIL)
    found = whereabouts_of(made.verified, mail, here.consortium.trust, sent=here.now, now=here.now)
    assert [(one.place, one.station) for one in found.stops if one.state is StopState.STOPPED] == [
        ("boarding", "hospital-c"),
        ("departure", "hospital-a"),
    ]


def test_it_answers_once_however_often_it_is_killed_meanwhile(here: World) -> None:
    made = waiting_for_a_pass(here)
    recall(here, made, reason="wrong base image")
    while here.visits("hospital-a")[-1].departed is None:
        here.step("hospital-a")
        here.restart("hospital-a")
        here.change("hospital-a", mailbox=MailboxMemory())
        here.now += timedelta(seconds=1)
    events = [type(event) for event in here.visits("hospital-a")[-1].events]
    assert events[-7:] == [Fetched, Accepted, Refused, Wiped, Signed, ReceiptSent, Departed]
    assert told(here, made) == {"hospital-a: departure": WRONG_BASE}
    here.settle()
    assert told(here, made) == {"hospital-a: departure": WRONG_BASE, "hospital-c: boarding": WRONG_BASE}
    nothing_is_left(here)


def test_it_answers_although_the_recall_is_taken_away_meanwhile(here: World) -> None:
    """It is believed once, and that is recorded: whoever may write to a mailbox does not bring the train back."""
    made = waiting_for_a_pass(here)
    recall(here, made, reason="wrong base image")
    while not any(visit.fetched is not None and visit.fetched.recalled for visit in here.visits("hospital-a")):
        here.step("hospital-a")
    (receipt,) = here.depot.receipts_of(PartyId("hospital-a"), made.id, (0,), (ReceiptKind.RECALL,))
    here.registry.delete_manifest(mailbox(PartyId("hospital-a")), receipt.digest)
    here.settle("hospital-a")
    assert told(here, made) == {"hospital-a: departure": WRONG_BASE}


@pytest.mark.parametrize("forged", ["by another owner", "by a station"])
def test_a_conductor_goes_on_waiting_whoever_else_recalls_a_train(here: World, forged: str) -> None:
    made = waiting_for_a_pass(here)
    recall(here, made, by="mallory" if forged == "by another owner" else "hospital-b")
    here.settle()
    assert told(here, made) == {}
    assert [len(keys(here, name)) for name in ROUTE] == [1, 1, 0]
    here.approve("hospital-c")
    here.settle()
    assert here.at_home(made.id)


def test_what_is_no_entry_is_not_answered(here: World) -> None:
    """A recalled train whose first part holds the entry of somebody else ends like any that does not verify."""
    made = boarded(here)
    recall(here, made)
    travelling = Journey(train=made)
    wrong = travelling.sign(travelling.entry(0), by=PartyId("hospital-b"))
    letter = seal_letter(wrong, entry_recipients(made.manifest, 0, here.consortium.trust, here.now))
    state = b"a state"
    ref = StateRef(digest=digest_of(state), size=len(state))
    here.depot.send(
        replace(made.parcel, entries=(letter,), states=(ref,)),
        MemoryBlobs({**made.blobs, ref.digest: state}),
        to=PartyId("hospital-a"),
        train=made.id,
        stop=made.manifest.route.after(0)[0],
    )
    here.settle("hospital-a")
    assert [visit.refused.code for visit in here.visits("hospital-a") if visit.refused] == ["signature.missing"]
    assert told(here, made) == {}
    nothing_is_left(here)


def test_a_junction_that_waits_for_a_part_answers(tmp_path: Path) -> None:
    here = rounds_world(tmp_path / "world")
    try:
        made = rounds_train(here)
        board(here, made)
        departure = made.manifest.route.departure  # type: ignore[attr-defined] # it is boarded
        while not any(
            one.departed and one.accepted and one.accepted.stop == departure for one in here.visits(JUNCTION)
        ):
            for name in here.houses:
                here.step(name)
        here.settle("hospital-a", "hospital-b", JUNCTION)
        recall(here, made, reason="wrong base image")
        here.settle()
        place = "round 1 of at most 3"
        assert told(here, made) == {
            f"{JUNCTION}: {place} (combine)": WRONG_BASE,
            f"hospital-c: {place} (contribute)": WRONG_BASE,
        }
        nothing_is_left(here)
    finally:
        here.close()


def test_parts_for_which_no_visit_began_are_taken_out(tmp_path: Path) -> None:
    """The first part of a departure never comes, and the junction holds the passes of all others."""
    here = rounds_world(tmp_path / "world")
    try:
        here.change("hospital-a", policy=BY_HAND)
        made = rounds_train(here)
        board(here, made)
        here.settle()
        assert len(tags(here, JUNCTION)) == 3
        assert [visit.departed is not None for visit in here.visits(JUNCTION)] == [True]
        recall(here, made, reason="wrong base image")
        here.settle()
        assert told(here, made) == {"hospital-a: boarding": WRONG_BASE}
        nothing_is_left(here)
    finally:
        here.close()
