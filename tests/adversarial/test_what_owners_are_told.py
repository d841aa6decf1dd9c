"""What does an owner learn of a train that did not pass: enough to act on, and nothing that a run could have chosen?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.depot import ReceiptKind
from security.directory.trust import DirectoryVersion
from security.errors import ArchiveRejected, JourneyForeignEntry, MalformedStatement, SignatureMissing
from security.ids import PartyId, TrainId
from security.statement.envelope import sign
from security.train.endings import check_answer
from security.train.journey import (
    MOST_REASON,
    Limit,
    Outcome,
    Refusal,
    StationAnswer,
    print_answer,
    print_refusal,
    read_refusal,
)
from security.train.letters import open_letter
from security.train.manifest import Output
from station.admission.policy import Admit, AllOf, Ceiling, CheckableOutputs, DataSets, Owners, Request, Rule, Verdict
from station.errors import MemoryExceeded, OutputExceeded, RunFailed, RunTimedOut
from station.house.config import CEILING
from station.journal.journal import Journal
from station.sandbox.order import RunOrder
from station.visit.events import RunFault
from station.visit.station_events import Answered
from tests.support.desk import HOME, STATION_SPEC, WITH, Desk, desk, furnished
from tests.support.owners import OwnerWorld, write_train
from tests.support.scripted_sandbox import Program, ScriptedSandbox
from tests.support.trains import MAIL, Train
from tests.support.world import World, world
from train_builder.cli.render_journey import describe
from train_builder.follow.follow import follow

__all__ = ["desk", "furnished"]

AT = ("-s", "hospital-a")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world", stations=("hospital-a", "hospital-b"))
    yield made
    made.close()


def refusal(here: World, made: Train) -> Refusal:
    (receipt,) = here.receipts(made, ReceiptKind.REFUSAL)
    letter = open_letter(here.depot.read_receipt(PartyId("alice"), receipt), [MAIL])
    return read_refusal(letter.envelope.payload)


def travel(here: World, **changes: Any) -> Train:
    made = here.train(route=("hospital-a",), **changes)
    here.submit(made)
    here.settle("hospital-a")
    return made


# --- Before anything has read data -----------------------------------------------------------------------------------

UNWANTED: dict[str, tuple[Rule, dict[str, Any], tuple[str, ...]]] = {
    "owner": (Owners(allowed=frozenset()), {}, ("does not admit trains of this owner", "alice")),
    "data set": (DataSets(offered={}), {}, ("no such data set", "patients")),
    "limit": (Ceiling(most=replace(CEILING, memory_bytes=1 << 20)), {}, ("limit=memory_bytes", str(1 << 20))),
    "outputs": (
        CheckableOutputs(),
        {"outputs": (Output(path="a", media_type="application/json", max_bytes=1, schema={"$ref": "http://x"}),)},
        ("cannot evaluate a declared schema",),
    ),
}


@pytest.mark.parametrize("what", UNWANTED)
def test_why_a_train_was_not_admitted_is_signed_for_its_owner(here: World, what: str) -> None:
    rule, changes, says = UNWANTED[what]
    here.change("hospital-a", policy=AllOf(rules=(rule,)))
    told = refusal(here, travel(here, **changes))
    assert told.outcome is Outcome.REFUSED
    assert told.reason is not None
    for part in says:
        assert part in told.reason
    assert here.sandboxes["hospital-a"].started == []


@pytest.mark.parametrize("what", UNWANTED)
def test_a_house_that_withholds_tells_no_reason(here: World, what: str) -> None:
    rule, changes, _ = UNWANTED[what]
    here.change("hospital-a", policy=AllOf(rules=(rule,)), withhold=True)
    told = refusal(here, travel(here, **changes))
    assert (told.outcome, told.reason, told.limit) == (Outcome.WITHHELD, None, None)


class Opening:
    """Opens the code, and finds something in it; by the manifest alone, nothing speaks against the train."""

    def __init__(self) -> None:
        self._asked = False

    def consider(self, request: Request) -> Verdict:
        if not self._asked:
            self._asked = True
            return Admit()
        msg = "a path of the archive is not plain"
        raise ArchiveRejected(msg, path=f"smith-{request.manifest.name}.py")


def test_t20_what_lies_in_a_seal_is_not_named(here: World) -> None:
    """The receipt lies in a registry: what only the station can read does not get there."""
    here.change("hospital-a", policy=Opening())
    told = refusal(here, travel(here))
    assert told.reason == "a path of the archive is not plain"
    refused = here.visit("hospital-a").refused
    assert refused is not None
    assert "smith" not in refused.reason


def test_files_that_are_missing_are_told_by_the_person_who_refuses(desk: Desk) -> None:
    spec = STATION_SPEC + 'data:\n  - {name: patients, description: ages, files: ["*.parquet"]}\n'
    write_train(desk.path / "other", spec)
    train = str(desk.answer("train", "submit", "other", *HOME, *WITH)["train"])[:12]
    desk.answer("station", "once", "hospital-a", *WITH)
    desk.answer("station", "refuse", train, "--reason", "grace is on leave", "--yes", *AT)
    desk.answer("station", "once", "hospital-a", *WITH)
    followed = desk.pht("train", "follow", train, *HOME)
    assert "files that the train expects are missing: patients/*.parquet" in followed.out
    assert "grace" not in followed.out


# --- Once something has ----------------------------------------------------------------------------------------------


def leaves(files: dict[str, str], exit_code: int = 0) -> Program:
    def run(order: RunOrder, say: Callable[[bytes], None]) -> int:
        say(b"secret")
        for name, text in files.items():
            (order.state / name).write_text(text)
        return exit_code

    return run


@pytest.mark.parametrize(
    ("files", "exit_code", "outcome"),
    [
        ({"smith.txt": "x"}, 0, Outcome.REFUSED),
        ({"sums.json": "[1]"}, 0, Outcome.REFUSED),
        ({"sums.json": "{"}, 0, Outcome.REFUSED),
        ({}, 3, Outcome.FAILED),
        ({}, 0, Outcome.FAILED),
    ],
)
def test_what_a_run_could_have_chosen_is_told_as_a_class_only(
    here: World, files: dict[str, str], exit_code: int, outcome: Outcome
) -> None:
    here.change("hospital-a", sandbox=ScriptedSandbox(leaves(files, exit_code), clock=lambda: here.now))
    told = refusal(here, travel(here))
    assert (told.outcome, told.reason, told.limit) == (outcome, None, None)


def test_a_reason_is_not_told_after_a_room_was_lost(here: World) -> None:
    """The first attempt had read data: what the second one is refused for before its run may depend on them."""
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while not here.visits("hospital-a") or here.visit("hospital-a").furnished is None:
        here.step("hospital-a")
    here.houses["hospital-a"].workrooms.wipe(here.visit("hospital-a").arrival)
    here.step("hospital-a")
    assert here.visit("hospital-a").rooms_lost == 1
    here.consortium.revoked.add(here.consortium.secrets[PartyId("alice")].key_set.fingerprint)
    here.settle("hospital-a")
    refused = here.visit("hospital-a").refused
    assert refused is not None
    assert (refused.by, refused.told) == ("open", "")


@pytest.mark.parametrize(
    ("code", "limit", "key"),
    [
        (MemoryExceeded.code, Limit.MEMORY, "limits.memory"),
        (OutputExceeded.code, Limit.OUTPUT, "limits.output"),
        (RunTimedOut.code, Limit.TIME, "limits.wall_time"),
        (RunFailed.code, None, "rehearse"),
    ],
)
def test_the_owner_is_told_which_limit(here: World, tmp_path: Path, code: str, limit: Limit | None, key: str) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while not here.visits("hospital-a") or here.visit("hospital-a").started is None:
        here.step("hospital-a")
    visit = here.visit("hospital-a")
    fault = RunFault(at=here.now, code=code, reason="12345 bytes of secrets")
    here.houses["hospital-a"].journal.append(visit.arrival, fault, expect=visit.length)
    here.settle("hospital-a")
    told = refusal(here, made)
    assert (told.outcome, told.limit) == (Outcome.FAILED if limit is None else Outcome.EXCEEDED, limit)
    assert told.reason is None
    owner = OwnerWorld(tmp_path / "owner")
    record = owner.submit(write_train(tmp_path / "train")).record
    owner.tell("hospital-a", record, replace(told, train=record.train))
    text = describe(follow(record, owner.depot, owner.world.trust, now=owner.now), now=owner.now)
    assert key in text


def test_results_that_are_larger_than_declared_say_so_too(here: World) -> None:
    small = Output(path="sums.json", media_type="application/json", max_bytes=8)
    large = {"sums.json": "[1, 2, 3, 4, 5]"}
    here.change("hospital-a", sandbox=ScriptedSandbox(leaves(large), clock=lambda: here.now))
    told = refusal(here, travel(here, outputs=(small,)))
    visit = here.visit("hospital-a")
    assert visit.refused is not None
    assert visit.refused.code == "gate.oversized"
    assert (told.outcome, told.limit, told.reason) == (Outcome.EXCEEDED, Limit.OUTPUT, None)


def test_a_run_that_writes_too_much_says_so(here: World) -> None:
    made = here.train(
        route=("hospital-a",), limits=replace(here.train(route=("hospital-a",)).manifest.limits, output_bytes=100)
    )
    here.change("hospital-a", sandbox=ScriptedSandbox(leaves({"sums.json": "x" * 9_000_000}), clock=lambda: here.now))
    here.submit(made)
    here.settle("hospital-a")
    told = refusal(here, made)
    assert (told.outcome, told.limit) == (Outcome.EXCEEDED, Limit.OUTPUT)


# --- By hand ---------------------------------------------------------------------------------------------------------


def test_a_person_may_tell_more_when_refusing_and_afterwards(desk: Desk) -> None:
    (waiting,) = desk.answer("station", "ls", "hospital-a", "--waiting")["visits"]
    train = waiting["train"][:12]
    told = ("--reason", "budget", "--tell", "we take no more trains this year", "--by", "grace")
    assert desk.fails("station", "answer", train, *AT, "--text", "too early", *WITH) == "visit.nothing-to-decide"
    desk.answer("station", "refuse", train, *told, "--yes", *AT)
    desk.answer("station", "once", "hospital-a", *WITH)
    first = desk.pht("train", "follow", train, *HOME).out
    assert "ended at hospital-a: refused; we take no more trains this year" in first
    assert "budget" not in first
    for text in ("call us on Monday", "call us on Tuesday"):
        desk.answer("station", "answer", train, *AT, "--text", text, "--by", "grace", *WITH)
    after = desk.pht("train", "follow", train, *HOME).out
    assert "hospital-a says: call us on Tuesday" in after
    assert "Monday" not in after
    (stop,) = desk.answer("train", "follow", train, *HOME)["stops"]
    assert (stop["reason"], stop["answer"]) == ("we take no more trains this year", "call us on Tuesday")
    with Journal.open(desk.path / "hospital-a" / "state" / "journal.sqlite") as journal:
        kept = [one for one in journal.station_events() if isinstance(one, Answered)]
    assert [(one.by, one.text) for one in kept] == [
        ("grace", "call us on Monday"),
        ("grace", "call us on Tuesday"),
    ]


@pytest.mark.parametrize("text", ["", "  ", "two\nlines", "\x1b[2J", "x" * (MOST_REASON + 1)])
def test_what_cannot_be_told_on_one_plain_line_is_not(desk: Desk, text: str) -> None:
    (waiting,) = desk.answer("station", "ls", "hospital-a", "--waiting")["visits"]
    assert desk.fails("station", "answer", waiting["train"][:12], *AT, "--text", text, *WITH) == "input.invalid"


# --- Forged ----------------------------------------------------------------------------------------------------------


def statement(made: Train, **changes: object) -> StationAnswer:
    honest = StationAnswer(
        train=made.id, stop=0, station=PartyId("hospital-a"), text="call us", time=made.manifest.valid_from
    )
    return replace(honest, **changes)  # type: ignore[arg-type] # spoiled on purpose


@pytest.mark.parametrize(
    "changes",
    [{"train": TrainId("0" * 64)}, {"stop": 1}, {"stop": 7}, {"station": PartyId("hospital-b")}],
)
def test_an_answer_about_something_else_is_not_believed(here: World, changes: dict[str, object]) -> None:
    made = here.train(route=("hospital-a", "hospital-b"))
    signers = here.consortium.secrets[PartyId("hospital-a")].signers
    honest = check_answer(made.verified, sign(print_answer(statement(made)), signers), here.consortium.trust)
    assert honest.value == statement(made)
    forged = sign(print_answer(statement(made, **changes)), signers)
    with pytest.raises((JourneyForeignEntry, SignatureMissing)):
        check_answer(made.verified, forged, here.consortium.trust)


def test_an_answer_of_somebody_else_is_not_believed(here: World) -> None:
    made = here.train(route=("hospital-a", "hospital-b"))
    forged = sign(print_answer(statement(made)), here.consortium.secrets[PartyId("hospital-b")].signers)
    with pytest.raises(SignatureMissing):
        check_answer(made.verified, forged, here.consortium.trust)


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": Outcome.FAILED, "reason": "because"},
        {"outcome": Outcome.WITHHELD, "reason": "because"},
        {"reason": "x" * (MOST_REASON + 1)},
        {"reason": "\x1b[2J"},
        {"reason": ""},
        {"outcome": Outcome.REFUSED, "limit": Limit.TIME},
        {"outcome": Outcome.WITHHELD, "limit": Limit.TIME},
    ],
)
def test_a_refusal_that_says_more_than_it_may_is_none(here: World, changes: dict[str, object]) -> None:
    honest = Refusal(
        train=here.train(route=("hospital-a",)).id,
        stop=0,
        station=PartyId("hospital-a"),
        outcome=Outcome.REFUSED,
        directory=DirectoryVersion(root=1, targets=3),
        time=here.now,
    )
    assert read_refusal(print_refusal(honest)) == honest
    with pytest.raises(MalformedStatement):
        read_refusal(print_refusal(replace(honest, **changes)))  # type: ignore[arg-type] # spoiled on purpose
