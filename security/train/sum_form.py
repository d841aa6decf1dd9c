"""What does a manifest say of numbers that are added up over the stations?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from security.forms.form import Number
from security.forms.many import Many
from security.forms.record import Rule

NPY: Final = "application/x-npy"
"""The media type of an array as `numpy.save` writes it, version 1.0."""
SUM_FOLDER: Final = "sum"
"""Where a combination finds the totals, beside a folder for each station."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """How the numbers of an output are added up over the stations, so that nobody sees those of one (`security.sums`).

    An array of ``shape``, of which no number is greater than ``bound``, as fixed point in ``bits``, of which ``fraction`` are
    below the point.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            says="bits is 64 or 128, and fraction is less",
            holds=lambda one: one.bits in {64, 128} and one.fraction < one.bits,
            field="bits",
        ),
        Rule(says="there are at most 2^24 numbers", holds=lambda one: one.elements <= 1 << 24, field="shape"),
    )

    shape: Annotated[
        tuple[int, ...],
        Many(of=Number(least=1, most=1 << 24), most=8, says="the sides of the array, as a list; [] is a single number"),
    ]
    bound: Annotated[int, Number(least=1, says="a whole number that no number is greater than, nor its negative")]
    bits: Annotated[int, Number(least=64, most=128, says="64 or 128 bits for a number")]
    fraction: Annotated[int, Number(most=127, says="how many of the bits are below the point")]

    @property
    def elements(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    @property
    def masked_bytes(self) -> int:
        """The size of what leaves a station: a header of 24 bytes, the check element and the numbers."""
        return 24 + (self.elements + 1) * self.bits // 8

    def has_room(self, stations: int) -> bool:
        """Whether the total of so many stations fits into the bits."""
        return stations * (self.bound << self.fraction) < 1 << (self.bits - 1)
