"""What does one station hand on, and how do all such vectors together become the sum?

A masked vector begins with a check element: each station puts in the number 1, so that the total of all says how many there were.
A part that is missing or doubled, or one mask that does not cancel, leaves noise there: one time in 2^64, or 2^128, it looks right.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from security.streams import Sink, Source, fill, pour
from security.sums.errors import MaskedVectorInvalid, MasksLeft, SumInvalid
from security.sums.mask import Occasion, PairSecret
from security.sums.ring import BLOCK, LIMB, FixedPoint, Limbs, Numbers, add, subtract, zeros

_HEADER: Final = struct.Struct("<8sQQ")
_MAGIC: Final = b"pht-sum1"
_ONE: Final = 1
_LEAST: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a station stands among those who add up: its number, counted from 0, and what it shares with each of the others.

    Raises:
        SumInvalid: it is alone, or shares nothing with one of them, or something with itself or with who is not there.
    """

    number: int
    shares: Mapping[int, PairSecret] = field(repr=False)

    def __post_init__(self) -> None:
        others = set(range(self.stations)) - {self.number}
        if self.stations < _LEAST or set(self.shares) != others:
            msg = "a station shares a secret with each of the others, and there are others"
            raise SumInvalid(msg, station=self.number, stations=self.stations)

    @property
    def stations(self) -> int:
        """How many add up."""
        return len(self.shares) + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskedVector:
    """The check element and the numbers of a station, or of several together, under the masks that have not cancelled yet."""

    elements: Limbs = field(repr=False)

    @property
    def numbers(self) -> int:
        """How many numbers there are, besides the check element."""
        return len(self.elements) - _ONE

    @property
    def bits(self) -> int:
        """The width of an element."""
        return int(self.elements.shape[1]) * LIMB

    def write(self, sink: Sink) -> None:
        """Write it as it travels."""
        pour(sink, _header(self.numbers, self.bits))
        pour(sink, self.elements.data.cast("B"))


def mask(numbers: Numbers, *, form: FixedPoint, place: Place, occasion: Occasion) -> MaskedVector:
    """Encode the numbers of one station, and mask them. Only ever for one vector an occasion: two would tell their difference.

    Raises:
        SumOverflows: the sum of all stations might not fit.
        NumberOutOfBound: a number is not finite or beyond the bound.
    """
    form.need_room(place.stations)
    elements = zeros(len(numbers) + _ONE, bits=form.bits)
    elements[0, 0] = _ONE
    form.encode(numbers, elements[_ONE:])
    masks = [
        (add, secret.stream(occasion, adds=place.number, subtracts=other))
        if place.number < other
        else (subtract, secret.stream(occasion, adds=other, subtracts=place.number))
        for other, secret in sorted(place.shares.items())
    ]
    buffer = zeros(BLOCK, bits=form.bits)
    for part in _blocks(elements):
        some = buffer[: len(part)]
        for apply, stream in masks:
            stream.fill(some.data.cast("B"))
            apply(part, some)
    return MaskedVector(elements=elements)


def total(vectors: Iterable[Source], *, numbers: int, bits: int) -> MaskedVector:
    """Add up vectors, one after the other, each read to its end in blocks.

    Raises:
        MaskedVectorInvalid: one is not of that many numbers of that width, or ends too early or too late.
    """
    elements = zeros(numbers + _ONE, bits=bits)
    buffer = zeros(BLOCK, bits=bits)
    for source in vectors:
        _need(source, memoryview(bytearray(_HEADER.size)), _header(numbers, bits))
        for part in _blocks(elements):
            some = buffer[: len(part)]
            _need(source, some.data.cast("B"))
            add(part, some)
        if source.read(1):
            msg = "a masked vector goes on after its elements"
            raise MaskedVectorInvalid(msg, numbers=numbers, bits=bits)
    return MaskedVector(elements=elements)


def unmask(whole: MaskedVector, *, form: FixedPoint, stations: int) -> NDArray[np.float64]:
    """Return the sums that the total of all stations stands for.

    Raises:
        MaskedVectorInvalid: it is of another width.
        MasksLeft: it is not the total of just these stations under one set of masks.
        TotalOutOfBound: it is, and a station did not keep to the bound.
    """
    if whole.bits != form.bits:
        msg = "a masked vector is of another width"
        raise MaskedVectorInvalid(msg, bits=form.bits)
    if int.from_bytes(whole.elements[0].tobytes(), "little") != stations * _ONE:
        msg = "the masks do not cancel"
        raise MasksLeft(msg, stations=stations)
    return form.decode(whole.elements[_ONE:], stations=stations)


def _blocks(elements: Limbs) -> Iterator[Limbs]:
    return (elements[start : start + BLOCK] for start in range(0, len(elements), BLOCK))


def _header(numbers: int, bits: int) -> bytes:
    return _HEADER.pack(_MAGIC, bits, numbers)


def _need(source: Source, room: memoryview, expected: bytes | None = None) -> None:
    if fill(source, room) < len(room) or (expected is not None and room != expected):
        msg = "a masked vector is not of the declared width and length, or ends before its elements do"
        raise MaskedVectorInvalid(msg)
