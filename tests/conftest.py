"""Fixtures that more than one folder of tests uses, and how hypothesis searches."""

import fcntl
import gc
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

os.umask(0o022)  # runs are somebody else, and must be able to read what tests make for them
# What a rehearsal runs as `python3` is this Python, and no shim that looks for one first, hundreds of times.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

pytest_plugins = (
    "tests.support.engine",
    "tests.support.registries",
    "tests.support.bases",
    "tests.support.postgres",
    "tests.support.buckets",
    "tests.support.fhir",
    "tests.support.fhir_outside",
    "tests.support.orthanc",
)

WAITING = (
    "test_engine_cut",
    "test_power_cuts",
    "test_three_hospitals",
    "test_sandbox_escape",
    "test_station_cli",
    "test_rounds_killed",
    "test_circumstances",
    "test_half_written",
    "test_registry_contract",
    "test_one_station",
    "test_demo",  # of `.ci/run`, the demo is over by now
)
"""What takes long, most of it waiting for others."""
WORKING = (
    "test_selection",
    "test_visit_machine",
    "test_example_tumour_risk",
    "test_boarding",
    "test_approvals",
    "test_rounds_faults",
    "test_rounds_sums",
    "test_rounds",
    "test_schemas",
    "test_s3",
    "test_image_archives",
)
"""What takes long and waits for nobody."""
FIRST = [one for both in zip(WAITING, WORKING, strict=True) for one in both]
"""What is begun first: several workers are done soonest if nothing long is begun last, and if not all of them wait at once."""

NEEDS = {"engine": "engine", "gvisor_engine": "engine", "real_registries": "registry"}


TESTS = Path(__file__).parent


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let one worker read the tests before the others: in a fresh checkout, that one compiles them for all."""
    with (TESTS / "conftest.py").open("rb") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(turn, fcntl.LOCK_SH)
        collected = yield
    gc.collect()
    gc.freeze()  # thousands of tests stay until the end: nobody need look through them for garbage
    return collected


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; mark each test with what its fixtures need, for `-m "not engine"`."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))
    for item in items:
        for fixture in NEEDS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(NEEDS[fixture])


settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
# What lands does not hang on luck; the search goes on at home.
settings.load_profile("ci" if os.environ.get("CI") else "dev")
