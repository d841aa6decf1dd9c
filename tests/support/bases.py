"""Where do tests get the base image `python` from?"""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def python_base() -> Path:
    """The base image as the project makes it, unless `make base` has made it already."""
    subprocess.run([CHECKOUT / "images" / "python" / "build.sh"], check=True)
    return CHECKOUT / ".state" / "base" / "python.tar"


@pytest.fixture(scope="session")
def python_layout(python_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same image, but as no engine saves it: it is published as it is, and not compressed anew by whoever sets up a world."""
    path = tmp_path_factory.mktemp("base") / "python.tar"
    with tarfile.open(python_base) as saved, tarfile.open(path, "w") as layout:
        for member in saved:
            if member.name != "manifest.json":
                layout.addfile(member, saved.extractfile(member))
    return path
