"""Attacks on what a train of rounds claims, mounted on real statements: T2 to T4, T7, T27, and a junction that does as it likes.

A journey of rounds is a graph: every combination hangs on all contributions of its round, and every contribution on the
combination before it. Whoever is next demands exactly that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from security.age import X25519Identity
from security.digest import digest_of
from security.errors import (
    BoardingRejected,
    DigestMismatch,
    JourneyForeignEntry,
    JourneyIncomplete,
    JourneyTooLong,
    JourneyUnlinked,
    PhtError,
    SignatureInvalid,
    SignatureMissing,
)
from security.ids import PartyId
from security.statement.envelope import Envelope, sign
from security.train.boarding import SealedSeed
from security.train.journey import TrainParts
from security.train.verify import verify_home, verify_train
from tests.support.journeys import (
    ALICE,
    BOARD_B,
    BOARD_JUNCTION,
    DEPARTURE,
    FIRST,
    JUNCTION,
    SECOND,
    THIRD,
    A,
    B,
    C,
    Journey,
    journey,
    state,
)
from tests.support.trains import NOW, Consortium, consortium

OTHER = state("another")


@pytest.fixture(scope="module")
def parties() -> Consortium:
    return consortium((A, B, C, JUNCTION))


@pytest.fixture(scope="module")
def travelled(parties: Consortium) -> Journey:
    """A train whose two rounds of at most three have passed; a test takes a copy."""
    return journey(parties).to(THIRD[A])


@pytest.fixture
def it(travelled: Journey) -> Journey:
    return travelled.copy()


def arrive(it: Journey, parts: TrainParts, here: PartyId) -> None:
    if here == ALICE:
        verify_home(parts, it.consortium.trust, owner=ALICE, now=NOW)
    else:
        verify_train(parts, it.consortium.trust, here=here, now=NOW)


def refused(error: type[PhtError], it: Journey, parts: TrainParts, here: PartyId = JUNCTION) -> None:
    with pytest.raises(error) as caught:
        arrive(it, parts, here)
    assert type(caught.value) is error


def swapped(parts: TrainParts, stop: int, envelope: Envelope) -> TrainParts:
    entries = list(parts.entries)
    entries[stop] = envelope
    return replace(parts, entries=tuple(entries))


def fork(it: Journey, stop: int, **changes: object) -> Journey:
    """Pass a stop once more in a copy: what is signed there besides the entry that is known, and what hangs on it, is gone."""
    again = it.copy()
    for later in it.train.manifest.route.descendants(stop):
        again.entries.pop(later, None)
        again.states.pop(later, None)
    spoiled: dict[str, Any] = {"state_out": state("the other", stop).digest, **changes}
    again.pass_stop(stop, **spoiled)
    return again


def test_an_honest_train_is_accepted_at_every_stop_and_at_home(it: Journey) -> None:
    route = it.train.manifest.route
    it.to(route.home)
    for stop in route.indices:
        accepted = it.accepted(stop)
        assert accepted.stop == stop
        assert [one.value.stop for one in accepted.journey.entries] == list(route.ancestors(stop))
        assert accepted.journey.previous == it.entry(stop).previous
    assert set(it.accepted(FIRST[A]).passes) == {A, B, C, JUNCTION}
    home = it.at_home(THIRD[JUNCTION])
    assert [one.recipients for one in home.received()] == [(ALICE,)]


# --- T2, T4: predecessors dropped, added, doubled, reordered ------------------------------------------------------------

AT_THE_COMBINATION = (FIRST[A], FIRST[B], FIRST[C])


@pytest.mark.parametrize("dropped", range(SECOND[JUNCTION]))
def test_t2_t4_no_entry_can_be_dropped_before_a_combination(it: Journey, dropped: int) -> None:
    """The next entry stands in its place, signed by somebody else; or for another stop, where both are the same party's."""
    parts = it.parts(SECOND[JUNCTION])
    entries = parts.entries[:dropped] + parts.entries[dropped + 1 :]
    told: dict[int, type[PhtError]] = {BOARD_JUNCTION: JourneyForeignEntry, SECOND[C]: JourneyIncomplete}
    refused(told.get(dropped, SignatureMissing), it, replace(parts, entries=entries))


@pytest.mark.parametrize("left_out", [A, B, C])
def test_t2_t4_a_station_cannot_be_left_out_of_a_round(it: Journey, left_out: PartyId) -> None:
    """The junction combines without one, names the others' entries only, and says so in a valid signature."""
    before = [one for one in AT_THE_COMBINATION if one != FIRST[left_out]]
    cut = it.copy()
    cut.pass_stop(
        FIRST[JUNCTION],
        previous=tuple(it.entries[one].digest for one in before),
        states_in=tuple(it.states[one].digest for one in before),
    )
    refused(JourneyUnlinked, cut, cut.parts(SECOND[A]), A)
    stops = [one for one in (*range(SECOND[A]),) if one != FIRST[left_out]]
    refused(SignatureMissing, cut, cut.made_of(stops, (FIRST[JUNCTION],)), B)


@pytest.mark.parametrize("left_out", [A, B, C])
def test_t2_t4_the_junction_waits_for_every_state(it: Journey, left_out: PartyId) -> None:
    before = [one for one in AT_THE_COMBINATION if one != FIRST[left_out]]
    refused(JourneyIncomplete, it, it.made_of(range(FIRST[JUNCTION]), before))


@pytest.mark.parametrize("doubled", [A, B, C])
def test_t4_a_contribution_cannot_stand_for_another_too(it: Journey, doubled: PartyId) -> None:
    parts = it.parts(FIRST[JUNCTION])
    envelope = it.entries[FIRST[doubled]]
    for party in {A, B, C} - {doubled}:
        refused(SignatureMissing, it, swapped(parts, FIRST[party], envelope))
    refused(SignatureMissing, it, replace(parts, entries=(*parts.entries, envelope)))
    states = tuple(it.states[FIRST[one]] for one in (doubled, doubled, doubled))
    refused(DigestMismatch, it, replace(parts, states=states))


def test_t4_predecessors_and_their_states_have_one_order(it: Journey) -> None:
    parts = it.parts(FIRST[JUNCTION])
    entries = (*parts.entries[: FIRST[A]], *reversed(parts.entries[FIRST[A] :]))
    refused(SignatureMissing, it, replace(parts, entries=entries))
    refused(DigestMismatch, it, replace(parts, states=tuple(reversed(parts.states))))
    for changes in (
        {"previous": tuple(reversed(it.entry(FIRST[JUNCTION]).previous))},
        {"states_in": tuple(reversed(it.entry(FIRST[JUNCTION]).states_in))},
    ):
        again = fork(it, FIRST[JUNCTION], **changes)
        refused(JourneyUnlinked, again, again.parts(SECOND[B]), B)


@pytest.mark.parametrize("stop", [SECOND[A], SECOND[JUNCTION], DEPARTURE])
def test_t2_a_train_under_way_does_not_pass_for_one_that_begins(it: Journey, stop: int) -> None:
    """Without entries it is at the first of our stops, where it boards; with those before another stop of ours it has other states
    than belong there; anything in between is at none."""
    route = it.train.manifest.route
    party = route.stop(stop).party
    boarding = route.boarding(party)
    assert verify_train(it.made_of((), ()), it.consortium.trust, here=party, now=NOW).stop == boarding
    earlier = {len(route.ancestors(one)): route.before(one) for one in route.of(party)}
    for entries in range(1, len(route.ancestors(stop))):
        parts = it.made_of(range(entries), route.before(stop))
        as_many = len(earlier.get(entries, ())) == len(route.before(stop))
        refused(DigestMismatch if as_many else JourneyIncomplete, it, parts, party)


# --- T3, T7: entries of other trains, stops, rounds ---------------------------------------------------------------------


@pytest.mark.parametrize("stop", [BOARD_B, DEPARTURE, FIRST[B], FIRST[JUNCTION]])
def test_t3_t7_an_entry_of_another_train_with_equal_code_and_route_is_foreign(
    parties: Consortium, it: Journey, stop: int
) -> None:
    other = journey(parties).to(SECOND[A])
    refused(JourneyForeignEntry, it, swapped(it.parts(SECOND[A]), stop, other.entries[stop]), A)


def test_t3_a_contribution_to_an_earlier_round_is_stale(it: Journey) -> None:
    parts = it.parts(SECOND[JUNCTION])
    refused(JourneyForeignEntry, it, swapped(parts, SECOND[B], it.entries[FIRST[B]]))
    states = (it.states[SECOND[A]], it.states[FIRST[B]], it.states[SECOND[C]])
    refused(DigestMismatch, it, replace(parts, states=states))


def test_t3_a_station_cannot_pass_an_old_round_off_as_the_new_one(it: Journey) -> None:
    """Signed anew for the right stop, and hanging on the departure or on the combination before the last."""
    for stop in (DEPARTURE, FIRST[JUNCTION]):
        again = fork(it, THIRD[B], previous=(it.entries[stop].digest,), states_in=(it.states[stop].digest,))
        again.travel((THIRD[A], THIRD[C]))
        refused(JourneyUnlinked, again, again.parts(THIRD[JUNCTION]))


def test_t3_a_station_contributes_for_no_other(it: Journey) -> None:
    parts = it.parts(FIRST[JUNCTION])
    as_b = it.sign(it.entry(FIRST[B]), by=C)
    refused(SignatureMissing, it, swapped(parts, FIRST[B], as_b))
    in_the_name_of_c = it.sign(replace(it.entry(FIRST[B]), station=C), by=B)
    refused(JourneyForeignEntry, it, swapped(parts, FIRST[B], in_the_name_of_c))
    in_another_place = it.sign(replace(it.entry(FIRST[B]), stop=FIRST[C]), by=B)
    refused(JourneyForeignEntry, it, swapped(parts, FIRST[B], in_another_place))


def test_t3_the_junction_cannot_invent_a_contribution(it: Journey) -> None:
    """It signs one in the place of a station, and combines it with the others as if it were theirs."""
    invented = it.copy()
    invented.pass_stop(FIRST[B], by=JUNCTION, state_out=OTHER.digest)
    invented.pass_stop(FIRST[JUNCTION])
    refused(SignatureMissing, invented, invented.parts(SECOND[A]), A)
    invented.to(SECOND[A]).pass_stop(SECOND[A])
    invented.travel((SECOND[B], SECOND[C])).pass_stop(SECOND[JUNCTION], finished=True)
    refused(SignatureMissing, invented, invented.home(SECOND[JUNCTION]), ALICE)


# --- A junction that does not tell everybody the same ---------------------------------------------------------------------


def test_t4_a_junction_that_sends_two_stations_different_models_is_found_out(it: Journey) -> None:
    """Each station sees a valid journey. What both contribute hangs on two combinations, and is combined by nobody."""
    two = fork(it, FIRST[JUNCTION])
    assert two.accepted(SECOND[B]).stop == SECOND[B]  # of which B knows nothing else
    two.pass_stop(SECOND[B])
    mixed = it.copy()
    mixed.entries[SECOND[B]], mixed.states[SECOND[B]] = two.entries[SECOND[B]], two.states[SECOND[B]]
    refused(JourneyUnlinked, mixed, mixed.parts(SECOND[JUNCTION]))
    mixed.pass_stop(SECOND[JUNCTION])
    refused(JourneyUnlinked, mixed, mixed.parts(THIRD[C]), C)
    mixed.pass_stop(SECOND[JUNCTION], finished=True)
    refused(JourneyUnlinked, mixed, mixed.home(SECOND[JUNCTION]), ALICE)
    stop = FIRST[JUNCTION]
    proof = [one.accepted(SECOND[B]).journey.entry(stop).value for one in (it, two)]
    assert {(one.train, one.stop, one.station) for one in proof} == {(it.train.id, stop, JUNCTION)}
    assert proof[0].state_out != proof[1].state_out  # both with the junction's signature: evidence against it


def test_t4_another_model_under_the_entry_that_everybody_has_is_refused(it: Journey) -> None:
    refused(DigestMismatch, it, replace(it.parts(SECOND[B]), states=(OTHER,)), B)
    refused(JourneyIncomplete, it, replace(it.parts(SECOND[B]), states=()), B)


def test_t4_a_junction_that_departs_twice_has_stations_work_for_nothing(it: Journey) -> None:
    two = fork(it, DEPARTURE)
    two.pass_stop(FIRST[B])
    mixed = it.copy()
    mixed.entries[FIRST[B]], mixed.states[FIRST[B]] = two.entries[FIRST[B]], two.states[FIRST[B]]
    refused(JourneyUnlinked, mixed, mixed.parts(FIRST[JUNCTION]))


def test_t4_a_station_that_contributes_twice_proves_it(it: Journey) -> None:
    """Whoever has both entries has a proof; who combined one of them is not brought to accept the other."""
    other = it.sign(replace(it.entry(FIRST[C]), state_out=OTHER.digest))
    refused(JourneyUnlinked, it, swapped(it.parts(SECOND[A]), FIRST[C], other), A)
    twice = fork(it, FIRST[C])
    assert twice.accepted(FIRST[JUNCTION]).journey.entry(FIRST[C]).digest != it.entries[FIRST[C]].digest


# --- The end --------------------------------------------------------------------------------------------------------------


def test_t4_a_train_that_has_finished_does_not_go_on(it: Journey) -> None:
    done = fork(it, FIRST[JUNCTION], finished=True)
    refused(JourneyTooLong, done, done.parts(SECOND[A]), A)
    done.travel((SECOND[A], SECOND[B], SECOND[C]))
    refused(JourneyTooLong, done, done.parts(SECOND[JUNCTION]))
    done.pass_stop(SECOND[JUNCTION], finished=True)
    refused(JourneyTooLong, done, done.home(SECOND[JUNCTION]), ALICE)
    assert done.at_home(FIRST[JUNCTION]).journey.before == (FIRST[JUNCTION],)


@pytest.mark.parametrize("end", [FIRST[JUNCTION], SECOND[JUNCTION]])
def test_t4_a_train_comes_home_from_no_combination_that_did_not_finish(it: Journey, end: int) -> None:
    refused(JourneyIncomplete, it, it.home(end), ALICE)


@pytest.mark.parametrize("end", [DEPARTURE, FIRST[A], FIRST[C], SECOND[B], THIRD[A]])
def test_t4_a_train_comes_home_from_nothing_but_a_combination(it: Journey, end: int) -> None:
    it.to(THIRD[JUNCTION])
    refused(JourneyIncomplete, it, it.made_of(range(end + 1), (end,)), ALICE)


@pytest.mark.parametrize("stop", [DEPARTURE, FIRST[A]])
def test_t3_only_a_combination_says_that_it_has_finished(it: Journey, stop: int) -> None:
    done = fork(it, stop, finished=True)
    done.to(FIRST[JUNCTION])
    refused(JourneyForeignEntry, done, done.parts(FIRST[JUNCTION]))


def test_t4_no_round_comes_after_the_last_that_there_can_be(it: Journey) -> None:
    """A junction whose run is never done: nobody works for it beyond what was agreed to, and the train is at home."""
    it.to(THIRD[JUNCTION]).pass_stop(THIRD[JUNCTION])
    end, whole = THIRD[JUNCTION], it.home(THIRD[JUNCTION])
    assert it.at_home(end).journey.before == (end,)
    for party in (A, B, C):
        refused(JourneyTooLong, it, whole, party)
    beyond = it.sign(replace(it.entry(end), stop=end + 1, previous=(it.entries[end].digest,)))
    refused(JourneyTooLong, it, replace(whole, entries=(*whole.entries, beyond)), A)
    refused(JourneyTooLong, it, replace(whole, entries=(*whole.entries, beyond)), ALICE)


def test_t4_finished_is_under_the_signature(it: Journey) -> None:
    """Taken out of, or put into, an entry that is signed, it is another entry that nobody has signed."""
    envelope = it.entries[FIRST[JUNCTION]]
    said = it.sign(replace(it.entry(FIRST[JUNCTION]), finished=True))
    assert said.payload != envelope.payload
    forged = replace(envelope, payload=said.payload)
    refused(SignatureInvalid, it, swapped(it.home(FIRST[JUNCTION]), FIRST[JUNCTION], forged), ALICE)


# --- T27: boarding passes -------------------------------------------------------------------------------------------------


def reboarded(it: Journey, stop: int, **changes: object) -> Journey:
    """Let a station sign another pass than it should, and everybody go on from there as if nothing were wrong."""
    entry = it.entry(stop)
    assert entry.boarding is not None
    again = fork(it, stop, boarding=replace(entry.boarding, **changes))  # type: ignore[arg-type] # spoiled on purpose
    return again.to(FIRST[B])


def not_boarded(it: Journey) -> None:
    """Neither is the train let depart, nor does anybody work for it."""
    refused(BoardingRejected, it, it.parts(DEPARTURE))
    refused(BoardingRejected, it, it.parts(FIRST[B]), B)


def test_t27_an_entry_about_boarding_without_a_pass_is_refused(it: Journey) -> None:
    not_boarded(fork(it, BOARD_B, boarding=None).to(FIRST[B]))


def test_t27_a_pass_in_an_entry_that_is_not_about_boarding_is_refused(it: Journey) -> None:
    late = fork(it, FIRST[B], boarding=it.boarding_pass(B))
    refused(BoardingRejected, late, late.parts(FIRST[JUNCTION]))


def test_t27_a_train_does_not_depart_without_every_pass(it: Journey) -> None:
    for missing in range(DEPARTURE):
        stops = [one for one in range(DEPARTURE) if one != missing]
        told = JourneyIncomplete if missing == BOARD_JUNCTION else SignatureMissing
        refused(told, it, it.made_of(stops, stops))


def test_t27_a_pass_is_signed_by_the_keys_of_its_station(it: Journey) -> None:
    forged = it.copy()
    forged.entries[BOARD_B] = forged.sign(forged.entry(BOARD_B), by=C)
    refused(SignatureMissing, forged, forged.parts(DEPARTURE))


def test_t27_a_pass_for_another_train_is_refused(parties: Consortium, it: Journey) -> None:
    other = journey(parties).to(DEPARTURE)
    refused(JourneyForeignEntry, it, swapped(it.parts(DEPARTURE), BOARD_B, other.entries[BOARD_B]))


def test_t27_a_second_pass_of_a_station_is_not_taken_for_the_first(it: Journey) -> None:
    """Both are valid, and both are evidence; the departure names one of them."""
    second = it.copy()
    del second.keys[B]
    again = fork(second, BOARD_B)
    assert again.accepted(DEPARTURE).passes[B] != it.accepted(DEPARTURE).passes[B]
    refused(JourneyUnlinked, it, swapped(it.parts(FIRST[A]), BOARD_B, again.entries[BOARD_B]), A)


LOW_ORDER = (
    "00" * 32,
    "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)
"""The points of small order: with them everybody knows the secret."""


@pytest.mark.parametrize("key", LOW_ORDER)
def test_t27_a_mask_key_of_low_order_is_refused(it: Journey, key: str) -> None:
    not_boarded(reboarded(it, BOARD_B, mask_key=key))


@pytest.mark.parametrize("of", [A, B])
def test_t27_a_second_spelling_of_a_mask_key_is_refused(it: Journey, of: PartyId) -> None:
    """With the highest bit set X25519 takes it for the same key: nobody can show somebody else's as its own."""
    key = bytearray.fromhex(it.boarding_pass(of).mask_key)
    key[-1] |= 0x80
    not_boarded(reboarded(it, BOARD_B, mask_key=key.hex()))


@pytest.mark.parametrize("key", ["not a key", "age1qqqqqqq"])
def test_t27_a_recipient_that_is_none_is_refused(it: Journey, key: str) -> None:
    not_boarded(reboarded(it, BOARD_B, recipient=key))


def test_t27_a_station_cannot_show_the_keys_of_another_as_its_own(it: Journey) -> None:
    """Two equal recipients would make a state for too few, and two equal mask keys a pair that shares no secret."""
    theirs = it.boarding_pass(A)
    not_boarded(reboarded(it, BOARD_B, recipient=theirs.recipient))
    not_boarded(reboarded(it, BOARD_B, mask_key=theirs.mask_key))


def test_t27_a_recipient_of_a_weaker_kind_is_refused(it: Journey) -> None:
    """A state is as strong as its weakest recipient, and the kinds cannot share a file: it would be sealed for nobody."""
    not_boarded(reboarded(it, BOARD_B, recipient=str(X25519Identity.generate().recipient)))


def seeds_for(it: Journey, of: PartyId, parties: Sequence[PartyId]) -> tuple[SealedSeed, ...]:
    known = {one.party: one for one in it.boarding_pass(of).seeds}
    sealed = next(iter(known.values()))
    return tuple(known.get(party, replace(sealed, party=party)) for party in parties)


@pytest.mark.parametrize("parties_of", [(), (C,), (JUNCTION, C), (A, C, JUNCTION), (B, C, JUNCTION), (C, C, JUNCTION)])
def test_t27_a_pass_has_a_seed_for_each_station_after_its_own_and_for_no_other(
    it: Journey, parties_of: tuple[PartyId, ...]
) -> None:
    not_boarded(reboarded(it, BOARD_B, seeds=seeds_for(it, B, parties_of)))


def test_t27_the_last_station_has_no_seed_to_give(it: Journey) -> None:
    assert it.boarding_pass(JUNCTION).seeds == ()
    (seed,) = it.boarding_pass(C).seeds
    for party in (A, JUNCTION):
        not_boarded(reboarded(it, BOARD_JUNCTION, seeds=(replace(seed, party=party),)))


def test_t27_an_approval_holds_for_the_manifest_that_was_boarded(parties: Consortium, it: Journey) -> None:
    """The passes name a train by its manifest: with other code, command or route behind them they are foreign."""
    other = journey(parties, command=("python3", "something_else.py"))
    for party in range(DEPARTURE):
        other.entries[party], other.states[party] = it.entries[party], it.states[party]
    refused(JourneyForeignEntry, other, other.parts(DEPARTURE))
    entry = replace(it.entry(BOARD_B), previous=(digest_of(b"another manifest"),))
    again = it.copy()
    again.entries[BOARD_B] = sign(it.entries[BOARD_B].payload, it.consortium.secrets[C].signers)
    refused(SignatureMissing, again, again.parts(DEPARTURE))
    again.entries[BOARD_B] = again.sign(entry)
    refused(JourneyUnlinked, again, again.parts(DEPARTURE))
