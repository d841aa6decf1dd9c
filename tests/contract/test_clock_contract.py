"""Do the clock of this machine and that of the tests behave alike?"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from security.clock import Clock, SystemClock
from tests.support.clocks import SetClock

BEGINNING = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SHORT, LONG = 0.02, 3600.0


@pytest.fixture(params=["system", "set"])
def clock(request: pytest.FixtureRequest) -> Clock:
    clocks: Mapping[str, Clock] = {"system": SystemClock(), "set": SetClock(BEGINNING)}
    return clocks[request.param]


def test_the_time_is_in_utc(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC


def test_time_passes_while_one_waits(clock: Clock) -> None:
    before = clock.now()
    assert clock.wait(SHORT) is False
    assert clock.wait(SHORT, threading.Event()) is False
    assert clock.now() - before >= timedelta(seconds=2 * SHORT) * 0.9  # a machine's clock may be slewed meanwhile


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_time_is_waited_for_at_once(clock: Clock, seconds: float) -> None:
    before, began = clock.now(), time.monotonic()
    assert clock.wait(seconds) is False
    assert clock.now() >= before
    assert time.monotonic() - began < LONG


def test_who_was_asked_to_stop_does_not_wait(clock: Clock) -> None:
    stop, began = threading.Event(), clock.now()
    stop.set()
    assert clock.wait(LONG, stop) is True
    assert clock.now() - began < timedelta(seconds=LONG)


def test_waiting_ends_when_somebody_asks_to_stop() -> None:
    stop, began = threading.Event(), time.monotonic()
    timer = threading.Timer(SHORT, stop.set)
    timer.start()
    assert SystemClock().wait(LONG, stop) is True
    timer.join()
    assert time.monotonic() - began < LONG


def test_the_clock_of_this_machine_tells_its_time() -> None:
    assert abs(SystemClock().now().timestamp() - time.time()) < 60
