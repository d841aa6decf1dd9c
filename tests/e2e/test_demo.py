"""The demo as a newcomer runs it, and what others make of its results: other software, and a rehearsal.

``PHT_TEST_DEMO`` may name a file with what `make demo` prints in this checkout, which is there as soon as it is over; then that
is the demo against a registry process, and it is not run again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import nodeage
from tests.support.agetool import age_on_terminal
from tests.support.bases import CHECKOUT
from tests.support.desk import typed
from tests.support.engine import Engine

PATIENCE = 600
NOT_ALL_CHECKED = 3
PHT = CHECKOUT / "pht.py"

pytestmark = [pytest.mark.timeout(PATIENCE), pytest.mark.registry]


@dataclass
class Demo:
    """A checkout, and what the demo printed in it."""

    checkout: Path
    engine: Engine
    pht: tuple[str, ...] = (sys.executable, str(PHT))
    more: dict[str, str] = field(default_factory=dict)
    printed: str = ""

    @property
    def folder(self) -> Path:
        return self.checkout / ".state" / "demo"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.checkout),
            "DOCKER_HOST": self.engine.url,
            **self.more,
        }

    def lay_out(self, base: Path) -> None:
        """Put in place what `make dev` and `make base` make, and the examples."""
        programs = self.checkout / ".venv" / "bin"
        programs.mkdir(parents=True)
        for name, words in (("pht", self.pht), ("python", (sys.executable,))):
            (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            (programs / name).chmod(0o755)
        (self.checkout / "examples").symlink_to(CHECKOUT / "examples")
        (self.checkout / ".state" / "base").mkdir(parents=True)
        (self.checkout / ".state" / "base" / "python.tar").symlink_to(base)

    def script(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.checkout / "examples" / "breast-cancer" / "demo.sh"), *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )

    def run(self, base: Path) -> Demo:
        self.lay_out(base)
        done = self.script()
        assert done.returncode == 0, done.stdout[-4000:]
        self.printed = done.stdout
        return self

    def typed(self, *words: str | Path, **more: str) -> tuple[int, dict[str, Any]]:
        """Type a command where the demo was, with more in the environment; its exit status and its answer."""
        done = typed(self.folder, "--json", *map(str, words), **(self.environment | more))
        return done.exit, done.document

    def answer(self, *words: str | Path, **more: str) -> dict[str, Any]:
        """Type a command that works."""
        status, found = self.typed(*words, **more)
        assert status == 0, found
        return found


def _over(printed: Path) -> str:
    """Wait for a demo that runs beside the tests to be over, and return what it printed."""
    for _ in range(PATIENCE // 2):
        if printed.exists():
            return printed.read_text()
        time.sleep(1)
    message = "the demo does not end"
    raise AssertionError(message)


@pytest.fixture(scope="session")
def with_a_process(engine: Engine, python_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo against a registry process; in a checkout of its own, so that nobody's `.state/demo` is lost."""
    if printed := os.environ.get("PHT_TEST_DEMO"):
        yield Demo(CHECKOUT, engine, printed=_over(Path(printed)))
        return
    demo = Demo(tmp_path_factory.mktemp("registry"), engine)
    try:
        yield demo.run(python_base)
    finally:
        demo.script("down")


@pytest.fixture(scope="session")
def with_a_folder(
    engine: Engine, python_layout: Path, with_a_process: Demo, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Demo]:
    """The demo against a folder, where an earlier one has left everything it makes; its keys open quickly."""
    quick = ("env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-m", "tests.support.quick")
    demo = Demo(tmp_path_factory.mktemp("folder"), engine, pht=quick, more={"EMBEDDED": "1"})
    (demo.checkout / ".state").mkdir()
    subprocess.run(["cp", "-a", with_a_process.folder, demo.folder], check=True)
    try:
        yield demo.run(python_layout)
    finally:
        demo.script("down")


@pytest.fixture(params=["with_a_process", "with_a_folder"])
def demo(request: pytest.FixtureRequest) -> Demo:
    """Each of the two."""
    found: Demo = request.getfixturevalue(request.param)
    return found


def test_the_demo_ends_well_and_leaves_no_process(demo: Demo) -> None:
    assert demo.printed.count("agree to 1e-10: yes") == 1
    assert demo.printed.count("refused, as it must be") == 2
    assert demo.printed.count("agree to 1e-09: yes") == 1
    assert re.findall(r"\.\.\. round ([0-9]+) took [0-9.]+ s", demo.printed) == [str(one) for one in range(1, 10)]
    assert demo.printed.count("nobody's numbers can be told from noise: yes") == 1
    seen = re.findall(r"^  (hospital-[abc]|the sum) +[0-9a-f]{32}  read as a number: (.+)$", demo.printed, re.MULTILINE)
    assert [who for who, _ in seen] == ["hospital-a", "hospital-b", "hospital-c", "the sum"]
    assert seen[-1][1] == "569"
    assert {number for _, number in seen} & {"310", "171", "88"} == set()
    assert re.findall(r"^  (.+?)  .* not noise$", demo.printed, re.MULTILINE) == ["the totals"]
    assert re.search(r"hospital-c signed \((ed25519, ml-dsa-65|ml-dsa-65, ed25519);", demo.printed)  # by key id
    left = [
        command
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(demo.folder) in (command := path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    ]
    assert left == []


# --- Its results, without this software --------------------------------------------------------------------------------


def test_the_results_open_with_another_implementation_of_age(with_a_process: Demo, tmp_path: Path) -> None:
    here = with_a_process.folder
    identity = tmp_path / "identity.txt"
    passphrase = (here / "secrets" / "alice").read_text().strip()
    age_on_terminal("-d", "-o", identity, here / "alice" / "keys" / "keys.age", typed=passphrase + "\n")
    (key,) = (line for line in identity.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-PQ-1"))
    opened = nodeage.decrypt(key, (here / "proof" / "blobs" / "state.age").read_bytes())
    with tarfile.open(fileobj=io.BytesIO(opened)) as tar:
        names = tar.getnames()
        files = {name: source.read() for name in names if (source := tar.extractfile(name)) is not None}
    assert names == ["META.json", "sums.json"]
    assert files["sums.json"] == (here / "results" / "sums.json").read_bytes()
    meta, proof = json.loads(files["META.json"]), json.loads((here / "proof" / "proof.json").read_bytes())
    assert (meta["train"], meta["sender"], meta["recipients"]) == (proof["train"], "hospital-c", ["alice"])
    assert meta["previous"] == proof["stops"][-1]["previous"]


def openssl(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, check=False)


def signing_key(demo: Demo, party: str, scheme: str) -> tuple[str, Path]:
    """Find a party's key in the proof, as somebody would who was told the key set's fingerprint over the phone."""
    keys = demo.folder / "proof" / "keys" / party
    told = demo.answer("keys", "show", demo.folder / party / "keys")["fingerprint"]
    assert "sha256:" + hashlib.sha256((keys / "key-set.txt").read_bytes()).hexdigest() == told
    lines = [line.split() for line in (keys / "key-set.txt").read_text().splitlines()]
    (key_id,) = (line[2] for line in lines if line[:2] == ["sign", scheme])
    pem = keys / f"{key_id}.pem"
    assert hashlib.sha256(openssl("pkey", "-pubin", "-in", pem, "-outform", "DER").stdout).hexdigest() == key_id
    return key_id, pem


def test_an_entry_signed_with_ed25519_verifies_with_openssl_alone(with_a_process: Demo, tmp_path: Path) -> None:
    entry = with_a_process.folder / "proof" / "entry-1"
    key_id, pem = signing_key(with_a_process, "hospital-a", "ed25519")
    check = ("pkeyutl", "-verify", "-pubin", "-inkey", pem, "-rawin", "-sigfile", entry / f"{key_id}.sig", "-in")
    assert openssl(*check, entry / "pae.bin").returncode == 0
    forged = tmp_path / "pae.bin"
    forged.write_bytes((entry / "pae.bin").read_bytes().replace(b'"hospital-a"', b'"hospital-x"'))
    assert openssl(*check, forged).returncode == 1
    assert b'"stop":0' in (entry / "pae.bin").read_bytes()


def test_an_entry_signed_with_p256_verifies_with_openssl_alone(with_a_process: Demo, tmp_path: Path) -> None:
    entry = with_a_process.folder / "proof" / "entry-2"
    key_id, pem = signing_key(with_a_process, "hospital-b", "ecdsa-sha2-nistp256")
    check = ("dgst", "-sha256", "-verify", pem, "-signature", entry / f"{key_id}.sig")
    assert openssl(*check, entry / "pae.bin").returncode == 0
    forged = tmp_path / "pae.bin"
    forged.write_bytes((entry / "pae.bin").read_bytes().replace(b'"hospital-b"', b'"hospital-x"'))
    assert openssl(*check, forged).returncode == 1


def test_the_exported_proof_checks_itself(demo: Demo) -> None:
    proof = demo.folder / "proof"
    plain = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(["sh", proof / "verify.sh"], env=plain, capture_output=True, text=True, check=False)
    mldsa = "ML-DSA-65" in openssl("list", "-signature-algorithms").stdout.decode().upper()
    assert done.returncode == (0 if mldsa else NOT_ALL_CHECKED), done.stdout + done.stderr
    assert "the journey is the whole route: 7 entries" in done.stdout
    assert done.stdout.count("signed by hospital-") == (9 if mldsa else 7)


# --- Rehearsals --------------------------------------------------------------------------------------------------------

TEMPLATES = [
    ("python", "summary.json", {"patients": 11, "years": 609}),
    ("shell", "counts.csv", "patients\n6\n5\n"),
]


@pytest.mark.parametrize(("template", "name", "expected"), TEMPLATES)
@pytest.mark.parametrize("sealed", [True, False])
def test_a_template_is_rehearsed_with_an_engine_and_without(
    with_a_folder: Demo, tmp_path: Path, *, template: str, name: str, expected: object, sealed: bool
) -> None:
    demo = with_a_folder
    engine = demo.engine.url if sealed else f"unix://{tmp_path}/nobody"
    demo.answer("train", "init", tmp_path / "first", "--template", template)
    done = demo.answer(
        *("train", "rehearse", tmp_path / "first", "--home", demo.folder / "alice", "--into", tmp_path / "results"),
        DOCKER_HOST=engine,
    )
    assert done["home"] is True
    assert done["sealed"] is sealed
    assert [(stop["station"], stop["passed"]) for stop in done["stops"] if stop["task"] == "run"] == [
        ("hospital-a", True),
        ("hospital-b", True),
    ]
    found = (tmp_path / "results" / name).read_text()
    assert (json.loads(found) if name.endswith(".json") else found) == expected


def test_samples_that_the_sandbox_cannot_read_are_told_before_anything_runs(
    with_a_folder: Demo, tmp_path: Path
) -> None:
    """As root with a umask of 077, everything one makes is private. What the hint says is done, and helps."""
    demo, first = with_a_folder, tmp_path / "first"
    demo.answer("train", "init", first)
    for path in (first / "samples").rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    words = ("train", "rehearse", first, "--home", demo.folder / "alice", "--into", tmp_path / "results")
    for station in ("hospital-a", "hospital-b"):
        status, answer = demo.typed(*words, DOCKER_HOST=demo.engine.url)
        error = answer["error"]
        assert (status, error["code"], error["fields"]["station"]) == (40, "data.closed", station)
        subprocess.run(error["hint"].partition(": ")[2], shell=True, check=True)  # noqa: S602 - as a person would
    assert demo.answer(*words, DOCKER_HOST=demo.engine.url)["home"] is True
    assert all(path.stat().st_mode & 0o007 == 0 for path in (first / "samples").rglob("*"))


@pytest.mark.parametrize(("template", "name"), [(template, name) for template, name, _ in TEMPLATES])
def test_a_template_is_rehearsed_by_somebody_who_has_nothing_else_yet(
    engine: Engine, tmp_path: Path, template: str, name: str
) -> None:
    demo = Demo(tmp_path, engine)
    demo.folder.mkdir(parents=True)
    demo.answer("train", "init", "first", "--template", template)
    done = demo.answer("train", "rehearse", "first", "--into", "results")
    assert (done["home"], done["sealed"]) == (True, False)
    assert [path.name for path in (demo.folder / "results").iterdir()] == [name]
