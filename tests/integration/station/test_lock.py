"""Two daemons on one state folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from security.errors import FileMissing
from station.errors import StationBusy
from station.house.lock import holding

ROOT = Path(__file__).resolve().parents[3]
HOLDER = """
import sys
from pathlib import Path
from station.house.lock import holding
with holding(Path(sys.argv[1])):
    print("holding", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[bytes]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"holding\n"
    return holder


def let_go(holder: subprocess.Popen[bytes]) -> None:
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.close()
    holder.stdout.close()
    holder.wait()


def test_the_second_is_refused_and_told_who_was_first(tmp_path: Path) -> None:
    holder = hold(tmp_path / "state")
    try:
        with pytest.raises(StationBusy) as caught, holding(tmp_path / "state"):
            pass
        assert caught.value.code == "station.busy"
        assert caught.value.fields["process"] == str(holder.pid)
    finally:
        let_go(holder)
    with holding(tmp_path / "state"):
        pass


def test_who_is_killed_holds_no_longer(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    os.kill(holder.pid, signal.SIGKILL)
    let_go(holder)
    with holding(tmp_path), pytest.raises(StationBusy), holding(tmp_path):
        pass


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), holding(tmp_path):
        raise RuntimeError
    with holding(tmp_path):
        pass


def test_another_folder_is_another_lock(tmp_path: Path) -> None:
    with holding(tmp_path / "one"), holding(tmp_path / "two"):
        pass


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileMissing), holding(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
