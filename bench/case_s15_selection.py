"""S15: what does it cost to give a train its part of a large table?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.bench import Bench, Case
from bench.figures import Figure, Goal
from bench.usage import function

_RATIO = Goal(most=1.3)
_MEMORY = Goal(most=256, absolute=True)
_PRICE = (
    "rows in another order take the engine alone the ratio above, without any secret; besides, every patient is hashed"
    " under two keys, which takes the time above, the cohort is sorted and kept, and what was written is hashed"
)


def measure(bench: Bench) -> Iterator[Figure]:
    """Yield times and memory for CSV and Parquet."""
    rows, folder = 200_000 if bench.quick else 10_000_000, str(bench.folder)
    function("selected:make", folder, str(rows))
    hashed = float(function("selected:hashed", folder).printed)
    yield Figure(
        what="hashing those patients under two keys, which the engine alone does not do", value=hashed, unit="s"
    )
    for form in ("csv", "parquet"):
        used = {name: function(f"selected:{name}", form, folder) for name in ("alone", "ordered", "ours")}
        seconds = {name: float(usage.printed) for name, usage in used.items()}
        yield Figure(
            what=f"{form}: by the engine alone, in an order that follows from what is in the rows",
            value=seconds["ordered"],
            unit="s",
            to="the engine alone",
            ratio=seconds["ordered"] / seconds["alone"],
        )
        ratio = seconds["ours"] / seconds["alone"]
        yield Figure(
            what=f"{form}: 5 of 20 columns, a tenth of {rows} rows",
            value=seconds["ours"],
            unit="s",
            to="the engine alone",
            ratio=ratio,
            goal=_RATIO,
            note="" if _RATIO.met(ratio) else _PRICE,
        )
        yield Figure(what=f"{form}: peak memory", value=used["ours"].memory / (1 << 20), unit="MiB", goal=_MEMORY)


CASE = Case(id="S15", title="A train's part of a large table", measure=measure)
