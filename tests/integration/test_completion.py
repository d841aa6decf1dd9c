"""What a shell offers for the word that is being typed: trains, stations, and nothing but these where there are none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.desk import HOME, WITH, Desk, desk, edit, furnished

__all__ = ["desk", "furnished"]  # fixtures
ROOT = Path(__file__).parents[2]
AT = ("-s", "hospital-a")


def asked(*words: str) -> dict[str, str]:
    """How bash asks for the last of these words."""
    return {
        "_PHT_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["pht", *words]),
        "COMP_CWORD": str(len(words)),
    }


def suggestions(printed: str) -> list[str]:
    return [line.partition(",")[2] for line in printed.splitlines() if line]


def offered(folder: Path, *words: str, **environment: str) -> list[str]:
    """Return what the shell would offer for the last of these words; in this process, which is what a shell's would print."""
    variables = {**asked(*words), "HOME": str(folder / "nowhere"), **environment}
    typed = Desk(path=folder, whole=folder, environment=variables).pht()
    assert (typed.exit, typed.err) == (0, "")
    return suggestions(typed.out)


def offered_by_a_process(folder: Path, *words: str, **environment: str) -> list[str]:
    """Return what the shell would offer, from a process as the shell starts it."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "pht.py")],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder / "nowhere"), **asked(*words), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return suggestions(done.stdout)


def train_of(desk: Desk) -> str:
    (record,) = (desk.path / "alice" / "trains").iterdir()
    return record.name


def test_a_process_that_a_shell_starts_offers_the_same(desk: Desk) -> None:
    train = train_of(desk)
    assert offered_by_a_process(desk.path, "train", "follow", *HOME, "") == ["latest", train[:12]]
    assert offered_by_a_process(desk.path, "station", "show", "", PHT_STATION="hospital-a") == [train[:12]]
    assert offered_by_a_process(desk.path, "station", "show", "-s", "nowhere", "") == []


@pytest.mark.parametrize("command", ["follow", "open", "verify", "inspect"])
def test_a_scientist_is_offered_their_trains(desk: Desk, command: str) -> None:
    train = train_of(desk)
    assert offered(desk.path, "train", command, *HOME, "") == ["latest", train[:12]]
    assert offered(desk.path, "train", command, *HOME, train[:3]) == [train[:12]]
    assert offered(desk.path, "train", command, "", PHT_HOME="alice") == ["latest", train[:12]]
    assert offered(desk.path, "train", command, *HOME, "xyz") == []


def test_the_newest_train_is_offered_first(desk: Desk) -> None:
    first = train_of(desk)
    (desk.path / "my-train" / "code" / "main.py").write_text("print('another')\n")
    second = desk.answer("train", "submit", "my-train", "--again", *HOME, *WITH)["train"]
    assert offered(desk.path, "train", "follow", *HOME, "") == ["latest", second[:12], first[:12]]


@pytest.mark.parametrize("command", ["show", "approve", "refuse"])
def test_an_operator_is_offered_what_is_here(desk: Desk, command: str) -> None:
    train = train_of(desk)
    assert offered(desk.path, "station", command, *AT, "") == [train[:12]]
    assert offered(desk.path, "station", command, "", PHT_STATION="hospital-a") == [train[:12]]
    assert offered(desk.path, "station", command, *AT, "xyz") == []


def test_only_what_waits_can_be_approved(desk: Desk) -> None:
    train = train_of(desk)
    desk.answer("station", "approve", train[:12], *AT)
    assert offered(desk.path, "station", "approve", *AT, "") == []
    assert offered(desk.path, "station", "show", *AT, "") == [train[:12]]


@pytest.mark.parametrize("command", ["check", "describe"])
def test_an_operator_is_offered_the_data_sets(desk: Desk, command: str) -> None:
    edit(desk.path / "hospital-a" / "station.yaml", "\ndata:", "\ndata:\n  scans: {folder: scans}")
    found = offered(desk.path, "station", "data", command, *AT, "")
    assert "scans" in found
    assert offered(desk.path, "station", "data", command, *AT, "sc") == ["scans"]
    assert offered(desk.path, "station", "data", command, "-s", "nowhere", "") == []


def test_a_route_is_made_of_the_stations_that_the_directory_had_last(desk: Desk) -> None:
    route = ("train", "init", "t", "--route")
    assert offered(desk.path, *route, "", PHT_HOME="alice") == ["hospital-a"]
    assert offered(desk.path, *route, "hos", PHT_HOME="alice") == ["hospital-a"]
    assert offered(desk.path, *route, "hospital-b,h", PHT_HOME="alice") == ["hospital-b,hospital-a"]
    assert offered(desk.path, *route, "hospital-a,", PHT_HOME="alice") == []


@pytest.mark.parametrize(
    "words",
    [
        ("train", "follow", ""),
        ("train", "open", "--home", "nowhere", ""),
        ("train", "init", "t", "--route", ""),
        ("station", "show", ""),
        ("station", "approve", "-s", "nowhere", ""),
    ],
)
def test_where_nothing_is_nothing_is_offered(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert offered(tmp_path, *words) == []


@pytest.mark.parametrize("damaged", ["alice/pht.json", "hospital-a/station.yaml", "hospital-a/state/journal.sqlite"])
def test_what_cannot_be_read_is_left_to_the_command_to_explain(desk: Desk, damaged: str) -> None:
    (desk.path / damaged).write_bytes(json.dumps({"not": "this"}).encode())
    words = ("train", "follow", *HOME, "") if damaged.startswith("alice") else ("station", "show", *AT, "")
    assert offered(desk.path, *words) == []
