"""Who begins with the README's steps, and stations of their own, gets through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from security.errors import InvalidInput
from security.ids import PartyId
from tests.support.desk import in_a_process, typed
from train_builder.spec.spec import load_spec
from train_builder.templates import TEMPLATES, start_train


@pytest.mark.parametrize("template", [one for one in TEMPLATES if one != "rounds"])
def test_the_stations_of_a_route_have_samples_and_it_is_rehearsed(tmp_path: Path, template: str) -> None:
    route = ("cleveland", "budapest", "zurich", "cleveland")
    words = ("train", "init", "first", "--template", template, "--route", ",".join(route), "--approval", "vote 17")
    made: Any = typed(tmp_path, "--json", *words).document
    assert sorted(path.name for path in (tmp_path / "first" / "samples").iterdir()) == sorted(set(route))
    assert {f"samples/{party}/patients/sample.csv" for party in route} <= set(made["files"])
    done: Any = typed(tmp_path, "--json", "train", "rehearse", "first").document
    assert [(one["station"], one["passed"]) for one in done["stops"] if one["task"] == "run"] == [
        (party, True) for party in route
    ]
    checked = typed(tmp_path, "--json", "train", "check", "first", "--offline")
    assert checked.exit == 0, str(checked)


def test_who_begins_with_rounds_has_a_fit_at_once(tmp_path: Path) -> None:
    words = (
        "train",
        "init",
        "first",
        "--template",
        "rounds",
        "--route",
        "budapest,zurich,basel",
        "--approval",
        "vote 17",
    )
    typed(tmp_path, "--json", *words)
    done: Any = typed(tmp_path, "--json", "train", "rehearse", "first", "--into", "out").document
    assert done["home"] is True, str(done)
    model = json.loads((tmp_path / "out" / "model.json").read_text())
    assert (model["status"], model["patients"], model["rounds"]) == ("fitted", 95, done["stops"][-1]["round"] + 1)
    checked = typed(tmp_path, "--json", "train", "check", "first", "--offline")
    assert (checked.exit, checked.document["findings"]) == (0, []), str(checked)


def test_a_station_that_is_given_twice_for_rounds_is_told(tmp_path: Path) -> None:
    typed(tmp_path, "train", "init", "first", "--template", "rounds", "--route", "zurich,budapest,zurich")
    told = typed(tmp_path, "--json", "train", "check", "first", "--offline").document
    assert "rounds.stations[2]: 'zurich' is given twice" in told["error"]["fields"]["problem"]


def test_what_init_says_to_do_next_is_enough(tmp_path: Path) -> None:
    told = in_a_process(tmp_path, {}, "train", "init", "first").out.splitlines()
    steps = [line for line in told if line.startswith(("next: ", "then: "))]
    assert steps == [
        "next: pht train rehearse first",
        "then: write the reference of your approval into first/train.yaml",
        "then: pht train check first",
    ]
    refused = in_a_process(tmp_path, {}, "--json", "train", "check", "first", "--offline").document
    assert [one["code"] for one in refused["findings"]] == ["placeholder"]
    spec = tmp_path / "first" / "train.yaml"
    spec.write_text(spec.read_text().replace("Put the reference of your ethics vote here", "vote 17"))
    assert in_a_process(tmp_path, {}, "--json", "train", "check", "first", "--offline").document["findings"] == []


def test_ages_are_read_as_people_write_them(tmp_path: Path) -> None:
    start_train("python", tmp_path / "t", route=[PartyId("cleveland")])
    sample = tmp_path / "t" / "samples" / "cleveland" / "patients" / "sample.csv"
    sample.write_text("id,age\n1,63.0\n2,44\n3,\n4,NA\n5,51.9\n6,70\n7,nan\n8,41\n9\n")
    words = ("--json", "train", "rehearse", "t", "--into", "out")
    done = typed(tmp_path, *words)
    assert done.document["home"] is True, str(done)
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == {
        "patients": 5,
        "years": 63 + 44 + 51 + 70 + 41,
    }


@pytest.mark.parametrize("approval", ["", " ", "two\nlines", "x" * 301, "\x1b[2J"])
def test_an_approval_that_is_no_reference(tmp_path: Path, approval: str) -> None:
    with pytest.raises(InvalidInput):
        start_train("python", tmp_path / "t", approval=approval)
    assert not (tmp_path / "t").exists()


def test_an_approval_is_written_as_it_was_given(tmp_path: Path) -> None:
    told = 'Vote: "7" \\1 # 2026, München'
    start_train("shell", tmp_path / "t", approval=told)
    assert load_spec(tmp_path / "t").approval.reference == told


PICKLE = "{path: m.pkl, media_type: application/octet-stream, max_bytes: 1KB}"


@pytest.mark.parametrize(
    ("change", "code", "stops"),
    [
        ({"code/main.py": "x = (\n"}, "python.syntax", True),
        ({"code/main.py": "import pandas\n"}, "import.missing", True),
        ({"train.yaml": ("vote 17", "ethics-vote-placeholder")}, "placeholder", True),
        ({"train.yaml": ("outputs:\n", f"outputs:\n  - {PICKLE}\n")}, "output.by-hand", False),
    ],
)  # fmt: skip
def test_check_does_not_say_that_all_is_well(tmp_path: Path, change: dict[str, Any], code: str, *, stops: bool) -> None:
    start_train("python", tmp_path / "t", approval="vote 17")
    for name, text in change.items():
        path = tmp_path / "t" / name
        path.write_text(text if isinstance(text, str) else path.read_text().replace(*text))
    checked = typed(tmp_path, "--json", "train", "check", "t", "--offline")
    assert code in [one["code"] for one in checked.document["findings"]], str(checked)
    assert checked.exit == (40 if stops else 0)
    told = typed(tmp_path, "train", "check", "t", "--offline").out
    assert ("ready to depart" in told) is not stops
    assert stops or "a person decides about 1 of its outputs" in told
