"""Fixtures that more than one folder of tests uses, and how hypothesis searches."""

import os

from hypothesis import settings

os.umask(0o022)  # runs are somebody else, and must be able to read what tests make for them

pytest_plugins = ("tests.support.engine", "tests.support.registries", "tests.support.bases")

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
# What lands does not hang on luck; the search goes on at home.
settings.load_profile("ci" if os.environ.get("CI") else "dev")
