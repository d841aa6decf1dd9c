"""Which directory does a station work with, when its place is slow?"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest

from security.directory.trust import TrustStore
from security.errors import DirectoryExpired, DirectoryRejected, DirectoryUnavailable
from station.house.trust import FreshTrust
from tests.support.trains import NOW, consortium

STORE = consortium(("hospital-a",)).trust
PATIENCE = 20


class Place:
    """Where a directory is published: it can hang, and it counts who asks."""

    def __init__(self) -> None:
        self.asked, self.open = 0, threading.Event()
        self.open.set()
        self.trouble: Exception | None = None

    def __call__(self, now: datetime) -> TrustStore:
        del now
        self.asked += 1
        assert self.open.wait(PATIENCE)
        if self.trouble is not None:
            raise self.trouble
        return STORE


def test_it_is_read_once_in_its_time() -> None:
    place = Place()
    trust = FreshTrust(place, seconds=60)
    assert trust(NOW) is STORE
    assert trust(NOW + timedelta(seconds=59)) is STORE
    assert place.asked == 1
    assert trust(NOW + timedelta(seconds=60)) is STORE
    assert place.asked == 2


def test_a_place_that_hangs_is_told_and_asked_only_once_at_a_time() -> None:
    place = Place()
    trust = FreshTrust(place, seconds=60, patience=0.05)
    place.open.clear()
    for _ in range(3):
        with pytest.raises(DirectoryUnavailable):
            trust(NOW)
    assert place.asked == 1
    place.open.set()
    deadline = threading.Event()
    while trust.at_hand() is None:
        deadline.wait(0.01)
    assert trust(NOW) is STORE
    assert place.asked == 1


def test_what_is_at_hand_is_given_without_asking() -> None:
    place = Place()
    trust = FreshTrust(place, seconds=0)
    assert trust.at_hand() is None
    trust(NOW)
    place.open.clear()
    assert trust.at_hand() is STORE
    assert place.asked == 1


def test_many_that_ask_at_once_are_one_question() -> None:
    place = Place()
    trust = FreshTrust(place, seconds=60)
    place.open.clear()
    found: list[TrustStore] = []
    askers = [threading.Thread(target=lambda: found.append(trust(NOW))) for _ in range(8)]
    for asker in askers:
        asker.start()
    place.open.set()
    for asker in askers:
        asker.join(PATIENCE)
    assert found == [STORE] * 8
    assert place.asked == 1


def test_why_it_cannot_be_read_is_told_to_whoever_asked() -> None:
    place = Place()
    place.trouble = DirectoryRejected("a forged root", file="2.root.json")
    trust = FreshTrust(place, seconds=60)
    with pytest.raises(DirectoryRejected) as caught:
        trust(NOW)
    assert caught.value.message == "a forged root"
    assert caught.value.fields == {"file": "2.root.json"}
    place.trouble = None
    assert trust(NOW) is STORE


def test_one_that_is_out_of_date_is_not_used() -> None:
    trust = FreshTrust(Place(), seconds=10**9)
    trust(NOW)
    with pytest.raises(DirectoryExpired):
        trust(NOW + timedelta(days=400))
