"""How are the numbers read that a run wrote for a sum, in JSON or as `numpy.save` writes them?

A run is not trusted: what it wrote may be anything, and may hold what must not be told (attack T20). So the shape is the declared
one before memory is taken for it, nothing is unpickled, and an error tells what was declared, never what was found.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Final, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from security.encoding import Json, parse_json
from security.errors import MalformedJson
from security.streams import Sink, Source, fill, pour
from security.sums.errors import NumbersUnreadable, SumInvalid
from security.sums.ring import Numbers

_Type: TypeAlias = np.dtype[np.float64] | np.dtype[np.float32] | np.dtype[np.int64]

MAX_ELEMENTS: Final = 1 << 24
MAX_DIMENSIONS: Final = 8

_PER_NUMBER: Final = 64  # bytes of JSON: 17 digits with sign and exponent take 24; the rest is for white space
_AROUND: Final = 4096
_CHUNK: Final = 1 << 20

_MAGIC: Final = b"\x93NUMPY\x01\x00"
_LONGEST: Final = 1024
_HEADER: Final = re.compile(
    rb"\{\s*'descr':\s*'([^']{1,16})',\s*'fortran_order':\s*(True|False),"
    rb"\s*'shape':\s*\(((?:\d{1,9}(?:,\s*\d{1,9}){0,31},?)?)\s*\),?\s*\}\s*",
    re.ASCII,
)
"""The literal that `numpy.save` prints, with a little more freedom for the white space of other writers."""
_TYPES: Final[dict[bytes, _Type]] = {
    b"<f8": np.dtype("<f8"),
    b"<f4": np.dtype("<f4"),
    b"<i8": np.dtype("<i8"),
}


def elements_of(shape: tuple[int, ...]) -> int:
    """Return how many numbers there are in an array of a declared shape; `()` is a single number.

    Raises:
        SumInvalid: a side is not positive, or there are too many sides or elements.
    """
    elements = math.prod(shape)
    if len(shape) > MAX_DIMENSIONS or any(side < 1 for side in shape) or elements > MAX_ELEMENTS:
        msg = "no such shape"
        raise SumInvalid(msg, dimensions=MAX_DIMENSIONS, elements=MAX_ELEMENTS)
    return elements


def read_json(source: Source, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Read numbers in nested lists, to the end of `source`; return them in one row.

    Raises:
        NumbersUnreadable: it is not that, or not of this shape.
    """
    elements = elements_of(shape)
    value = _parsed(_whole(source, elements * _PER_NUMBER + _AROUND), shape)
    return np.fromiter(_leaves(value, shape), np.float64, count=elements)


def read_npy(source: Source, shape: tuple[int, ...]) -> Numbers:
    """Read an array in the format `.npy` 1.0, to the end of `source`; return its numbers in one row, in C order.

    Raises:
        NumbersUnreadable: it is not that, or not of this shape, or not float64, float32 or int64 in little-endian order.
    """
    elements = elements_of(shape)
    array = np.empty(elements, _header(source, shape))
    if fill(source, array.data.cast("B")) < array.nbytes:
        _unreadable("the .npy file ends before its numbers do")
    if source.read(1):
        _unreadable("the .npy file goes on after its numbers")
    if array.dtype.kind == "i":
        return array.astype(np.int64, copy=False)
    with np.errstate(invalid="ignore"):  # a signalling NaN is found where the bound is looked at
        return array.astype(np.float64, copy=False)


def write_json(numbers: NDArray[np.float64], shape: tuple[int, ...], sink: Sink) -> None:
    """Write numbers in nested lists, as `read_json` reads them."""
    pour(sink, memoryview(json.dumps(numbers.reshape(shape).tolist(), allow_nan=False).encode()))


def write_npy(numbers: NDArray[np.float64], shape: tuple[int, ...], sink: Sink) -> None:
    """Write numbers as `numpy.save` does, in the format 1.0."""
    np.lib.format.write_array(sink, numbers.reshape(shape), version=(1, 0), allow_pickle=False)


def _whole(source: Source, limit: int) -> bytes:
    parts, size = list[bytes](), 0
    while part := source.read(_CHUNK):
        parts.append(part)
        size += len(part)
        if size > limit:
            _unreadable("the document is too long for numbers of the declared shape")
    return b"".join(parts)


def _parsed(raw: bytes, shape: tuple[int, ...]) -> Json:
    """Parse what has as many lists and commas as the shape asks for: a document of other objects could fill the memory."""
    lists = sum(math.prod(shape[:depth]) for depth in range(len(shape)))
    items = sum(math.prod(shape[: depth + 1]) for depth in range(len(shape)))
    if raw.count(b"[") != lists or raw.count(b",") != items - lists or b'"' in raw or b"{" in raw:
        _unreadable("not JSON of numbers in lists of the declared shape", declared=shape)
    try:
        return parse_json(raw, limit=len(raw))
    except MalformedJson:  # which may quote the document, and must not be the context of our error
        return None


def _leaves(value: Json, shape: tuple[int, ...]) -> Iterator[float]:
    if shape:
        if not isinstance(value, list) or len(value) != shape[0]:
            _unreadable("not JSON of numbers in lists of the declared shape", declared=shape)
        for item in value:
            yield from _leaves(item, shape[1:])
    elif isinstance(value, bool) or not isinstance(value, int | float):
        _unreadable("not a JSON document of numbers alone")
    else:
        yield value


def _header(source: Source, shape: tuple[int, ...]) -> _Type:
    start = _exactly(source, len(_MAGIC) + 2)
    length = int.from_bytes(start[len(_MAGIC) :], "little")
    if not start.startswith(_MAGIC) or length > _LONGEST:
        _unreadable("not a .npy file of version 1.0 with a plain header")
    found = _HEADER.fullmatch(_exactly(source, length))
    if found is None:
        _unreadable("not the header of a plain array of numbers")
    if found[1] not in _TYPES:
        _unreadable("the array is of another type", known=("<f8", "<f4", "<i8"))
    if found[2] != b"False":
        _unreadable("the array is in Fortran order; numpy.ascontiguousarray gives it in C order")
    if tuple(int(side) for side in re.findall(rb"\d+", found[3])) != shape:
        _unreadable("the array is not of the declared shape", declared=shape)
    return _TYPES[found[1]]


def _exactly(source: Source, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer) if fill(source, memoryview(buffer)) == size else b""


def _unreadable(message: str, **declared: object) -> NoReturn:
    raise NumbersUnreadable(message, hint=None, **declared)
