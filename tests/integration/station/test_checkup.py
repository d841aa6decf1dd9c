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
from tests.support.desk import Desk, copy_of, furnished

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
