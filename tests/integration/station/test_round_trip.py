"""A train goes round: the whole machine of every station, with a registry in memory and a scripted sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry.depot import ReceiptKind
from security.errors import DirectoryUnavailable, FileMissing, NotARecipient
from security.keys.keyset import Scheme, generate
from security.statement.envelope import verify
from security.train.journey import Outcome
from station.admission.policy import AllOf, ByHand, Owners
from station.desk.inside import waiting_results, what_it_printed
from station.errors import RoomMissing
from station.gate.port import Gate
from station.gate.rules import FORM
from station.house.assembly import gate_of
from station.sandbox.order import DATA, RunOrder
from station.steps.wipe import PRINTED_BYTES
from station.visit.events import Held, HoldFor, RoomLost, SignedKind, Stumbled
from station.visit.parts import Spent
from station.visit.plan import Phase, approve, phase_of, refuse
from station.visit.station_events import KeyUsed
from tests.support.counting_rule import LeastCount
from tests.support.trains import BASE
from tests.support.world import ROUTE, TOTAL, World, add_up, usual_policy, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "world")
    yield made
    made.close()


def test_a_train_comes_home_with_the_sum_of_all_hospitals(here: World, tmp_path: Path) -> None:
    made = here.train()
    here.submit(made)
    here.settle()
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": TOTAL, "n": 6}
    assert [one.stop for one in here.receipts(made, ReceiptKind.ENTRY)] == [0, 1, 2]
    for station in ROUTE:
        assert phase_of(here.visit(station)) is Phase.GONE
        assert here.plaintext(station) == []
        assert here.waits_for(station) == ()
        assert len(here.sandboxes[station].started) == 1
        assert here.sandboxes[station].leftovers(f"test-{station}") == ()


def test_a_station_may_be_at_two_stops(here: World, tmp_path: Path) -> None:
    made = here.train(route=("hospital-a", "hospital-b", "hospital-a"))
    here.submit(made)
    here.settle()
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": 15 + 11 + 15, "n": 7}
    assert [visit.accepted.stop for visit in here.visits("hospital-a") if visit.accepted] == [0, 2]


def test_restarts_between_any_two_events_change_nothing(here: World, tmp_path: Path) -> None:
    made = here.train(route=("hospital-a", "hospital-b"))
    here.submit(made)
    for _ in range(60):
        for station in ("hospital-a", "hospital-b"):
            here.step(station)
            here.restart(station)
        here.now += timedelta(seconds=1)
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": 26, "n": 4}
    assert here.sandboxes["hospital-a"].started == here.sandboxes["hospital-a"].started[:1]
    assert len(here.visit("hospital-a").events) == 15


def test_a_lost_workroom_is_opened_and_run_again(here: World, tmp_path: Path) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").started is None:
        here.step("hospital-a")
    house = here.houses["hospital-a"]
    house.workrooms.wipe(here.visit("hospital-a").arrival)
    here.settle()
    assert [type(event) for event in here.visit("hospital-a").events].count(RoomLost) == 1
    assert here.visit("hospital-a").attempt == 2
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"])["sum"] == 15


def test_a_power_cut_during_the_run_starts_it_again_from_what_came_in(here: World, tmp_path: Path) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").started is None:
        here.step("hospital-a")
    here.sandboxes["hospital-a"].lose_power()
    here.settle()
    assert here.visit("hospital-a").attempt == 2
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"])["sum"] == 15


def test_a_directory_that_is_away_stops_nothing_for_good(here: World, tmp_path: Path) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.refuse_directory = DirectoryUnavailable("away")
    here.step("hospital-a")
    stumbled = here.visit("hospital-a").stumbled
    assert isinstance(stumbled, Stumbled)
    assert stumbled.code == "directory.unavailable"
    here.refuse_directory = None
    here.settle()
    assert here.at_home(made.id)
    assert "sums.json" in here.results(made, tmp_path / "results")


def test_an_expired_directory_is_not_the_trains_fault(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.consortium.expires = here.now
    here.step("hospital-a")
    assert here.visit("hospital-a").refused is None
    here.consortium.expires = here.now + timedelta(days=1)
    here.settle()
    assert here.at_home(made.id)


def test_an_engine_that_is_away_stops_nothing_for_good(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.sandboxes["hospital-a"].away = True
    for _ in range(10):
        here.step("hospital-a")
    stumbled = here.visit("hospital-a").stumbled
    assert stumbled is not None
    assert stumbled.code == "sandbox.unavailable"
    here.sandboxes["hospital-a"].away = False
    here.settle()
    assert here.at_home(made.id)


def test_a_person_approves_before_anything_is_opened(here: World) -> None:
    here.change("hospital-a", policy=AllOf(rules=(usual_policy(), ByHand())))
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    visit = here.visit("hospital-a")
    assert isinstance(visit.held, Held)
    assert visit.held.hold is HoldFor.ADMISSION
    assert visit.started is None
    assert here.plaintext("hospital-a") == []
    approved = approve(visit, by="grace", note="read the code", now=here.now)
    here.houses["hospital-a"].journal.append(visit.arrival, approved, expect=visit.length)
    here.settle()
    admitted = here.visit("hospital-a").admitted
    assert admitted is not None
    assert admitted.by == "grace"
    assert here.at_home(made.id)


def test_a_person_refuses_and_the_owner_is_told_the_class_only(here: World) -> None:
    here.change("hospital-a", policy=ByHand())
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    visit = here.visit("hospital-a")
    refusal = refuse(visit, code="policy.refused", reason="we do not like it", by="grace", now=here.now)
    here.houses["hospital-a"].journal.append(visit.arrival, refusal, expect=visit.length)
    here.settle()
    assert here.outcome(made) is Outcome.REFUSED
    assert not here.at_home(made.id)
    assert phase_of(here.visit("hospital-a")) is Phase.GONE


def test_approval_does_not_outlive_the_trains_validity(here: World) -> None:
    here.change("hospital-a", policy=ByHand())
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    visit = here.visit("hospital-a")
    here.now = made.manifest.valid_until
    here.consortium.expires = here.now + timedelta(days=1)
    approved = approve(visit, by="grace", note="", now=here.now)
    here.houses["hospital-a"].journal.append(visit.arrival, approved, expect=visit.length)
    here.settle()
    refused = here.visit("hospital-a").refused
    assert refused is not None
    assert refused.code == "train.outside-validity"


def test_a_release_by_hand_waits_after_the_gate(here: World) -> None:
    here.change("hospital-a", gate=gate_of(release_by_hand=True))
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle("hospital-b", "hospital-c")
    for _ in range(12):
        here.step("hospital-a")
    visit = here.visit("hospital-a")
    assert visit.held is not None
    assert visit.held.hold is HoldFor.RELEASE
    assert not here.at_home(made.id)
    approved = approve(visit, by="grace", note="", now=here.now)
    here.houses["hospital-a"].journal.append(visit.arrival, approved, expect=visit.length)
    here.settle()
    cleared = here.visit("hospital-a").cleared
    assert cleared is not None
    assert cleared.by == "grace"
    assert here.at_home(made.id)


def test_a_rule_that_a_house_adds_is_asked_and_what_it_cost_is_recorded(here: World, tmp_path: Path) -> None:
    here.change("hospital-a", gate=Gate(rules=(*FORM, LeastCount(least=3))))
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    cleared = here.visit("hospital-a").cleared
    assert cleared is not None
    assert cleared.cost == (Spent(budget="bits", amount=104),)
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": 15, "n": 3}


def test_a_rule_that_a_house_adds_can_refuse(here: World) -> None:
    here.change("hospital-a", gate=Gate(rules=(*FORM, LeastCount(least=4))))
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    refused = here.visit("hospital-a").refused
    assert refused is not None
    assert (refused.code, refused.reason) == ("gate.refused", "a result is about too few patients (least=4)")
    assert here.outcome(made) is Outcome.REFUSED


def test_a_state_that_changes_after_it_was_cleared_does_not_leave(here: World, tmp_path: Path) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").cleared is None:
        here.step("hospital-a")
    (room,) = here.plaintext("hospital-a")
    (room / "state" / "sums.json").write_text('{"sum": 1, "n": 1000}')
    here.settle()
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": 15, "n": 3}


def test_neither_does_what_was_printed_if_both_change(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or here.visit("hospital-a").cleared is None:
        here.step("hospital-a")
    (room,) = here.plaintext("hospital-a")
    for folder in ("state", "outgoing"):
        (room / folder / "sums.json").write_text('{"n":1000,"sum":1}\n')
    here.settle()
    refused = here.visit("hospital-a").refused
    assert refused is not None
    assert (refused.code, refused.by) == ("gate.type", "seal")
    assert not here.at_home(made.id)


def test_a_person_sees_what_waits_for_release(here: World) -> None:
    here.change("hospital-a", gate=gate_of(release_by_hand=True))
    made = here.train(route=("hospital-a",))
    here.submit(made)
    rooms = here.houses["hospital-a"].workrooms
    here.step("hospital-a")
    with pytest.raises(FileMissing, match="waits for release"):
        waiting_results(here.visit("hospital-a"), rooms, wanted=None)
    for _ in range(12):
        here.step("hospital-a")
    visit = here.visit("hospital-a")
    assert waiting_results(visit, rooms, wanted=None).files == (("sums.json", 17),)
    assert waiting_results(visit, rooms, wanted="sums.json").text == b'{"n":3,"sum":15}\n'
    with pytest.raises(FileMissing, match="no such file"):
        waiting_results(visit, rooms, wanted="../code/main.py")


def test_whoever_finds_nothing_to_release_after_a_reboot_is_told_the_way_out(here: World) -> None:
    """Its workrooms lay in memory. Nothing is looked for again before a person has said yes, which lets nothing out."""
    here.change("hospital-a", gate=gate_of(release_by_hand=True))
    here.submit(here.train(route=("hospital-a",)))
    for _ in range(12):
        here.step("hospital-a")
    first, house = here.visit("hospital-a"), here.houses["hospital-a"]
    assert first.held is not None
    house.workrooms.wipe(first.arrival)
    here.step("hospital-a")
    with pytest.raises(RoomMissing) as gone:
        waiting_results(here.visit("hospital-a"), house.workrooms, wanted=None)
    assert "pht station approve" in str(gone.value.hint)
    house.journal.append(first.arrival, approve(first, by="grace", note="", now=here.now), expect=first.length)
    for _ in range(12):
        here.step("hospital-a")
    again = here.visit("hospital-a")
    assert again.held is not None
    assert (again.held.hold, again.cleared, again.attempt) == (HoldFor.RELEASE, None, first.attempt + 1)
    assert waiting_results(again, house.workrooms, wanted=None).files == (("sums.json", 17),)


def _fails(order: RunOrder, say: object) -> int:
    del order, say
    return 3


def _writes_nothing(order: RunOrder, say: object) -> int:
    del order, say
    return 0


@pytest.mark.parametrize(
    ("program", "code", "outcome"),
    [(_fails, "run.failed", Outcome.FAILED), (_writes_nothing, "run.no-results", Outcome.FAILED)],
)
def test_a_failed_run_is_told_to_the_owner_by_its_class(
    tmp_path: Path, program: object, code: str, outcome: Outcome
) -> None:
    here = world(tmp_path / "world", program=program)  # type: ignore[arg-type] # one of the two above
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    visit = here.visit("hospital-a")
    assert visit.fault is not None
    assert visit.fault.code == code
    assert visit.signed is not None
    assert visit.signed.what is SignedKind.REFUSAL
    assert here.outcome(made) is outcome
    assert here.plaintext("hospital-a") == []
    assert here.waits_for("hospital-a") == ()
    here.close()


def _uses_too_much(order: RunOrder, say: object) -> int:
    del say
    (order.state / "sums.json").write_bytes(b" " * (order.limits.state_bytes + 1))
    return 0


@pytest.mark.parametrize("program", [_fails, _writes_nothing, _uses_too_much, None])
def test_a_house_that_withholds_the_class_says_the_same_whatever_happened(tmp_path: Path, program: object) -> None:
    """Even four classes are two bits that an analysis could choose by what it read."""
    here = world(tmp_path / "world", program=program or add_up)  # type: ignore[arg-type] # one of those above
    here.change("hospital-a", withhold=True)
    made = here.train(route=("hospital-a",), owner="alice" if program else "mallory")
    here.submit(made)
    here.settle()
    visit = here.visit("hospital-a")
    assert visit.refused or visit.fault
    assert here.outcome(made) is Outcome.WITHHELD
    here.close()


CANARY = b"canary: the diagnosis of a patient"


def _tells(order: RunOrder, say: Callable[[bytes], None]) -> int:
    say(b"." * (2 * PRINTED_BYTES) + CANARY)
    return add_up(order, say) if order.source(f"{DATA}/patients").parent.name == "hospital-b" else 3


def test_what_a_failed_run_printed_is_kept_for_its_operator_alone(tmp_path: Path) -> None:
    """T20: its end only, sealed; nothing in plain anywhere, and nothing at all of a run that passed."""
    here = world(tmp_path / "world", program=_tells)
    passes, fails = here.train(route=("hospital-b",)), here.train(route=("hospital-a",))
    for made in (passes, fails):
        here.submit(made)
    here.settle()
    printed = what_it_printed(here.visit("hospital-a"), here.houses["hospital-a"])
    assert len(printed) == PRINTED_BYTES
    assert printed.endswith(CANARY)
    assert here.sandboxes["hospital-a"].leftovers("test-hospital-a") == ()
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or CANARY not in path.read_bytes(), path
    with pytest.raises(NotARecipient):
        what_it_printed(here.visit("hospital-a"), replace(here.houses["hospital-a"], secrets=generate([Scheme.P256])))
    with pytest.raises(FileMissing, match="is kept"):
        what_it_printed(here.visit("hospital-b"), here.houses["hospital-b"])
    here.close()


def test_a_run_that_never_ends_is_stopped(tmp_path: Path) -> None:
    here = world(tmp_path / "world", program=lambda _order, _say: -1)
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    visit = here.visit("hospital-a")
    assert visit.fault is not None
    assert visit.fault.code == "run.timed-out"
    assert here.outcome(made) is Outcome.EXCEEDED
    here.close()


def test_a_base_withdrawn_while_waiting_is_not_run(here: World) -> None:
    made = here.train(route=("hospital-a",))
    here.submit(made)
    while here.visits("hospital-a") == () or phase_of(here.visit("hospital-a")) is not Phase.FURNISHED:
        here.step("hospital-a")
    base = here.consortium.bases[BASE]
    here.consortium.bases[BASE] = type(base)(name=base.name, digest=base.digest, note="", withdrawn=True)
    here.settle()
    refused = here.visit("hospital-a").refused
    assert refused is not None
    assert refused.code == "base.not-approved"
    assert here.sandboxes["hospital-a"].started == []
    assert here.plaintext("hospital-a") == []


def test_a_policy_that_wants_to_know_the_analysis_leaves_none_of_it(here: World) -> None:
    from station.admission.policy import KnownAnalysis

    here.change("hospital-a", policy=KnownAnalysis(approved=frozenset()), by_analysis=True)
    made = here.train(route=("hospital-a",))
    here.submit(made)
    here.settle()
    held = here.visit("hospital-a").held
    assert held is not None
    assert held.reason == "this analysis has not been approved here"
    assert here.plaintext("hospital-a") == []
    house = here.houses["hospital-a"]
    uses = [one for one in house.journal.station_events() if isinstance(one, KeyUsed)]
    assert [(one.key_set, one.purpose) for one in uses] == [
        (house.secrets.key_set.fingerprint, f"look at the code of {made.id}")
    ]


def test_a_train_made_before_a_rotation_is_taken_with_the_keys_it_was_made_for(here: World, tmp_path: Path) -> None:
    made = here.train(route=("hospital-a", "hospital-b"))
    old, new = here.consortium.rotate("hospital-b")
    here.change("hospital-b", secrets=new, earlier=(old,))
    here.submit(made)
    here.settle()
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": 26, "n": 4}
    used = {event.key_set for event in here.houses["hospital-b"].journal.station_events() if isinstance(event, KeyUsed)}
    assert used == {old.key_set.fingerprint}


@pytest.mark.parametrize("behind", ["the station", "the train"])
def test_a_train_waits_for_keys_that_are_not_here_yet_or_no_longer(here: World, tmp_path: Path, behind: str) -> None:
    """Neither is the train's fault; nothing may be lost whatever comes first, the directory or the key folder."""
    made_before = here.train(route=("hospital-a",))
    old, new = here.consortium.rotate("hospital-a")
    made = made_before if behind == "the train" else here.train(route=("hospital-a",))
    here.change("hospital-a", secrets=new if behind == "the train" else old)
    here.submit(made)
    for _ in range(6):
        here.step("hospital-a")
        here.now += timedelta(seconds=30)
    stumbled = here.visit("hospital-a").stumbled
    assert stumbled is not None
    assert stumbled.code == "station.keys-elsewhere"
    assert here.waits_for("hospital-a") != ()
    here.change("hospital-a", secrets=new, earlier=(old,))
    here.settle()
    assert json.loads(here.results(made, tmp_path / "results")["sums.json"]) == {"sum": 15, "n": 3}


def test_a_train_refused_after_a_rotation_is_answered_with_the_keys_it_knows(here: World) -> None:
    made = here.train(route=("hospital-a",))
    old, new = here.consortium.rotate("hospital-a")
    here.change("hospital-a", secrets=new, earlier=(old,), policy=Owners(allowed=frozenset()))
    here.submit(made)
    here.settle()
    (receipt,) = here.receipts(made, ReceiptKind.REFUSAL)
    envelope = here.read(made, receipt)
    assert verify(envelope, old.key_set).value
    assert here.outcome(made) is Outcome.REFUSED
