"""A registry that is away, is none or says no, a directory past its date, another user's files, a second daemon, YAML that
is none: each command tells it in a line, loses nothing, and works again once it is over.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry.directory import RegistryDirectory
from registry.layout import LayoutRegistry
from security.directory.workspace import Workspace
from station.house.lock import holding
from tests.support.desk import HOME, SETUP, STATION, WITH, Desk, copy_of
from tests.support.directories import House, clock
from tests.support.liar import Liar, Reply

AT = ("-s", "hospital-a")
SANDBOX = ("--engine", "unix:///nowhere")
SUBMIT = ("train", "submit", "my-train", "--again", *HOME, *WITH)
ONCE = ("station", "once", "hospital-a", *WITH)
PUBLISH = ("directory", "publish", "consortium", "--to", "layout:registry", *WITH)

TRUSTING = [
    ("train", "check", "my-train", *HOME),
    SUBMIT,
    ("train", "follow", *HOME),
    ("train", "open", "latest", "results", *HOME, *WITH),
    ("train", "verify", "latest", *HOME),
    ("train", "inspect", "latest", *HOME),
    ("train", "stations", *HOME),
    ("train", "rehearse", "my-train", *HOME, *SANDBOX),
    ("directory", "verify", "layout:registry", "--root", "1.root.json"),
]
"""Commands that believe nothing but the directory."""

CARRYING = [
    ("directory", "pin", "layout:registry", "--fingerprint", "0" * 32, "-o", "pinned.json"),
    PUBLISH,
    ("registry", "ls", "layout:registry", "alice"),
    ("registry", "base", "ls", "layout:registry", "python"),
    ONCE,
]
"""Commands that want something from the registry itself."""

KEPT = {"hospital-a/state/journal.sqlite"}
"""What even a command that fails may write on: the journal tells that a daemon was there."""


PAGE = b"<html><body>It works!</body></html>"
WEBSITE = Reply(status=200, headers={"Content-Type": "text/html"}, body=PAGE)
LOCKED = Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="registry"'}, body=PAGE)
FORBIDDING = Reply(status=403, body=PAGE)


def moved(desk: Desk, address: str) -> None:
    """Let everybody's settings name another registry."""
    for settings in (desk.path / "alice" / "pht.json", desk.path / "hospital-a" / "station.yaml"):
        settings.write_text(settings.read_text().replace(f"layout:{desk.path / 'registry'}", address))


def told(desk: Desk, words: tuple[str, ...]) -> tuple[str | None, str]:
    """Type a command that must fail; its code, and all that it says. Nothing that was there may be gone or changed."""
    before = desk.files()
    typed = desk.pht("--json", *words)
    assert typed.exit in {10, 20, 30, 40}, str(typed)
    assert typed.document["error"]["hint"], str(typed)
    assert "Traceback" not in typed.err, str(typed)
    after = desk.files()
    changed = {name for name, data in before.items() if after.get(name) != data}
    if words[:2] != PUBLISH[:2]:  # which signs at home what it then cannot bring anywhere
        assert changed <= KEPT, str(typed)
    assert before.keys() <= after.keys(), str(typed)
    return typed.code, typed.out


def usual(desk: Desk, commands: list[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """How these commands end when nothing is in the way."""
    whole, found = desk.snapshot(), {}
    for words in commands:
        found[words] = desk.pht("--json", *words).exit
        desk.restore(whole)
    return found


@pytest.mark.parametrize(
    ("reply", "trusting", "carrying"),
    [
        (WEBSITE, "directory.rejected", "registry.misbehaved"),
        (LOCKED, "registry.denied", "registry.denied"),
        (FORBIDDING, "registry.denied", "registry.denied"),
    ],
)
def test_a_registry_that_is_none_or_says_no_is_told_by_every_command(
    desk: Desk, reply: Reply, trusting: str, carrying: str
) -> None:
    ends, whole = usual(desk, [*TRUSTING, *CARRYING]), desk.snapshot()
    with contextlib.closing(Liar(reply)) as server:
        address = server.url
        moved(desk, address)
        there = desk.snapshot()
        for expected, commands in ((trusting, TRUSTING), (carrying, CARRYING)):
            for words in commands:
                code, _ = told(desk, tuple(address if word == "layout:registry" else word for word in words))
                assert code == expected, words
                desk.restore(there)
        checked = desk.pht("--json", "station", "check", "hospital-a", *WITH)
        assert checked.code == "station.not-ready"
        desk.restore(whole)
    assert usual(desk, [*TRUSTING, *CARRYING]) == ends


@pytest.mark.parametrize(("words", "code"), [(SUBMIT, "directory.unavailable"), (ONCE, "registry.unavailable")])
def test_a_registry_that_is_away_is_told_with_its_address(desk: Desk, words: tuple[str, ...], code: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listened at: nobody answers here, and nobody else will
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        moved(desk, address)
        found, said = told(desk, words)
    assert found == code
    assert address in said


def test_a_directory_past_its_date_is_told_by_every_command_that_needs_one(desk: Desk) -> None:
    commands = [*TRUSTING, ONCE]
    ends = usual(desk, commands)
    consort = House(Workspace(desk.path / "consortium"))
    consort.publish(RegistryDirectory(LayoutRegistry(desk.path / "registry")), now=clock() - timedelta(days=20))
    for words in TRUSTING:
        assert told(desk, words)[0] == "directory.expired", words
    waiting = desk.answer("station", "ls", "hospital-a")["visits"]
    assert desk.pht("--json", *ONCE).exit == 0, "the daemon waits for a directory; no train is refused for it"
    assert desk.answer("station", "ls", "hospital-a")["visits"] == waiting
    checked = desk.pht("station", "check", "hospital-a", *WITH)
    assert "has expired" in checked.out + checked.err
    desk.answer("directory", "publish", "consortium", "--to", "layout:registry", "--refresh", *WITH)
    assert usual(desk, commands) == ends


@contextlib.contextmanager
def somebody_else(folder: Path) -> Iterator[None]:
    """Be another user, in a folder that he may enter; the tests run as root, perhaps where only root may be."""
    with contextlib.chdir(folder):
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)


OF_OTHERS = {
    "alice": [
        ("keys", "show", "alice/keys"),
        ("keys", "check", "alice/keys", *WITH),
        ("keys", "card", "alice/keys", "-o", "alice.card.json", *WITH),
        ("keys", "export", "alice/keys", "out", "--yes", *WITH),
        ("train", "setup", "alice", *SETUP),
        ("train", "ls", *HOME),
        *((*words[:2], *words[2:]) for words in TRUSTING[:-1]),
    ],
    "hospital-a": [
        ("station", "init", "hospital-a", *STATION),
        ("station", "check", "hospital-a", *WITH),
        ("station", "run", "hospital-a", *WITH),
        ONCE,
        ("station", "ls", "hospital-a"),
        ("station", "show", "ffff", *AT),
        ("station", "approve", "ffff", *AT),
        ("station", "refuse", "ffff", *AT, "--reason", "x"),
        ("station", "audit", "export", "audited", *AT),
        ("station", "audit", "verify", *AT),
    ],
    "consortium": [
        ("directory", "show", "consortium"),
        ("directory", "add", "consortium", "alice.card.json", "--fingerprint", "0" * 32),
        ("directory", "revoke", "consortium", "alice", "--yes"),
        ("directory", "approve-base", "consortium", "shell", "sha256:" + "1" * 64),
        ("directory", "withdraw-base", "consortium", "python"),
        PUBLISH,
    ],
}


@pytest.fixture
def public(furnished: Desk) -> Iterator[Desk]:
    """A desk in a folder that everybody may enter, with private files on it."""
    with tempfile.TemporaryDirectory(prefix="pht-desk-") as folder:
        Path(folder).chmod(0o755)
        desk = copy_of(furnished, Path(folder) / "desk")
        desk.path.chmod(0o755)
        yield desk


@pytest.mark.parametrize("area", sorted(OF_OTHERS))
def test_the_wrong_user_is_told_so_by_every_command(public: Desk, area: str) -> None:
    before = public.files()
    ends = usual(public, OF_OTHERS[area][:1])
    for words in OF_OTHERS[area]:
        with somebody_else(public.path):
            typed = public.pht("--json", *words)
        assert typed.exit == 40, str(typed)
        assert "permission denied" in typed.out or "another user" in typed.out, str(typed)
        assert typed.document["error"]["hint"], str(typed)
        assert public.files() == before, str(typed)
    assert usual(public, OF_OTHERS[area][:1]) == ends


def test_root_does_not_work_with_the_keys_of_others(desk: Desk) -> None:
    """A daemon that root started once by mistake would leave files that the real one cannot write."""
    for folder, _, files in os.walk(desk.path / "hospital-a"):
        for path in (folder, *(f"{folder}/{name}" for name in files)):
            os.chown(path, 65534, 65534)
    for words in (ONCE, ("station", "run", "hospital-a", *WITH)):
        assert desk.fails(*words) == "key.unreadable"
    desk.answer("station", "ls", "hospital-a")
    owners = {path.stat().st_uid for path in (desk.path / "hospital-a").rglob("*")}
    assert owners == {65534}


def test_a_second_daemon_is_told_of_the_first(desk: Desk) -> None:
    with holding(desk.path / "hospital-a" / "state"):
        for words in (ONCE, ("station", "run", "hospital-a", *WITH)):
            assert desk.fails(*words) == "station.busy"
        assert len(desk.answer("station", "ls", "hospital-a")["visits"]) == 1
    assert desk.pht(*ONCE).exit == 0


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ("train: sums\nroute: [hospital-a\n", 3),
        ("train: sums\n\tpurpose: x\n", 2),
        ("train: sums\ntrain: sums\n", 2),
        ("- a list\n", 1),
        ("", 1),
    ],
)
def test_yaml_that_is_none_is_told_with_its_line(desk: Desk, broken: str, line: int) -> None:
    for file in ("my-train/train.yaml", "hospital-a/station.yaml"):
        (desk.path / file).write_text(broken)
    for code, words in (
        ("spec.invalid", ("train", "check", "my-train", *HOME)),
        ("spec.invalid", SUBMIT),
        ("spec.invalid", ("train", "rehearse", "my-train")),
        ("config.invalid", ONCE),
        ("config.invalid", ("station", "ls", "hospital-a")),
        ("config.invalid", ("station", "check", "hospital-a", *WITH)),
    ):
        assert desk.fails(*words) == code
        error = desk.pht("--json", *words).document["error"]
        assert error["fields"]["line"] == str(line), words
        assert f"line={line}" in desk.pht(*words).err
