"""A clock is wrong somewhere: what is dated too early waits, nothing is ended for good, and somebody is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from registry.http.remote import HttpRegistry
from registry.http.request import Http
from registry.memory import MemoryRegistry
from registry.names import Origin
from registry.retry import RetryingRegistry
from security.errors import NotYet
from security.ids import PartyId
from security.train.journey import check_next
from security.train.verify import verify_arrival, verify_train
from station.daemon.health import read_health
from station.daemon.loop import once
from station.daemon.pace import Pace
from station.errors import ClockWrong
from station.house.clocks import compare
from station.visit.plan import LONGEST_ABSENCE, Phase, phase_of
from tests.support.trains import NOW, consortium, train
from tests.support.world import ROOMY, World
from tests.support.world import world as make_world

A, B = PartyId("hospital-a"), PartyId("hospital-b")
MINUTE = timedelta(minutes=1)


class Dated(MemoryRegistry):
    """A registry with a clock of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.says: datetime | None = None

    def date(self) -> datetime | None:
        return self.says


@pytest.fixture
def registry() -> Dated:
    return Dated()


@pytest.fixture
def here(tmp_path: Path, registry: Dated) -> Iterator[World]:
    made = make_world(tmp_path, registry=registry)
    yield made
    made.close()


# --- Ahead at one station, and the next


@pytest.mark.parametrize("ahead", [11 * MINUTE, timedelta(hours=3)])
def test_a_clock_ahead_at_one_station_makes_the_next_wait_and_not_refuse(here: World, ahead: timedelta) -> None:
    made = here.train()
    here.submit(made)
    here.now = NOW + ahead
    here.settle("hospital-a")  # which believes that it is that late
    here.now = NOW
    here.step("hospital-b")
    visit = here.visit("hospital-b")
    assert phase_of(visit) is Phase.NOTICED
    assert visit.stumbled is not None
    assert visit.stumbled.code == "time.not-yet"
    here.settle()  # time passes, and nothing else has to happen
    assert here.visit("hospital-b").refused is None
    assert here.at_home(made.id)
    assert here.now - NOW < 2 * ahead + MINUTE


def test_what_waits_for_its_time_is_looked_at_ever_less_often(here: World) -> None:
    """Or a train that is valid in ten years would be a record every five minutes."""
    made = here.train(valid_from=NOW + timedelta(days=3), valid_until=NOW + timedelta(days=4))
    here.submit(made)
    looks, pauses = 0, [timedelta(0)]
    while here.now < NOW + timedelta(days=2):
        here.step("hospital-a")
        waiting = here.visit("hospital-a").not_before
        assert waiting is not None
        pauses.append(waiting - here.now)
        looks, here.now = looks + 1, waiting
    assert here.visit("hospital-a").stumbles == looks < 30
    assert max(pauses) == LONGEST_ABSENCE


def test_a_train_that_is_early_is_fetched_when_its_time_has_come(here: World) -> None:
    """The owner's clock is a minute ahead of ours."""
    made = here.train(route=("hospital-a",), valid_from=NOW + MINUTE)
    here.submit(made)
    here.step("hospital-a")
    assert here.visit("hospital-a").refused is None
    here.settle()
    assert here.at_home(made.id)


# --- The same, as it is verified


def test_what_is_dated_later_than_our_clock_waits_and_what_is_over_is_over() -> None:
    world = consortium()
    it = train(world)
    it.pass_stop(time=NOW + 11 * MINUTE)
    with pytest.raises(NotYet):
        verify_train(it.parts, world.trust, here=B, now=NOW)
    assert verify_train(it.parts, world.trust, here=B, now=NOW + MINUTE).stop == 1


def test_a_key_set_that_is_not_in_force_yet_waits() -> None:
    world = consortium()
    it = train(world)
    early = NOW - timedelta(days=31)  # our clock shows the time before the consortium began
    it = train(world, valid_from=early, valid_until=early + timedelta(days=14))
    with pytest.raises(NotYet):
        verify_train(it.parts, world.trust, here=A, now=early)


def test_nothing_is_signed_by_a_clock_that_is_behind_what_came_with_the_train() -> None:
    """It was set back during the run: the entry would be refused by the next station, for good."""
    world = consortium()
    it = train(world).travel(1)
    accepted = verify_arrival(it.parts, world.trust, here=B, now=NOW)
    behind = NOW - 11 * MINUTE
    it.pass_stop(time=behind)
    with pytest.raises(NotYet):
        check_next(accepted.manifest, accepted.journey, it.entries[1], world.trust, now=behind)


def test_a_station_whose_clock_was_set_back_in_mid_run_waits_before_it_signs(here: World) -> None:
    made = here.train()
    here.submit(made)
    here.settle("hospital-a")
    for _ in range(50):
        if here.visits("hospital-b") and phase_of(here.visit("hospital-b")) is Phase.READY:
            break
        here.step("hospital-b")
    here.now = NOW - timedelta(minutes=30)
    here.step("hospital-b")
    visit = here.visit("hospital-b")
    assert visit.refused is None
    assert visit.stumbled is not None
    assert (visit.stumbled.step, visit.stumbled.code) == ("sign", "time.not-yet")
    here.settle()
    assert here.at_home(made.id)


# --- Somebody is told


def daemon_says(here: World, tmp_path: Path) -> tuple[str, ...]:
    health = tmp_path / "health.json"
    pace = Pace(clock=here.clock, poll_seconds=0.001)  # while threads work, the clock goes on
    once(here.houses["hospital-a"], folder=tmp_path, health=health, version="1", pace=pace, terms=ROOMY)
    return read_health(health).trouble


@pytest.mark.parametrize("off", [-3 * MINUTE, 11 * MINUTE, timedelta(days=300)])
def test_the_daemon_tells_that_its_clock_is_not_the_registrys(
    here: World, registry: Dated, tmp_path: Path, off: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    registry.says = NOW + off
    assert daemon_says(here, tmp_path) == ("clock.wrong",)
    (told,) = [one for one in caplog.records if getattr(one, "code", None) == "clock.wrong"]
    assert "registry" in told.__dict__["reason"]


def test_a_registry_that_lies_about_the_time_stops_nothing(here: World, registry: Dated, tmp_path: Path) -> None:
    registry.says = NOW + timedelta(days=9999)
    made = here.train(route=("hospital-a",))
    here.submit(made)
    assert daemon_says(here, tmp_path) == ("clock.wrong",)
    assert here.at_home(made.id)


@pytest.mark.parametrize("says", [None, NOW, NOW + MINUTE, NOW - MINUTE])
def test_a_clock_that_agrees_is_no_trouble(here: World, registry: Dated, tmp_path: Path, says: datetime | None) -> None:
    registry.says = says
    assert daemon_says(here, tmp_path) == ()


def test_a_clock_before_the_directorys_newest_key_set_is_told(here: World, tmp_path: Path) -> None:
    here.now = NOW - timedelta(days=31)
    assert daemon_says(here, tmp_path) == ("clock.wrong",)


def test_what_is_past_must_be_past() -> None:
    compare(NOW, registry=None, past={"something happened": NOW + 9 * MINUTE})
    with pytest.raises(ClockWrong, match="when something happened"):
        compare(NOW, registry=None, past={"something happened": NOW + 11 * MINUTE})


# --- Where the registry's time comes from


class Answering(BaseHTTPRequestHandler):
    """A registry that says nothing but what time it is."""

    said: str | None = None

    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
        if self.said is not None:
            self.wfile.write(f"Date: {self.said}\r\n".encode())
        self.wfile.write(b"\r\n{}")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("Sun, 01 Mar 2026 12:00:00 GMT", NOW),
        ("Sunday, 01-Mar-26 12:00:00 GMT", NOW),
        ("Sun, 01 Mar 2026 13:00:00 +0100", NOW),
        ("yesterday", None),
        ("Sun, 99 Mar 2026 12:00:00 GMT", None),
        ("Sun, 01 Mar 99999999 12:00:00 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_the_time_a_registry_says_is_its_answers_date_or_none(said: str | None, heard: datetime | None) -> None:
    handler = type("One", (Answering,), {"said": said})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        origin = Origin.from_text(f"http://127.0.0.1:{server.server_port}")
        found = RetryingRegistry(HttpRegistry(Http(origin), prefix=None), sleep=lambda _: None).date()
        server.shutdown()
    assert found == heard
    assert found is None or found.tzinfo is UTC
