"""Whatever file of a key, home, state, workspace or registry folder is gone, cut, exchanged or something else: every
command says so in a line with a code and a hint, or works; it loses nothing, and works again once the file is back.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.desk import FAMILIES, HOME, SETUP, STATION, WITH, Desk

A = "sha256:" + "1" * 64
AT = ("-s", "hospital-a")
SANDBOX = ("--engine", "unix:///nowhere")

COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "alice": [
        ("keys", "show", "alice/keys"),
        ("keys", "check", "alice/keys", *WITH),
        ("keys", "card", "alice/keys", "-o", "new.card.json", *WITH),
        ("keys", "export", "alice/keys", "exported", "--yes", *WITH),
        ("train", "setup", "alice", *SETUP),
        ("train", "ls", *HOME),
        ("train", "stations", *HOME),
        ("train", "check", "my-train", *HOME),
        ("train", "follow", *HOME),
        ("train", "inspect", "latest", *HOME),
        ("train", "submit", "my-train", "--again", *HOME, *WITH),
        ("train", "open", "latest", "results", *HOME, *WITH),
        ("train", "verify", "latest", *HOME),
        ("train", "rehearse", "my-train", *HOME, *SANDBOX),
    ],
    "hospital-a": [
        ("keys", "check", "hospital-a/keys", *WITH),
        ("station", "init", "hospital-a", *STATION),
        ("station", "check", "hospital-a", *WITH),
        ("station", "once", "hospital-a", *WITH),
        ("station", "ls", "hospital-a"),
        ("station", "show", "TRAIN", *AT, "--code", *WITH),
        ("station", "show", "TRAIN", *AT, "--output", *WITH),
        ("station", "approve", "TRAIN", *AT, "--by", "grace"),
        ("station", "refuse", "TRAIN", *AT, "--by", "grace", "--reason", "not this one", "--yes"),
        ("station", "audit", "export", "audited", *AT),
        ("station", "audit", "verify", *AT),
    ],
    "consortium": [
        ("directory", "show", "consortium"),
        ("directory", "revoke", "consortium", "alice", "--yes"),
        ("directory", "approve-base", "consortium", "shell", A),
        ("directory", "withdraw-base", "consortium", "python"),
        ("directory", "rotate", "consortium", "alice.card.json", "--fingerprint", "0" * 32),
        ("directory", "rotate-keys", "consortium", "--root-key", "ROOTKEY", "--threshold", "1", *WITH),
        ("directory", "publish", "consortium", "--to", "folder:copy", *WITH),
        ("directory", "publish", "consortium", "--to", "layout:registry", "--refresh", *WITH),
    ],
    "registry": [
        ("directory", "verify", "layout:registry", "--root", "1.root.json"),
        ("directory", "pin", "layout:registry", "--fingerprint", "0" * 32),
        ("directory", "publish", "consortium", "--to", "layout:registry", *WITH),
        ("registry", "ls", "layout:registry", "hospital-a", "alice"),
        ("registry", "base", "ls", "layout:registry", "python"),
        ("train", "submit", "my-train", "--again", *HOME, *WITH),
        ("train", "follow", *HOME),
        ("station", "once", "hospital-a", *WITH),
    ],
}


def gone(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def exchanged(path: Path) -> None:
    path.write_bytes(b'{"a": "document of something else"}')


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


DAMAGES: tuple[Callable[[Path], None], ...] = (gone, cut, exchanged, a_folder, a_link)
TURNS = range(len(DAMAGES) if "PHT_TEST_EVERY_DAMAGE" in os.environ else 1)
"""In one turn every file meets every command and every damage; in five turns every command meets every damage of it."""


def meant(desk: Desk, words: tuple[str, ...]) -> tuple[str, ...]:
    """Fill in the names that are different each time."""
    (train,) = (path.parent.name for path in (desk.whole / "alice" / "trains").glob("*/record.json"))
    (key,) = (desk.whole / "consortium" / "root-keys").iterdir()
    names = {"TRAIN": train[:8], "ROOTKEY": f"consortium/root-keys/{key.name}"}
    return tuple(names.get(word, word) for word in words)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("area", sorted(COMMANDS))
def test_a_damaged_file_is_told_and_nothing_is_lost(desk: Desk, area: str, turn: int) -> None:
    """Every file with every command, every file with every damage; the whole desk is put back between them."""
    whole = desk.snapshot()
    commands = [meant(desk, words) for words in COMMANDS[area]]
    usual: dict[tuple[str, ...], int] = {}
    for words in commands:
        usual[words] = desk.pht("--json", *words).exit
        desk.restore(whole)
    names = [name for name in desk.files() if name.startswith(f"{area}/")]
    for (row, name), (column, words) in itertools.product(enumerate(names), enumerate(commands)):
        damage = DAMAGES[(row + column + turn) % len(DAMAGES)]
        damage(desk.path / name)
        damaged = desk.snapshot()
        typed = desk.pht("--json", *words)
        where = f"{name} {damage.__name__}: {typed}"
        if typed.exit:
            assert typed.exit in FAMILIES, where
            assert typed.document["error"]["hint"], where
            assert "Traceback" not in typed.err, where
            left = desk.snapshot()
            assert {path for path in damaged if damaged[path] is not None and path not in left} == set(), where
            desk.put_back(name, whole)
            assert desk.pht("--json", *words).exit == usual[words], where
        assert [path for path in desk.files() if path.endswith(".part")] == [], where
        desk.restore(whole)


def test_the_desk_is_put_back_between_two_commands(desk: Desk) -> None:
    whole = desk.snapshot()
    a_folder(desk.path / "1.root.json")
    shutil.rmtree(desk.path / "alice")
    desk.restore(whole)
    assert desk.snapshot() == whole
