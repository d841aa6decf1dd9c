"""Fixtures of the tests that type commands."""

from tests.support.desk import desk, furnished

__all__ = ("desk", "furnished")
