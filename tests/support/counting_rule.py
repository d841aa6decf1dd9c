"""A rule about what leaves, as a hospital might add one: enough rows, at a price.

It is a port's backing like any other and passes the same contract suite.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from station.errors import GateRefused
from station.gate.port import Clear, Hold, Left, Verdict
from station.visit.parts import Spent

NUMBER_BITS = 52


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastCount:
    """No result over fewer than `least` rows; a person looks at those over fewer than `quiet`. Every number has its price."""

    least: int
    quiet: int = 0

    def judge(self, left: Left) -> Verdict:
        numbers, counts = 0, list[int]()
        for one in left.files:
            if one.declared is None or one.declared.media_type != "application/json":
                continue
            with one.member.open() as source:
                document = json.load(source)
            numbers += len(document)
            counts += [value for name, value in document.items() if name == "n" and isinstance(value, int)]
        fewest = min(counts, default=None)
        if fewest is not None and fewest < self.least:
            msg = "a result is about too few patients"
            raise GateRefused(msg, least=self.least)
        cost = (Spent(budget="bits", amount=NUMBER_BITS * numbers),)
        if fewest is not None and fewest < self.quiet:
            return Hold(reason="a result is about few patients", cost=cost)
        return Clear(cost=cost)
