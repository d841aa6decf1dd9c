"""How did a rehearsal go, stop by stop or round by round, and what can be done about it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from console.problems import Lines, line_of
from security.encoding import Json
from security.ids import PartyId, TrainId
from security.train.manifest import Output
from security.train.route import Task, counted
from train_builder.spec.units import show_size

_LINES_SHOWN: Final = 20
_DOES: Final = {Task.CONTRIBUTE: "contributes", Task.COMBINE: "combines"}
_GATE: Final = {
    "gate.undeclared": "the analysis left a file in /pht/state that train.yaml does not declare under 'outputs'",
    "gate.oversized": "leave less in /pht/state, or raise limits.output or an output's max_bytes in train.yaml",
    "gate.type": "leave plain files in /pht/state, of the media_type that train.yaml declares for them",
    "gate.schema": "what the analysis left does not satisfy a schema in train.yaml",
    "sum.unreadable": "the analysis left something else than numbers of the shape that train.yaml declares for a sum",
    "sum.out-of-bound": "the analysis left a number that is none, or beyond the bound that train.yaml declares for a sum: raise it",
    "run.no-results": "the analysis left none of the outputs of train.yaml in /pht/state",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReport:
    """How one stop went. `code` and `reason` are those of the refusal or fault, if any; `printed` is the run's output.

    `place` says where the stop is on the route, in words. `round` counts from 0. The data are the scientist's own samples, so unlike at a hospital everything may be shown.
    """

    stop: int
    place: str
    round: int
    task: Task
    station: PartyId
    passed: bool
    code: str | None
    reason: str | None
    seconds: int | None
    outputs: tuple[tuple[str, int], ...]
    printed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """How the whole route went.

    `sandbox` names what the analysis ran in; `sealed` is false for a plain process, and `lacking` says what was missing.
    `outputs` are those the train declares, `lines` tells where train.yaml does, and `results` is the folder with the opened
    final state, if it came home.
    """

    train: TrainId
    sandbox: str
    sealed: bool
    lacking: str | None
    stops: tuple[StopReport, ...]
    outputs: tuple[Output, ...]
    lines: Lines
    results: Path | None

    @property
    def failed(self) -> StopReport | None:
        """The stop that the train did not pass, if there is one."""
        return next((one for one in self.stops if not one.passed), None)


def render_rehearsal(done: Rehearsal, results: Path | None) -> str:
    """Render for a person: each stop, and for one that did not pass why, with what the analysis printed.

    `results` is the folder the results were asked for in, if they were.
    """
    where = "the stations' sandbox" if done.sealed else "a plain local process, not a sandbox"
    lines = [f"the analysis ran in {where} ({done.sandbox})"]
    if done.lacking:
        lines.append(f"  because {done.lacking}")
    begun = -1
    for one in done.stops:
        if one.task in {Task.BOARD, Task.DEPART}:
            lines += _boarding(one)
            continue
        if one.task is Task.RUN:
            lines += _stop(one, f"  {one.place}  {one.station}")
            continue
        if one.round != begun:
            begun = one.round
            lines.append(f"  round {counted(begun)}")
        lines += _stop(one, f"    {one.station} {_DOES[one.task]}")
    if done.results is None:
        lines.append("this train would not come home")
    else:
        lines.append("this train would come home" + (f"; its results are in {results}" if results else ""))
    return "\n".join(lines)


def _boarding(one: StopReport) -> list[str]:
    """Render how boarding went at one station: nothing runs there."""
    who, did = (
        f"  {one.station}",
        "is on board" if one.task is Task.BOARD else "sees all on board, and the train departs",
    )
    return [f"{who} {did}" if one.passed else f"{who} does not take part: {one.code}: {one.reason}"]


def _stop(one: StopReport, who: str) -> list[str]:
    """Render how one stop went; `who` is how its line begins."""
    if one.passed:
        files = ", ".join(f"{path} ({show_size(size)})" for path, size in one.outputs)
        return [f"{who}: passed; leaves {files or 'nothing'}"]
    said = one.printed.decode("utf-8", "replace").splitlines()[-_LINES_SHOWN:]
    return [f"{who}: {one.code}: {one.reason}", *(f"    | {line}" for line in said)]


def rehearsal_document(done: Rehearsal, results: Path | None) -> dict[str, Json]:
    """Return the same for a program."""
    return {
        "sandbox": done.sandbox,
        "sealed": done.sealed,
        "lacking": done.lacking,
        "home": done.results is not None,
        "results": str(results) if results and done.results else None,
        "stops": [
            {
                "stop": one.stop,
                "place": one.place,
                "round": one.round if one.task.in_rounds else None,
                "task": one.task.value,
                "station": str(one.station),
                "passed": one.passed,
                "code": one.code,
                "reason": one.reason,
                "seconds": one.seconds,
                "outputs": dict(one.outputs),
                "printed": one.printed.decode("utf-8", "replace"),
            }
            for one in done.stops
        ],
    }


def hint_for(failed: StopReport, outputs: Sequence[Output], lines: Lines) -> str:
    """Return what to do about a stop that did not pass; `outputs` are those the train declares, at these `lines` of train.yaml."""
    if failed.code == "gate.type" and "NaN" in (failed.reason or ""):
        return (
            "a mean of nothing, or a division by zero? Write null for a number that there is none of (in Python: None)"
        )
    if failed.code in _GATE:
        ours = [(index, one) for index, one in enumerate(outputs) if one.task in {None, failed.task}]
        if failed.code.startswith("sum."):
            ours = [(index, one) for index, one in ours if one.sum is not None and one.path in (failed.reason or "")]
        meant = [
            f"{one.path} (line {line_of(lines, ('outputs', index, 'sum'))} of train.yaml)"
            for index, one in ours
            if failed.code != "gate.schema" or one.schema is not None
        ]
        return f"{_GATE[failed.code]}: {', '.join(meant)}"
    return "see above what the analysis printed" if failed.printed else "the analysis printed nothing"
