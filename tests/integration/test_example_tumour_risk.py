"""The example of rounds: the fit that all patients together give, and the same lap after lap; an odd design matrix is told."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rehearsal.company import Venue
from rehearsal.rehearse import Play, rehearse
from security.clock import SystemClock
from security.ids import PartyId
from tests.support.examples import EXAMPLES, script
from tests.support.trains import NOW, consortium
from train_builder.code.check import preflight
from train_builder.code.sources import collect
from train_builder.spec.spec import load_spec

EXAMPLE = EXAMPLES / "tumour-risk"
TEMPLATE = Path(__file__).parents[2] / "train_builder" / "templates" / "rounds"
HOSPITALS = ("hospital-a", "hospital-b", "hospital-c")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    assert script(EXAMPLES / "breast-cancer" / "split.py", folder).status == 0
    return folder


def played(folder: Path, train: Path, data: Path) -> Path:
    """Rehearse a train on the hospitals' data, and return the folder with what came home."""
    folder.mkdir()
    (folder / "room").mkdir()
    samples = {(PartyId(name), "patients"): data / name for name in HOSPITALS}
    venue = Venue(room=folder / "room", engine=None, path=os.environ["PATH"], clock=SystemClock())
    done = rehearse(Play(folder=train, results=folder / "results", samples=samples), venue)
    assert done.failed is None
    return folder / "results"


def model_of(results: Path) -> Any:
    return json.loads((results / "model.json").read_text())


@pytest.fixture(scope="module")
def in_rounds(split: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("rounds") / "it", EXAMPLE, split)


def test_rounds_give_what_pooling_gives_and_a_wrong_digit_does_not(in_rounds: Path, tmp_path: Path) -> None:
    right = script(EXAMPLE / "evaluate.py", in_rounds)
    assert right.status == 0, right.out
    assert "agree to 1e-09: yes" in right.out
    model = model_of(in_rounds)
    assert (model["status"], model["patients"]) == ("fitted", 569)

    model["coefficients"][2] += 1e-8
    (tmp_path / "model.json").write_text(json.dumps(model))
    wrong = script(EXAMPLE / "evaluate.py", tmp_path)
    assert wrong.status == 1
    assert "agree to 1e-09: NO" in wrong.out


def test_a_sequence_of_laps_gives_the_same_coefficients(in_rounds: Path, split: Path, tmp_path: Path) -> None:
    train = tmp_path / "laps"
    shutil.copytree(EXAMPLE, train)
    shutil.copy(train / "sequence.yaml", train / "train.yaml")
    results = played(tmp_path / "played", train, split)
    ours, theirs = model_of(results), model_of(in_rounds)
    assert (ours["status"], ours["rounds"]) == ("fitted", theirs["rounds"])
    assert ours["coefficients"] == pytest.approx(theirs["coefficients"], abs=1e-10, rel=0)
    assert [path.name for path in results.iterdir()] == ["model.json"]


def test_there_is_nothing_to_find_in_it(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "laps")
    shutil.copy(EXAMPLE / "sequence.yaml", tmp_path / "laps" / "train.yaml")
    for folder in (EXAMPLE, tmp_path / "laps"):
        spec = load_spec(folder)
        assert preflight(spec, collect(folder / spec.code), consortium().trust, now=NOW) == ()


def test_the_example_is_the_template_with_another_question() -> None:
    assert (EXAMPLE / "code" / "regression.py").read_bytes() == (TEMPLATE / "code" / "regression.py").read_bytes()


# --- Data that have no answer ------------------------------------------------------------------------------------------


def spoiled(split: Path, into: Path, change: Mapping[str, str]) -> Path:
    """Copy the hospitals' data, with columns that are what another column is, or a constant."""
    for hospital in HOSPITALS:
        (into / hospital).mkdir(parents=True)
        with (split / hospital / "patients.csv").open(newline="") as source:
            rows = list(csv.DictReader(source))
        for row in rows:
            row.update({name: row.get(value, value) for name, value in change.items()})
        with (into / hospital / "patients.csv").open("w", newline="") as sink:
            lines = csv.DictWriter(sink, rows[0].keys())
            lines.writeheader()
            lines.writerows(rows)
    return into


@pytest.mark.parametrize(
    ("change", "redundant"),
    [
        ({"mean_texture": "mean_radius"}, "mean_texture"),
        ({"mean_smoothness": "0.11"}, "mean_smoothness"),
    ],
)
def test_a_covariate_that_the_others_tell_is_named(
    split: Path, tmp_path: Path, change: Mapping[str, str], redundant: str
) -> None:
    model = model_of(played(tmp_path / "it", EXAMPLE, spoiled(split, tmp_path / "data", change)))
    assert (model["status"], model["redundant"], model["rounds"]) == ("redundant", redundant, 1)
    assert "standard_errors" not in model


def test_an_outcome_that_is_foretold_without_error_is_told(split: Path, tmp_path: Path) -> None:
    """By the program of the train, told what a station tells it: a rehearsal would do nothing else, fourteen times over."""
    data = spoiled(split, tmp_path / "data", {})
    for path in data.glob("*/patients.csv"):
        tall = re.sub(r"(?m)^malignant,[^,]*", "malignant,30.0", path.read_text())
        path.write_text(re.sub(r"(?m)^benign,[^,]*", "benign,8.0", tall))
    model = fitted(data, tmp_path / "rooms", most=40)
    assert model["status"] == "separated"


@pytest.mark.parametrize("spoil", [{}, {"mean_texture": "mean_radius"}])
def test_the_program_alone_finds_what_a_train_of_rounds_finds(
    split: Path, tmp_path: Path, in_rounds: Path, spoil: Mapping[str, str]
) -> None:
    model = fitted(spoiled(split, tmp_path / "data", spoil), tmp_path / "rooms", most=15)
    if spoil:
        assert (model["status"], model["rounds"]) == ("redundant", 1)
    else:
        theirs = model_of(in_rounds)
        assert (model["status"], model["rounds"]) == (theirs["status"], theirs["rounds"])
        assert model["coefficients"] == pytest.approx(theirs["coefficients"], abs=1e-10, rel=0)


def fitted(data: Path, rooms: Path, *, most: int) -> Any:
    """Run the program of the example as stations do, round after round, and add up in between; nothing else happens."""
    keep, came = rooms / "keep", rooms / "came"
    for folder in (keep, came / "hospital-a", came / "sum"):
        folder.mkdir(parents=True)
    model: Any = None
    for number in range(most):
        parts = [run(rooms / f"{number}-{name}", "contribute", number, data / name, came, keep) for name in HOSPITALS]
        for name in ("score", "information", "deviance"):
            total = np.sum([json.loads((part / f"{name}.json").read_text()) for part in parts], axis=0)
            (came / "sum" / f"{name}.json").write_text(json.dumps(total.tolist()))
        combined = run(rooms / f"{number}-combined", "combine", number, None, came, keep)
        model = json.loads((combined / "model.json").read_text())
        if (combined / "finished").exists():
            return model
        shutil.copy(combined / "model.json", came / "hospital-a")
    return model


def run(state: Path, task: str, number: int, patients: Path | None, came: Path, keep: Path) -> Path:
    """Run the program once, and return the folder with what it wrote."""
    state.mkdir()
    if patients is not None:
        (state / "data").mkdir()
        (state / "data" / "patients").symlink_to(patients)
    context = state / "context.json"
    context.write_text(json.dumps({"round": number, "junction": "hospital-a"}))
    places = {"CONTEXT": context, "DATA": state / "data", "IN": came, "KEEP": keep, "STATE": state}
    done = subprocess.run(
        [sys.executable, EXAMPLE / "code" / "regression.py", task],
        env={f"PHT_{name}": str(path) for name, path in places.items()},
        check=True,
    )
    assert done.returncode == 0
    return state
