"""What a check-up warns of before it is too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from security.errors import InvalidInput
from security.keys.keyset import Secrets
from station.check import CheckResult
from station.cli.render import render_checkup
from station.desk.checkup import Checkup, check
from station.desk.opening import station_at
from station.house.disk import Rest, at_rest
from tests.support.clocks import SetClock
from tests.support.desk import Desk, copy_of, edit, furnished
from tests.support.liar import Liar, Reply

__all__ = ["furnished"]  # a fixture


def nobody() -> Secrets:
    msg = "no passphrase"
    raise InvalidInput(msg)


def looked(desk: Desk, *, later: timedelta) -> dict[str, CheckResult]:
    found = check(station_at(desk.path / "hospital-a"), nobody, SetClock(datetime.now(UTC) + later))
    return {one.name: one for one in found.results}


@pytest.mark.parametrize(
    ("later", "ok", "warning", "told"),
    [
        (timedelta(days=4), True, False, None),
        (timedelta(days=5, hours=12), True, True, "runs out in 3"),
        (timedelta(days=6, hours=19, minutes=30), False, False, "runs out in 4 h"),
    ],
)
def test_a_directory_that_runs_out_is_told_before(
    furnished: Desk, later: timedelta, *, ok: bool, warning: bool, told: str | None
) -> None:
    found = looked(furnished, later=later)["directory"]
    assert (found.ok, found.warning) == (ok, warning)
    assert (told or "fresh until") in found.detail
    assert (found.hint is None) == (told is None)


def test_an_unencrypted_disk_is_a_warning_with_a_hint(furnished: Desk, tmp_path: Path) -> None:
    desk = copy_of(furnished, tmp_path / "desk")
    found = looked(desk, later=timedelta(0))["plaintext"]
    plain = at_rest(desk.path) is Rest.PLAIN
    assert (found.ok, found.warning) == (True, plain)
    one = CheckResult(name="plaintext", ok=True, warning=True, detail="on a disk", hint="encrypt it")
    told = render_checkup(Checkup(results=(one,)))
    assert told.text.splitlines() == ["WARN  plaintext      on a disk", "                     -> encrypt it"]
    assert told.error is None


@pytest.mark.parametrize(
    ("later", "told"),
    [
        (timedelta(0), "the registry's clock shows the same"),
        (timedelta(minutes=4), "the clock is ahead of the registry's"),
        (timedelta(minutes=-4), "the clock is behind the registry's"),
        (timedelta(days=300), "the clock is ahead of the registry's"),
    ],
)
def test_the_clock_is_compared_with_the_date_the_registry_tells(
    furnished: Desk, tmp_path: Path, later: timedelta, told: str
) -> None:
    desk = copy_of(furnished, tmp_path / "desk")
    registry = Liar(Reply(body=b"{}"))  # with each reply its server sends the date
    try:
        edit(desk.path / "hospital-a" / "station.yaml", f"layout:{desk.path / 'registry'}", registry.url)
        found = looked(desk, later=later)["clock"]
        assert found.ok == (not later)
        assert told in found.detail
        assert bool(found.hint) == bool(later)
    finally:
        registry.close()


def test_https_in_front_of_a_plain_registry_is_told_with_what_to_change(furnished: Desk, tmp_path: Path) -> None:
    desk = copy_of(furnished, tmp_path / "desk")
    registry = Liar()
    try:
        wrong = registry.url.replace("http://", "https://")
        edit(desk.path / "hospital-a" / "station.yaml", f"layout:{desk.path / 'registry'}", wrong)
        found = looked(desk, later=timedelta(0))
        for name in ("registry", "directory"):
            assert not found[name].ok
            assert "says https" in found[name].detail
            assert registry.url.partition("://")[0] + "://" in str(found[name].hint)
    finally:
        registry.close()
