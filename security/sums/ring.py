"""How does a number become an element of the ring Z/2^bits, and a total of such elements a number again?

An element is `bits / 64` limbs of 64 bits, the lowest first, all little-endian: elements lie in memory as on the wire. Numbers
are read in two's complement, times 2^fraction. Everything is done in blocks, so that what comes in between stays small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from security.sums.errors import NumberOutOfBound, SumInvalid, SumOverflows, TotalOutOfBound

WIDTHS: Final = (64, 128)
LIMB: Final = 64
BLOCK: Final = 1 << 14
"""Elements that are worked on at a time: their limbs and what is between fit into a processor's second cache."""

Limbs: TypeAlias = NDArray[np.uint64]
"""Elements, one a row."""
Numbers: TypeAlias = NDArray[np.float64] | NDArray[np.int64]

_LIMB: Final = np.dtype("<u8")
_INT: Final = np.dtype("<i8")
_SIGN: Final = np.uint64(LIMB - 1)
_MOST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedPoint:
    """How the numbers of one sum are written: in `bits`, of which `fraction` are below the point; none is beyond `bound`.

    Raises:
        SumInvalid: there is no such form of numbers.
        SumOverflows: the bound itself does not fit.
    """

    bits: int
    fraction: int
    bound: float

    def __post_init__(self) -> None:
        if self.bits not in WIDTHS:
            msg = "no such number of bits"
            raise SumInvalid(msg, known=WIDTHS)
        if not 0 <= self.fraction < self.bits:
            msg = "the fraction is not within the bits"
            raise SumInvalid(msg, bits=self.bits)
        if not (math.isfinite(self.bound) and self.bound > 0):
            msg = "the bound is not a positive number"
            raise SumInvalid(msg)
        self.need_room(1)

    @property
    def limbs(self) -> int:
        """How many limbs an element has."""
        return self.bits // LIMB

    @property
    def greatest(self) -> int:
        """The greatest magnitude of an encoded number. Rounding may end above the bound, never above the next integer."""
        return math.ceil(Fraction(self.bound) * (1 << self.fraction))

    def need_room(self, stations: int) -> None:
        """Hold the sum of `stations` numbers against the bits. To be asked before anybody starts.

        Raises:
            SumOverflows: it may not fit.
        """
        if stations * self.greatest >= 1 << (self.bits - 1):
            msg = "the sum could overflow"
            raise SumOverflows(msg, stations=stations, bits=self.bits, fraction=self.fraction, bound=self.bound)

    def encode(self, numbers: Numbers, into: Limbs) -> None:
        """Write `numbers` as elements, rounded half to even.

        Raises:
            NumberOutOfBound: one is not finite or beyond the bound. `into` is then half written.
        """
        whole = numbers.dtype.kind == "i"
        for part in _parts(len(numbers)):
            some = numbers[part]
            self._need_bound(some)
            if whole:
                self._encode_integers(some.astype(np.int64, copy=False), into[part])
            else:
                self._encode_floats(some.astype(np.float64, copy=False), into[part])

    def decode(self, total: Limbs, *, stations: int) -> NDArray[np.float64]:
        """Return the numbers that totals of `stations` parts stand for, each rounded once, half to even.

        Raises:
            TotalOutOfBound: one is more than that many numbers within the bound can add up to.
        """
        numbers = np.empty(len(total), np.float64)
        most = stations * self.greatest
        for part in _parts(len(total)):
            sizes, negative = _magnitudes(total[part])
            if _any_beyond(sizes, most):
                msg = "a total is beyond what its parts can add up to"
                raise TotalOutOfBound(msg, stations=stations)
            found = np.ldexp(_rounded(sizes), -self.fraction)
            numbers[part] = np.negative(found, out=found, where=negative)
        return numbers

    def _need_bound(self, some: Numbers) -> None:
        if some.dtype.kind == "i":
            most = min(math.floor(self.bound), _MOST)
            least = -most - 1 if self.bound > _MOST else -most
            inside = (some >= least) & (some <= most)
        else:
            with np.errstate(invalid="ignore"):  # NaN is neither: that is the point
                inside = np.abs(some) <= self.bound
        if not inside.all():
            msg = "a number is not finite, or beyond the declared bound"
            raise NumberOutOfBound(msg)

    def _encode_floats(self, some: NDArray[np.float64], into: Limbs) -> None:
        scaled = np.rint(np.ldexp(some, self.fraction))  # a power of two only moves the exponent: rounded once
        if self.limbs == 1:
            into[:, 0] = scaled.astype(_INT).view(_LIMB)
            return
        size = np.abs(scaled)
        high = np.floor(np.ldexp(size, -LIMB))
        into[:, 1] = high
        into[:, 0] = size - np.ldexp(high, LIMB)
        _negate(into, scaled < 0)

    def _encode_integers(self, some: NDArray[np.int64], into: Limbs) -> None:
        low = some.astype(_INT, copy=False).view(_LIMB)
        if self.limbs == 1:
            into[:, 0] = low << np.uint64(self.fraction)
            return
        size = np.where(some < 0, -low, low)
        if self.fraction < LIMB:
            into[:, 0] = size << np.uint64(self.fraction)
            into[:, 1] = size >> np.uint64(LIMB - self.fraction) if self.fraction else 0
        else:
            into[:, 0] = 0
            into[:, 1] = size << np.uint64(self.fraction - LIMB)
        _negate(into, some < 0)


def zeros(elements: int, *, bits: int) -> Limbs:
    """Return as many elements that are zero."""
    return np.zeros((elements, bits // LIMB), _LIMB)


def add(total: Limbs, more: Limbs) -> None:
    """Add to `total`, in the ring."""
    low = total[:, 0]
    np.add(low, more[:, 0], out=low)
    if total.shape[1] > 1:
        high = total[:, 1]
        high += more[:, 1]
        high += low < more[:, 0]  # then it was carried


def subtract(total: Limbs, less: Limbs) -> None:
    """Subtract from `total`, in the ring."""
    low = total[:, 0]
    if total.shape[1] > 1:
        high = total[:, 1]
        high -= less[:, 1]
        high -= low < less[:, 0]  # then it is borrowed
    np.subtract(low, less[:, 0], out=low)


def _parts(elements: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, elements, BLOCK))


def _negate(elements: Limbs, where: NDArray[np.bool_]) -> None:
    """Take the two's complement of some of them, each of two limbs."""
    low, high = elements[:, 0], elements[:, 1]
    np.invert(high, out=high, where=where)
    np.negative(low, out=low, where=where)
    high += where & (low == 0)


def _magnitudes(elements: Limbs) -> tuple[Limbs, NDArray[np.bool_]]:
    sizes = elements.copy()
    negative = (sizes[:, -1] >> _SIGN).astype(np.bool_)
    if sizes.shape[1] == 1:
        np.negative(sizes[:, 0], out=sizes[:, 0], where=negative)
    else:
        _negate(sizes, negative)
    return sizes, negative


def _any_beyond(sizes: Limbs, most: int) -> bool:
    low = np.uint64(most % 2**LIMB)
    beyond = sizes[:, 0] > low
    if sizes.shape[1] > 1:
        high = np.uint64(most >> LIMB)
        beyond = (sizes[:, 1] > high) | ((sizes[:, 1] == high) & beyond)
    return bool(beyond.any())


def _rounded(sizes: Limbs) -> NDArray[np.float64]:
    """Return magnitudes below 2^127 as floats.

    Of two limbs, the leading 63 or 64 bits are converted; whether anything follows them is kept in the last one, far below the
    53 that a float has, so that a half is told from a little more than a half.
    """
    if sizes.shape[1] == 1:
        return sizes[:, 0].astype(np.float64)
    low, high = sizes[:, 0], sizes[:, 1]
    _, exponent = np.frexp(high.astype(np.float64))  # may be one too many, if that was rounded up
    extra = np.minimum(exponent, LIMB - 1).astype(np.uint64)
    rest = low & ((np.uint64(1) << extra) - np.uint64(1))
    above = np.where(extra > 0, high << (np.uint64(LIMB) - np.maximum(extra, np.uint64(1))), np.uint64(0))
    leading = above | (low >> extra) | (rest != 0)
    rounded: NDArray[np.float64] = np.ldexp(leading.astype(np.float64), extra.astype(np.int64))
    return rounded
