"""What does the spool keep of visits that are over?"""

from __future__ import annotations

from datetime import timedelta

import pytest

from station.daemon.retention import MOST_REPLAYS, Ending, Left, Remains, remains_of
from station.errors import VisitUnknown
from station.house.config import Retention
from station.visit.events import Blob
from station.visit.state import replay
from tests.support.visits import DEPARTED, FETCHED, NOTICED, NOW, QUIET_DAY, REFUSED, SIGNED, digest

RULES = Retention(document_days=30, evidence_days=10, evidence_bytes=100, printed_days=5)


def left(number: int, ending: Ending, *, size: int = 10, days: float = 0, printed: bool = False) -> Remains:
    return Remains(
        since=NOW - timedelta(days=days),
        ending=ending,
        documents=frozenset({digest(f"document {number}")}),
        sealed=(Blob(digest=digest(f"sealed {number}"), size=size),),
        printed=Blob(digest=digest(f"printed {number}"), size=1) if printed else None,
    )


def names(remains: list[Remains], *, rules: Retention = RULES) -> set[str]:
    over = Left(rules)
    for one in remains:
        over.add(one)
    found = over.kept(NOW)
    told_apart = {one for one in found if over.keeps(one, NOW)}
    assert found == told_apart | over.evidence(NOW)
    known = {
        digest(f"{what} {number}"): f"{what} {number}"
        for what in ("document", "sealed", "printed")
        for number in range(200)
    }
    return {known[one] for one in found}


def test_of_a_train_that_was_sent_on_the_documents_stay_for_their_time() -> None:
    assert names([left(0, Ending.PASSED, days=29), left(1, Ending.PASSED, days=30)]) == {"document 0"}


def test_of_what_nobody_verified_nothing_stays() -> None:
    assert names([left(0, Ending.UNVERIFIED)]) == set()


def test_of_a_train_that_did_not_pass_the_sealed_blobs_stay_as_evidence_for_their_time() -> None:
    remains = [left(0, Ending.ANSWERED, days=9), left(1, Ending.REFUSED, days=11), left(2, Ending.FORKED, days=9)]
    assert names(remains) == {"document 0", "sealed 0", "document 1", "document 2", "sealed 2"}


def test_evidence_has_a_size_the_newest_stay_and_no_flood_displaces_a_fork() -> None:
    fork = left(0, Ending.FORKED, size=40, days=5)
    flood = [left(number, Ending.ANSWERED, size=30, days=3 - number / 10) for number in range(1, 6)]
    sealed = {name for name in names([fork, *flood]) if name.startswith("sealed")}
    assert sealed == {"sealed 0", "sealed 5", "sealed 4"}


def test_a_single_train_larger_than_the_evidence_may_be_does_not_keep_smaller_ones_out() -> None:
    remains = [left(0, Ending.ANSWERED, size=50), left(1, Ending.ANSWERED, size=10_000)]
    assert {name for name in names(remains) if name.startswith("sealed")} == {"sealed 0"}


def test_of_replays_the_documents_of_the_newest_stay_and_no_blobs() -> None:
    remains = [left(number, Ending.REPLAYED) for number in range(MOST_REPLAYS + 3)]
    assert names(remains) == {f"document {number}" for number in range(3, MOST_REPLAYS + 3)}


def test_what_a_run_printed_stays_for_its_time() -> None:
    remains = [left(0, Ending.ANSWERED, days=4, printed=True), left(1, Ending.ANSWERED, days=6, printed=True)]
    assert {name for name in names(remains) if name.startswith("printed")} == {"printed 0"}


def test_a_visit_that_is_over_tells_what_it_left() -> None:
    found = remains_of(replay(QUIET_DAY))
    assert found.ending is Ending.PASSED
    assert found.documents == {
        SIGNED.envelope,
        SIGNED.letter,
        *(blob.digest for blob in (*FETCHED.letters, *FETCHED.documents)),
    }
    assert found.sealed == FETCHED.sealed
    with pytest.raises(VisitUnknown):
        remains_of(replay(QUIET_DAY[:-1]))


@pytest.mark.parametrize(
    ("events", "ending"),
    [
        ((NOTICED, REFUSED, DEPARTED), Ending.UNVERIFIED),
        ((NOTICED, FETCHED, REFUSED, DEPARTED), Ending.REFUSED),
        ((*QUIET_DAY[:3], REFUSED, DEPARTED), Ending.ANSWERED),
    ],
)
def test_how_a_visit_ended_decides(events: tuple[object, ...], ending: Ending) -> None:
    assert remains_of(replay(events)).ending is ending  # type: ignore[arg-type] # events of a visit
