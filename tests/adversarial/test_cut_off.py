"""A station on the way is revoked: nothing is sealed for it, its trains are ended with an answer, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry.depot import ReceiptKind
from security.errors import DirectoryUnavailable
from security.ids import PartyId
from security.train.journey import Outcome
from station.house.trust import FreshTrust
from station.visit.events import SignedKind
from station.visit.plan import Phase, phase_of
from tests.support.trains import MAIL, Train
from tests.support.world import World
from tests.support.world import world as make_world
from train_builder.cli.render_journey import describe
from train_builder.errors import NotHomeYet
from train_builder.follow.follow import StopState, Whereabouts, not_home, whereabouts_of
from train_builder.follow.mail import read_mail

A, B, C, ALICE = PartyId("hospital-a"), PartyId("hospital-b"), PartyId("hospital-c"), PartyId("alice")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = make_world(tmp_path)
    yield made
    made.close()


def hold_directory(here: World, station: str) -> None:
    """Let a station keep the directory that it has read for a day, as one with a long `refresh_seconds` does."""
    here.change(station, trust=FreshTrust(here.trust, seconds=86_400))


def bring_to(here: World, station: str, phase: Phase) -> None:
    for _ in range(50):
        if here.visits(station) and phase_of(here.visit(station)) is phase:
            return
        here.step(station)
    raise AssertionError(phase)


def revoke(here: World, party: str) -> None:
    here.consortium.compromised[here.consortium.stop(party).key_set] = here.now


def followed(here: World, made: Train) -> Whereabouts:
    mail = read_mail(here.depot, made.id, made.manifest, MAIL)
    return whereabouts_of(made.verified, mail, here.consortium.trust, sent=here.now, now=here.now)


@pytest.mark.parametrize("phase", [Phase.ADMITTED, Phase.FURNISHED, Phase.CLEARED, Phase.SEALED, Phase.READY])
def test_t21_nothing_leaves_for_a_station_that_was_revoked_meanwhile(here: World, phase: Phase) -> None:
    """The station would believe the directory it has for a day: before it signs it asks for the newest one."""
    hold_directory(here, "hospital-a")
    made = here.train()
    here.submit(made)
    bring_to(here, "hospital-a", phase)
    revoke(here, "hospital-b")
    here.settle("hospital-a")
    visit = here.visit("hospital-a")
    assert visit.refused is not None
    assert visit.refused.code == "route.cut-off"
    assert phase_of(visit) is Phase.GONE
    assert here.waits_for("hospital-b") == here.waits_for("hospital-a") == ()
    assert here.outcome(made) is Outcome.CUT_OFF
    assert here.receipts(made, ReceiptKind.ENTRY) == ()
    assert here.plaintext("hospital-a") == []


def expire(here: World) -> None:
    here.consortium.until[here.consortium.stop("hospital-b").key_set] = here.now


def remove(here: World) -> None:
    del here.consortium.secrets[B]


def replace_keys(here: World) -> None:
    """A rotation without a time in which both key sets are in force."""
    old, _ = here.consortium.rotate("hospital-b")
    here.consortium.until[old.key_set.fingerprint] = here.now


@pytest.mark.parametrize("end", [expire, remove, replace_keys])
@pytest.mark.parametrize("phase", [Phase.ADMITTED, Phase.READY])
def test_t21_a_station_that_is_none_any_more_ends_the_train_with_an_answer(
    here: World, phase: Phase, end: Callable[[World], None]
) -> None:
    """Not revoked, and yet nobody to seal for: its keys ran out, it left, or it has others, which the train does not name."""
    hold_directory(here, "hospital-a")
    made = here.train()
    here.submit(made)
    bring_to(here, "hospital-a", phase)
    end(here)
    here.settle("hospital-a")
    visit = here.visit("hospital-a")
    assert visit.signed is not None
    assert visit.signed.what is SignedKind.REFUSAL
    assert phase_of(visit) is Phase.GONE
    assert here.depot.arrivals(B) == here.depot.arrivals(A) == ()
    assert here.outcome(made) is Outcome.CUT_OFF
    assert here.receipts(made, ReceiptKind.ENTRY) == ()
    assert here.plaintext("hospital-a") == []


def test_t21_the_owner_is_told_what_happened_and_what_to_do(here: World) -> None:
    made = here.train()
    here.submit(made)
    bring_to(here, "hospital-a", Phase.CLEARED)
    revoke(here, "hospital-b")
    here.settle("hospital-a")
    found = followed(here, made)
    assert found.ended
    assert found.stopped is not None
    assert (found.stopped.station, found.stopped.outcome) == ("hospital-a", Outcome.CUT_OFF)
    assert "send a new train" in describe(found, now=here.now)
    assert found.doubts == ()


def test_t21_a_station_further_on_that_was_revoked_ends_the_train_before_it_is_run(here: World) -> None:
    """It was refused on arrival without an answer, as if it had been a stranger's."""
    made = here.train()
    here.submit(made)
    revoke(here, "hospital-c")
    here.settle()
    visit = here.visit("hospital-a")
    assert visit.signed is not None
    assert visit.signed.what is SignedKind.REFUSAL
    assert here.sandboxes["hospital-a"].started == []
    assert here.outcome(made) is Outcome.CUT_OFF
    assert followed(here, made).ended


@pytest.mark.parametrize("noticed", [True, False])
def test_t21_whoever_follows_does_not_wait_for_a_station_that_was_revoked(here: World, noticed: bool) -> None:
    """It lies in the mailbox of a station whose signature counts no more: the directory says so, nobody else can."""
    made = here.train()
    here.submit(made)
    here.settle("hospital-a")
    assert not followed(here, made).over(here.now)
    revoke(here, "hospital-b")
    if noticed:
        here.settle("hospital-b")
        assert here.waits_for("hospital-b") == ()
    found = followed(here, made)
    assert (found.waiting_for, found.ended) == (B, False)
    assert found.over(here.now)
    assert "hospital-b cannot pass it on any more: key set is revoked; send a new train" in describe(
        found, now=here.now
    )
    told = not_home(found)
    assert isinstance(told, NotHomeYet)
    assert told.hint is not None
    assert "send a new train" in told.hint


def test_what_a_station_signed_before_it_was_revoked_is_followed_on(here: World) -> None:
    made = here.train()
    here.submit(made)
    here.settle("hospital-a", "hospital-b")
    here.now += timedelta(minutes=5)
    revoke(here, "hospital-b")
    found = followed(here, made)
    assert [one.state for one in found.stops] == [StopState.PASSED, StopState.PASSED, StopState.WAITING]
    assert not found.over(here.now)
    here.settle("hospital-c")
    assert here.at_home(made.id)
    assert followed(here, made).passed


def test_new_keys_are_for_new_trains(here: World, tmp_path: Path) -> None:
    """The route names the old key set, and the code was sealed for it: waiting would not help a train under way."""
    first = here.train()
    here.submit(first)
    bring_to(here, "hospital-a", Phase.CLEARED)
    old, new = here.consortium.rotate("hospital-b")
    here.consortium.compromised[old.key_set.fingerprint] = here.now
    here.change("hospital-b", secrets=new, earlier=(old,))
    second = here.train()
    here.submit(second)
    here.settle()
    assert here.outcome(first) is Outcome.CUT_OFF
    assert set(here.results(second, tmp_path / "results")) == {"sums.json"}


def test_a_train_waits_while_nobody_can_say_who_is_next(here: World) -> None:
    hold_directory(here, "hospital-a")
    made = here.train()
    here.submit(made)
    bring_to(here, "hospital-a", Phase.READY)
    assert here.plaintext("hospital-a") == []  # it does not wait for the directory
    here.refuse_directory = DirectoryUnavailable("away")
    here.step("hospital-a")
    visit = here.visit("hospital-a")
    assert visit.refused is None
    assert visit.stumbled is not None
    assert (visit.stumbled.step, visit.stumbled.code) == ("sign", "directory.unavailable")
    here.refuse_directory = None
    here.settle()
    assert here.at_home(made.id)


def test_plaintext_does_not_wait_for_a_directory_that_is_away(here: World) -> None:
    """However long it is away: what was read last is enough to seal and to wipe, and for nothing that leaves."""
    here.change("hospital-a", trust=FreshTrust(here.trust, seconds=0))
    made = here.train()
    here.submit(made)
    bring_to(here, "hospital-a", Phase.RUNNING)
    here.refuse_directory = DirectoryUnavailable("away")
    for _ in range(12):
        here.step("hospital-a")
        here.now += timedelta(seconds=10)
    visit = here.visit("hospital-a")
    assert visit.sealed is not None
    assert visit.wiped is not None
    assert here.plaintext("hospital-a") == []
    assert visit.signed is None
    assert here.waits_for("hospital-b") == ()
    here.refuse_directory = None
    here.settle("hospital-a")
    assert here.visit("hospital-a").pushed is not None


def test_a_station_that_has_just_joined_is_looked_up_before_a_train_is_ended(here: World) -> None:
    keys = here.consortium.secrets.pop(C)
    hold_directory(here, "hospital-a")
    here.houses["hospital-a"].trust(here.now)
    here.consortium.secrets[C] = keys
    made = here.train()
    here.submit(made)
    here.settle()
    assert here.at_home(made.id)
