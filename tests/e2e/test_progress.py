"""Is somebody at a terminal told what is worked at, without losing a question; and a pipe nothing?"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.desk import HOME, ROOT, STATION, WITH, Desk, in_a_process
from tests.support.directories import PASSPHRASE
from tests.support.terminal import at_a_terminal

ERASE = "\x1b[2K"

SLOW = [
    (("keys", "new", "new", "--party", "bob", "--role", "owner", *WITH), "making the keys"),
    (("keys", "check", "alice/keys", *WITH), "opening the keys"),
    (
        ("directory", "init", "new", "--root-keys", "1", "--threshold", "1", "--one-passphrase", *WITH),
        "making the keys",
    ),
    (("directory", "publish", "consortium", "--to", "layout:registry", *WITH), "signing and publishing"),
    (("station", "init", "new", *STATION[:6], "--registry", "layout:registry", *WITH), "making the keys"),
    (("station", "check", "hospital-a", *WITH), "checking directory, registry, engine and data"),
    (("train", "submit", "my-train", "--again", *HOME, *WITH), "sealing the code"),
]


@pytest.mark.usefixtures("quick_keys")
@pytest.mark.parametrize(("words", "told"), SLOW, ids=lambda one: "-".join(one[:2]) if isinstance(one, tuple) else None)
def test_what_takes_its_time_is_told_at_a_terminal_only(desk: Desk, words: tuple[str, ...], told: str) -> None:
    whole = desk.snapshot()
    expected = in_a_process(desk.path, {}, *words) if words[:2] == ("keys", "check") else desk.pht(*words)
    assert told not in expected.out + expected.err, str(expected)
    assert "\x1b" not in expected.out + expected.err, str(expected)
    if expected.exit == 0:
        assert expected.err == "", str(expected)
    desk.restore(whole)
    status, screen = at_a_terminal(*words, folder=desk.path, program=("-m", "tests.support.quick"))
    assert status == expected.exit, screen
    assert told in screen
    after = screen.rpartition(told)[2]
    assert ERASE in after, "it is gone when it is done"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("keys", "check", "alice/keys"), "opening the keys"),
        (
            ("directory", "publish", "consortium", "--to", "layout:registry", "--online-passphrase-file", "secret"),
            "signing and publishing",
        ),
        (("train", "submit", "my-train", "--again", *HOME), "sealing the code"),
        (("station", "check", "hospital-a"), "checking directory"),
    ],
)
def test_a_question_is_not_wiped_away(desk: Desk, words: tuple[str, ...], told: str) -> None:
    """Nothing moves while somebody is asked: on the line of the question there is nothing but the question."""
    settings = desk.path / "hospital-a" / "station.yaml"
    settings.write_text(re.sub(r"(?m)^(\s*)passphrase_file:", r"\1# passphrase_file:", settings.read_text()))
    status, screen = at_a_terminal(*words, typed=PASSPHRASE.decode(), folder=desk.path)
    assert status in {0, 40}, screen
    asked = screen.index("Passphrase of")
    line = screen[screen.rfind("\n", 0, asked) + 1 : screen.index("\n", asked)]
    assert "\x1b" not in line[line.index("Passphrase of") :]
    assert told in screen[asked:]
    assert told not in screen[:asked]


def test_a_program_that_follows_is_told_at_the_end(desk: Desk) -> None:
    (train,) = (path.name for path in (desk.path / "alice" / "trains").iterdir())
    words = ("train", "follow", train, *HOME, "--watch", "--every", "0.2")
    with started(desk.path, *words) as person, started(desk.path, "--json", *words) as program:
        assert person.stderr is not None
        told = [person.stderr.readline() for _ in range(2)]
        assert any("hospital-a" in line for line in told), told
        desk.answer("station", "refuse", train, "-s", "hospital-a", "--reason", "no", "--yes")
        desk.answer("station", "once", "hospital-a", *WITH)
        out, err = program.communicate(timeout=60)
        _, rest = person.communicate(timeout=60)
    assert (program.returncode, err) == (0, "")
    assert json.loads(out)["ended"] is True
    lines = [*told, *rest.splitlines(keepends=True)]
    assert len(lines) == len(set(lines)), "what was told before is told again"


@contextlib.contextmanager
def started(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command, and do not leave it behind."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "pht.py"), *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
