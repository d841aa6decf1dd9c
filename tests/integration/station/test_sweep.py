"""What of trains that have left does a station keep, and what goes?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from station.daemon.loop import Shift
from station.daemon.pace import Pace, Terms
from station.daemon.retention import remains_of
from station.daemon.sweep import Keeper, Sweeper, sweep
from station.house.config import Retention
from station.sandbox.order import RunOrder
from tests.support.rounds import board, rounds_train, rounds_world
from tests.support.trains import Train
from tests.support.world import ROOMY, World, add_up, world

STATION = "hospital-a"


def fails_for_bob(order: RunOrder, say: Callable[[bytes], None]) -> int:
    say(b"a word of the run\n")
    return 1 if order.environment.get("LANG") == "fail" else add_up(order, say)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path, stations=[STATION], program=fails_for_bob)
    yield made
    made.close()


def live(here: World, terms: Terms = ROOMY, turns: int = 30) -> None:
    shift = Shift(here.houses[STATION], Pace(clock=here.clock, poll_seconds=1), terms)
    for _ in range(turns):
        shift.turn()
        here.now += timedelta(seconds=1)


def passed(here: World) -> Train:
    made = here.train(owner="alice", route=(STATION,))
    here.submit(made)
    live(here)
    assert here.at_home(made.id)
    return made


def failed(here: World) -> Train:
    made = here.train(owner="alice", route=(STATION,), environment={"LANG": "fail"})
    here.submit(made)
    live(here)
    assert not here.at_home(made.id)
    return made


def spooled(here: World) -> set[str]:
    return {blob.digest.hex for blob in here.houses[STATION].spool.blobs()}


def swept(here: World, retention: Retention) -> int:
    house = here.houses[STATION]
    return len(sweep(house.spool, Keeper(house.journal, retention), here.now))


def test_of_a_train_that_passed_no_sealed_blob_stays(here: World) -> None:
    made = passed(here)
    assert made.manifest.code.digest.hex not in spooled(here)
    assert made.envelope.digest.hex not in spooled(here)  # documents lie under the digest of their bytes
    house = here.houses[STATION]
    (visit,) = here.visits(STATION)
    assert visit.signed is not None
    assert house.spool.has(visit.signed.envelope)


def test_of_one_that_failed_the_sealed_code_stays_until_evidence_is_too_old(here: World) -> None:
    made = failed(here)
    code = made.manifest.code.digest.hex
    (visit,) = here.visits(STATION)
    assert visit.wiped is not None
    assert visit.wiped.printed is not None
    assert {code, visit.wiped.printed.digest.hex} <= spooled(here)
    rules = Retention(evidence_days=2, printed_days=1)
    here.now += timedelta(days=1)
    assert swept(here, rules) == 1
    assert visit.wiped.printed.digest.hex not in spooled(here)
    assert code in spooled(here)
    here.now += timedelta(days=1)
    assert swept(here, rules) >= 1
    assert code not in spooled(here)
    assert visit.signed is not None
    assert visit.signed.envelope.hex in spooled(here)
    here.now += timedelta(days=4000)
    swept(here, rules)
    assert visit.signed.envelope.hex not in spooled(here)
    here.houses[STATION].journal.check()
    assert here.visit(STATION).events == visit.events


def test_evidence_never_exceeds_its_bytes(here: World) -> None:
    trains = [failed(here) for _ in range(4)]
    size = trains[0].manifest.code.size
    documents = sum(remains_of(visit).document_bytes for visit in here.visits(STATION))
    assert swept(here, Retention(evidence_bytes=2 * size + documents)) == 2
    left = [made.manifest.code.digest.hex in spooled(here) for made in trains]
    assert left == [False, False, True, True]


def test_what_a_train_needs_that_comes_back_stays_however_short_documents_are_kept(tmp_path: Path) -> None:
    here = rounds_world(tmp_path / "rounds")
    try:
        made = rounds_train(here)
        board(here, made)
        sweepers = {name: Sweeper(house, Retention(document_days=0)) for name, house in here.houses.items()}
        for _ in range(200):
            for name, sweeper in sweepers.items():
                here.step(name)
                sweeper.sweep(here.now)
            here.now += timedelta(seconds=1)
            if here.at_home(made.id):
                break
        assert here.at_home(made.id)
        here.settle()
        here.now += timedelta(hours=1)
        for name, sweeper in sweepers.items():
            sweeper.sweep(here.now)
            assert here.houses[name].spool.blobs() == ()
    finally:
        here.close()


def test_the_daemon_sweeps_by_itself_when_time_has_passed(here: World) -> None:
    made = failed(here)
    terms = replace(ROOMY, retention=Retention(evidence_days=1))
    live(here, terms, turns=3)
    assert made.manifest.code.digest.hex in spooled(here)
    here.now += timedelta(days=1, hours=1)
    live(here, terms, turns=3)
    assert made.manifest.code.digest.hex not in spooled(here)


def test_a_sweep_can_be_looked_at_first(here: World) -> None:
    failed(here)
    house, before = here.houses[STATION], spooled(here)
    keeper = Keeper(house.journal, Retention(evidence_days=0, printed_days=0))
    found = house.spool.unreferenced(keeper.references(here.now))
    assert spooled(here) == before
    assert sweep(house.spool, keeper, here.now) == found
    assert spooled(here) == before - {blob.digest.hex for blob in found}
