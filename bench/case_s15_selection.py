"""S15: what does it cost to give a train its part of a large table?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.bench import Bench, Case
from bench.figures import Figure, Goal, alternating
from bench.usage import function

_RATIO = Goal(most=1.3)
_MEMORY = Goal(most=256, absolute=True)
_PRICE = (
    "every patient is hashed under two keys, which alone takes the time above; the cohort is sorted and kept,"
    " rows come in another order, and what was written is hashed"
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
        seconds = alternating(
            {
                "alone": lambda form=form: float(function("selected:alone", form, folder).printed),  # type: ignore[misc]
                "ours": lambda form=form: float(function("selected:ours", form, folder).printed),  # type: ignore[misc]
            },
            rounds=1,
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
        peak = function("selected:ours", form, folder).memory / (1 << 20)
        yield Figure(what=f"{form}: peak memory", value=peak, unit="MiB", goal=_MEMORY)


CASE = Case(id="S15", title="A train's part of a large table", measure=measure)
