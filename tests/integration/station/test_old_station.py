"""What does a station's past cost it, and what is still found out about that past?"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bench.past import leave_documents, live_through
from security.digest import Digest
from security.keys.keyset import Scheme, generate
from station.daemon.heads import known_head
from station.daemon.loop import Shift
from station.daemon.pace import Pace
from station.daemon.retention import remains_of
from station.desk.visits import RECENT, listing
from station.errors import JournalDamaged
from station.house.config import Retention
from station.journal.chain import START, link
from station.sandbox.order import RunOrder
from station.visit.plan import Phase
from station.visit.state import Visit
from tests.support.trains import Train
from tests.support.world import ROOMY, World, world

STATION = "hospital-a"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path, stations=[STATION])
    yield made
    made.close()


def shift(here: World) -> Shift:
    return Shift(here.houses[STATION], Pace(clock=here.clock, poll_seconds=1), ROOMY)


def has_had(here: World, visits: int) -> None:
    live_through(here.houses[STATION].journal._log, visits)
    leave_documents(here.folder(STATION) / "spool", visits)
    here.restart(STATION)


def begun(here: World) -> Shift:
    made = shift(here)
    made.begin("test")
    made.turn()
    return made


def passes(here: World, daemon: Shift) -> Train:
    made = here.train(route=(STATION,))
    here.submit(made)
    while not here.at_home(made.id) or daemon.visits():
        daemon.turn()
        here.now += timedelta(seconds=1)
    for _ in range(3):
        daemon.turn()
    return made


# --- What it costs


def instructions(tmp_path: Path, visits: int) -> tuple[int, int]:
    """How many of its machine's instructions SQLite takes for a start, and while a train comes, passes and is swept up."""
    here, taken = world(tmp_path / str(visits), stations=[STATION]), [0]
    has_had(here, visits)
    begun(here)  # signs the head from which the next start goes on
    here.restart(STATION)

    def count() -> int:
        taken[0] += 1
        return 0

    log = here.houses[STATION].journal._log
    log._database.set_progress_handler(count, 1)  # type: ignore[attr-defined] # it is SQLite's
    daemon = shift(here)
    daemon.begin("test")
    start, taken[0] = taken[0], 0
    daemon.turn()
    taken[0] = 0
    passes(here, daemon)
    here.close()
    return start, taken[0]


def test_neither_a_start_nor_a_train_reads_more_of_an_old_journal(tmp_path: Path) -> None:
    young, old = instructions(tmp_path, 10), instructions(tmp_path, 300)
    assert old[0] < 1.2 * young[0] + 100
    assert old[1] < 1.1 * young[1]


def test_a_list_shows_what_is_here_and_the_newest_that_were_and_says_how_many_more(here: World) -> None:
    held = here.train(route=(STATION,))
    here.submit(held)
    here.step(STATION)
    has_had(here, RECENT + 30)
    journal = here.houses[STATION].journal
    (waiting,) = journal.going_on()
    found = listing(journal, here.now, worked=True)
    assert [one.visit for one in found.visits] == [waiting.arrival, *journal.arrivals(RECENT)]
    assert found.more == 30
    everyone = listing(journal, here.now, worked=True, every=True)
    assert [one.visit for one in everyone.visits] == list(journal.arrivals())
    assert everyone.more == 0
    assert [one.phase for one in everyone.visits].count(Phase.GONE) == RECENT + 30


# --- What is swept


def spooled(here: World) -> set[str]:
    return {path.name for path in (here.folder(STATION) / "spool").iterdir() if len(path.name) == 64}


def visit_of(here: World, made: Train) -> Visit:
    visit = here.houses[STATION].journal.accepted(made.id, 0)
    assert visit is not None
    return visit


def test_after_a_departure_only_what_the_visit_had_is_looked_at(here: World) -> None:
    has_had(here, 5)
    daemon = begun(here)
    stranded = here.folder(STATION) / "spool" / Digest.of_hex("5" * 64).hex
    stranded.touch()
    before = spooled(here)
    made = passes(here, daemon)
    visit = visit_of(here, made)
    assert visit.signed is not None
    assert visit.fetched is not None
    kept = {visit.signed.envelope, visit.signed.letter}
    kept |= {blob.digest for blob in (*visit.fetched.letters, *visit.fetched.documents)}
    assert spooled(here) == before | {one.hex for one in kept}
    here.now += timedelta(hours=1)
    daemon.turn()
    assert spooled(here) == (before | {one.hex for one in kept}) - {stranded.name}


def test_what_an_earlier_visit_keeps_survives_the_departure_of_one_that_had_it_too(here: World) -> None:
    """A second delivery of a train, in letters sealed anew, has the same signed manifest and the same sealed code."""
    daemon = begun(here)
    made = passes(here, daemon)
    visit = visit_of(here, made)
    assert visit.fetched is not None
    kept = {blob.digest.hex for blob in (*visit.fetched.letters, *visit.fetched.documents)}
    made.letters.clear()
    here.submit(made)
    for _ in range(20):
        daemon.turn()
        here.now += timedelta(seconds=1)
    journal = here.houses[STATION].journal
    second = journal.visit(journal.arrivals()[-1])
    assert second.arrival != visit.arrival
    assert second.departed is not None
    assert second.fetched is not None
    assert {blob.digest.hex for blob in second.fetched.documents} <= kept <= spooled(here)
    assert made.manifest.code.digest.hex not in spooled(here)


def fails(order: RunOrder, say: Callable[[bytes], None]) -> int:
    del order
    say(b"a word of the run")
    return 1


def test_evidence_that_newer_evidence_displaces_goes_with_the_departure_that_displaced_it(tmp_path: Path) -> None:
    here = world(tmp_path, stations=[STATION], program=fails)
    first, second = here.train(route=(STATION,)), here.train(route=(STATION,))
    codes = {one.manifest.code.digest.hex for one in (first, second)}
    passes_not(here, begun(here), first)
    assert codes & spooled(here) == {first.manifest.code.digest.hex}
    room = 2 * remains_of(visit_of(here, first)).document_bytes + first.manifest.code.size
    terms = replace(ROOMY, retention=Retention(evidence_bytes=room))
    daemon = Shift(here.houses[STATION], Pace(clock=here.clock, poll_seconds=1), terms)
    daemon.turn()
    assert codes & spooled(here) == {first.manifest.code.digest.hex}
    passes_not(here, daemon, second)
    assert codes & spooled(here) == {second.manifest.code.digest.hex}
    here.close()


def passes_not(here: World, daemon: Shift, made: Train) -> None:
    here.submit(made)
    for _ in range(20):
        daemon.turn()
        here.now += timedelta(seconds=1)
    assert visit_of(here, made).departed is not None
    assert not here.at_home(made.id)


# --- What is found out


def edited(here: World, *statements: str, rewritten: Sequence[tuple[str, str, int]] = ()) -> None:
    """Change the journal with an editor, while no daemon works."""
    here.houses[STATION].journal.close()
    with closing(sqlite3.connect(here.folder(STATION) / "journal.sqlite", isolation_level=None)) as editor:
        for trigger in ("never_updated", "never_deleted", "never_replaced"):
            editor.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            editor.execute(statement)
        editor.executemany("UPDATE journal SET record = ?, hash = ? WHERE sequence = ?", rewritten)
    here.restart(STATION)


def lived_and_signed(here: World) -> int:
    """A station with a past whose end is signed; returns the number of the last record before that."""
    has_had(here, 5)
    begun(here)
    signed = here.houses[STATION].journal.last_signed_head()
    assert signed is not None
    return signed.sequence


LATER = "UPDATE journal SET record = replace(record, '\"test\"', '\"tst\"') WHERE sequence = (SELECT max(sequence) FROM journal)"


def test_a_start_goes_on_from_the_newest_head_that_its_keys_signed(here: World) -> None:
    sequence = lived_and_signed(here)
    house = here.houses[STATION]
    assert known_head(house.journal, house.spool, house.keyring, station=house.party).sequence == sequence


def test_a_record_that_was_changed_since_keeps_a_daemon_from_starting(here: World) -> None:
    lived_and_signed(here)
    shift(here).begin("test")
    edited(here, LATER)
    with pytest.raises(JournalDamaged):
        shift(here).begin("test")


def test_one_that_was_changed_before_ends_it_with_the_first_steps(here: World) -> None:
    lived_and_signed(here)
    edited(here, "UPDATE journal SET record = replace(record, 'mean age', 'mean axe') WHERE sequence = 3")
    daemon = shift(here)
    daemon.begin("test")
    with pytest.raises(JournalDamaged):
        daemon.turn()


def test_one_that_is_changed_while_it_works_ends_it_within_a_day(here: World) -> None:
    lived_and_signed(here)
    daemon = begun(here)
    with closing(sqlite3.connect(here.folder(STATION) / "journal.sqlite", isolation_level=None)) as editor:
        editor.execute("DROP TRIGGER never_updated")
        editor.execute("UPDATE journal SET record = replace(record, 'mean age', 'mean axe') WHERE sequence = 3")
    daemon.turn()
    here.now += timedelta(days=1)
    with pytest.raises(JournalDamaged):
        daemon.turn()


def test_a_journal_written_anew_is_not_the_one_whose_head_was_signed(here: World) -> None:
    """The chain alone is whole again; a daemon did not notice that before."""
    sequence = lived_and_signed(here)
    head, rewritten = START, []
    for stored in here.houses[STATION].journal._log.read():
        raw = stored.record.replace(b"mean age", b"mean axe")
        head = link(head, raw)
        rewritten.append((raw.decode(), str(head.hash), stored.sequence))
    edited(here, rewritten=rewritten)
    assert here.houses[STATION].journal.check() == head
    assert sequence < head.sequence
    with pytest.raises(JournalDamaged):
        shift(here).begin("test")


@pytest.mark.parametrize("how", ["missing", "damaged", "of other keys"])
def test_where_no_head_is_proven_the_whole_chain_is_followed_before_the_start(here: World, how: str) -> None:
    lived_and_signed(here)
    house = here.houses[STATION]
    signed = house.journal.last_signed_head()
    assert signed is not None
    path = house.spool.at(signed.envelope)
    if how == "missing":
        path.unlink()
    elif how == "damaged":
        path.write_bytes(path.read_bytes()[:-1] + b" ")
    else:
        here.change(STATION, secrets=generate([Scheme.ED25519]))
    house = here.houses[STATION]
    assert known_head(house.journal, house.spool, house.keyring, station=house.party) == START
    shift(here).begin("test")
    edited(here, "UPDATE journal SET record = replace(record, 'mean age', 'mean axe') WHERE sequence = 3")
    with pytest.raises(JournalDamaged):
        shift(here).begin("test")


def test_a_visit_that_somebody_strikes_from_the_list_of_those_under_way_is_missed(here: World) -> None:
    lived_and_signed(here)
    here.submit(here.train(route=(STATION,)))
    here.step(STATION)
    edited(here, "DELETE FROM under_way")
    daemon = shift(here)
    daemon.begin("test")
    with pytest.raises(JournalDamaged):
        daemon.turn()
