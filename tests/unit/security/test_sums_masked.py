"""A masked vector travels in one form, and nothing else is taken for one."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from security.sums.errors import (
    MaskedVectorInvalid,
    MasksLeft,
    NumberOutOfBound,
    SumInvalid,
    SumOverflows,
    TotalOutOfBound,
)
from security.sums.mask import PairSecret
from security.sums.masked import MaskedVector, Place, mask, total, unmask
from security.sums.ring import BLOCK, FixedPoint
from tests.support.sums import FORMS, OCCASION, added, chance, contributions, integers, met, places, sent

INPUTS = [[1.5, -2.0, 0.0], [2.25, 999.0, 1000.0], [-1000.0, -3.5, 0.125]]
SUMS = [-996.25, 993.5, 1000.125]


@pytest.mark.parametrize("form", FORMS)
def test_three_stations_add_up(form: FixedPoint) -> None:
    for among in (met(3), places(3)):
        assert added(contributions(INPUTS, form, among), form, numbers=3, stations=3).tolist() == SUMS


@pytest.mark.parametrize("form", FORMS)
def test_a_vector_is_a_header_and_its_elements(form: FixedPoint) -> None:
    vector = mask(np.array(INPUTS[1]), form=form, place=places(3)[1], occasion=OCCASION)
    raw = sent(vector)
    assert raw[:24] == b"pht-sum1" + form.bits.to_bytes(8, "little") + (3).to_bytes(8, "little")
    size = form.bits // 8
    assert len(raw) == 24 + 4 * size
    body = [int.from_bytes(raw[24 + at * size :][:size], "little", signed=True) for at in range(4)]
    assert body == integers(vector)
    assert (vector.numbers, vector.bits) == (3, form.bits)
    again = total([io.BytesIO(raw)], numbers=3, bits=form.bits)
    assert sent(again) == raw


@pytest.mark.parametrize("form", FORMS)
def test_the_first_adds_what_the_second_subtracts_of_the_stream(form: FixedPoint) -> None:
    pair = PairSecret(chance("pair"))
    buffer = bytearray(3 * form.bits // 8)
    pair.stream(OCCASION, adds=0, subtracts=1).fill(memoryview(buffer))
    size = form.bits // 8
    masks = [int.from_bytes(buffer[at * size :][:size], "little") for at in range(3)]
    first, second = (
        mask(np.array([1.0, -1.0]), form=form, place=Place(number=own, shares={1 - own: pair}), occasion=OCCASION)
        for own in (0, 1)
    )
    plain = [1, 1 << form.fraction, -1 << form.fraction]
    modulus = 1 << form.bits
    assert [one % modulus for one in integers(first)] == [(x + m) % modulus for x, m in zip(plain, masks, strict=True)]
    assert [one % modulus for one in integers(second)] == [(x - m) % modulus for x, m in zip(plain, masks, strict=True)]


def test_integers_of_a_run_are_masked_like_floats() -> None:
    form, among = FORMS[1], places(2)
    numbers = np.array([7, -(2**39)], np.int64)
    vectors = [sent(mask(numbers, form=form, place=place, occasion=OCCASION)) for place in among]
    assert added(vectors, form, numbers=2, stations=2).tolist() == [14.0, -(2.0**40)]


@pytest.mark.parametrize("count", [1, BLOCK - 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
@pytest.mark.parametrize("form", FORMS)
def test_the_edges_of_blocks_are_nothing_special(form: FixedPoint, count: int) -> None:
    inputs = [np.arange(count) % 900 - number for number in range(3)]
    vectors = [
        sent(mask(some, form=form, place=place, occasion=OCCASION))
        for some, place in zip(inputs, places(3), strict=True)
    ]
    assert np.array_equal(added(vectors, form, numbers=count, stations=3), sum(inputs))


@pytest.mark.parametrize("form", FORMS)
def test_in_any_order_and_by_the_way_the_total_is_the_same(form: FixedPoint) -> None:
    inputs = [[float(number), -1.5 * number, 0.25] for number in range(7)]
    vectors = contributions(inputs, form, places(7))
    whole = total(map(io.BytesIO, vectors), numbers=3, bits=form.bits)
    for order in ([6, 5, 4, 3, 2, 1, 0], [3, 1, 4, 0, 5, 2, 6]):
        other = total((io.BytesIO(vectors[number]) for number in order), numbers=3, bits=form.bits)
        assert sent(other) == sent(whole)
    handed_on = vectors[0]  # as in a sequence: each adds its own to what came
    for own in vectors[1:]:
        handed_on = sent(total([io.BytesIO(handed_on), io.BytesIO(own)], numbers=3, bits=form.bits))
    assert handed_on == sent(whole)


@pytest.mark.parametrize("form", FORMS)
def test_vectors_of_another_form_are_refused(form: FixedPoint) -> None:
    good = contributions(INPUTS, form, places(3))
    raw = good[1]
    size = form.bits // 8
    other = FORMS[1 - FORMS.index(form)]
    wrong = {
        "empty": b"",
        "cut in its header": raw[:23],
        "only a header": raw[:24],
        "an element less": raw[:-size],
        "a byte less": raw[:-1],
        "a byte more": raw + b"\0",
        "an element more": raw + bytes(size),
        "two in one": raw * 2,
        "another name": b"pht-sum2" + raw[8:],
        "other bits": raw[:8] + other.bits.to_bytes(8, "little") + raw[16:],
        "huge bits": raw[:8] + b"\xff" * 8 + raw[16:],
        "fewer numbers": raw[:16] + (2).to_bytes(8, "little") + raw[24:-size],
        "more numbers": raw[:16] + (4).to_bytes(8, "little") + raw[24:] + bytes(size),
        "endless numbers": raw[:16] + b"\xff" * 8 + raw[24:],
        "another width": contributions(INPUTS, other, places(3))[1],
    }
    for vector in wrong.values():
        with pytest.raises(MaskedVectorInvalid):
            total(map(io.BytesIO, [good[0], vector, good[2]]), numbers=3, bits=form.bits)
    whole = total(map(io.BytesIO, good), numbers=3, bits=form.bits)
    with pytest.raises(MaskedVectorInvalid):
        unmask(whole, form=other, stations=3)


@pytest.mark.parametrize("form", FORMS)
def test_t28_a_sum_that_could_overflow_is_not_begun(form: FixedPoint) -> None:
    stations = 40
    tight = FixedPoint(
        bits=form.bits, fraction=form.fraction, bound=2.0 ** (form.bits - 1 - form.fraction) / (stations - 1)
    )
    with pytest.raises(SumOverflows):
        mask(np.array([0.0]), form=tight, place=places(stations)[0], occasion=OCCASION)


@pytest.mark.parametrize("form", FORMS)
def test_a_number_out_of_bound_masks_nothing(form: FixedPoint) -> None:
    for wrong in (np.nan, np.inf, -np.inf, form.bound * 2):
        with pytest.raises(NumberOutOfBound):
            mask(np.array([0.0, wrong]), form=form, place=places(3)[0], occasion=OCCASION)


@pytest.mark.parametrize("form", FORMS)
def test_a_station_that_lies_about_its_bound_is_noticed_when_the_total_shows_it(form: FixedPoint) -> None:
    vectors = contributions(INPUTS, form, places(3))
    size = form.bits // 8
    at = 24 + 2 * size
    lied = int.from_bytes(vectors[2][at : at + size], "little") + 4 * form.greatest
    vectors[2] = vectors[2][:at] + (lied % (1 << form.bits)).to_bytes(size, "little") + vectors[2][at + size :]
    with pytest.raises(TotalOutOfBound):
        added(vectors, form, numbers=3, stations=3)


@pytest.mark.parametrize(
    ("number", "others"), [(0, []), (0, [0]), (0, [2]), (1, [1, 2]), (3, [0, 1]), (-1, [0]), (0, [1, 2, 4])]
)
def test_a_place_is_among_all_the_others(number: int, others: list[int]) -> None:
    with pytest.raises(SumInvalid):
        Place(number=number, shares={other: PairSecret(chance(other)) for other in others})


def test_nothing_at_all_is_not_the_sum_of_nobody() -> None:
    form = FORMS[0]
    with pytest.raises(MasksLeft):
        added([], form, numbers=3, stations=3)


@pytest.mark.parametrize("form", FORMS)
def test_memory_does_not_grow_with_the_stations(form: FixedPoint) -> None:
    numbers = np.ones(4 * BLOCK)
    raw = sent(mask(numbers, form=form, place=places(2)[0], occasion=OCCASION))

    def masked(stations: int) -> None:
        mask(numbers, form=form, place=place[stations], occasion=OCCASION)

    def add_up(stations: int) -> None:
        total((io.BytesIO(raw) for _ in range(stations)), numbers=len(numbers), bits=form.bits)

    place = {stations: places(stations)[0] for stations in (3, 48)}
    for work in (masked, add_up):
        few, many = (_peak(work, stations) for stations in (3, 48))
        assert many < few + len(raw) / 4


def test_a_vector_shows_nothing() -> None:
    vector: MaskedVector = mask(np.array([1.0]), form=FORMS[0], place=places(2)[0], occasion=OCCASION)
    assert str(integers(vector)[0]) not in repr(vector)


def _peak(work: Callable[[int], None], stations: int) -> int:
    return min(_peak_once(work, stations) for _ in range(3))  # what other threads allocate meanwhile is counted with it


def _peak_once(work: Callable[[int], None], stations: int) -> int:
    tracemalloc.start()
    try:
        work(stations)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
