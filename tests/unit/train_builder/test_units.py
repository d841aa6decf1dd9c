"""Sizes and durations."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.errors import InvalidInput
from train_builder.spec.units import parse_duration, parse_size, show_duration, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("200KB", 200_000), ("256MiB", 256 << 20), ("1.5 GiB", 3 << 29), ("2TB", 2 * 10**12), ("0.5KiB", 512)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "1", "KB", "-1KB", "1kb", "1 KB ", "1KB\n", "1e3KB", "1.5B", "0.0001KB", "\u0661KB"]
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_size(text)


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5min", 300), ("2 h", 7200), ("14d", 14 * 86400)])
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "0s", "5m", "5 minutes", "-1d", "1.5h", "5min\n"])
def test_no_durations(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_duration(text)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1 KiB"), (1536, "1.5 KiB"), (1 << 40, "1 TiB")]
)
def test_shown_sizes(size: int, text: str) -> None:
    assert show_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (86400, "1 day"), (172800, "2 days")],
)
def test_shown_durations(seconds: int, text: str) -> None:
    assert show_duration(timedelta(seconds=seconds)) == text


@given(st.integers(0, 10**12 - 1), st.sampled_from([("B", 1), ("KB", 1000), ("MiB", 1 << 20)]))
def test_a_size_is_its_number_times_its_unit(number: int, unit: tuple[str, int]) -> None:
    assert parse_size(f"{number}{unit[0]}") == number * unit[1]
