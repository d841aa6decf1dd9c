"""Where do tests get the base image `python` from, and what do they leave of it in an engine?"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def python_base() -> Path:
    """The base image as the project makes it, unless `make base` has made it already."""
    subprocess.run([CHECKOUT / "images" / "python" / "build.sh"], check=True)
    return CHECKOUT / ".state" / "base" / "python.tar"


@contextlib.contextmanager
def images_forgotten(engine: Engine) -> Iterator[None]:
    """Remove the base images that were loaded meanwhile from an engine that outlives the test."""
    before = _images(engine)
    try:
        yield
    finally:
        with contextlib.closing(engine.client()) as client:
            for name in _images(engine) - before:
                client.remove_image(name, force=True)


def _images(engine: Engine) -> set[str]:
    with contextlib.closing(engine.client()) as client:
        return {tag for image in client.images() for tag in image["RepoTags"] or () if tag.startswith("pht/base:")}
