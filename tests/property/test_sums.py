"""Do masked sums give what integers of any length give, whatever the numbers, the stations and their order?"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from security.sums.errors import MasksLeft, NumbersUnreadable, SumOverflows
from security.sums.masked import mask, total, unmask
from security.sums.numbers import read_json, read_npy
from security.sums.ring import FixedPoint, add, subtract, zeros
from tests.support.search import examples
from tests.support.sums import OCCASION, added, contributions, encoded, expected, places


@st.composite
def forms(draw: st.DrawFn, stations: int) -> FixedPoint:
    """A form in which the sum of that many stations has room."""
    bits = draw(st.sampled_from((64, 128)))
    fraction = draw(st.integers(0, bits - 16) | st.sampled_from((24, 48)))
    room = bits - 1 - fraction - stations.bit_length()
    bound = math.ldexp(draw(st.floats(0.5, 1, exclude_max=True)), draw(st.integers(-8, min(room, 1000))))
    return FixedPoint(bits=bits, fraction=fraction, bound=bound)


@st.composite
def sums(draw: st.DrawFn) -> tuple[FixedPoint, list[list[float]], list[int]]:
    """A form, what each station brings, and in which order it comes in."""
    stations = draw(st.integers(2, 50))
    form = draw(forms(stations))
    step = math.ldexp(1, -form.fraction)
    most = min(int(form.bound / step), 2**50)
    one = (
        st.floats(-form.bound, form.bound)
        | st.sampled_from((form.bound, -form.bound, 0.0, -0.0))
        | st.integers(-most, max(most - 1, -most))
        .map(lambda whole: (whole + 0.5) * step)
        .filter(lambda half: abs(half) <= form.bound)
    )
    numbers = draw(st.integers(1, 4))
    inputs = draw(st.lists(st.lists(one, min_size=numbers, max_size=numbers), min_size=stations, max_size=stations))
    return form, inputs, draw(st.permutations(range(stations)))


@settings(deadline=None, max_examples=examples(60))
@given(sums())
def test_the_sum_is_that_of_plain_integers(drawn: tuple[FixedPoint, list[list[float]], list[int]]) -> None:
    form, inputs, order = drawn
    vectors = contributions(inputs, form, places(len(inputs)))
    found = added([vectors[number] for number in order], form, numbers=len(inputs[0]), stations=len(inputs))
    assert found.tolist() == expected(inputs, form)


@settings(deadline=None)
@given(st.integers(2, 50), st.sampled_from((64, 128)), st.sampled_from((1, -1)))
def test_all_at_the_bound_fit_where_that_was_checked(stations: int, bits: int, sign: int) -> None:
    fraction = 24
    tight = math.nextafter(math.ldexp(1, bits - 1 - fraction) / stations, 0) * (1 - 2**-50)
    form = FixedPoint(bits=bits, fraction=fraction, bound=tight)
    form.need_room(stations)
    inputs = [[sign * tight]] * stations
    found = added(contributions(inputs, form, places(stations)), form, numbers=1, stations=stations)
    assert found.tolist() == expected(inputs, form)
    assert _refused(lambda: form.need_room(stations + 1)) == (
        (stations + 1) * math.ceil(Fraction(tight) * 2**fraction) >= 2 ** (bits - 1)
    )


@given(st.data(), st.integers(2, 50))
def test_a_number_is_encoded_as_plain_python_encodes_it(data: st.DataObject, stations: int) -> None:
    form = data.draw(forms(stations))
    numbers = data.draw(st.lists(st.floats(-form.bound, form.bound), min_size=1, max_size=20))
    into = zeros(len(numbers), bits=form.bits)
    form.encode(np.array(numbers), into)
    found = [int.from_bytes(row.tobytes(), "little", signed=True) for row in into]
    assert found == [encoded(number, form) for number in numbers]
    assert max(map(abs, found)) <= form.greatest
    decoded = form.decode(into, stations=stations).tolist()
    assert decoded == [float(Fraction(one, 2**form.fraction)) for one in found]


@given(st.data(), st.sampled_from((64, 128)))
def test_the_ring_is_that_of_integers_modulo(data: st.DataObject, bits: int) -> None:
    modulus = 1 << bits
    element = st.integers(0, modulus - 1) | st.sampled_from((0, 1, modulus - 1, modulus // 2, 2**64 % modulus))
    left = data.draw(st.lists(element, min_size=1, max_size=20))
    right = data.draw(st.lists(element, min_size=len(left), max_size=len(left)))
    for apply, plain in ((add, int.__add__), (subtract, int.__sub__)):
        found = _elements(left, bits)
        apply(found, _elements(right, bits))
        assert [int.from_bytes(row.tobytes(), "little") for row in found] == [
            plain(one, other) % modulus for one, other in zip(left, right, strict=True)
        ]


@settings(deadline=None)
@given(
    st.integers(2, 12),
    st.sampled_from((64, 128)),
    st.data(),
)
def test_a_part_that_is_missing_or_doubled_is_noticed(stations: int, bits: int, data: st.DataObject) -> None:
    form = FixedPoint(bits=bits, fraction=24, bound=1000.0)
    vectors = contributions([[0.0, 1.0]] * stations, form, places(stations))
    chosen = data.draw(st.lists(st.integers(0, stations - 1), max_size=stations + 2))
    whole = total((io.BytesIO(vectors[number]) for number in chosen), numbers=2, bits=bits)
    if sorted(chosen) == list(range(stations)):
        assert unmask(whole, form=form, stations=stations).tolist() == [0.0, float(stations)]
    else:
        assert _masks_left(lambda: unmask(whole, form=form, stations=stations))


@given(st.binary(max_size=300) | st.text(alphabet="[],.-+eE0123456789 \n", max_size=60).map(str.encode))
@example(b"[[1,2],[3,4]]")
def test_any_bytes_are_numbers_of_the_shape_or_are_refused(raw: bytes) -> None:
    for read in (read_json, read_npy):
        try:
            found = read(io.BytesIO(raw), (2, 2))
        except NumbersUnreadable:
            continue
        assert read is read_json
        assert found.tolist() == [float(one) for row in json.loads(raw) for one in row]


@given(st.data())
def test_a_damaged_array_has_the_same_shape_or_is_refused(data: st.DataObject) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(6.0).reshape(2, 3))
    raw = bytearray(file.getvalue())
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=3)):
        raw[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)) | st.just(len(raw)))
    try:
        found = read_npy(io.BytesIO(bytes(raw[:cut])), (2, 3))
    except NumbersUnreadable:
        return
    assert cut == len(raw)
    assert found.shape == (6,)


@settings(deadline=None)
@given(st.integers(2, 8), st.sampled_from((64, 128)))
def test_integers_and_floats_of_the_same_value_are_the_same(stations: int, bits: int) -> None:
    form = FixedPoint(bits=bits, fraction=10, bound=2.0**40)
    numbers = np.array([0, 1, -1, 2**40, -(2**40), 12345])
    for place in places(stations):
        one, other = (
            mask(some, form=form, place=place, occasion=OCCASION) for some in (numbers, numbers.astype(np.float64))
        )
        assert np.array_equal(one.elements, other.elements)


def _elements(numbers: list[int], bits: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    raw = b"".join(number.to_bytes(bits // 8, "little") for number in numbers)
    return np.frombuffer(raw, "<u8").reshape(-1, bits // 64).copy()


def _refused(work: Callable[[], object]) -> bool:
    try:
        work()
    except SumOverflows:
        return True
    return False


def _masks_left(work: Callable[[], object]) -> bool:
    try:
        work()
    except MasksLeft:
        return True
    return False
