"""What can be wrong with a sum, or with one's part of it?

No message and no field has a number that a run wrote, or a part of it (attack T20).
"""

from __future__ import annotations

from security.errors import InvalidInput, Refused


class SumRejected(Refused):
    """Something is not what a declared sum is made of."""

    code = "sum.rejected"


class NumbersUnreadable(SumRejected):
    """What a run wrote for a sum is not JSON of numbers, nor a plain .npy file, of the declared shape."""

    code = "sum.unreadable"
    default_hint = "write JSON of numbers in nested lists, or numpy.save of a float64, float32 or int64 array, of the declared shape"


class NumberOutOfBound(SumRejected):
    """A number that a run wrote for a sum is not finite, or is greater than the declared bound."""

    code = "sum.out-of-bound"
    default_hint = "declare a greater bound (and more bits), or keep the numbers within it"


class MaskedVectorInvalid(SumRejected):
    """A masked vector has another width or length than the declared sum."""

    code = "sum.vector"


class MasksLeft(SumRejected):
    """The masks do not cancel: a part is missing, is there twice, or was made with other passes, seeds, round or path."""

    code = "sum.masks-left"


class TotalOutOfBound(SumRejected):
    """The masks cancel, but the total is more than stations that keep to the declared bound can add up to."""

    code = "sum.total-out-of-bound"


class MaskKeyRejected(SumRejected):
    """A public mask key is a point of low order or not in canonical form, or a key or a seed has another size than it should."""

    code = "sum.mask-key"


class SumInvalid(InvalidInput):
    """A sum is declared in a way that means nothing: its bits, fraction, bound, shape, or who takes part."""

    code = "sum.invalid"
    default_hint = "correct how the sum is declared"


class SumOverflows(SumInvalid):
    """A declared sum could overflow: the number of stations times its bound, in its fraction, does not fit into its bits."""

    code = "sum.overflows"
    default_hint = "declare more bits, a smaller fraction or a smaller bound"
