"""Who would like to know the numbers of one station, or to spoil those of all: sums of rounds, attacked with real stations.

The stations are honest and real. Whoever attacks has the keys of the junction, of other stations, of the owner, and whatever was
ever in the registry.
"""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from security.digest import digest_of
from security.errors import Forked, JourneyUnlinked, MalformedStatement, PhtError, SignatureMissing
from security.ids import PartyId
from security.statement.envelope import sign, verify
from security.sums.errors import (
    MaskedVectorInvalid,
    MasksLeft,
    NumberOutOfBound,
    NumbersUnreadable,
    TotalOutOfBound,
)
from security.sums.mask import Occasion, PairSecret
from security.sums.masked import MaskedVector, Place, mask, total, unmask
from security.sums.ring import FixedPoint, add, subtract, zeros
from security.train.boarding import open_seed
from security.train.journey import JourneyEntry, Outcome, print_entry, read_entry
from security.train.letters import entry_recipients, seal_letter
from security.train.manifest import Output, read_manifest
from security.train.route import Task
from security.train.sum_form import Sum
from station.daemon.sweep import Keeper, sweep
from station.errors import GateUndeclared
from station.house.config import Retention
from station.sandbox.order import DATA, IN, RunOrder
from station.steps.gathered import came_with
from tests.support.journeys import ALICE, FIRST, JUNCTION, SECOND, A, B, C
from tests.support.rounds import COMBINE, CONTRIBUTE, OUTPUTS, STATIONS, board, rounds_train, rounds_world
from tests.support.scripted_sandbox import Program
from tests.support.spying import (
    RecordingRegistry,
    Sent,
    all_passes,
    another_model,
    contribute_by_hand,
    entries_of,
    hangs_on,
    inside,
    opened,
    place_of,
)
from tests.support.sums import sent
from tests.support.trains import MAIL, Consortium, Train
from tests.support.world import PATIENTS, MemoryBlobs, World

PATH = "parts/gradient.json"
FORM = FixedPoint(bits=128, fraction=48, bound=1 << 30)
GRADIENT = Output(
    path=PATH,
    media_type="application/json",
    max_bytes=4096,
    task=Task.CONTRIBUTE,
    sum=Sum(shape=(2,), bound=1 << 30, bits=128, fraction=48),
)
Say: TypeAlias = Callable[[bytes], None]


def rows_of(order: RunOrder) -> list[int]:
    return [int(line) for line in (order.source(f"{DATA}/patients") / "patients.csv").read_text().splitlines()[1:]]


def told(order: RunOrder) -> dict[str, object]:
    found: dict[str, object] = json.loads(order.source("/pht/context.json").read_text())
    return found


def write(order: RunOrder, numbers: str) -> None:
    (order.state / "parts").mkdir()
    (order.state / PATH).write_text(numbers)


def gradient(order: RunOrder, say: Say) -> int:
    """As gradients go: it is nothing for who is told that the weight is nothing."""
    (model,) = [json.loads(one.read_text()) for one in order.source(IN).glob("*/model.json")] or [{}]
    weight = model.get("weight", 1.0)
    write(order, json.dumps([weight * sum(rows_of(order)), weight * len(rows_of(order))]))
    say(b"contributed\n")
    return 0


def combined(order: RunOrder, say: Say) -> int:
    sums = json.loads((order.source(IN) / "sum" / PATH).read_text())
    (order.state / "model.json").write_text(json.dumps({"weight": 1.0, "sums": sums}))
    if told(order)["round"] == 1:
        (order.state / "finished").touch()
    say(b"combined\n")
    return 0


def a_world(root: Path, *, contribute: Program = gradient, parties: Consortium | None = None) -> World:
    programs: dict[tuple[str, ...], Program] = {CONTRIBUTE: contribute, COMBINE: combined}
    return rounds_world(root, program=programs, registry=RecordingRegistry(), parties=parties)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    made = a_world(tmp_path / "world")
    yield made
    made.close()


def seen(here: World) -> RecordingRegistry:
    assert isinstance(here.registry, RecordingRegistry)
    return here.registry


def a_train(here: World) -> Train:
    made = rounds_train(here, outputs=(GRADIENT, OUTPUTS[1]))
    board(here, made)
    return made


def departed(here: World) -> None:
    """Let everybody board, and the train depart; the hospitals have not looked again."""
    here.settle(*STATIONS)
    here.settle(JUNCTION)


@pytest.fixture(scope="module")
def departure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Train, Path]]:
    """A world whose train has departed, and a copy of everybody's folder; nobody goes on in it."""
    root = tmp_path_factory.mktemp("departure")
    here = a_world(root / "world")
    made = a_train(here)
    departed(here)
    for party in here.houses:
        here.back_up(party, root / party)
    yield here, made, root
    here.close()


@pytest.fixture
def under_way(departure: tuple[World, Train, Path], tmp_path: Path) -> Iterator[tuple[World, Train]]:
    """That world again, for one test."""
    before, made, folders = departure
    here = a_world(tmp_path / "world", parties=before.consortium)
    seen(here).take_over(seen(before))
    here.now = before.now
    for party in here.houses:
        here.restore(party, folders / party)
    yield here, made
    here.close()


def vectors_of(here: World, made: Train, stop: int) -> dict[str, bytes]:
    """Return what the junction finds in what the hospitals sent it for a combination."""
    keys = here.houses[JUNCTION].passes.find(made.id, [here.consortium.secrets[JUNCTION].identity])
    senders = made.manifest.route.before(stop)
    found: list[Sent] = [one for one in seen(here).sent_to(JUNCTION) if one.stop in senders]
    opened = [inside(one.state, keys.identity) for one in found]
    return {str(number): files[PATH] for number, files in enumerate(opened)}


def summed(vectors: dict[str, bytes]) -> list[float]:
    whole = total((io.BytesIO(one) for one in vectors.values()), numbers=2, bits=FORM.bits)
    return [float(one) for one in unmask(whole, form=FORM, stations=len(STATIONS))]


ALL = [float(sum(map(sum, PATIENTS.values()))), float(sum(map(len, PATIENTS.values())))]


# --- A junction that does not send everybody the same ---------------------------------------------------------------------


def test_t28_a_junction_that_sends_two_stations_different_models_adds_up_noise(under_way: tuple[World, Train]) -> None:
    """It has all but A bring nothing. Were masks the same whatever a station was told, the sum of all would be A's part."""
    here, made = under_way
    here.settle(*STATIONS)
    assert summed(vectors_of(here, made, FIRST[JUNCTION])) == ALL
    here.settle(JUNCTION)
    last = {one.to: one for one in seen(here).sent}
    model = b'{"weight":0.0,"sums":[]}'
    for party in (B, C):
        another_model(here, made, last[f"mailbox/{party}"], {"model.json": model}, to=party, stop=SECOND[party])  # type: ignore[index] # a repository's name
    here.settle(*STATIONS)
    vectors = vectors_of(here, made, SECOND[JUNCTION])
    assert len(vectors) == len(STATIONS)
    with pytest.raises(MasksLeft):
        summed(vectors)


def test_t5_t28_a_junction_that_runs_a_round_twice_gets_no_second_vector(here: World) -> None:
    """Two vectors under one mask would tell by how much they differ. Who was asked for a round is not asked for it again."""
    made = a_train(here)
    departed(here)
    here.settle(*STATIONS)
    here.settle(JUNCTION)
    last = {str(one.to): one for one in seen(here).sent}
    here.settle(*STATIONS)
    vectors = vectors_of(here, made, SECOND[JUNCTION])
    started = {party: len(here.sandboxes[party].started) for party in STATIONS}
    for party in (A, B, C):
        model = b'{"weight":0.5,"sums":[]}'
        another_model(here, made, last[f"mailbox/{party}"], {"model.json": model}, to=party, stop=SECOND[party])
    here.settle(*STATIONS)
    assert [refusals(here, party) for party in STATIONS] == [[Forked.code]] * len(STATIONS)
    assert {party: len(here.sandboxes[party].started) for party in STATIONS} == started
    assert vectors_of(here, made, SECOND[JUNCTION]) == vectors
    here.settle()
    assert here.at_home(made.id)  # the round that was run first is the one that counts


def test_t5_t28_a_junction_goes_on_from_no_model_that_another_has_signed_in_its_name(here: World) -> None:
    """Its keys are stolen. What hangs on a model that its journal does not know does not verify there."""
    made = a_train(here)
    departed(here)
    here.settle(*STATIONS)
    here.settle(JUNCTION)
    started = len(here.sandboxes[JUNCTION].started)
    last = {str(one.to): one for one in seen(here).sent}
    for party in (A, B, C):
        model = b'{"weight":0.5,"sums":[]}'
        another_model(here, made, last[f"mailbox/{party}"], {"model.json": model}, to=party, stop=SECOND[party])
    here.settle()
    assert len(vectors_of(here, made, SECOND[JUNCTION])) == len(STATIONS)  # stations cannot tell
    assert refusals(here, JUNCTION) == [JourneyUnlinked.code]
    assert len(here.sandboxes[JUNCTION].started) == started
    assert not here.at_home(made.id)


# --- Parts that are none ----------------------------------------------------------------------------------------------------


def vector(here: World, made: Train, party: PartyId, numbers: Sequence[float], **changes: object) -> bytes:
    """Return the masked vector of a station at the first round; `changes` make it one for another occasion, form or place."""
    occasion = Occasion(hangs_on=hangs_on(here, made, FIRST[party]), round=0, path=PATH)
    wanted: dict[str, Any] = {"form": FORM, "place": place_of(here, made, party), "occasion": occasion, **changes}
    return sent(mask(np.array(numbers, np.float64), **wanted))


def occasion(here: World, made: Train, **changes: object) -> Occasion:
    usual = Occasion(hangs_on=hangs_on(here, made, FIRST[B]), round=0, path=PATH)
    return replace(usual, **changes)  # type: ignore[arg-type] # spoiled on purpose


def another_seed(place: Place) -> Place:
    return replace(place, shares={**place.shares, 0: PairSecret(b"another".ljust(32))})


GOOD = (11.0, 1.0)
WIDE = FixedPoint(bits=128, fraction=48, bound=1 << 60)
NARROW = FixedPoint(bits=64, fraction=24, bound=1 << 30)
Parts: TypeAlias = Callable[[World, Train], dict[str, bytes]]
SPOILED: dict[str, tuple[Parts, type[PhtError]]] = {
    "another seed": (
        lambda here, made: {PATH: vector(here, made, B, GOOD, place=another_seed(place_of(here, made, B)))},
        MasksLeft,
    ),
    "another round": (
        lambda here, made: {PATH: vector(here, made, B, GOOD, occasion=occasion(here, made, round=1))},
        MasksLeft,
    ),
    "another path": (
        lambda here, made: {PATH: vector(here, made, B, GOOD, occasion=occasion(here, made, path="parts/x.json"))},
        MasksLeft,
    ),
    "another departure": (
        lambda here, made: {
            PATH: vector(here, made, B, GOOD, occasion=occasion(here, made, hangs_on=digest_of(b"another")))
        },
        MasksLeft,
    ),
    "the place of another": (
        lambda here, made: {PATH: vector(here, made, C, GOOD)},
        MasksLeft,
    ),
    "no masks": (lambda here, made: {PATH: vector(here, made, B, GOOD)[:24] + bytes(48)}, MasksLeft),
    "too long": (lambda here, made: {PATH: vector(here, made, B, (*GOOD, 0.0))}, MaskedVectorInvalid),
    "too short": (lambda here, made: {PATH: vector(here, made, B, GOOD[:1])}, MaskedVectorInvalid),
    "cut": (lambda here, made: {PATH: vector(here, made, B, GOOD)[:-1]}, MaskedVectorInvalid),
    "continued": (lambda here, made: {PATH: vector(here, made, B, GOOD) + b"\0"}, MaskedVectorInvalid),
    "of 64 bits": (lambda here, made: {PATH: vector(here, made, B, GOOD, form=NARROW)}, MaskedVectorInvalid),
    "plain numbers": (lambda *_: {PATH: b"[11.0, 1.0]"}, MaskedVectorInvalid),
    "nothing": (lambda *_: {PATH: b""}, MaskedVectorInvalid),
    "no vector": (lambda *_: {"other.json": b"{}"}, MaskedVectorInvalid),
    "elsewhere": (lambda here, made: {"gradient.json": vector(here, made, B, GOOD)}, MaskedVectorInvalid),
    "out of bound": (lambda here, made: {PATH: vector(here, made, B, (2.0**40, 1.0), form=WIDE)}, TotalOutOfBound),
    "out of bound, negative": (
        lambda here, made: {PATH: vector(here, made, B, (-(2.0**40), 1.0), form=WIDE)},
        TotalOutOfBound,
    ),
}


def test_what_is_made_by_hand_is_what_a_station_makes(under_way: tuple[World, Train]) -> None:
    here, made = under_way
    good = vector(here, made, B, GOOD)
    contribute_by_hand(here, made, B, FIRST[B], {PATH: good})
    here.settle(A, C)
    assert summed(vectors_of(here, made, FIRST[JUNCTION])) == ALL


@pytest.mark.parametrize("how", SPOILED)
def test_t28_a_part_that_is_none_becomes_no_number(under_way: tuple[World, Train], how: str) -> None:
    """The junction refuses before its run begins: it is told neither the total nor what is plausible."""
    parts, error = SPOILED[how]
    here, made = under_way
    contribute_by_hand(here, made, B, FIRST[B], parts(here, made))
    here.settle()
    assert refusals(here, JUNCTION) == [error.code]
    assert here.sandboxes[JUNCTION].started == []
    assert here.outcome(made) is Outcome.REFUSED
    assert not here.at_home(made.id)


def test_t5_t28_a_station_that_contributes_twice_with_different_numbers_is_caught(
    under_way: tuple[World, Train],
) -> None:
    """The first is in the sum; the second proves the fraud, is kept for that, and changes nothing."""
    here, made = under_way
    contribute_by_hand(here, made, A, FIRST[A], {PATH: vector(here, made, A, (15.0, 3.0))}, again=True)
    here.settle(B, C)
    here.settle(JUNCTION)
    contribute_by_hand(here, made, A, FIRST[A], {PATH: vector(here, made, A, (1e6, 3.0))})
    here.settle(JUNCTION)
    assert refusals(here, JUNCTION) == [Forked.code]
    keys = here.houses[A].passes.find(made.id, [here.consortium.secrets[A].identity])
    model = inside(seen(here).sent_to(A)[-1].state, keys.identity)["model.json"]
    assert json.loads(model)["sums"] == ALL
    house = here.houses[JUNCTION]
    sweep(house.spool, Keeper(house.journal, Retention()), here.now)
    first, second = (statement_about(here, stop=FIRST[A], code=code) for code in (None, Forked.code))
    assert first.state_out != second.state_out
    assert house.spool.has(second.state_out)


def statement_about(here: World, *, stop: int, code: str | None) -> JourneyEntry:
    """Return what the junction has of a station's signed statement about its stop, from a visit that ended like this."""
    house = here.houses[JUNCTION]
    found = {
        one.digest: one
        for visit in here.visits(JUNCTION)
        if (visit.refused.code if visit.refused else None) == code
        for one in came_with(visit, house)[1:]
    }
    (envelope,) = (one for one in found.values() if read_entry(one.payload).stop == stop)
    return read_entry(verify(envelope, here.consortium.secrets[A].key_set).value)


def test_t5_what_no_station_has_signed_is_no_second_statement(here: World) -> None:
    """Who may write to the mailbox cannot have a station accused: what comes in its name must bear its signature."""
    made = a_train(here)
    departed(here)
    here.settle(*STATIONS)
    here.settle(JUNCTION)
    first = next(one for one in seen(here).sent_to(JUNCTION) if one.stop == FIRST[A])
    forger = here.consortium.secrets[JUNCTION]
    claim = replace(entries_of(first.parcel, [forger.identity])[-1], state_out=digest_of(b"another"))
    readers = entry_recipients(made.manifest, FIRST[A], here.consortium.trust, here.now)
    letter = seal_letter(sign(print_entry(claim), forger.signers), readers)
    parcel = replace(first.parcel, entries=(*first.parcel.entries[:-1], letter))
    here.depot.send(parcel, MemoryBlobs(first.blobs), to=JUNCTION, train=made.id, stop=FIRST[JUNCTION])
    here.settle(JUNCTION)
    assert refusals(here, JUNCTION) == [SignatureMissing.code]
    assert here.visits(JUNCTION)[-1].fetched is None
    here.settle()
    assert here.at_home(made.id)


def test_t28_a_train_whose_total_has_no_room_is_none(here: World) -> None:
    """Before anybody boards: nobody can sign a manifest with such a sum that a station would read."""
    payload = rounds_train(here, outputs=(GRADIENT, OUTPUTS[1])).envelope.payload
    narrow = payload.replace(b'"bits":128', b'"bits":64')
    assert narrow != payload
    assert read_manifest(payload).outputs[0].sum == GRADIENT.sum
    with pytest.raises(MalformedStatement, match="has room"):
        read_manifest(narrow)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("path", [PATH, "parts/*.json"])
def test_t28_a_file_that_is_summed_is_no_other_output_too(here: World, path: str, *, first: bool) -> None:
    """Whoever approves reads that nobody sees the parts; where the other output counts, all of them leave in the clear."""
    plain = replace(GRADIENT, path="parts/other.json", sum=None)
    outputs = (plain, GRADIENT) if first else (GRADIENT, plain)
    payload = rounds_train(here, outputs=(*outputs, OUTPUTS[1])).envelope.payload
    covering = payload.replace(b"parts/other.json", path.encode())
    assert len(read_manifest(payload).outputs) == 3
    with pytest.raises(MalformedStatement, match="falls under another output"):
        read_manifest(covering)
    of_the_junction = replace(OUTPUTS[1], path=path)
    assert rounds_train(here, outputs=(GRADIENT, of_the_junction)).manifest.outputs[1].path == path


# --- What a run writes ------------------------------------------------------------------------------------------------------

WRITTEN: dict[str, type[PhtError]] = {
    "[NaN, 1]": NumbersUnreadable,
    "[Infinity, 1]": NumbersUnreadable,
    "[1e999, 1]": NumbersUnreadable,
    "[1]": NumbersUnreadable,
    "[1, 2, 3]": NumbersUnreadable,
    "[[1, 2]]": NumbersUnreadable,
    '["1", 2]': NumbersUnreadable,
    "[true, 2]": NumbersUnreadable,
    "": NumbersUnreadable,
    "[1073741825, 1]": NumberOutOfBound,
    "[1, -1e30]": NumberOutOfBound,
}


@pytest.mark.parametrize("written", WRITTEN)
def test_t28_numbers_that_are_none_or_too_great_leave_no_station(tmp_path: Path, written: str) -> None:
    def contribute(order: RunOrder, say: Say) -> int:
        del say
        write(order, written if told(order)["station"] == B else "[1, 1]")
        return 0

    here = a_world(tmp_path / "world", contribute=contribute)
    try:
        made = a_train(here)
        here.settle()
        assert refusals(here, B) == [WRITTEN[written].code]
        assert here.outcome(made) is Outcome.REFUSED
        assert not here.at_home(made.id)
        assert here.plaintext(B) == []
    finally:
        here.close()


@pytest.mark.parametrize("left", ["finished", "second.json"])
def test_t18_a_contribution_leaves_nothing_but_its_part(tmp_path: Path, left: str) -> None:
    """Not even the file by which a combination says that the train goes home."""

    def contribute(order: RunOrder, say: Say) -> int:
        (order.state / left).touch()
        return gradient(order, say)

    here = a_world(tmp_path / "world", contribute=contribute)
    try:
        made = a_train(here)
        here.settle()
        assert refusals(here, B) == [GateUndeclared.code]
        assert not here.at_home(made.id)
    finally:
        here.close()


# --- Who puts together what they know -----------------------------------------------------------------------------------------

CANARIES = {A: (123456789.25, 3.0), B: (-987654321.5, 1.0), C: (555444333.125, 2.0)}


def canary(order: RunOrder, say: Say) -> int:
    write(order, json.dumps(CANARIES[PartyId(str(told(order)["station"]))]))
    say(b"contributed\n")
    return 0


def test_t29_a_junction_with_all_stations_but_two_learns_the_sum_of_the_two(tmp_path: Path) -> None:
    """It takes off every mask that hospital-c shares, with the real secrets of that station. One mask is left on either."""
    here = a_world(tmp_path / "world", contribute=canary)
    try:
        made = a_train(here)
        departed(here)
        here.settle(*STATIONS)
        keys = here.houses[JUNCTION].passes.find(made.id, [here.consortium.secrets[JUNCTION].identity])
        found = [one for one in seen(here).sent_to(JUNCTION) if one.stop in {FIRST[A], FIRST[B], FIRST[C]}]
        stations = [entries_of(one.parcel, [here.consortium.secrets[JUNCTION].identity])[-1].station for one in found]
        parts = dict(zip(stations, (inside(one.state, keys.identity)[PATH] for one in found), strict=True))
        assert set(parts) == {A, B, C}
        when = Occasion(hangs_on=hangs_on(here, made, FIRST[C]), round=0, path=PATH)
        spy = place_of(here, made, C)
        left = {}
        for number, party in ((0, A), (1, B)):
            elements = total([io.BytesIO(parts[party])], numbers=2, bits=FORM.bits).elements.copy()
            stream = zeros(len(elements), bits=FORM.bits)
            spy.shares[number].stream(when, adds=number, subtracts=spy.number).fill(stream.data.cast("B"))
            subtract(elements, stream)  # the earlier of two adds their mask
            left[party] = elements
        for party, elements in left.items():
            plain = zeros(2, bits=FORM.bits)
            FORM.encode(np.array(CANARIES[party]), plain)
            assert int(elements[0, 0]) != 1
            assert not np.array_equal(elements[1:], plain)
        both = left[A].copy()
        add(both, left[B])
        two = unmask(MaskedVector(elements=both), form=FORM, stations=2)
        assert [float(one) for one in two] == [sum(pair) for pair in zip(CANARIES[A], CANARIES[B], strict=True)]
    finally:
        here.close()


def test_t29_the_seed_that_two_share_is_opened_by_nobody_else(here: World) -> None:
    """The junction, the owner and all stations but two, with every key they have, long-lived or for this train."""
    made = a_train(here)
    departed(here)
    passes, keys = all_passes(here, made), here.consortium.secrets
    ours = {party: here.houses[party].passes.find(made.id, [keys[party].identity]) for party in (A, B, C, JUNCTION)}
    theirs = [keys[ALICE].identity, MAIL]
    theirs += [one for party in (C, JUNCTION) for one in (keys[party].identity, ours[party].identity)]
    sealed = [base64.b64decode(seed.sealed) for found in passes.values() for seed in found.seeds]
    found = {seed for one in sealed if (seed := opened(one, theirs)) is not None}
    held = found | {seed for party in (C, JUNCTION) for seed in ours[party].seeds.values()}
    assert {ours[A].seeds[C], ours[B].seeds[C]} <= held
    assert ours[A].seeds[B] not in held
    assert open_seed(passes[A], B, [keys[B].identity]) == ours[A].seeds[B]


def spellings(number: float) -> set[bytes]:
    """Return how a number may be written: in decimals, as a float, and as an element of a sum."""
    element = zeros(1, bits=FORM.bits)
    FORM.encode(np.array([number]), element)
    return {str(abs(number)).encode(), struct.pack("<d", number), struct.pack(">d", number), element.tobytes()}


def test_t20_t29_what_junction_registry_and_owner_saw_holds_no_number_of_a_station(tmp_path: Path) -> None:
    """All that was ever sent, opened with all that the junction and the owner have, its run's view included."""
    here = a_world(tmp_path / "world", contribute=canary)
    try:
        made = a_train(here)
        departed(here)
        here.settle(*STATIONS)
        identity = here.consortium.secrets[JUNCTION].identity
        fresh = here.houses[JUNCTION].passes.find(made.id, [identity]).identity
        here.settle()
        assert here.at_home(made.id)
        keys = [identity, fresh, here.consortium.secrets[ALICE].identity, MAIL]
        sealed = {blob for one in seen(here).sent for blob in one.blobs.values()} | seen(here).letters
        plain = [found for one in sealed if (found := opened(one, keys)) is not None]
        assert len(plain) > 3 * len(STATIONS)
        raw = [one[2] for one in seen(here).tagged]
        for numbers in CANARIES.values():
            for spelling in spellings(numbers[0]):
                assert not any(spelling in one for one in (*plain, *raw, *sealed))
        sums = [sum(column) for column in zip(*CANARIES.values(), strict=True)]
        assert any(str(sums[0]).encode() in one for one in plain)  # which would have been found
    finally:
        here.close()


def refusals(here: World, party: str) -> list[str]:
    return [visit.refused.code for visit in here.visits(party) if visit.refused]
