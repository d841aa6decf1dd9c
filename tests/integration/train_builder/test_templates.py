"""Every template is a train that runs as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from security.errors import InvalidInput
from security.ids import PartyId
from security.train.manifest import read_manifest
from tests.support.owners import OwnerWorld
from tests.support.trains import NOW, consortium
from train_builder.code.check import preflight
from train_builder.code.sources import collect
from train_builder.errors import FolderNotEmpty
from train_builder.spec.spec import Rounds, load_spec
from train_builder.templates import TEMPLATES, start_train


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_departs_once_its_approval_is_named(tmp_path: Path, template: str) -> None:
    start_train(template, tmp_path / "first-train", approval='Vote "7": 2026/1')
    spec = load_spec(tmp_path / "first-train")
    assert spec.name == "first-train"
    findings = preflight(spec, collect(tmp_path / "first-train" / spec.code), consortium().trust, now=NOW)
    assert [one.code for one in findings] == {"shell": ["output.by-hand"]}.get(template, [])
    sent = OwnerWorld(tmp_path / "world").submit(tmp_path / "first-train")
    made = read_manifest(sent.record.envelope.payload)
    assert (made.name, made.approval.reference) == ("first-train", 'Vote "7": 2026/1')


@pytest.mark.parametrize(
    ("template", "expected"), [("python", '{"patients": 11, "years": 609}'), ("shell", "patients\n6\n5\n")]
)
def test_a_template_computes_on_its_samples(tmp_path: Path, template: str, expected: str) -> None:
    folder = tmp_path / "t"
    start_train(template, folder)
    spec = load_spec(folder)
    state = tmp_path / "state"
    state.mkdir()
    command = [sys.executable if word == "python3" else word for word in spec.command]
    for station in spec.route:
        environment = {"PATH": os.defpath, "PHT_DATA": str(folder / "samples" / station), "PHT_STATE": str(state)}
        subprocess.run(command, cwd=folder / "code", env=environment, check=True)
    (result,) = state.iterdir()
    assert spec.outputs[0].covers(result.name)
    found = result.read_text()
    assert (json.loads(found) == json.loads(expected)) if template == "python" else (found == expected)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_does_not_tell_of_too_few_patients(tmp_path: Path, template: str) -> None:
    folder = tmp_path / "t"
    start_train(template, folder)
    (sample,) = (folder / "samples" / "hospital-a" / "patients").iterdir()
    sample.write_text("age,sex,disease\n44,0,1\n51,1,0\n")
    state = tmp_path / "state"
    state.mkdir()
    context = {"task": "contribute", "round": 0, "stations": ["hospital-a"], "junction": "hospital-a"}
    (tmp_path / "context.json").write_text(json.dumps(context))
    environment = {
        "PATH": os.defpath,
        "PHT_CONTEXT": str(tmp_path / "context.json"),
        "PHT_DATA": str(folder / "samples" / "hospital-a"),
        "PHT_IN": str(tmp_path / "in"),
        "PHT_KEEP": str(tmp_path / "keep"),
        "PHT_STATE": str(state),
    }
    command = [sys.executable if word == "python3" else word for word in load_spec(folder).command]
    done = subprocess.run(command, cwd=folder / "code", env=environment, check=False, capture_output=True)
    assert done.returncode == 1
    assert list(state.iterdir()) == []


def test_name_and_route_are_written_in(tmp_path: Path) -> None:
    start_train("python", tmp_path / "T", name="ages", route=[PartyId("x"), PartyId("y"), PartyId("x")])
    spec = load_spec(tmp_path / "T")
    assert (spec.name, spec.route) == ("ages", ("x", "y", "x"))


def test_a_route_of_rounds_is_its_stations_of_which_the_first_is_the_junction(tmp_path: Path) -> None:
    start_train("rounds", tmp_path / "t", route=[PartyId("x"), PartyId("y"), PartyId("z")])
    spec = load_spec(tmp_path / "t")
    assert spec.rounds == Rounds(stations=(PartyId("x"), PartyId("y"), PartyId("z")), junction=PartyId("x"), most=20)


def test_a_folder_whose_name_is_none_for_a_train(tmp_path: Path) -> None:
    start_train("python", tmp_path / "My Train")
    assert load_spec(tmp_path / "My Train").name == "my-train"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text("mine")
    with pytest.raises(FolderNotEmpty):
        start_train("python", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.yaml"]


@pytest.mark.parametrize(("template", "name"), [("fortran", None), ("python", "No Name")])
def test_what_cannot_be_started(tmp_path: Path, template: str, name: str | None) -> None:
    with pytest.raises(InvalidInput):
        start_train(template, tmp_path / "t", name=name)
    assert not (tmp_path / "t").exists()
