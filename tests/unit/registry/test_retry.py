"""Is only that asked again which may work later?"""

from __future__ import annotations

import pytest

from registry.errors import NotInRegistry, RegistryUnavailable
from registry.memory import MemoryRegistry
from registry.names import Repository, Tag
from registry.retry import ATTEMPTS, LONGEST_WAIT, RetryingRegistry, waits
from security.digest import digest_of
from security.errors import PhtError

REPO = Repository("a")


class Flaky(MemoryRegistry):
    """Fails as often as it is told."""

    def __init__(self, *errors: PhtError) -> None:
        super().__init__()
        self.errors = list(errors)
        self.asked = 0

    def list_tags(self, repo: Repository) -> tuple[Tag, ...]:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return super().list_tags(repo)


def away(**fields: object) -> RegistryUnavailable:
    msg = "away"
    return RegistryUnavailable(msg, hint=None, **fields)


def test_it_comes_back() -> None:
    slept: list[float] = []
    inner = Flaky(away(), away())
    assert RetryingRegistry(inner, sleep=slept.append).list_tags(REPO) == ()
    assert slept == [0.5, 1.0]


def test_it_stays_away() -> None:
    slept: list[float] = []
    inner = Flaky(*(away() for _ in range(20)))
    with pytest.raises(RegistryUnavailable):
        RetryingRegistry(inner, sleep=slept.append).list_tags(REPO)
    assert (inner.asked, len(slept)) == (ATTEMPTS, ATTEMPTS - 1)


def test_registry_may_ask_for_patience_but_not_for_ever() -> None:
    slept: list[float] = []
    inner = Flaky(away(retry_after=3), away(retry_after=100_000), away(retry_after="soon"))
    RetryingRegistry(inner, sleep=slept.append).list_tags(REPO)
    assert slept == [3, LONGEST_WAIT, 2.0]


def test_other_errors_are_not_asked_again() -> None:
    slept: list[float] = []
    registry = RetryingRegistry(MemoryRegistry(), sleep=slept.append)
    with pytest.raises(NotInRegistry):
        registry.get_manifest(REPO, digest_of(b"x"))
    assert slept == []


def test_waits_are_bounded() -> None:
    assert max(waits(50)) == LONGEST_WAIT
