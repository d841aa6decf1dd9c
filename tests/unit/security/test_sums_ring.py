"""A number is a whole number of steps, its half goes to the even one, and what might not fit is told beforehand."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from security.sums.errors import NumberOutOfBound, SumInvalid, SumOverflows, TotalOutOfBound
from security.sums.ring import BLOCK, FixedPoint, Limbs, add, subtract, zeros
from tests.support.sums import FORMS

ROOT = Path(__file__).parents[3]


def elements(*numbers: int, bits: int) -> Limbs:
    raw = b"".join((one % 2**bits).to_bytes(bits // 8, "little") for one in numbers)
    return np.frombuffer(raw, "<u8").reshape(-1, bits // 64).copy()


def integers(some: Limbs) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little", signed=True) for row in some]


def signed(value: int, bits: int) -> int:
    return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def encode(form: FixedPoint, *numbers: float) -> list[int]:
    into = zeros(len(numbers), bits=form.bits)
    form.encode(np.array(numbers), into)
    return integers(into)


@pytest.mark.parametrize("bits", [64, 128])
def test_a_half_goes_to_the_even_neighbour(bits: int) -> None:
    form = FixedPoint(bits=bits, fraction=1, bound=100.0)
    halves = (0.25, 0.75, 1.25, 1.75, -0.25, -0.75, -1.25, -1.75)
    assert encode(form, *halves) == [0, 2, 2, 4, 0, -2, -2, -4]
    assert encode(form, 0.2500000001, math.nextafter(0.75, 0), -0.2500000001) == [1, 1, -1]
    assert encode(form, 0.0, -0.0, 5e-324, -5e-324) == [0, 0, 0, 0]


@pytest.mark.parametrize("form", FORMS)
def test_numbers_at_the_bound_are_taken_and_the_next_are_not(form: FixedPoint) -> None:
    assert encode(form, form.bound, -form.bound) == [form.greatest, -form.greatest]
    beyond = math.nextafter(form.bound, math.inf)
    for wrong in (beyond, -beyond, math.inf, -math.inf, math.nan, -math.nan):
        with pytest.raises(NumberOutOfBound):
            encode(form, 0.0, wrong)
    signalling = np.frombuffer(bytes.fromhex("010000000000f07f"), "<f8")
    into = zeros(1, bits=form.bits)
    with pytest.raises(NumberOutOfBound):
        form.encode(signalling, into)


@pytest.mark.parametrize("form", FORMS)
def test_the_wrong_number_is_found_wherever_it_stands(form: FixedPoint) -> None:
    for place in (0, BLOCK - 1, BLOCK, 2 * BLOCK):
        numbers = np.ones(2 * BLOCK + 1)
        numbers[place] = math.nan
        into = zeros(len(numbers), bits=form.bits)
        with pytest.raises(NumberOutOfBound):
            form.encode(numbers, into)


@pytest.mark.parametrize("fraction", [0, 1, 24, 62, 63, 64, 65, 100])
def test_integers_are_encoded_exactly(fraction: int) -> None:
    for bits in (64, 128):
        if fraction >= bits:
            continue
        form = FixedPoint(bits=bits, fraction=fraction, bound=math.ldexp(1, bits - 3 - fraction))
        most = min(math.floor(form.bound), 2**63 - 1)
        numbers = [0, most, -most, most // 3, -most // 3, min(1, most), *([-(2**63)] if form.bound >= 2**63 else [])]
        into = zeros(len(numbers), bits=bits)
        form.encode(np.array(numbers, np.int64), into)
        assert integers(into) == [one << fraction for one in numbers]


def test_integers_beyond_the_bound_are_not_rounded_into_it() -> None:
    form = FixedPoint(bits=128, fraction=8, bound=float(2**53))
    into = zeros(1, bits=128)
    for wrong in (2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)):  # the first is 2^53 as a float
        with pytest.raises(NumberOutOfBound):
            form.encode(np.array([wrong], np.int64), into)
    form.encode(np.array([2**53], np.int64), into)
    assert integers(into) == [2**61]


def test_every_integer_is_within_a_bound_that_none_reaches() -> None:
    form = FixedPoint(bits=128, fraction=0, bound=2.0**70)
    into = zeros(2, bits=128)
    form.encode(np.array([2**63 - 1, -(2**63)], np.int64), into)
    assert integers(into) == [2**63 - 1, -(2**63)]


@pytest.mark.parametrize(
    ("bits", "fraction", "bound"),
    [
        (32, 8, 1.0),
        (0, 0, 1.0),
        (256, 8, 1.0),
        (64, -1, 1.0),
        (64, 64, 1e-9),
        (128, 128, 1e-9),
        (64, 8, 0.0),
        (64, 8, -1.0),
        (64, 8, math.nan),
        (64, 8, math.inf),
    ],
)
def test_a_form_that_means_nothing_is_refused(bits: int, fraction: int, bound: float) -> None:
    with pytest.raises(SumInvalid):
        FixedPoint(bits=bits, fraction=fraction, bound=bound)


@pytest.mark.parametrize("bits", [64, 128])
def test_room_is_needed_for_all_stations_and_not_for_one_more(bits: int) -> None:
    form = FixedPoint(bits=bits, fraction=20, bound=math.ldexp(1, bits - 1 - 20 - 4))  # a sixteenth of what there is
    form.need_room(15)
    with pytest.raises(SumOverflows):
        form.need_room(16)
    for bound in (math.ldexp(1, bits - 1 - 20), sys.float_info.max):
        with pytest.raises(SumOverflows):
            FixedPoint(bits=bits, fraction=20, bound=bound)


def test_rounding_above_the_bound_is_room_that_is_needed() -> None:
    form = FixedPoint(bits=64, fraction=0, bound=1.75)
    assert (form.greatest, encode(form, form.bound)) == (2, [2])
    form.need_room(2**62 - 1)
    assert 2**62 * Fraction(form.bound) < 2**63  # what is declared would fit, what it is rounded to does not
    with pytest.raises(SumOverflows):
        form.need_room(2**62)


@pytest.mark.parametrize("bits", [64, 128])
def test_sums_carry_and_wrap(bits: int) -> None:
    edge = [0, 1, -1, 2**63, -(2**63), 2**64 - 1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)), 2 ** (bits // 2)]
    left, right = zip(*((one, other) for one in edge for other in edge), strict=True)
    found = elements(*left, bits=bits)
    add(found, elements(*right, bits=bits))
    assert integers(found) == [signed(one + other, bits) for one, other in zip(left, right, strict=True)]
    found = elements(*left, bits=bits)
    subtract(found, elements(*right, bits=bits))
    assert integers(found) == [signed(one - other, bits) for one, other in zip(left, right, strict=True)]


@pytest.mark.parametrize("fraction", [0, 48, 100])
def test_a_total_is_rounded_once_to_the_nearest_float(fraction: int) -> None:
    form = FixedPoint(bits=128, fraction=fraction, bound=math.ldexp(1, 126 - fraction))
    near = [2**power + step for power in range(127) for step in (-1, 0, 1)]
    halves = [((2**53 + odd) << shift) + step for odd in (0, 1, 2, 3) for shift in range(73) for step in (-1, 0, 1)]
    halves += [((2**54 + 2 * odd + 1) << shift) + step for odd in (0, 1) for shift in range(71) for step in (-1, 0, 1)]
    numbers = [sign * one for one in (*near, *halves) if one < 2**126 for sign in (1, -1)]
    found = form.decode(elements(*numbers, bits=128), stations=1)
    assert found.tolist() == [float(Fraction(one, 2**fraction)) for one in numbers]


@pytest.mark.parametrize("form", FORMS)
def test_a_total_that_no_stations_reach_is_refused(form: FixedPoint) -> None:
    most = 3 * form.greatest
    assert form.decode(elements(most, -most, bits=form.bits), stations=3).tolist() == [3 * form.bound, -3 * form.bound]
    for wrong in (most + 1, -most - 1, 2 ** (form.bits - 1) - 1, -(2 ** (form.bits - 1))):
        with pytest.raises(TotalOutOfBound):
            form.decode(elements(0, wrong, bits=form.bits), stations=3)


def test_who_adds_nothing_up_loads_no_numpy() -> None:
    code = (
        "import sys, security, security.sums, security.sums.errors, security.sums.mask, pht\n"
        "try: pht.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('numpy' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
