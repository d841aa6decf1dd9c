"""What is a figure: a value, what it is compared to, and what it should reach?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure should reach: `most` or `least`, of its ratio, or of its value if `absolute`."""

    most: float | None = None
    least: float | None = None
    absolute: bool = False

    def met(self, figure: float) -> bool:
        """Whether a value or ratio reaches it."""
        return (self.most is None or figure <= self.most) and (self.least is None or figure >= self.least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the report. `ratio` is to what `to` says; `note` names the limit where a goal is out of reach."""

    what: str
    value: float
    unit: str
    to: str = ""
    ratio: float | None = None
    goal: Goal | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one.

        Raises:
            ValueError: the goal is about a ratio, and there is none.
        """
        if self.goal is None:
            return None
        if self.goal.absolute:
            return self.goal.met(self.value)
        if self.ratio is None:
            msg = f"no ratio for the goal of: {self.what}"
            raise ValueError(msg)
        return self.goal.met(self.ratio)


Run = Callable[[], float | None]
"""Does something once, and returns what was measured; if nothing is returned, the seconds it took are what counts."""


def alternating(runs: Mapping[str, Run], *, rounds: int) -> dict[str, float]:
    """Take turns through `runs`, forwards and backwards; return the median of each."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        names = list(runs) if number % 2 == 0 else list(runs)[::-1]
        for name in names:
            begun = time.perf_counter()
            measured = runs[name]()
            found[name].append(time.perf_counter() - begun if measured is None else measured)
    return {name: statistics.median(values) for name, values in found.items()}
