"""What is measured of sums, in a process that holds nothing else: one station's masking, a junction's adding, and bare tools."""

from __future__ import annotations

import hashlib
import io
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from security.digest import digest_of
from security.sums.mask import MaskKey, Occasion
from security.sums.masked import Place, mask, total, unmask
from security.sums.numbers import read_npy
from security.sums.ring import FixedPoint

FORMS: Final = {
    64: FixedPoint(bits=64, fraction=24, bound=1000.0),
    128: FixedPoint(bits=128, fraction=48, bound=1e9),
}
_OCCASION: Final = Occasion(hangs_on=digest_of(b"departure"), round=0, path="sum.npy")
_BLOCK: Final = 1 << 18


def make(file: str, numbers: str) -> None:
    """Write what a run leaves."""
    np.save(file, np.random.default_rng(1).uniform(-1000, 1000, int(numbers)))


def vectors(file: str, folder: str, size: str) -> None:
    """Write what all stations of a sum send; its size is said as "numbers bits stations"."""
    for number in range(_Size.of(size).stations):
        _mask(Path(file), _Size.of(size), number, Path(folder) / f"{number}.sum")


def station(file: str, folder: str, size: str, times: str) -> float:
    """Return the seconds in which a station agrees with all others, reads, encodes, masks and writes; the median."""
    return _median(lambda: _mask(Path(file), _Size.of(size), 1, Path(folder) / "own.sum"), int(times))


def junction(folder: str, size: str, times: str) -> float:
    """Return the seconds in which a junction adds up and decodes; the median."""
    asked = _Size.of(size)

    def work() -> None:
        whole = total(_opened(Path(folder), asked.stations), numbers=asked.numbers, bits=asked.bits)
        unmask(whole, form=FORMS[asked.bits], stations=asked.stations)

    return _median(work, int(times))


def bare_stream(size: str, times: str) -> float:
    """Return the seconds in which `cryptography` makes so many bytes of key stream, in blocks that stay in the cache."""
    zeros, buffer = bytes(_BLOCK), bytearray(_BLOCK)

    def work() -> None:
        encryptor = Cipher(ChaCha20(bytes(32), bytes(16)), None).encryptor()
        for _ in range(-(-int(size) // _BLOCK)):
            encryptor.update_into(zeros, buffer)

    return _median(work, int(times))


def bare_adding(numbers: str, vectors: str, times: str) -> float:
    """Return the seconds in which `numpy` adds so many vectors of 64 bits to one: `total += vector`."""
    whole, other = np.zeros(int(numbers), np.uint64), np.ones(int(numbers), np.uint64)

    def work() -> None:
        for _ in range(int(vectors)):
            np.add(whole, other, out=whole)

    return _median(work, int(times))


@dataclass(frozen=True, slots=True)
class _Size:
    numbers: int
    bits: int
    stations: int

    @classmethod
    def of(cls, said: str) -> _Size:
        return cls(*map(int, said.split()))


def _mask(file: Path, size: _Size, own: int, sent: Path) -> None:
    key = MaskKey(_bytes(own))
    shares = {
        other: key.pair_with(MaskKey(_bytes(other)).public, _bytes(min(own, other), max(own, other)))
        for other in range(size.stations)
        if other != own
    }
    with file.open("rb") as source:
        numbers = read_npy(source, (size.numbers,))
    vector = mask(numbers, form=FORMS[size.bits], place=Place(number=own, shares=shares), occasion=_OCCASION)
    with sent.open("wb") as sink:
        vector.write(sink)


def _opened(folder: Path, stations: int) -> Iterator[io.BufferedReader]:
    for number in range(stations):
        with (folder / f"{number}.sum").open("rb") as source:
            yield source


def _bytes(*of: int) -> bytes:
    return hashlib.sha256(repr(of).encode()).digest()


def _median(work: Callable[[], None], times: int) -> float:
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return statistics.median(found)
