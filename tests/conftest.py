"""Fixtures that more than one folder of tests uses, and how hypothesis searches."""

import os

import pytest
from hypothesis import settings

os.umask(0o022)  # runs are somebody else, and must be able to read what tests make for them

pytest_plugins = (
    "tests.support.engine",
    "tests.support.registries",
    "tests.support.bases",
    "tests.support.postgres",
    "tests.support.buckets",
    "tests.support.fhir",
    "tests.support.orthanc",
)

FIRST = (
    "test_engine_cut",
    "test_power_cuts",
    "test_three_hospitals",
    "test_registry_contract",
    "test_sandbox_escape",
    "test_rounds_killed",
    "test_station_cli",
    "test_circumstances",
    "test_one_station",
    "test_example_tumour_risk",
    "test_demo",  # of `.ci/run`, the demo is over by now
    "test_half_written",
)
"""What takes longest, most of it waiting: several workers are done soonest if it is not begun last."""

NEEDS = {"engine": "engine", "gvisor_engine": "engine", "real_registries": "registry"}


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
