"""What does `pht station ls` say of a daemon that was killed, or hangs, while a run was going on?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from security.encoding import print_time
from station.desk.opening import station_at
from station.desk.visits import NO_DAEMON
from station.house.workroom import Workrooms
from station.journal.journal import Journal
from tests.support.desk import ROOT, WITH, Desk
from tests.support.directories import clock
from tests.support.visits import ADMITTED, FURNISHED, OPENED, STARTED, digest

LS = ("station", "ls", "hospital-a")
MOST_LOOKS = 300


def start_run(desk: Desk) -> None:
    """Approve the visit that waits for a person, and record that it is running; its engine is nowhere."""
    desk.answer("station", "approve", desk.answer(*LS)["visits"][0]["train"], "-s", "hospital-a", "--by", "grace")
    config = station_at(desk.path / "hospital-a")
    started = replace(STARTED, image=digest("image"))
    with Journal.open(desk.path / "hospital-a" / "state" / "journal.sqlite") as journal:
        (arrival,) = journal.unfinished()
        Workrooms(config.workrooms).make(arrival)
        for event in (ADMITTED, replace(OPENED, states_in=()), FURNISHED, started):
            visit = journal.visit(arrival)
            journal.append(arrival, replace(event, at=visit.events[-1].at), expect=len(visit.events))


def listed(desk: Desk) -> tuple[str, str]:
    """The phase of the one visit, and what is next for it."""
    (visit,) = desk.answer(*LS)["visits"]
    return visit["phase"], visit["next"]


@contextmanager
def daemon(desk: Desk) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon in a process of its own, once it works at the visit."""
    words = (sys.executable, str(ROOT / "pht.py"), "station", "run", "hospital-a", *WITH)
    with (desk.path / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=desk.path, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        for _ in range(MOST_LOOKS):
            if health_of(desk).exists() and listed(desk)[0] == "running" and "unavailable" in listed(desk)[1]:
                break
            assert process.poll() is None, (desk.path / "log").read_text()
            time.sleep(0.1)
        else:
            pytest.fail((desk.path / "log").read_text())
        yield process
    finally:
        process.kill()
        process.wait()


def health_of(desk: Desk) -> Path:
    return desk.path / "hospital-a" / "state" / "health.json"


def test_a_daemon_that_was_killed_runs_nothing(desk: Desk) -> None:
    start_run(desk)
    with daemon(desk) as process:
        phase, following = listed(desk)
        assert phase == "running"
        assert following != NO_DAEMON
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        phase, following = listed(desk)
        assert phase == "was running"
        assert following.startswith(NO_DAEMON)
        told = desk.pht(*LS).out
        assert "was running" in told
        assert NO_DAEMON in told
        assert "has said nothing" not in told
    with daemon(desk):  # another takes over, and the list says so
        assert listed(desk)[0] == "running"


def test_a_daemon_that_hangs_is_told_below_the_list(desk: Desk) -> None:
    start_run(desk)
    with daemon(desk) as process:
        assert "has said nothing" not in desk.pht(*LS).out
        os.kill(process.pid, signal.SIGSTOP)
        told = json.loads(health_of(desk).read_bytes())
        health_of(desk).write_text(json.dumps(told | {"turn": print_time(clock() - timedelta(minutes=31, seconds=5))}))
        last = desk.pht(*LS).out.splitlines()[-1]
        assert last == "the daemon has said nothing for 31 min: pht station check"
        assert listed(desk)[0] == "running"  # it may go on
        process.kill()
        process.wait()
        assert "has said nothing" not in desk.pht(*LS).out  # none is there that could
