"""What is installed is whole, runs, and takes no name from anybody else's environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("security", "registry", "console", "station", "train_builder", "rehearsal")
FILES = ("pht.py", "pht_command.py", "setup.py", "pyproject.toml", "README.md", "LICENSE")

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
RUN = """\
import sys
sys.path[:] = [sys.argv.pop(1), *(place for place in sys.path if place != sys.argv[1])]
del sys.argv[1]
import pht_command
pht_command.main()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this checkout's files, without what an earlier build left among them."""
    room = tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, room / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, room)
    subprocess.run([sys.executable, "-c", BUILD, str(room / "dist")], cwd=room, check=True, capture_output=True)
    (built,) = (room / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files, as an installer leaves them."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def pht(installed: Path, room: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run what is installed, with the checkout off the path."""
    command = [sys.executable, "-P", "-c", RUN, str(installed), str(ROOT), *words]
    return subprocess.run(command, cwd=room, capture_output=True, text=True, check=False)


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    wanted = {
        f"pht_packages/{path.relative_to(ROOT)}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = set(zipfile.ZipFile(wheel).namelist())
    assert wanted - held == set()
    assert {name for name in held if name.startswith("pht_packages/")} - wanted == {"pht_packages/pht.py"}


def test_the_wheel_takes_two_names_and_both_are_ours(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert names == {"pht_command.py", "pht_packages"}
    (information,) = installed.glob("*.dist-info")
    assert (information / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert "License-Expression: Apache-2.0\n" in (information / "METADATA").read_text(encoding="utf-8")


def test_a_foreign_package_of_the_same_name_is_left_alone_and_not_taken_for_ours(
    installed: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "registry"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("raise SystemExit('foreign')\n")
    command = [sys.executable, "-c", RUN, str(installed), str(ROOT), "registry", "up", "layout:store"]  # without -P
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "store").is_dir()


def test_what_is_installed_says_its_version(installed: Path, tmp_path: Path) -> None:
    done = pht(installed, tmp_path, "--version")
    assert done.stdout.startswith("pht, version "), done.stderr


def test_what_is_installed_has_its_templates_and_its_schemas(installed: Path, tmp_path: Path) -> None:
    made = pht(installed, tmp_path, "train", "init", "trial", "--template", "shell", "--approval", "vote 1")
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "trial" / "code" / "main.sh").is_file()
    checked = pht(installed, tmp_path, "train", "check", "trial")
    assert checked.returncode == 0, checked.stderr
    (tmp_path / "trial" / "train.yaml").write_text("train: 7\n")
    refused = pht(installed, tmp_path, "train", "check", "trial")
    assert "[spec.invalid]" in refused.stderr
