"""What a run wrote for a sum is numbers of the declared shape, or is refused without a word of what it was."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest

from security.sums.errors import NumbersUnreadable, SumInvalid
from security.sums.numbers import MAX_ELEMENTS, elements_of, read_json, read_npy

SHAPE = (2, 3)
ARRAY = np.array([[1.5, -2.25, 0.0], [1e-300, 1e300, -7.0]])
CANARY = "31415926"


class Dripping:
    """A source that hands out five bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(5, size))


def saved(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npy(header: bytes, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + body


def plain(descr: str = "'<f8'", order: str = "False", shape: str = "(2, 3)") -> bytes:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode().ljust(117) + b"\n"


def told(error: BaseException | None) -> str:
    """Return everything that an error and its causes say."""
    if error is None:
        return ""
    fields = getattr(error, "fields", {})
    return f"{error!r} {error} {fields} {told(error.__cause__)} {told(error.__context__)}"


@pytest.mark.parametrize("kind", ["<f8", "<f4", "<i8"])
@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3), (1, 2, 1, 3)])
def test_what_numpy_saves_is_read(kind: str, shape: tuple[int, ...]) -> None:
    elements = elements_of(shape)
    array = (np.arange(elements) - 2).astype(kind).reshape(shape)
    for source in (io.BytesIO(saved(array)), Dripping(saved(array))):
        found = read_npy(source, shape)
        assert found.dtype == (np.int64 if kind == "<i8" else np.float64)
        assert found.tolist() == array.ravel().tolist()


def test_integers_are_not_turned_into_floats() -> None:
    array = np.array([2**63 - 1, -(2**63), 2**53 + 1])
    assert read_npy(io.BytesIO(saved(array)), (3,)).tolist() == array.tolist()


def test_numbers_that_are_none_are_left_to_who_looks_at_the_bound() -> None:
    for kind in (np.float32, np.float64):
        array = np.array([np.nan, np.inf, -np.inf, 1.0], kind)
        assert np.array_equal(read_npy(io.BytesIO(saved(array)), (4,)), array, equal_nan=True)
    signalling = npy(plain("'<f4'", shape="(1,)"), bytes.fromhex("0100807f"))
    assert np.isnan(read_npy(io.BytesIO(signalling), (1,))).all()


def test_other_writers_use_white_space_as_they_like() -> None:
    header = b"{'descr':'<f8','fortran_order':False,'shape':(2,3)}\n"
    assert read_npy(io.BytesIO(npy(header, ARRAY.tobytes())), SHAPE).tolist() == ARRAY.ravel().tolist()


HOSTILE = {
    "empty": b"",
    "cut-in-magic": saved(ARRAY)[:5],
    "cut-in-length": saved(ARRAY)[:9],
    "cut-in-header": saved(ARRAY)[:60],
    "header-only": saved(ARRAY)[:128],
    "cut-in-numbers": saved(ARRAY)[:-1],
    "one-byte-more": saved(ARRAY) + b"\0",
    "two-arrays": saved(ARRAY) * 2,
    "zip": b"PK\x03\x04" + bytes(200),
    "version-2": npy(plain(), ARRAY.tobytes(), b"\x02\x00"),
    "version-3": npy(plain(), ARRAY.tobytes(), b"\x03\x00"),
    "version-9": npy(plain(), ARRAY.tobytes(), b"\x09\x00"),
    "long-header": npy(plain().ljust(1025, b" "), ARRAY.tobytes()),
    "longest-header": npy(plain().ljust(65535, b" "), ARRAY.tobytes()),
    "fortran-order": saved(np.asfortranarray(ARRAY)),
    "big-endian": saved(ARRAY.astype(">f8")),
    "half": saved(np.ones(SHAPE, np.float16)),
    "int32": saved(np.ones(SHAPE, np.int32)),
    "uint64": saved(np.ones(SHAPE, np.uint64)),
    "bool": saved(np.ones(SHAPE, np.bool_)),
    "complex": saved(np.ones(SHAPE, np.complex128)),
    "text": saved(np.full(SHAPE, CANARY)),
    "bytes": saved(np.full(SHAPE, CANARY.encode())),
    "time": saved(np.zeros(SHAPE, "<M8[s]")),
    "structured": saved(np.zeros(SHAPE, [("a", "<f8"), (CANARY, "<f8")])),
    "pickled": saved(np.array([[1.5, None, CANARY]] * 2, object), allow_pickle=True),
    "flat": saved(ARRAY.ravel()),
    "transposed": saved(np.ascontiguousarray(ARRAY.T)),
    "one-more-side": saved(ARRAY[None]),
    "one-number": saved(np.float64(1)),
    "nothing": saved(np.zeros((0, 3))),
    "huge": npy(plain(shape="(999999999, 999999999)")),
    "huger": npy(plain(shape="(" + "9" * 40 + ",)")),
    "hugest": npy(plain(shape="(" + "9" * 900 + ",)")),
    "negative": npy(plain(shape="(-2, -3)"), ARRAY.tobytes()),
    "other-digits": npy(plain(shape="(2, \N{ARABIC-INDIC DIGIT THREE})"), ARRAY.tobytes()),
    "code": npy(plain(shape="(2, __import__('os').getpid())"), ARRAY.tobytes()),
    "many-sides": npy(plain(shape="(" + "1, " * 64 + ")"), ARRAY.tobytes()),
    "doubled-key": npy(b"{'descr': '<f8', 'descr': '>f8', 'fortran_order': False, 'shape': (2, 3), }", ARRAY.tobytes()),
    "missing-key": npy(b"{'descr': '<f8', 'shape': (2, 3), }", ARRAY.tobytes()),
    "true-as-number": npy(plain(order="1"), ARRAY.tobytes()),
    "after-the-header": npy(plain() + CANARY.encode(), ARRAY.tobytes()),
    "nested": npy(b"(" * 1000, ARRAY.tobytes()),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_other_arrays_are_refused(name: str) -> None:
    with pytest.raises(NumbersUnreadable) as refused:
        read_npy(io.BytesIO(HOSTILE[name]), SHAPE)
    assert CANARY not in told(refused.value)


def test_no_memory_is_taken_for_a_shape_that_was_not_declared() -> None:
    tracemalloc.start()
    try:
        for name in ("huge", "huger", "hugest", "longest-header"):
            with pytest.raises(NumbersUnreadable):
                read_npy(io.BytesIO(HOSTILE[name]), SHAPE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("document", "shape", "numbers"),
    [
        ("1.5", (), [1.5]),
        (" -3 ", (), [-3.0]),
        ("[1, 2.5, -1e-3]", (3,), [1.0, 2.5, -0.001]),
        ("[[1,2,3],[4,5,6]]", SHAPE, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("[[[1],[2]]]\n", (1, 2, 1), [1.0, 2.0]),
        ("[9007199254740992, -9007199254740992]", (2,), [2.0**53, -(2.0**53)]),
        ("[0.1, 1e308, 5e-324, -0.0]", (4,), [0.1, 1e308, 5e-324, -0.0]),
    ],
)
def test_numbers_in_lists_are_read(document: str, shape: tuple[int, ...], numbers: list[float]) -> None:
    for source in (io.BytesIO(document.encode()), Dripping(document.encode())):
        assert read_json(source, shape).tolist() == numbers


def test_what_json_prints_comes_back_to_the_bit() -> None:
    numbers = np.random.default_rng(1).normal(size=(40, 50)) * 10.0 ** np.random.default_rng(2).integers(-300, 300, 50)
    for document in (json.dumps(numbers.tolist()), json.dumps(numbers.tolist(), indent=2)):
        assert np.array_equal(read_json(io.BytesIO(document.encode()), (40, 50)), numbers.ravel())


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"null",
        b"6",
        b"[]",
        b"[[1,2,3]]",
        b"[1,2,3,4,5,6]",
        b"[[1,2],[3,4],[5,6]]",
        b"[[1,2,3,4],[5,6]]",
        b"[[1,2,3],[4,5,6],[]]",
        b"[[1,2,3],[4,5,[6]]]",
        b"[[1,2,3],[4,5,6]] ,",
        b"[[1,2,3],[4,5,6]]31415926",
        b"[[1,2,3],[4,5,6]",
        b"[[1,2,3],[4,5,6,]]",
        b"[[1,2,3],[4,5,true]]",
        b"[[1,2,3],[4,5,null]]",
        b"[[1,2,3],[4,5,NaN]]",
        b"[[1,2,3],[4,5,Infinity]]",
        b"[[1,2,3],[4,5,1e999]]",
        b"[[1,2,3],[4,5,9007199254740993]]",
        b"[[1,2,3],[4,5,0x6]]",
        b"[[1,2,3],[4,5,06]]",
        b'[[1,2,3],[4,5,"31415926"]]',
        b'[[1,2,3],[4,5,{"31415926":1}]]',
        b'{"31415926": 1, "31415926": 2}',
        b"[[1,2,3],[4,5,6]]" + b" " * 10_000,
        b"[" * 100_000,
        b"\xff\xfe[[1,2,3],[4,5,6]]",
        b"\xef\xbb\xbf[[1,2,3],[4,5,6]]",
        b"[[1,2,3],[4,5,\xd9\xa3]]",
    ],
    ids=lambda document: repr(document[:40]),
)
def test_other_documents_are_refused(document: bytes) -> None:
    with pytest.raises(NumbersUnreadable) as refused:
        read_json(io.BytesIO(document), SHAPE)
    assert CANARY not in told(refused.value)


def test_a_document_of_other_objects_fills_no_memory() -> None:
    document = b"[" + b"[]," * 99_999 + b"[]]"
    tracemalloc.start()
    try:
        with pytest.raises(NumbersUnreadable):
            read_json(io.BytesIO(document), (100_000,))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20  # a list for each would be six


@pytest.mark.parametrize("shape", [(0,), (-1,), (3, 0), (1,) * 9, (MAX_ELEMENTS + 1,), (2**40, 2**40), (-1, -1)])
def test_shapes_that_mean_nothing_are_refused(shape: tuple[int, ...]) -> None:
    for read in (read_json, read_npy):
        with pytest.raises(SumInvalid):
            read(io.BytesIO(saved(ARRAY)), shape)
