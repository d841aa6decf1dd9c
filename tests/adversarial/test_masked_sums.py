"""Nobody learns a part of a sum from what they see, and one wrong mask leaves noise that is told from a sum.

Statistics are of fixed seeds: the same each time. Each is shown to tell two things apart that differ, before it is asked of two
that must not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from security.digest import digest_of
from security.sums.errors import MasksLeft
from security.sums.mask import MaskPublicKey, Occasion, PairSecret
from security.sums.masked import MaskedVector, Place, mask
from security.sums.ring import FixedPoint, Limbs, add, subtract, zeros
from tests.support.sums import FORMS, OCCASION, added, contributions, key_of, met, places, seed_of

STATIONS = 4
NUMBERS = 4096
INPUTS = [[1.0, -2.5], [3.0, 0.25], [-4.0, 8.0], [0.5, 1.5]]
SUMS = [0.5, 7.25]
SIGMAS = 5.0  # one false alarm in two million, had the seeds not been fixed

Bytes = NDArray[np.uint8]


# What a wrong mask leaves.


def wrongly_met(
    station: int, *, other: int, key: MaskPublicKey | None = None, seed: bytes | None = None
) -> list[Place]:
    """Return places of which one used another key or seed for one of the others."""
    among = met(STATIONS)
    shares = dict(among[station].shares)
    shares[other] = key_of(station).pair_with(key or key_of(other).public, seed or seed_of(station, other))
    among[station] = Place(number=station, shares=shares)
    return among


PAIRS = [(one, other) for one in range(STATIONS) for other in range(STATIONS) if one != other]


@pytest.mark.parametrize("form", FORMS)
def test_the_right_masks_cancel(form: FixedPoint) -> None:
    assert added(contributions(INPUTS, form, met(STATIONS)), form, numbers=2, stations=STATIONS).tolist() == SUMS


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("station", "other"), PAIRS)
def test_t28_one_wrong_pass_or_seed_leaves_noise(form: FixedPoint, station: int, other: int) -> None:
    third = next(one for one in range(STATIONS) if one not in (station, other))
    flipped = bytes([seed_of(station, other)[0] ^ 1]) + seed_of(station, other)[1:]
    for among in (
        wrongly_met(station, other=other, key=key_of(third).public),  # somebody else's pass
        wrongly_met(station, other=other, key=key_of(other, "another train").public),  # a pass for another train
        wrongly_met(station, other=other, seed=seed_of(station, third)),  # a seed for another
        wrongly_met(station, other=other, seed=seed_of(station, other, "another train")),
        wrongly_met(station, other=other, seed=flipped),
        wrongly_met(station, other=other, seed=bytes(32)),
    ):
        refuses(lambda among=among: contributions(INPUTS, form, among), form)  # type: ignore[misc]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("station", range(STATIONS))
def test_t28_one_wrong_round_path_or_departure_leaves_noise(form: FixedPoint, station: int) -> None:
    departure = OCCASION.hangs_on
    for wrong in (
        Occasion(hangs_on=departure, round=2, path=OCCASION.path),
        Occasion(hangs_on=departure, round=4, path=OCCASION.path),
        Occasion(hangs_on=departure, round=3, path="model/hessian.npy"),
        Occasion(hangs_on=departure, round=3, path="model/gradient.npy "),
        Occasion(hangs_on=digest_of(b"another departure"), round=3, path=OCCASION.path),
    ):
        refuses(lambda wrong=wrong: contributions(INPUTS, form, met(STATIONS), {station: wrong}), form)  # type: ignore[misc]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("station", "other"), PAIRS)
def test_t28_a_station_that_takes_another_place_leaves_noise(form: FixedPoint, station: int, other: int) -> None:
    among = met(STATIONS)
    shares = {number: secret for number, secret in among[station].shares.items() if number != other}
    among[station] = Place(number=other, shares={**shares, station: among[station].shares[other]})
    refuses(lambda: contributions(INPUTS, form, among), form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("station", range(STATIONS))
def test_t28_a_part_left_out_doubled_or_of_another_train_or_round_leaves_noise(form: FixedPoint, station: int) -> None:
    good = contributions(INPUTS, form, met(STATIONS))
    next_round = Occasion(hangs_on=OCCASION.hangs_on, round=4, path=OCCASION.path)
    foreign = contributions(INPUTS, form, met(STATIONS, "another train"))
    later = contributions(INPUTS, form, met(STATIONS), dict.fromkeys(range(STATIONS), next_round))
    invented = bytes(len(good[0]) - 24)
    for vectors in (
        [*good[:station], *good[station + 1 :]],
        [*good, good[station]],
        [*good[:station], good[station - 1], *good[station + 1 :]],
        [*good[:station], foreign[station], *good[station + 1 :]],
        [*good[:station], later[station], *good[station + 1 :]],
        [*good[:station], good[0][:24] + invented, *good[station + 1 :]],
    ):
        refuses(lambda vectors=vectors: vectors, form)  # type: ignore[misc]


@pytest.mark.parametrize("form", FORMS)
def test_t28_the_sum_of_fewer_stations_than_agreed_is_not_taken_for_theirs(form: FixedPoint) -> None:
    """A smaller set that has masks of its own is a sum of that set; who asks for the sum of all notices."""
    vectors = contributions(INPUTS[:3], form, places(3))
    with pytest.raises(MasksLeft):
        added(vectors, form, numbers=2, stations=STATIONS)


def refuses(made: Callable[[], list[bytes]], form: FixedPoint) -> None:
    vectors = made()
    with pytest.raises(MasksLeft):
        added(vectors, form, numbers=2, stations=STATIONS)


# What is seen.


def uniform(some: Bytes) -> float:
    """Return how many standard deviations the chi-square of the bytes lies above that of bytes that are all equally likely."""
    counts = np.bincount(some, minlength=256)
    mean = len(some) / 256
    return (float(((counts - mean) ** 2).sum()) / mean - 255) / math.sqrt(2 * 255)


def alike(one: Bytes, other: Bytes) -> float:
    """Return the same for the question whether two series have bytes equally often."""
    counts = np.array([np.bincount(some, minlength=256) for some in (one, other)], float)
    mean = counts.sum(axis=0, keepdims=True) * counts.sum(axis=1, keepdims=True) / counts.sum()
    return (float(((counts - mean) ** 2 / np.maximum(mean, 1)).sum()) - 255) / math.sqrt(2 * 255)


def apart(one: Limbs, other: Limbs) -> float:
    """Return the Kolmogorov-Smirnov distance of two series of numbers, in units of its scale for series of that length."""
    both = np.concatenate([one, other])
    steps = (np.searchsorted(np.sort(some), both, side="right") / len(some) for some in (one, other))
    distance = float(np.abs(next(steps) - next(steps)).max())
    return distance * math.sqrt(len(one) * len(other) / (len(one) + len(other)))


FARTHEST = 2.7  # exp(-2 * 2.7^2) * 2: one in a million


def bytes_of(elements: Limbs) -> Bytes:
    return np.frombuffer(elements.tobytes(), np.uint8)


def views(inputs: NDArray[np.float64], form: FixedPoint, train: str) -> list[MaskedVector]:
    """Return what the junction sees: one masked vector a station."""
    return [
        mask(row, form=form, place=place, occasion=OCCASION)
        for row, place in zip(inputs, met(len(inputs), train), strict=True)
    ]


def two_inputs() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what stations bring in two runs: very different numbers with the same sums."""
    one = np.zeros((STATIONS, NUMBERS))
    other = np.random.default_rng(11).integers(-400, 400, (STATIONS, NUMBERS)).astype(float)
    other[-1] = -other[:-1].sum(axis=0) / 4
    other[:-1] /= 4
    return one, other


@pytest.mark.parametrize("form", FORMS)
def test_t29_runs_with_equal_sums_look_the_same_to_the_junction(form: FixedPoint) -> None:
    one, other = two_inputs()
    assert one.sum(axis=0).tolist() == other.sum(axis=0).tolist()
    plain = zeros(NUMBERS, bits=form.bits), zeros(NUMBERS, bits=form.bits)
    form.encode(one[1], plain[0])
    form.encode(other[1], plain[1])
    assert uniform(bytes_of(plain[0])) > 100 * SIGMAS  # unmasked, each is told from noise and from the other
    assert alike(bytes_of(plain[0]), bytes_of(plain[1])) > 100 * SIGMAS
    assert apart(plain[0][:, 0], plain[1][:, 0]) > 10 * FARTHEST
    first, second = views(one, form, "first run"), views(other, form, "second run")
    for before, after in zip(first, second, strict=True):
        indistinguishable(before.elements, after.elements)
    everything = [np.concatenate([vector.elements for vector in run]) for run in (first, second)]
    indistinguishable(*everything)
    for run in (first, second):
        whole = zeros(NUMBERS + 1, bits=form.bits)
        for vector in run:
            add(whole, vector.elements)
        assert int(whole[0, 0]) == STATIONS
        assert not whole[1:].any()


@pytest.mark.parametrize("form", FORMS)
def test_t29_all_but_two_together_learn_what_those_two_sum_up_to_and_no_more(form: FixedPoint) -> None:
    """The junction and every other station put together what they know: all masks but that of the two."""
    honest = (1, 3)
    one, other = two_inputs()
    seen = []
    for inputs, train in ((one, "first run"), (other, "second run")):
        among, run = met(STATIONS, train), views(inputs, form, train)
        left = [unmasked_by(run[own], among[own], set(range(STATIONS)) - set(honest), form) for own in honest]
        seen.append(left[0])
        both = left[0].copy()
        add(both, left[1])
        plain = zeros(NUMBERS, bits=form.bits)
        form.encode(inputs[honest[0]] + inputs[honest[1]], plain)
        assert np.array_equal(both[1:], plain)
        known = unmasked_by(run[honest[0]], among[honest[0]], set(range(STATIONS)), form)
        form.encode(inputs[honest[0]], plain)
        assert np.array_equal(known[1:], plain)  # with the last mask, too, it would be laid open: that is what hides it
    indistinguishable(*seen)


@pytest.mark.parametrize("form", FORMS)
def test_t29_what_all_others_see_of_two_fits_every_split_of_their_sum(form: FixedPoint) -> None:
    """For any numbers of the one there are some of the other, and a mask of the two, with which the same bytes were seen."""
    _, inputs = two_inputs()
    among, run, honest = met(STATIONS), views(inputs, form, "train"), (1, 3)
    left = [unmasked_by(run[own], among[own], set(range(STATIONS)) - set(honest), form) for own in honest]
    both = inputs[honest[0]] + inputs[honest[1]]
    splits: list[NDArray[np.float64]] = [
        inputs[honest[0]],
        both,
        np.zeros(NUMBERS),
        (np.arange(NUMBERS) % 300).astype(np.float64),
    ]
    for split in splits:
        of_both = left[0].copy()
        subtract(of_both, unmasked(split, form))
        seen = unmasked(both - split, form)
        subtract(seen, of_both)
        assert np.array_equal(seen, left[1])


def unmasked(numbers: NDArray[np.float64], form: FixedPoint) -> Limbs:
    """Return what a station would send without masks: the check element, and its numbers."""
    elements = zeros(len(numbers) + 1, bits=form.bits)
    elements[0, 0] = 1
    form.encode(numbers, elements[1:])
    return elements


@pytest.mark.parametrize("form", FORMS)
def test_t29_masks_of_other_rounds_paths_and_pairs_have_nothing_to_do_with_each_other(form: FixedPoint) -> None:
    """Two vectors of one station at different occasions differ by noise, not by the difference of their numbers."""
    place = places(STATIONS)[1]
    again = Occasion(hangs_on=OCCASION.hangs_on, round=4, path=OCCASION.path)
    elsewhere = Occasion(hangs_on=OCCASION.hangs_on, round=3, path="model/hessian.npy")
    numbers = np.arange(NUMBERS, dtype=float) % 7
    first, *others = (
        mask(numbers, form=form, place=place, occasion=one).elements for one in (OCCASION, again, elsewhere)
    )
    for second in others:
        difference = first.copy()
        subtract(difference, second)
        assert uniform(bytes_of(difference)) < SIGMAS


def indistinguishable(one: Limbs, other: Limbs) -> None:
    for some in (one, other):
        assert abs(uniform(bytes_of(some))) < SIGMAS
    assert abs(alike(bytes_of(one), bytes_of(other))) < SIGMAS
    for limb in range(one.shape[1]):
        assert apart(one[:, limb], other[:, limb]) < FARTHEST
    difference = one.copy()
    subtract(difference, other)
    assert abs(uniform(bytes_of(difference))) < SIGMAS


def unmasked_by(vector: MaskedVector, place: Place, known: set[int], form: FixedPoint) -> Limbs:
    """Take off the masks that a station shares with those who give theirs away."""
    left = vector.elements.copy()
    for other in known & set(place.shares):
        take_off(left, place.shares[other], place.number, other, form)
    return left


def take_off(elements: Limbs, secret: PairSecret, own: int, other: int, form: FixedPoint) -> None:
    mask_of_both = zeros(len(elements), bits=form.bits)
    stream = secret.stream(OCCASION, adds=min(own, other), subtracts=max(own, other))
    stream.fill(mask_of_both.data.cast("B"))
    (subtract if own < other else add)(elements, mask_of_both)
