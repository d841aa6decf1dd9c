"""The files of a consortium, a scientist and a station, made once and copied for each test; and `pht` as they type it."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

import pht
from registry.directory import RegistryDirectory
from registry.layout import LayoutRegistry
from security.directory.workspace import add_party, approve_base
from security.errors import PhtError
from security.ids import Role
from security.keys.keyset import Scheme, generate
from tests.support.directories import PASSPHRASE, QUICK, card_of, clock, house, key_folder
from tests.support.owners import SPEC, write_train
from tests.support.quick import set_work
from tests.support.trains import BASE

STATION_SPEC: Final = SPEC.replace("[hospital-a, hospital-b, hospital-c]", "[hospital-a]")
BOOKKEEPING: Final = ("lock", "-wal", "-shm", "health.json")
ROOT: Final = Path(__file__).parents[2]
TICK: Final = 50_000_000
"""Nanoseconds in which a file system may stamp two changes of a file with one time; ten milliseconds are usual."""

Kept: TypeAlias = bytes | str | None
"""A file's bytes, a link's target, None for a folder."""

FAMILIES: Final = frozenset({10, 20, 30, 40})


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What a command printed, and how it ended."""

    words: tuple[str, ...]
    exit: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def code(self) -> str | None:
        """The code of the error, from the document of ``--json``."""
        error = self.document.get("error", {})
        return str(error["code"]) if "code" in error else None

    def __str__(self) -> str:
        return f"pht {' '.join(self.words)} -> {self.exit}\n{self.out}{self.err}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A folder with everybody's files in it; commands are typed there."""

    path: Path
    whole: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    seen: dict[str, tuple[tuple[int, ...], Kept]] = field(default_factory=dict, repr=False)

    def pht(self, *words: str) -> Typed:
        """Type a command, in this process: a process of its own takes half a second to begin."""
        out, err = io.BytesIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(io.TextIOWrapper(out, "utf-8", newline="", write_through=True)) as written,
            contextlib.redirect_stderr(err),
            contextlib.chdir(self.path),
            pytest.MonkeyPatch.context() as patch,
        ):
            for name, value in self.environment.items():
                patch.setenv(name, value)
            try:
                pht.main(words)
            except SystemExit as leaving:
                exit_ = leaving.code
        assert isinstance(exit_, int)
        written.flush()
        return Typed(words=words, exit=exit_, out=out.getvalue().decode(), err=err.getvalue())

    def fails(self, *words: str) -> str:
        """Type a command that must fail, both ways; returns the code of its error.

        Nothing may be told but one line and a hint; as JSON, one document; and nothing here may change.
        """
        before = self.files()
        typed = self.pht("--json", *words)
        assert typed.code is not None, str(typed)
        error = typed.document["error"]
        assert typed.exit == error["exit"] == exits()[typed.code], str(typed)
        assert error["hint"], str(typed)
        assert typed.err == "", str(typed)
        again = self.pht(*words)
        assert again.exit == typed.exit, str(again)
        first, second = again.err.splitlines()[-2:]
        assert first.startswith("pht: "), str(again)
        assert first.endswith(f" [{typed.code}]"), str(again)
        assert second.startswith("hint: "), str(again)
        assert "Traceback" not in again.err + again.out, str(again)
        assert self.files() == before, str(again)
        return typed.code

    def answer(self, *words: str) -> dict[str, Any]:
        """Type a command that works; returns its document."""
        typed = self.pht("--json", *words)
        assert typed.exit == 0, str(typed)
        return typed.document

    def files(self) -> dict[str, bytes]:
        """Everything that lies here, without what any look leaves behind: locks and SQLite's side files."""
        found = self.snapshot().items()
        return {name: data for name, data in found if isinstance(data, bytes) and not name.endswith(BOOKKEEPING)}

    def snapshot(self) -> dict[str, Kept]:
        """Everything that lies here, in order; only what has changed since the last look is read again."""
        found: list[tuple[str, Kept]] = []
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            with os.scandir(self.path / folder) as entries:
                for entry in entries:
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    found.append((name, self._kept(name, entry.stat(follow_symlinks=False))))
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
        return dict(sorted(found))

    def _kept(self, name: str, about: os.stat_result) -> Kept:
        if stat.S_ISDIR(about.st_mode):
            return None
        seen = about.st_ino, about.st_mode, about.st_size, about.st_ctime_ns
        if name not in self.seen or self.seen[name][0] != seen:
            path = self.path / name
            kept = str(path.readlink()) if stat.S_ISLNK(about.st_mode) else path.read_bytes()
            if time.time_ns() - about.st_ctime_ns < TICK:  # the next change may bear the same time
                return kept
            self.seen[name] = seen, kept
        return self.seen[name][1]

    def restore(self, whole: Mapping[str, Kept]) -> None:
        """Make what was changed here what it was; rights are not looked at."""
        now = self.snapshot()
        for name in sorted(now.keys() | whole.keys()):
            if name not in now or name not in whole or now[name] != whole[name]:
                self.put_back(name, whole)

    def put_back(self, name: str, whole: Mapping[str, Kept]) -> None:
        """Put one file back as it was, or take it away if it was not there."""
        path = self.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if name not in whole:
            return
        kept = whole[name]
        if kept is None:
            path.mkdir(mode=0o700)
        elif isinstance(kept, str):
            path.symlink_to(kept)
        else:
            private(path, kept)


def edit(path: Path, before: str, after: str) -> None:
    """Change what a file says; that it says it is certain, or the test would be about something else."""
    text = path.read_text()
    assert before in text, f"{path.name} does not say {before}"
    path.write_text(text.replace(before, after))


def private(path: Path, data: bytes) -> Path:
    """Write a file nobody else may read."""
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def furnish(path: Path) -> Desk:
    """Lay everything out: a train of alice's waits at hospital-a for a person."""
    desk = Desk(path=path, whole=path)
    private(path / "secret", PASSPHRASE + b"\n")
    private(path / "wrong", b"not the right one at all\n")
    (path / "registry").mkdir()
    (path / "data").mkdir()
    (path / "data" / "patients.csv").write_text("value\n1\n")
    consort = house(path / "consortium", keys=1, threshold=1)
    (path / "1.root.json").write_bytes(consort.root)
    for party, folder, role in (
        ("alice", path / "alice" / "keys", Role.OWNER),
        ("hospital-a", path / "hospital-a" / "keys", Role.STATION),
    ):
        secrets = generate([Scheme.ED25519])
        key_folder(folder, secrets, party, role)
        add_party(consort.workspace, card_of(secrets, party, role), now=clock())
        desk.answer("keys", "card", str(folder), "-o", f"{party}.card.json", *WITH)
    approve_base(consort.workspace, "python", BASE, note="")
    consort.publish(RegistryDirectory(LayoutRegistry(path / "registry")))
    desk.answer("train", "setup", "alice", *SETUP)
    desk.answer("station", "init", "hospital-a", *STATION)
    write_train(path / "my-train", STATION_SPEC)
    desk.answer("train", "submit", "my-train", *HOME, *WITH)
    desk.answer("station", "once", "hospital-a", *WITH)
    return desk


@pytest.fixture
def quick_keys() -> Iterator[None]:
    """Keys that commands make in this process open quickly."""
    before = set_work(QUICK)
    yield
    set_work(before)


WITH: Final = ("--passphrase-file", "secret")
HOME: Final = ("--home", "alice")
SETUP: Final = ("--party", "alice", "--registry", "layout:registry", "--root", "1.root.json")
STATION: Final = (
    *("--party", "hospital-a", "--registry", "layout:registry", "--root", "1.root.json", "--data", "patients=data"),
    *("--admit-owner", "alice", "--by-hand", "--engine", "unix:///nowhere", *WITH),
)


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The desk that is copied; nobody works at it."""
    return furnish(tmp_path_factory.mktemp("desk"))


@pytest.fixture
def desk(furnished: Desk, tmp_path: Path) -> Iterator[Desk]:
    """A desk of one's own."""
    copy = copy_of(furnished, tmp_path / "desk")
    yield copy
    shutil.rmtree(copy.path, ignore_errors=True)


def copy_of(whole: Desk, path: Path) -> Desk:
    """Copy a desk; the absolute paths in its settings are changed to the copy's."""
    subprocess.run(["cp", "-a", str(whole.path), str(path)], check=True)
    for settings in (path / "hospital-a" / "station.yaml", path / "alice" / "pht.json"):
        settings.write_text(settings.read_text().replace(str(whole.path), str(path)))
    return Desk(path=path, whole=whole.path)


def typed(folder: Path, *words: str, **environment: str) -> Typed:
    """Type a command in a folder, in this process, with some more variables."""
    return Desk(path=folder, whole=folder, environment=environment).pht(*words)


def in_a_process(folder: Path, environment: Mapping[str, str], *words: str) -> Typed:
    """Type a command in a process of its own, with some more variables, and with no proxies but those in there."""
    usual = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "pht.py"), *words],
        cwd=folder,
        env={**usual, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Typed(words=words, exit=done.returncode, out=done.stdout, err=done.stderr)


@functools.cache
def exits() -> dict[str, int]:
    """The exit status of every code, from the tree of errors."""
    found: dict[str, int] = {}
    waiting: list[type[PhtError]] = [PhtError]
    while waiting:
        one = waiting.pop()
        found[one.code] = one.exit
        waiting += one.__subclasses__()
    return found
