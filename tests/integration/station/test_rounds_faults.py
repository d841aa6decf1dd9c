"""Trains of rounds where something goes wrong that is nobody's fault, or nobody's who takes part: kills, absences, junk in a mailbox.

In the end each comes home once, with exact results, and with one signed statement for each stop.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from registry.depot import ReceiptKind, mailbox, part_tag
from registry.memory import MemoryRegistry
from registry.names import Reference, Repository
from registry.oci import MAX_MANIFEST
from registry.port import StoredManifest
from security.digest import Digest, digest_of
from security.ids import PartyId
from security.train.journey import StateRef
from security.train.letters import Parcel
from station.daemon.reconcile import reconcile
from station.errors import PartsMissing
from station.house.expected import Expected
from station.house.mailbox import MailboxMemory
from station.house.proofs import Proofs
from station.journal.journal import Journal
from station.visit.events import (
    ArrivalId,
    Boarded,
    Cleared,
    Departed,
    Pushed,
    Sealed,
    Signed,
    Stumbled,
    VisitEvent,
)
from station.visit.plan import Phase, phase_of
from tests.support.journeys import BOARD_B, DEPARTURE, FIRST, JUNCTION, SECOND, B
from tests.support.rounds import MEAN, ROWS, SQUARES, STATIONS, SUMMED, SUMS, board, rounds_train, rounds_world
from tests.support.spying import RecordingRegistry
from tests.support.trains import Train
from tests.support.world import MemoryBlobs, World

EVERYBODY = (*STATIONS, JUNCTION)
UNSEEN = {
    Phase.NOTICED,
    Phase.FETCHED,
    Phase.BOARDED,
    Phase.STOPPED,
    Phase.ANSWERABLE,
    Phase.REJECTED,
    Phase.GONE,
}
"""Phases that no visit of a round which passes is in once it is accepted, or that leave nothing to lose."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = rounds_world(tmp_path / "world", program=SUMS)
    yield made
    made.close()


def a_train(here: World) -> Train:
    made = rounds_train(here, outputs=SUMMED)
    board(here, made)
    return made


def came_home_once(here: World, made: Train, into: Path) -> None:
    """Home has one train with the results of all rows; each stop was signed for once, and nothing is left anywhere."""
    assert here.at_home(made.id)
    model = json.loads(here.results(made, into)["model.json"])
    assert model == {
        "n": len(ROWS),
        "mean": pytest.approx(MEAN, abs=1e-12),
        "squares": pytest.approx(SQUARES, abs=1e-9),
    }
    receipts = here.receipts(made, ReceiptKind.ENTRY)
    assert sorted(one.stop for one in receipts) == list(range(SECOND[JUNCTION] + 1))
    assert here.receipts(made, ReceiptKind.REFUSAL) == ()
    for party in EVERYBODY:
        signed = [visit.accepted.stop for visit in here.visits(party) if visit.signed and visit.accepted]
        assert sorted(signed) == [one for one in made.manifest.route.of(PartyId(party)) if one <= SECOND[JUNCTION]]
        assert here.plaintext(party) == []
        assert here.waits_for(party) == ()
        assert [visit.refused for visit in here.visits(party) if visit.refused] == []


# --- Junk ---------------------------------------------------------------------------------------------------------------


def without_entries(parcel: Parcel) -> Parcel:
    return replace(parcel, entries=())


def with_an_entry_too_many(parcel: Parcel) -> Parcel:
    return replace(parcel, entries=(parcel.entries[0], *parcel.entries))


def without_its_state(parcel: Parcel) -> Parcel:
    return replace(parcel, states=())


def with_another_state(parcel: Parcel) -> Parcel:
    data = b"junk"
    return replace(parcel, states=(StateRef(digest=digest_of(data), size=len(data)),))


def with_two_states(parcel: Parcel) -> Parcel:
    return replace(parcel, states=(*parcel.states, *parcel.states))


def with_junk_for_its_letters(parcel: Parcel) -> Parcel:
    return replace(parcel, entries=tuple(b"age-encryption.org/v1\n" + bytes(len(one)) for one in parcel.entries))


def with_the_entry_of_the_junction(letter: bytes) -> Callable[[Parcel], Parcel]:
    return lambda parcel: replace(parcel, entries=(letter,))


def after_the_entry_of_the_junction(letter: bytes) -> Callable[[Parcel], Parcel]:
    """As if nobody knew that the junction has its own."""
    return lambda parcel: replace(parcel, entries=(letter, *parcel.entries))


JUNK = (
    without_entries,
    with_an_entry_too_many,
    without_its_state,
    with_another_state,
    with_two_states,
    with_junk_for_its_letters,
)


def put(here: World, made: Train, parcel: Parcel, blobs: Mapping[Digest, bytes], stop: int, sender: int) -> Digest:
    return here.depot.send(parcel, MemoryBlobs(blobs), to=JUNCTION, train=made.id, stop=stop, part=sender)


AT_BOARDING = (
    without_entries,
    with_an_entry_too_many,
    without_its_state,
    with_another_state,
    with_junk_for_its_letters,
)


class Watched(MemoryRegistry):
    """A registry that knows what it was asked for and gave."""

    def __init__(self) -> None:
        super().__init__()
        self.given: set[Digest] = set()

    def get_manifest(self, repo: Repository, reference: Reference, *, most: int = MAX_MANIFEST) -> StoredManifest:
        found = super().get_manifest(repo, reference, most=most)
        self.given.add(found.digest)
        return found


def waited_out(here: World, made: Train, stop: int, sender: int, junks: Sequence[Callable[[Parcel], Parcel]]) -> None:
    """Put one piece of junk after another where a part lies, have the junction look at each, and put the part back."""
    assert isinstance(here.registry, Watched)
    part = here.depot.part(JUNCTION, made.id, stop, sender)
    assert part is not None
    real = here.registry.get_manifest(mailbox(JUNCTION), part.digest)
    blobs = MemoryBlobs()
    parcel = here.depot.take(part, blobs)
    for junk in junks:
        put_in = put(here, made, junk(parcel), {**blobs.blobs, digest_of(b"junk"): b"junk"}, stop, sender)
        here.settle(JUNCTION)
        assert put_in in here.registry.given, junk
        waiting = [visit for visit in here.visits(JUNCTION) if visit.departed is None]
        assert [visit.stumbled.code for visit in waiting if visit.stumbled] == [PartsMissing.code], junk
        assert "hospital-b" in waiting[0].stumbled.reason  # type: ignore[union-attr] # as asserted
        assert [visit.refused for visit in here.visits(JUNCTION) if visit.refused] == [], junk
    tag = part_tag(made.id, JUNCTION, stop, sender)
    here.registry.put_manifest(mailbox(JUNCTION), tag, real.raw, real.media_type)


def test_t13_junk_in_the_place_of_a_part_is_waited_out(tmp_path: Path) -> None:
    """Who may write to the junction's mailbox needs no keys to take letters apart and to announce another state."""
    here = rounds_world(tmp_path / "world", program=SUMS, registry=Watched())
    try:
        made = a_train(here)
        for stop, sender, junks in ((DEPARTURE, BOARD_B, AT_BOARDING), (FIRST[JUNCTION], FIRST[B], JUNK)):
            here.settle(*STATIONS)
            waited_out(here, made, stop, sender, [*junks, *by_the_junction(here, made)])
            here.settle(JUNCTION)
        here.settle()
        came_home_once(here, made, tmp_path / "results")
    finally:
        here.close()


def by_the_junction(here: World, made: Train) -> list[Callable[[Parcel], Parcel]]:
    """What can be made of the junction's own letter, once there is one: it lies in many mailboxes."""
    receipts = here.depot.receipts_of(PartyId("alice"), made.id, (DEPARTURE,), (ReceiptKind.ENTRY,))
    letters = [here.depot.read_receipt(PartyId("alice"), one) for one in receipts]
    return [make(one) for one in letters for make in (with_the_entry_of_the_junction, after_the_entry_of_the_junction)]


# --- Kills --------------------------------------------------------------------------------------------------------------


class KilledError(Exception):
    """The machine is gone at this instruction."""


class Dying:
    """A journal of a station that is killed when it has done something, and before it has recorded it: once for each event."""

    def __init__(self, journal: Journal, lost: set[tuple[object, ...]]) -> None:
        self._journal, self._lost = journal, lost

    def append(self, arrival: ArrivalId, event: VisitEvent, *, expect: int) -> None:
        about = (arrival, type(event), expect)
        if about not in self._lost:
            self._lost.add(about)
            raise KilledError
        self._journal.append(arrival, event, expect=expect)

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)


def kill(here: World, party: str) -> None:
    """Kill a station, and start it again: it knows what is on its disk and nothing else."""
    here.restart(party)
    here.change(party, proofs=Proofs(), mailbox=MailboxMemory(), expected=Expected())


def one_event(here: World, party: str) -> VisitEvent | None:
    here.notice(party)
    house = here.houses[party]
    events = (reconcile(arrival, house, here.now) for arrival in house.journal.unfinished())
    return next((event for event in events if event is not None), None)


def sent_once(here: World, made: Train) -> None:
    """No station has let two statements about one stop leave, and so no two vectors under one mask."""
    assert isinstance(here.registry, RecordingRegistry)
    for combination in (FIRST[JUNCTION], SECOND[JUNCTION]):
        senders = made.manifest.route.before(combination)
        parts = [one.parcel for one in here.registry.sent_to(JUNCTION) if one.stop in senders]
        assert len({one.entries[-1] for one in parts}) == len(STATIONS)
        assert len({one.states for one in parts}) == len(STATIONS)


def recorded(tmp_path: Path) -> World:
    return rounds_world(tmp_path / "world", program=SUMS, registry=RecordingRegistry())


def test_t25_everybody_is_killed_after_every_event(tmp_path: Path) -> None:
    here = recorded(tmp_path)
    try:
        made, kills = a_train(here), Counter[str]()
        while not here.at_home(made.id) or any(here.waits_for(party) for party in EVERYBODY):
            for party in EVERYBODY:
                if one_event(here, party) is not None:
                    kill(here, party)
                    kills[party] += 1
            here.now += timedelta(seconds=1)
            assert sum(kills.values()) < 1000
        here.settle()
        came_home_once(here, made, tmp_path / "results")
        sent_once(here, made)
        assert min(kills.values()) > 3 * 8
    finally:
        here.close()


def test_t25_everybody_is_killed_before_every_event_is_recorded(tmp_path: Path) -> None:
    """All that a step does is done twice: what it signed, sealed and masked the first time has left no trace outside."""
    here = recorded(tmp_path)
    try:
        made, lost = a_train(here), set[tuple[object, ...]]()
        for _ in range(400):
            for party in EVERYBODY:
                here.change(party, journal=Dying(here.houses[party].journal, lost))
                with suppress(KilledError):
                    one_event(here, party)
                kill(here, party)
            here.now += timedelta(seconds=1)
            if here.at_home(made.id) and not any(here.waits_for(party) for party in EVERYBODY):
                break
        here.settle()
        came_home_once(here, made, tmp_path / "results")
        sent_once(here, made)
        assert {Signed, Pushed, Sealed, Cleared, Boarded, Departed} <= {about[1] for about in lost}
    finally:
        here.close()


def cut_power(here: World, party: str) -> None:
    """Take the engine, its runs and the rooms of a station: what is on its disk stays."""
    here.sandboxes[party].lose_power()
    for name in here.sandboxes[party].leftovers(here.houses[party].name):
        here.sandboxes[party].remove(name)
    shutil.rmtree(here.folder(party) / "workrooms", ignore_errors=True)
    kill(here, party)


THIRDS = 3
"""A visit may lose two rooms and not a third, which is a matter for a person; five phases have one to lose."""


@pytest.mark.parametrize("third", range(THIRDS))
def test_t25_a_power_cut_takes_engine_and_rooms_of_a_station(tmp_path: Path, third: int) -> None:
    """In the second round, at every third phase of a hospital and of the junction: rooms and runs are gone, the keys for the train are not."""
    phases = [one for one in Phase if one not in UNSEEN][third::THIRDS]
    here = recorded(tmp_path)
    try:
        made = a_train(here)
        left = {(party, phase) for party in ("hospital-b", JUNCTION) for phase in phases}
        for _ in range(400):
            for party in EVERYBODY:
                here.step(party)
                at = [one for one in here.visits(party) if one.accepted and one.accepted.stop == SECOND[PartyId(party)]]
                if at and (party, phase_of(at[0])) in left:
                    left.remove((party, phase_of(at[0])))
                    cut_power(here, party)
            here.now += timedelta(seconds=1)
            if not left:
                break
        assert left == set(), "it never got there"
        here.settle()
        came_home_once(here, made, tmp_path / "results")
        sent_once(here, made)
    finally:
        here.close()


# --- Absences -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", ["hospital-b", JUNCTION])
def test_a_station_is_away_for_longer_than_a_round_and_returns(here: World, tmp_path: Path, absent: str) -> None:
    """The others wait, boarded or under way, for days, in each round anew. Nothing is lost, refused, or done twice."""
    made = a_train(here)
    others = [one for one in EVERYBODY if one != absent]
    for _ in ("boarding", "first", "second"):
        here.settle(*others)
        assert not here.at_home(made.id)
        for _ in range(3):
            here.now += timedelta(days=1)
            here.consortium.expires = here.now + timedelta(days=7)
            kill(here, others[0])
            here.settle(*others)
        assert not here.at_home(made.id)
        here.settle(*STATIONS)
        here.settle(JUNCTION)
    here.settle()
    came_home_once(here, made, tmp_path / "results")


def test_who_is_waited_for_is_told_once_and_by_name(here: World) -> None:
    made = a_train(here)
    here.settle("hospital-a", "hospital-c", JUNCTION)
    for _ in range(20):
        here.now += timedelta(minutes=10)
        here.settle("hospital-a", "hospital-c", JUNCTION)
    waiting = [visit for visit in here.visits(JUNCTION) if visit.departed is None]
    stumbles = [event for visit in waiting for event in visit.events if isinstance(event, Stumbled)]
    assert [(one.code, "hospital-b" in one.reason) for one in stumbles] == [(PartsMissing.code, True)]
    here.settle()
    assert here.at_home(made.id)


# --- Company ------------------------------------------------------------------------------------------------------------


def test_trains_of_rounds_go_side_by_side(here: World, tmp_path: Path) -> None:
    """Each has its own keys, masks and departure; their messages lie in the same mailboxes."""
    trains = [a_train(here) for _ in range(2)]
    here.settle()
    for number, made in enumerate(trains):
        assert here.at_home(made.id)
        model = json.loads(here.results(made, tmp_path / f"results-{number}")["model.json"])
        assert model["n"] == len(ROWS)
        assert model["squares"] == pytest.approx(SQUARES, abs=1e-9)
    for party in EVERYBODY:
        assert here.waits_for(party) == ()
        assert here.plaintext(party) == []


def test_t5_a_second_delivery_of_any_part_disturbs_nothing(tmp_path: Path) -> None:
    """Everything that was ever sent to a station is sent again, at every step of the way: keys and results are what they were."""
    here = recorded(tmp_path)
    try:
        assert isinstance(here.registry, RecordingRegistry)
        made = a_train(here)
        for _ in range(6):
            here.settle(*STATIONS)
            here.settle(JUNCTION)
            for repo, tag, raw, media_type in tuple(here.registry.tagged):
                if repo != mailbox(PartyId("alice")):
                    here.registry.put_again(repo, tag, raw, media_type)
        here.settle()
        model = json.loads(here.results(made, tmp_path / "results")["model.json"])
        assert model["squares"] == pytest.approx(SQUARES, abs=1e-9)
        assert sorted(one.stop for one in here.receipts(made, ReceiptKind.ENTRY)) == list(range(SECOND[JUNCTION] + 1))
        assert here.receipts(made, ReceiptKind.REFUSAL) == ()
        sent_once(here, made)
    finally:
        here.close()
