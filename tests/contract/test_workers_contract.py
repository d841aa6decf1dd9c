"""What everybody who takes steps for a daemon keeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from station.daemon.lanes import LANES, WORKERS, Lane
from station.daemon.workers import Done, Inline, Job, Threads, Workers
from station.visit.plan import Step

PATIENCE = 20


@pytest.fixture(params=["threads", "inline"])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers[str]]:
    if request.param == "inline":
        yield Inline()
        return
    threads = Threads[str](dict.fromkeys(Lane, 2), lambda: None)
    yield threads
    threads.dismiss()


def job(about: str, work: Callable[[], object], lane: Lane = Lane.MACHINE) -> Job[str]:
    return Job(lane=lane, about=about, work=work)


def all_of(workers: Workers[str], count: int) -> list[Done[str]]:
    found: list[Done[str]] = []
    deadline = time.monotonic() + PATIENCE
    while len(found) < count:
        assert time.monotonic() < deadline
        found += workers.finished()
    return found


def test_a_job_is_done_once_and_told_once(workers: Workers[str]) -> None:
    done: list[str] = []

    def work(name: str) -> str:
        done.append(name)
        return name.upper()

    for name in ("one", "two"):
        assert workers.free(Lane.MACHINE)
        workers.begin(job(name, partial(work, name)))
    assert {(one.job.about, one.result) for one in all_of(workers, 2)} == {("one", "ONE"), ("two", "TWO")}
    assert sorted(done) == ["one", "two"]
    assert workers.finished() == ()
    assert workers.at_work() == 0


def test_a_lane_is_free_again_once_its_jobs_are_told(workers: Workers[str]) -> None:
    for _ in range(6):
        while not workers.free(Lane.REGISTRY):
            workers.finished()
        workers.begin(job("again", lambda: None, Lane.REGISTRY))
    deadline = time.monotonic() + PATIENCE
    while workers.at_work():
        workers.finished()
        assert time.monotonic() < deadline
    assert workers.free(Lane.REGISTRY)


def test_a_job_that_hangs_keeps_its_own_place_only() -> None:
    woken = threading.Event()
    threads = Threads[str](dict.fromkeys(Lane, 1), woken.set)
    let_go = threading.Event()
    threads.begin(job("hangs", let_go.wait, Lane.REGISTRY))
    assert not threads.free(Lane.REGISTRY)
    for lane in (Lane.MACHINE, Lane.ENGINE):
        assert threads.free(lane)
        threads.begin(job(lane.value, lambda: "done", lane))
    assert {one.job.about for one in all_of(threads, 2)} == {"machine", "engine"}
    assert threads.at_work() == 1
    woken.clear()
    let_go.set()
    assert woken.wait(PATIENCE)
    assert [one.job.about for one in all_of(threads, 1)] == ["hangs"]
    threads.dismiss()


def test_jobs_of_a_lane_go_on_at_once() -> None:
    threads = Threads[str](dict.fromkeys(Lane, 3), lambda: None)
    together = threading.Barrier(3)
    for number in range(3):
        threads.begin(job(str(number), lambda: together.wait(PATIENCE)))
    assert {one.result for one in all_of(threads, 3)} == {0, 1, 2}
    threads.dismiss()


def test_every_step_has_a_lane_with_workers() -> None:
    assert set(LANES) == set(Step)
    assert set(WORKERS) == set(Lane)
    assert all(count > 0 for count in WORKERS.values())
