"""What a check-up warns of before it is too late."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from security.errors import InvalidInput
from security.keys.keyset import Secrets
from station.check import CheckResult
from station.cli.render_check import render_checkup
from station.desk.checkup import Checkup, check
from station.desk.opening import station_at
from station.house.disk import at_rest
from tests.support.clocks import SetClock
from tests.support.desk import WITH, Desk, copy_of, edit, furnished
from tests.support.liar import Liar, Reply

__all__ = ["furnished"]  # a fixture

ROOT = Path(__file__).parents[3]


def nobody() -> tuple[Secrets, ...]:
    msg = "no passphrase"
    raise InvalidInput(msg)


def looked(
    desk: Desk, *, later: timedelta = timedelta(0), look: Callable[..., Checkup] = check
) -> dict[str, CheckResult]:
    found = look(station_at(desk.path / "hospital-a"), nobody, SetClock(datetime.now(UTC) + later))
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


@pytest.mark.parametrize(
    ("kind", "mapped", "warning", "told"),
    [
        ("tmpfs", "", False, "workrooms are in memory"),
        ("ext4", "CRYPT-LUKS2-1-rooms", False, "workrooms are on an encrypted disk"),
        ("ext4", "LVM-1", True, "workrooms are on an unencrypted disk, as far as can be seen"),
    ],
)
def test_workrooms_on_an_unencrypted_disk_are_a_warning_with_a_hint(
    furnished: Desk, tmp_path: Path, kind: str, mapped: str, *, warning: bool, told: str
) -> None:
    """On any machine: the kernel's tables are the test's own, and say something else of the folder above."""
    desk = copy_of(furnished, tmp_path / "desk")
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    edit(desk.path / "hospital-a" / "station.yaml", "# workrooms: /run/pht/workrooms", f"workrooms: {rooms}/not/yet")
    other = "ext4" if kind == "tmpfs" else "tmpfs"
    (tmp_path / "mounts").write_text(f"22 1 8:1 / / rw - {other} a rw\n23 22 254:0 / {rooms} rw - {kind} b rw\n")
    (tmp_path / "devices" / "254:0" / "dm").mkdir(parents=True)
    (tmp_path / "devices" / "254:0" / "dm" / "uuid").write_text(mapped)
    rest = partial(at_rest, mounts=tmp_path / "mounts", devices=tmp_path / "devices")
    found = looked(desk, look=partial(check, rest=rest))["plaintext"]
    assert (found.ok, found.warning, found.detail) == (True, warning, told)
    assert (found.hint is not None) == warning
    rendered = render_checkup(Checkup(results=(found,)))
    lines = rendered.text.splitlines()
    assert lines[0].split(maxsplit=1)[0] == ("WARN" if warning else "ok")
    assert lines[1:] == ([f"                     -> {found.hint}"] if warning else [])
    assert rendered.error is None


def test_of_the_workrooms_of_this_machine_its_own_kernel_is_asked(furnished: Desk, tmp_path: Path) -> None:
    desk = copy_of(furnished, tmp_path / "desk")
    memory = "workrooms: /dev/shm/pht/none"  # a tmpfs on every Linux; nothing is made there
    edit(desk.path / "hospital-a" / "station.yaml", "# workrooms: /run/pht/workrooms", memory)
    found = looked(desk)["plaintext"]
    assert (found.warning, found.detail, found.hint) == (False, "workrooms are in memory", None)


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
        found = looked(desk)
        for name in ("registry", "directory"):
            assert not found[name].ok
            assert "says https" in found[name].detail
            assert registry.url.partition("://")[0] + "://" in str(found[name].hint)
    finally:
        registry.close()


@pytest.mark.parametrize(
    ("party", "told"), [(None, "not a key folder"), ("alice", "another party's"), ("hospital-a", "of hospital-a, ")]
)
def test_earlier_keys_are_tried_too(furnished: Desk, tmp_path: Path, party: str | None, told: str) -> None:
    """The daemon does not start without them: as when they were destroyed, and are still named."""
    desk = copy_of(furnished, tmp_path / "desk")
    edit(desk.path / "hospital-a" / "station.yaml", "# earlier: [keys-2025] ", "earlier: [keys-2025] ")
    if party is not None:
        (desk.path / party / "keys").rename(desk.path / "hospital-a" / "keys-2025")
    if party == "hospital-a":
        desk.answer("keys", "new", "hospital-a/keys", "--party", party, "--role", "station", *WITH)
    keys = desk.pht("--json", "station", "check", "hospital-a", *WITH).document["checks"][0]
    assert (keys["name"], keys["ok"]) == ("keys", party == "hospital-a")
    assert told in keys["detail"]


def test_workrooms_that_are_no_folder_are_told(furnished: Desk, tmp_path: Path) -> None:
    desk = copy_of(furnished, tmp_path / "desk")
    edit(desk.path / "hospital-a" / "station.yaml", "# workrooms: /run/pht/workrooms", "workrooms: root.json")
    found = looked(desk)["workrooms"]
    assert not found.ok
    assert found.hint == f"{desk.path / 'hospital-a' / 'root.json'} is a file: name a folder in station.yaml"


def test_nobody_is_told_to_own_run() -> None:
    """As a user sees it that is not root, before the daemon's first start and after each reboot."""
    rooms = "/run/pht-of-nobody/workrooms"
    look = f"""
from pathlib import Path
from station.desk.checkup import _disk
found = _disk("workrooms", Path({rooms!r}))
print(found.ok, found.hint)
"""
    user = os.geteuid() or 65534
    typed = subprocess.run(
        [sys.executable, "-c", look],
        user=user if os.geteuid() == 0 else None,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    told = f"False make it: sudo install -d -m 700 -o {user} {rooms}; or start the daemon with the unit of"
    assert typed.stdout.startswith(told), typed.stdout
