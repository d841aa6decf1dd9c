"""How are a station's visits shown to a person, and to a program?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from console.answer import Answer
from security.encoding import Json, print_time
from station.desk.visits import NO_DAEMON, VisitSummary
from station.visit.parts import plain
from station.visit.plan import Phase
from station.visit.state import Visit

_TITLES = ("VISIT", "TRAIN", "PLACE", "NAME", "OWNER", "PHASE", "NEXT", "SINCE")


def render_visits(
    visits: Sequence[VisitSummary],
    *,
    none: str = "no train has been here",
    more: int = 0,
    silence: timedelta | None = None,
) -> Answer:
    """Render visits as a table, in their order; `more` are over and were left out.

    `silence` is for how long the daemon has said nothing, if too long.
    """
    rows = [_TITLES, *map(_row, visits)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    listed: list[Json] = [visit_document(one) for one in visits]
    if more:
        lines.append(f"{more} more were here before: --all")
    if silence is not None:
        lines.append(f"the daemon has said nothing for {int(silence.total_seconds()) // 60} min: pht station check")
    return Answer(text="\n".join(lines) if visits else none, data={"visits": listed, "more": more})


def visit_in_short(visit: Visit) -> str:
    """Say which train is meant, for a person who decides about it."""
    told = visit.accepted
    if told is None:
        return f"visit {visit.arrival.short}"
    return f"{told.train.short} ({plain(told.name)}) of {told.owner}, {plain(told.place)}"


def visit_document(visit: VisitSummary) -> dict[str, Json]:
    """Return what a program is told of a visit."""
    return {
        "visit": visit.visit,
        "train": visit.train,
        "stop": visit.stop,
        "place": visit.place,
        "name": visit.name,
        "owner": visit.owner,
        "phase": _phase(visit),
        "next": visit.next,
        "since": print_time(visit.since),
    }


def _row(visit: VisitSummary) -> tuple[str, ...]:
    return (
        visit.visit.short,
        "-" if visit.train is None else visit.train.short,
        visit.place or "-",
        visit.name or "-",
        str(visit.owner or "-"),
        _phase(visit),
        visit.next,
        print_time(visit.since),
    )


def _phase(visit: VisitSummary) -> str:
    """Return the phase; that of a run is what the journal knows, and its container may be gone if no daemon looks."""
    return "was running" if visit.phase is Phase.RUNNING and visit.next.startswith(NO_DAEMON) else visit.phase.value
