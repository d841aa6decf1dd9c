"""Stations that add up: their places, with real keys or with secrets that cost nothing; and what plain Python says the sum is."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from security.digest import digest_of
from security.sums.mask import MaskKey, Occasion, PairSecret
from security.sums.masked import MaskedVector, Place, mask, total, unmask
from security.sums.ring import FixedPoint

OCCASION = Occasion(hangs_on=digest_of(b"departure"), round=3, path="model/gradient.npy")
FORMS = (FixedPoint(bits=64, fraction=24, bound=1000.0), FixedPoint(bits=128, fraction=48, bound=1e12))


def chance(*of: object) -> bytes:
    """Return 32 bytes that are the same each time."""
    return hashlib.sha256(repr(of).encode()).digest()


def key_of(station: int, train: str = "train") -> MaskKey:
    return MaskKey(chance(train, "key", station))


def seed_of(first: int, second: int, train: str = "train") -> bytes:
    return chance(train, "seed", min(first, second), max(first, second))


def met(stations: int, train: str = "train") -> list[Place]:
    """Return the places of stations that have exchanged keys and seeds."""
    keys = [key_of(number, train) for number in range(stations)]
    return [
        Place(
            number=own,
            shares={
                other: keys[own].pair_with(keys[other].public, seed_of(own, other, train))
                for other in range(stations)
                if other != own
            },
        )
        for own in range(stations)
    ]


def places(stations: int, train: str = "train") -> list[Place]:
    """Return the places of stations whose secrets were told to them."""
    return [
        Place(
            number=own,
            shares={
                other: PairSecret(chance(train, min(own, other), max(own, other)))
                for other in range(stations)
                if other != own
            },
        )
        for own in range(stations)
    ]


def sent(vector: MaskedVector) -> bytes:
    """Return a vector as it travels."""
    sink = io.BytesIO()
    vector.write(sink)
    return sink.getvalue()


def contributions(
    inputs: Sequence[Sequence[float]],
    form: FixedPoint,
    among: Sequence[Place],
    occasions: Mapping[int, Occasion] | None = None,
) -> list[bytes]:
    """Return what each station sends; some may think that it is another occasion."""
    return [
        sent(mask(np.array(some, np.float64), form=form, place=place, occasion=(occasions or {}).get(number, OCCASION)))
        for number, (some, place) in enumerate(zip(inputs, among, strict=True))
    ]


def added(vectors: Iterable[bytes], form: FixedPoint, *, numbers: int, stations: int) -> NDArray[np.float64]:
    """Add up what was sent."""
    whole = total((io.BytesIO(one) for one in vectors), numbers=numbers, bits=form.bits)
    return unmask(whole, form=form, stations=stations)


def encoded(number: float, form: FixedPoint) -> int:
    """Return a number as plain Python encodes it: `round` takes the even of two neighbours."""
    return round(Fraction(number) * (1 << form.fraction))


def expected(inputs: Sequence[Sequence[float]], form: FixedPoint) -> list[float]:
    """Return the sums that plain Python gives, with integers of any length."""
    return [
        float(Fraction(sum(encoded(one, form) for one in column), 1 << form.fraction))
        for column in zip(*inputs, strict=True)
    ]


def integers(vector: MaskedVector) -> list[int]:
    """Return the elements as integers, with their sign."""
    return [int.from_bytes(row.tobytes(), "little", signed=True) for row in vector.elements]
