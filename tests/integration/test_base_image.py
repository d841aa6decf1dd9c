"""The base image: can other tools read it, are its bytes reproducible, and is there nothing in it that gains privileges?"""

from __future__ import annotations

import gzip
import json
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def image() -> Path:
    subprocess.run([CHECKOUT / "images" / "python" / "build.sh"], check=True)
    return CHECKOUT / ".state" / "base" / "python.tar"


@pytest.fixture(scope="module")
def layout(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layout")
    with tarfile.open(image) as tar:
        tar.extractall(folder)  # noqa: S202 - made above, and Debian's Python 3.11.2 has no filters yet
    return folder


def inspect(place: str) -> dict[str, Any]:
    skopeo = shutil.which("skopeo")
    assert skopeo is not None, "tests need skopeo"
    said = subprocess.run([skopeo, "inspect", "--config", place], capture_output=True, check=True)
    read: dict[str, Any] = json.loads(said.stdout)
    return read


def layers(layout: Path) -> list[Path]:
    (saved,) = json.loads((layout / "manifest.json").read_bytes())
    return [layout / path for path in saved["Layers"]]


def test_both_of_its_forms_are_read_by_another_tool(image: Path, layout: Path) -> None:
    as_layout = inspect(f"oci:{layout}:python")
    assert inspect(f"docker-archive:{image}") == as_layout
    assert as_layout["os"] == "linux"
    assert "Entrypoint" not in as_layout["config"]


def test_packing_the_same_root_again_gives_the_same_bytes(image: Path, layout: Path, tmp_path: Path) -> None:
    (layer,) = layers(layout)
    with gzip.open(layer) as packed, (tmp_path / "root.tar").open("wb") as root:
        shutil.copyfileobj(packed, root)
    subprocess.run(
        [sys.executable, CHECKOUT / "images/python/pack.py", "python", tmp_path / "root.tar", tmp_path / "again.tar"],
        env={"SOURCE_DATE_EPOCH": "1686355200"},
        check=True,
    )
    assert (tmp_path / "again.tar").read_bytes() == image.read_bytes()


def test_it_has_python_and_nothing_that_gains_privileges(layout: Path) -> None:
    (layer,) = layers(layout)
    with tarfile.open(layer) as tar:
        members = {member.name.removeprefix("./"): member for member in tar}
    assert "usr/bin/python3" in members
    assert not [name for name in members if Path(name).name in {"apt-get", "pip", "pip3"}]
    assert not [name for name, one in members.items() if one.isfile() and one.mode & (stat.S_ISUID | stat.S_ISGID)]
    assert not [name for name, one in members.items() if one.isdev()]
