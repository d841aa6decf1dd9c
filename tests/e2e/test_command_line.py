"""What the command line says, to whom, and what it keeps to itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from security.errors import FileMissing, InvalidInput
from security.version import VERSION
from tests.support.desk import HOME, ROOT, SETUP, WITH, Desk, in_a_process
from tests.support.registries import RealRegistries


def moved(desk: Desk, address: str) -> None:
    """Publish the directory in another registry, and let alice's settings name that one."""
    desk.answer("directory", "publish", "consortium", "--to", address, *WITH)
    settings = desk.path / "alice" / "pht.json"
    settings.write_text(settings.read_text().replace(f"layout:{desk.path / 'registry'}", address))


def test_the_most_talkative_submit_tells_no_address_with_a_query(desk: Desk, real_registries: RealRegistries) -> None:
    """Upload states and signed addresses stand in queries; whoever pastes a log would publish them."""
    address = real_registries.address("http")
    moved(desk, address)
    typed = in_a_process(desk.path, {}, "-vv", "train", "submit", "my-train", "--again", *HOME, *WITH)
    assert typed.exit == 0, str(typed)
    waiting = desk.answer("registry", "ls", address, "hospital-a")["mailboxes"]["hospital-a"]["trains"]
    assert len(waiting) == 1
    assert "?" not in typed.err
    assert "_state" not in typed.err
    assert "urllib3" not in typed.err


def test_json_is_for_the_version_too(tmp_path: Path) -> None:
    for words in (("--json", "--version"), ("--version", "--json")):
        assert in_a_process(tmp_path, {}, *words).document == {"version": VERSION}
    assert in_a_process(tmp_path, {}, "--version").out == f"pht, version {VERSION}\n"


@pytest.mark.parametrize("said", ["1", "true", "YES"])
def test_json_may_be_asked_for_by_a_variable(desk: Desk, said: str) -> None:
    def ask(*words: str) -> tuple[int, object]:
        typed = in_a_process(desk.path, {"PHT_JSON": said}, *words)
        assert typed.err == "", str(typed)
        return typed.exit, json.loads(typed.out)

    assert ask("--version") == (0, {"version": VERSION})
    assert ask("keys", "show", "alice/keys") == (0, desk.answer("keys", "show", "alice/keys"))
    for words, status in ((("keys", "show", "nowhere"), 40), (("keys", "shwo"), 2), ((), 2), (("keys", "--what"), 2)):
        assert ask(*words) == (status, desk.pht("--json", *words).document)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("statoin", "ls"), "station"),
        (("station", "shwo"), "show"),
        (("train", "rehears"), "rehearse"),
        (("keys", "shwo"), "show"),
        (("station", "audit", "verfy"), "verify"),
    ],
)
def test_of_a_command_that_there_is_not_the_nearest_is_offered(desk: Desk, words: tuple[str, ...], meant: str) -> None:
    typed = desk.pht(*words)
    assert typed.exit == 2, str(typed)
    assert f"'{meant}'" in typed.err, str(typed)
    assert "Did you mean" in typed.err, str(typed)


@pytest.mark.parametrize("said", ["0", "", "no", "maybe"])
def test_another_word_in_the_variable_asks_for_no_json(desk: Desk, said: str) -> None:
    typed = in_a_process(desk.path, {"PHT_JSON": said, "PHT_AS_JSON": "1"}, "keys", "show", "nowhere")
    assert typed.out == "", str(typed)
    assert typed.err.startswith("pht: "), str(typed)


@pytest.mark.parametrize(
    "words", [("keys", "show", "keys"), ("train", "setup", "alice", *SETUP), ("registry", "up", "r")]
)
def test_a_folder_that_was_removed_under_ones_feet(tmp_path: Path, words: tuple[str, ...]) -> None:
    here = tmp_path / "here"
    here.mkdir()
    gone = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", sys.executable, str(ROOT / "pht.py"), *words]
    done = subprocess.run(gone, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == FileMissing.exit
    assert done.stderr.splitlines()[0] == "pht: the folder you are in has been removed [file.missing]"
    assert list(tmp_path.iterdir()) == []


def piped(folder: Path, how: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Type a command, and let a shell do something with its streams, such as ``2>&-``."""
    command = ["sh", "-c", f'"$@" {how}', "sh", sys.executable, str(ROOT / "pht.py"), *words]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    return subprocess.run(command, cwd=folder, env=strict, capture_output=True, check=False)


FAILING = ("--json", "keys", "show", "nowhere")


def test_an_error_that_cannot_be_told_as_json_is_told_in_a_line(desk: Desk) -> None:
    done = piped(desk.path, ">/dev/full", *FAILING)
    assert done.returncode == FileMissing.exit
    said = done.stderr.decode().splitlines()
    assert [line.partition(": ")[0] for line in said] == ["pht", "hint"], said
    assert said[0].endswith("[file.missing]")


@pytest.mark.parametrize("how", ["2>/dev/full", "2>&-", "<&- >&- 2>&-"])
def test_a_command_that_nobody_can_be_told_about_ends_as_ever(desk: Desk, how: str) -> None:
    for words, status in (
        (FAILING[1:], FileMissing.exit),
        (("keys", "show", "alice/keys"), 0),
        (("keys", "new", "k", "--party", "x", "--role", "owner"), InvalidInput.exit),
    ):
        assert piped(desk.path, how, *words).returncode == status, words
    assert not (desk.path / "k").exists()


@pytest.mark.parametrize(("words", "status"), [(FAILING, FileMissing.exit), (("keys", "show", "alice/keys"), 0)])
def test_a_reader_that_has_left_changes_neither_the_end_nor_the_errors(
    desk: Desk, words: tuple[str, ...], status: int
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, str(ROOT / "pht.py"), *words]
    done = subprocess.run(command, cwd=desk.path, stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert done.returncode == status
    assert done.stderr == b""


def test_a_name_that_is_no_text_is_told_in_text(desk: Desk) -> None:
    name = os.fsdecode(b"train-\xff")
    made = piped(desk.path, "", "train", "init", name, "--route", "hospital-a", "--approval", "vote 1/2026")
    assert made.returncode == 0, made.stderr
    assert b"made train-\\udcff" in made.stdout
    for words, status in (("keys", "show", name), 40), (("train", "check", name, "--offline"), 0):
        told = piped(desk.path, "", "--json", *words)
        assert told.returncode == status, told
        json.loads(told.stdout.decode("ascii"))
