"""Where do tests get the base image `python` from?"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def python_base() -> Path:
    """The base image as the project makes it, unless `make base` has made it already."""
    subprocess.run([CHECKOUT / "images" / "python" / "build.sh"], check=True)
    return CHECKOUT / ".state" / "base" / "python.tar"
