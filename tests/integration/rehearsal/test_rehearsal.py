"""A rehearsal: a whole route in one process, the analysis a plain process of this machine."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from registry.errors import EngineUnavailable
from registry.memory import MemoryRegistry
from rehearsal.company import Engine, Venue
from rehearsal.errors import RehearsalStuck
from rehearsal.rehearse import Play, rehearse
from rehearsal.report import Rehearsal, hint_for, rehearsal_document, render_rehearsal
from rehearsal.samples import find_samples, parse_sample
from security.clock import SystemClock
from security.errors import BaseNotApproved, FileExists, FileMissing, InvalidInput
from security.ids import PartyId
from security.train.route import Task
from station.errors import SandboxUnfit
from station.visit.events import VisitEvent
from tests.support.owners import ROUNDS, SPEC, write_train
from tests.support.trains import consortium
from train_builder.spec.spec import load_spec

SUM = """
import json, os, pathlib
state = pathlib.Path(os.environ["PHT_STATE"]) / "sums.json"
before = json.loads(state.read_text())["sum"] if state.exists() else 0
rows = (pathlib.Path(os.environ["PHT_DATA"]) / "patients" / "patients.csv").read_text().split()
print("rows", len(rows))
state.write_text(json.dumps({"sum": before + sum(map(int, rows))}))
"""
DATA = "data:\n  - {name: patients, description: numbers, files: ['*.csv']}\n"


def train(folder: Path, script: str, rows: dict[str, str]) -> Path:
    """Write a train that visits the stations of `rows`, with these as their samples."""
    spec = SPEC.replace("[hospital-a, hospital-b, hospital-c]", f"[{', '.join(rows)}]").replace("64MiB", "256MiB")
    write_train(folder, spec + DATA, {"main.py": script})
    for name, text in rows.items():
        data = folder / "samples" / name / "patients"
        data.mkdir(parents=True)
        (data / "patients.csv").write_text(text)
    return folder


def venue(folder: Path, engine: Engine | None = None) -> Venue:
    (folder / "room").mkdir()
    return Venue(
        room=folder / "room",
        engine=engine,
        path=os.environ["PATH"],
        clock=SystemClock(),
    )


def run(folder: Path, script: str, *, rows: dict[str, str], events: list[VisitEvent] | None = None) -> Rehearsal:
    seen: list[VisitEvent] = [] if events is None else events
    play = Play(folder=train(folder / "train", script, rows), results=folder / "results")
    return rehearse(play, venue(folder), lambda _station, event: seen.append(event))


def test_a_rehearsed_train_comes_home_and_says_what_it_ran_in(tmp_path: Path) -> None:
    events: list[VisitEvent] = []
    done = run(tmp_path, SUM, rows={"hospital-a": "1 2 3", "hospital-b": "10"}, events=events)
    assert json.loads((tmp_path / "results" / "sums.json").read_text()) == {"sum": 16}
    assert done.results == tmp_path / "results"
    assert done.failed is None
    assert not done.sealed
    assert done.lacking == "no registry with the base image was named (--home names one)"
    assert done.sandbox == "process-v1"
    assert [(one.stop, one.station, one.passed, one.printed) for one in done.stops] == [
        (0, "hospital-a", True, b"rows 3\n"),
        (1, "hospital-b", True, b"rows 1\n"),
    ]
    assert len(events) == 2 * 14


def test_a_rehearsal_shows_what_a_failing_analysis_printed(tmp_path: Path) -> None:
    done = run(tmp_path, "raise SystemExit('no such column: age')", rows={"hospital-a": "1"})
    assert done.results is None
    (stop,) = done.stops
    assert (stop.passed, stop.code) == (False, "run.failed")
    assert b"no such column: age" in stop.printed
    assert "    | no such column: age" in render_rehearsal(done, None).splitlines()
    assert rehearsal_document(done, tmp_path)["results"] is None
    assert not (tmp_path / "results").exists()


def test_a_rehearsal_has_the_same_gate(tmp_path: Path) -> None:
    script = SUM + "(state.parent / 'patients.csv').write_text('1 2 3')\n"
    done = run(tmp_path, script, rows={"hospital-a": "1"})
    assert done.results is None
    assert done.stops[0].code == "gate.undeclared"


def test_a_number_that_is_none_is_told_as_that(tmp_path: Path) -> None:
    done = run(tmp_path, SUM + "state.write_text(json.dumps({'mean': float('nan')}))\n", rows={"hospital-a": "1"})
    (stop,) = done.stops
    assert stop.code == "gate.type"
    assert "NaN and Infinity are no JSON numbers" in str(stop.reason)
    assert "Write null" in hint_for(stop, (), {})


def test_a_rehearsal_does_not_wait_for_samples_that_are_not_there(tmp_path: Path) -> None:
    folder = train(tmp_path / "train", SUM, {"hospital-a": "1"})
    (folder / "samples" / "hospital-a" / "patients" / "patients.csv").unlink()
    with pytest.raises(RehearsalStuck) as caught:
        rehearse(Play(folder=folder, results=tmp_path / "results"), venue(tmp_path))
    assert caught.value.fields["reason"] == "files that the train expects are missing: patients/*.csv"


NUMBERS = """
import json, os, pathlib
rows = (pathlib.Path(os.environ["PHT_DATA"]) / "patients" / "patients.csv").read_text().split()
(pathlib.Path(os.environ["PHT_STATE"]) / "sums.json").write_text(json.dumps([len(rows), sum(map(int, rows))]))
"""


def test_sums_of_a_sequence_come_home_as_the_totals_that_they_are_opened_to(tmp_path: Path) -> None:
    folder = train(tmp_path / "train", NUMBERS, {"hospital-a": "1 2 3", "hospital-b": "10"})
    spec = (folder / "train.yaml").read_text().replace("boarding: false", "boarding: true")
    (folder / "train.yaml").write_text(spec.replace("10KB}", "10KB, sum: {shape: [2], bound: 1000}}"))
    rehearse(Play(folder=folder, results=tmp_path / "results"), venue(tmp_path))
    assert json.loads((tmp_path / "results" / "sums.json").read_text()) == [4, 16]


def test_results_are_added_to_nothing_that_was_made_meanwhile(tmp_path: Path) -> None:
    folder = train(tmp_path / "train", SUM, {"hospital-a": "1"})
    here, results = venue(tmp_path), tmp_path / "results"
    results.mkdir()
    (results / "mine").touch()
    with pytest.raises(FileExists):
        rehearse(Play(folder=folder, results=results), here)
    assert [path.name for path in results.iterdir()] == ["mine"]


class Impatient(SystemClock):
    """The clock of somebody who presses Ctrl-C as soon as the analysis runs."""

    def __init__(self, running: Path) -> None:
        self._running = running

    def wait(self, seconds: float, stop: threading.Event | None = None) -> bool:
        if self._running.exists():
            raise KeyboardInterrupt
        return super().wait(seconds, stop)


def test_an_analysis_does_not_go_on_when_its_rehearsal_is_broken_off(tmp_path: Path) -> None:
    began = tmp_path / "began"
    half = tmp_path / "half"  # it gets its name when the number is in it
    script = f"import os, time\nopen('{half}', 'w').write(str(os.getpid()))\nos.rename('{half}', '{began}')\ntime.sleep(120)\n"
    folder = train(tmp_path / "train", script, {"hospital-a": "1"})
    here = replace(venue(tmp_path), clock=Impatient(began))
    with pytest.raises(KeyboardInterrupt):
        rehearse(Play(folder=folder, results=tmp_path / "results"), here)
    with pytest.raises(ProcessLookupError):
        os.kill(int(began.read_text()), 0)


def test_an_engine_that_is_away_is_done_without_unless_it_is_required(tmp_path: Path) -> None:
    folder = train(tmp_path / "train", SUM, {"hospital-a": "1"})
    trust = consortium().trust

    def engine(*, required: bool) -> Engine:
        return Engine(url=f"unix://{tmp_path}/nobody", required=required, trust=trust, bases=MemoryRegistry())

    (tmp_path / "one").mkdir()
    with pytest.raises(EngineUnavailable) as caught:
        rehearse(Play(folder=folder, results=tmp_path / "none"), venue(tmp_path / "one", engine(required=True)))
    assert not (tmp_path / "none").exists()
    (tmp_path / "two").mkdir()
    done = rehearse(Play(folder=folder, results=tmp_path / "some"), venue(tmp_path / "two", engine(required=False)))
    assert done.lacking == caught.value.fields["reason"]
    assert json.loads((tmp_path / "some" / "sums.json").read_text()) == {"sum": 1}


def test_an_engine_on_another_machine_is_done_without_unless_it_is_required(tmp_path: Path) -> None:
    folder = train(tmp_path / "train", SUM, {"hospital-a": "1"})
    engine = Engine(url="ssh://somebody@elsewhere", required=False, trust=consortium().trust, bases=MemoryRegistry())
    (tmp_path / "one").mkdir()
    done = rehearse(Play(folder=folder, results=tmp_path / "some"), venue(tmp_path / "one", engine))
    assert not done.sealed
    assert "through a local socket" in str(done.lacking)
    (tmp_path / "two").mkdir()
    with pytest.raises(SandboxUnfit):
        rehearse(
            Play(folder=folder, results=tmp_path / "none"), venue(tmp_path / "two", replace(engine, required=True))
        )


def test_a_base_image_that_nobody_approved_is_not_rehearsed(tmp_path: Path) -> None:
    folder = train(tmp_path / "train", SUM, {"hospital-a": "1"})
    (folder / "train.yaml").write_text((folder / "train.yaml").read_text().replace("base: python", "base: cobol"))
    engine = Engine(url="unix:///nowhere", required=False, trust=consortium().trust, bases=MemoryRegistry())
    with pytest.raises(BaseNotApproved):
        rehearse(Play(folder=folder, results=tmp_path / "results"), venue(tmp_path, engine))


def test_samples_are_those_that_were_named_or_lie_beside_the_train(tmp_path: Path) -> None:
    folder = train(tmp_path / "train", SUM, {"hospital-a": "1", "hospital-b": "2"})
    spec = load_spec(folder)
    named = dict([parse_sample(f"hospital-b/patients={tmp_path}")])
    assert find_samples(folder, spec, named) == {
        "hospital-a": {"patients": folder / "samples" / "hospital-a" / "patients"},
        "hospital-b": {"patients": tmp_path},
    }
    with pytest.raises(InvalidInput):
        find_samples(folder, spec, {(PartyId("hospital-z"), "patients"): tmp_path})
    with pytest.raises(FileMissing):
        find_samples(folder, spec, {(PartyId("hospital-a"), "patients"): tmp_path / "nowhere"})


@pytest.mark.parametrize("text", ["", "nonsense", "hospital-a=x", "hospital-a/patients", "hospital-a/=x", "Not/a=x"])
def test_a_place_for_samples_has_one_form(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_sample(text)


# --- Rounds ------------------------------------------------------------------------------------------------------------

MEAN = """
import json, os, pathlib, sys
state, came = pathlib.Path(os.environ["PHT_STATE"]), pathlib.Path(os.environ["PHT_IN"])
told = json.loads(pathlib.Path(os.environ["PHT_CONTEXT"]).read_text())
if told["task"] == "contribute":
    rows = (pathlib.Path(os.environ["PHT_DATA"]) / "patients" / "patients.csv").read_text().split()
    if "broken" in rows:
        sys.exit("no number: broken")
    (state / "part.json").write_text(json.dumps([len(rows), sum(map(int, rows)), told["round"]]))
else:
    n, total, rounds = json.loads((came / "sum" / "part.json").read_text())
    if total > 1000:
        sys.exit("much too much")
    (state / "model.json").write_text(json.dumps({"mean": total / n, "rounds": rounds / len(told["stations"]) + 1}))
    if told["round"] == 1:
        (state / "finished").touch()
"""


def rounds(folder: Path, rows: dict[str, str], *, junction: str, bound: int = 1000) -> Rehearsal:
    folder.mkdir(exist_ok=True)
    stations = ", ".join(rows)
    spec = ROUNDS.replace("[hospital-a, hospital-b]", f"[{stations}]").replace("64MiB", "256MiB")
    spec = spec.replace("junction: hospital-a", f"junction: {junction}").replace("combine.py", "main.py")
    spec = spec.replace("task: contribute}", f"task: contribute, sum: {{shape: [3], bound: {bound}}}}}")
    write_train(folder / "train", spec + DATA, {"main.py": MEAN})
    for name, text in rows.items():
        data = folder / "train" / "samples" / name / "patients"
        data.mkdir(parents=True)
        (data / "patients.csv").write_text(text)
    return rehearse(Play(folder=folder / "train", results=folder / "results"), venue(folder))


ROWS = {"hospital-a": "1 2 3", "hospital-b": "10", "hospital-c": "4"}


@pytest.mark.parametrize("junction", ["hospital-b", "hub"])
def test_a_train_of_rounds_is_rehearsed_by_all_of_its_stations(tmp_path: Path, junction: str) -> None:
    """A junction that is no station has no samples, and needs none."""
    done = rounds(tmp_path, ROWS, junction=junction)
    assert done.failed is None
    assert json.loads((tmp_path / "results" / "model.json").read_text()) == {"mean": 4, "rounds": 2}
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["model.json"]
    under_way = [one for one in done.stops if one.task in {Task.CONTRIBUTE, Task.COMBINE}]
    a_round = [*((name, Task.CONTRIBUTE) for name in ROWS), (junction, Task.COMBINE)]
    assert [(one.round, one.station, one.task) for one in under_way] == [
        (number, PartyId(name), task) for number in (0, 1) for name, task in a_round
    ]
    lines = render_rehearsal(done, None).splitlines()
    assert [line for line in lines if "round" in line] == ["  round 1", "  round 2"]
    assert sum(line.startswith(f"    {junction} combines: passed; leaves model.json (") for line in lines) == 2
    assert f"  {junction} sees all on board, and the train departs" in lines


def test_a_station_that_fails_in_a_round_is_named_with_what_it_printed(tmp_path: Path) -> None:
    done = rounds(tmp_path, {**ROWS, "hospital-b": "broken"}, junction="hospital-a")
    assert done.results is None
    failed = done.failed
    assert failed is not None
    assert (failed.station, failed.round, failed.task, failed.code) == ("hospital-b", 0, Task.CONTRIBUTE, "run.failed")
    lines = render_rehearsal(done, None).splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("    hospital-b contributes: run.failed"))
    assert lines[at + 1] == "    | no number: broken"
    assert not any(one.task is Task.COMBINE for one in done.stops)


def test_a_junction_that_fails_is_named(tmp_path: Path) -> None:
    done = rounds(tmp_path, {**ROWS, "hospital-b": "1000"}, junction="hospital-a", bound=5000)
    failed = done.failed
    assert failed is not None
    assert (failed.station, failed.task, failed.printed) == ("hospital-a", Task.COMBINE, b"much too much\n")
    document = rehearsal_document(done, None)["stops"]
    assert isinstance(document, list)
    assert [one["task"] for one in document if isinstance(one, dict)][-1] == "combine"


def test_a_bound_that_is_too_small_is_told_by_the_gate(tmp_path: Path) -> None:
    done = rounds(tmp_path, ROWS, junction="hospital-a", bound=9)
    failed = done.failed
    assert failed is not None
    assert (failed.station, failed.code) == ("hospital-b", "sum.out-of-bound")
    (output,) = [one for one in done.outputs if one.sum is not None]
    written = (tmp_path / "train" / "train.yaml").read_text().splitlines()
    (line,) = [number for number, one in enumerate(written, 1) if "bound:" in one]
    assert f"raise it: {output.path} (line {line} of train.yaml)" in hint_for(failed, done.outputs, done.lines)
