"""Fixtures of the tests that type commands."""

from tests.support.desk import desk, furnished, quick_keys

__all__ = ("desk", "furnished", "quick_keys")
