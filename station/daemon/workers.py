"""Who takes the steps?

Threads, some for each lane. What a worker has done is put into one queue; who reads it decides what is next. A worker that
hangs keeps its own place only, and does not keep the process from ending: what it was doing is repeatable.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from station.daemon.lanes import Lane

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[T]):
    """Something to be done in a lane: `about` tells what for, `work` does it, and must not raise."""

    lane: Lane
    about: T
    work: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[T]):
    """What came of a job."""

    job: Job[T]
    result: object


class Workers(Protocol[T]):
    """Does jobs."""

    def free(self, lane: Lane) -> bool:
        """Whether a job of this lane would be begun at once."""
        ...

    def begin(self, job: Job[T]) -> None:
        """Begin a job."""
        ...

    def finished(self) -> tuple[Done[T], ...]:
        """Return what was finished since this was last asked."""
        ...

    def at_work(self) -> int:
        """Return how many jobs were begun and not yet told as finished."""
        ...


class Threads(Generic[T]):
    """Workers that are threads: `sizes` of them in each lane. `wake` is called when a job is finished."""

    def __init__(self, sizes: Mapping[Lane, int], wake: Callable[[], None]) -> None:
        self._sizes, self._wake = sizes, wake
        self._begun = dict.fromkeys(sizes, 0)
        self._threads = dict.fromkeys(sizes, 0)
        self._jobs: Mapping[Lane, queue.SimpleQueue[Job[T] | None]] = {lane: queue.SimpleQueue() for lane in sizes}
        self._done: queue.SimpleQueue[Done[T]] = queue.SimpleQueue()

    def free(self, lane: Lane) -> bool:
        """See `Workers`."""
        return self._begun[lane] < self._sizes[lane]

    def begin(self, job: Job[T]) -> None:
        """See `Workers`."""
        self._begun[job.lane] += 1
        if self._threads[job.lane] < self._begun[job.lane]:
            self._threads[job.lane] += 1
            name = f"{job.lane.value}-{self._threads[job.lane]}"
            threading.Thread(target=self._work, args=(job.lane,), name=name, daemon=True).start()
        self._jobs[job.lane].put(job)

    def finished(self) -> tuple[Done[T], ...]:
        """See `Workers`."""
        found = []
        while not self._done.empty():
            done = self._done.get()
            self._begun[done.job.lane] -= 1
            found.append(done)
        return tuple(found)

    def at_work(self) -> int:
        """See `Workers`."""
        return sum(self._begun.values())

    def dismiss(self) -> None:
        """Let the threads end that have nothing to do."""
        for lane, count in self._threads.items():
            for _ in range(count):
                self._jobs[lane].put(None)

    def _work(self, lane: Lane) -> None:
        while (job := self._jobs[lane].get()) is not None:
            self._done.put(Done(job=job, result=job.work()))
            self._wake()


class Inline(Generic[T]):
    """A worker that does each job at once, in the thread that begins it."""

    def __init__(self) -> None:
        self._done: list[Done[T]] = []

    def free(self, lane: Lane) -> bool:  # noqa: ARG002 - it is never at work when it is asked
        """See `Workers`."""
        return True

    def begin(self, job: Job[T]) -> None:
        """See `Workers`."""
        self._done.append(Done(job=job, result=job.work()))

    def finished(self) -> tuple[Done[T], ...]:
        """See `Workers`."""
        found, self._done = tuple(self._done), []
        return found

    def at_work(self) -> int:
        """See `Workers`."""
        return len(self._done)
