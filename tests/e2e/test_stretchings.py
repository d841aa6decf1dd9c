"""A stretching takes 256 MiB and a second: each command does it once for each key file it needs, and most for none."""

from __future__ import annotations

import pytest

from tests.support.desk import HOME, SETUP, STATION, WITH, Desk
from tests.support.stretchings import counted

pytestmark = pytest.mark.usefixtures("quick_keys")  # how often, and not how long

NONE = [
    ("keys", "show", "alice/keys"),
    ("train", "setup", "alice", *SETUP),
    ("train", "stations", *HOME),
    ("train", "check", "my-train", *HOME),
    ("train", "follow", *HOME),
    ("train", "ls", *HOME),
    ("train", "inspect", "latest", *HOME),
    ("station", "ls", "hospital-a"),
    ("station", "audit", "export", "out", "-s", "hospital-a"),
    ("station", "audit", "verify", "-s", "hospital-a"),
    ("directory", "show", "consortium"),
    ("directory", "withdraw-base", "consortium", "python"),
]
ONE = [
    ("keys", "new", "new", "--party", "bob", "--role", "owner", *WITH),
    ("keys", "card", "alice/keys", "-o", "card", *WITH),
    ("keys", "check", "alice/keys", *WITH),
    ("keys", "export", "alice/keys", "out", "--yes", *WITH),
    ("train", "submit", "my-train", "--again", *HOME, *WITH),
    ("station", "init", "hospital-b", *STATION),
    ("station", "once", "hospital-a", *WITH),
    ("station", "audit", "export", "out", "-s", "hospital-a", *WITH),
    ("directory", "publish", "consortium", "--to", "layout:registry", "--refresh", *WITH),
]
OF_EACH_KEY = [
    (("directory", "publish", "consortium", "--to", "layout:registry", *WITH), 2),
    (("directory", "init", "new", "--root-keys", "1", "--threshold", "1", "--one-passphrase", *WITH), 3),
]


@pytest.mark.parametrize(
    ("words", "number"), [*((words, 0) for words in NONE), *((words, 1) for words in ONE), *OF_EACH_KEY]
)
def test_a_command_stretches_a_passphrase_once_for_each_key_file_it_needs(
    desk: Desk, words: tuple[str, ...], number: int
) -> None:
    with counted() as stretchings:
        desk.answer(*words)
    assert stretchings.number == number


def test_a_wrong_passphrase_is_stretched_once(desk: Desk) -> None:
    with counted() as stretchings:
        typed = desk.pht("--json", "keys", "check", "alice/keys", "--passphrase-file", "wrong")
    assert (typed.code, stretchings.number) == ("key.wrong-passphrase", 1)


def test_a_station_that_goes_on_being_made_opens_its_keys_once(desk: Desk) -> None:
    (desk.path / "hospital-a" / "station.yaml").unlink()
    with counted() as stretchings:
        desk.answer("station", "init", "hospital-a", *STATION)
    assert stretchings.number == 1


def test_a_station_is_checked_with_one(desk: Desk) -> None:
    with counted() as stretchings:
        typed = desk.pht("--json", "station", "check", "hospital-a", *WITH)
    assert stretchings.number == 1, str(typed)  # there is no engine here


def test_an_operator_who_looks_into_the_code_and_decides_opens_one(desk: Desk) -> None:
    (visit,) = desk.answer("station", "ls", "hospital-a")["visits"]
    train, at = str(visit["train"]), ("-s", "hospital-a")
    for words, number in (
        (("show", train), 0),
        (("show", train, "--code", "main.py", *WITH), 1),
        (("refuse", train, "--reason", "no", "--yes"), 0),
    ):
        with counted() as stretchings:
            desk.answer("station", words[0], *words[1:], *at)
        assert stretchings.number == number, words
    desk.answer("station", "once", "hospital-a", *WITH)
    with counted() as stretchings:
        desk.answer("station", "answer", train, "--text", "ask us in June", *at, *WITH)
    assert stretchings.number == 1
